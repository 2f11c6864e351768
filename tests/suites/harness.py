"""What the suites share: a doorward of their own, a backend that notes every byte, raw clients, and the tally.

Each suite is a program: `python3 SUITE.py`, with DOORWARD naming the binary. It prints a line for each case that
fails and a tally, and its exit code is 0 where all passed. Everything stays on loopback.
"""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HOST = "app.example.test"
# What has to come is waited for as long as a machine with other work may take; who waits is done as soon as it comes.
PATIENCE = 30.0


class Tally:
    """Counts cases; a failed one is told at once."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.lock = threading.Lock()
        self.begun = time.monotonic()

    def check(self, ok, what, detail=""):
        with self.lock:
            if ok:
                self.passed += 1
            else:
                self.failed.append(what)
                print(f"FAILED {what}: {detail}", flush=True)
        return ok

    def end(self):
        took = time.monotonic() - self.begun
        name = os.path.basename(sys.argv[0])
        print(f"{name}: {self.passed} passed, {len(self.failed)} failed, {took:.1f} s", flush=True)
        sys.exit(1 if self.failed else 0)


def certificate(folder, names):
    """A self-made CA in FOLDER/ca.pem, and a leaf for `names`, as key and chain."""
    os.makedirs(folder, exist_ok=True)
    key, request, leaf, ext = (os.path.join(folder, name) for name in ("ssl.key", "leaf.csr", "ssl.crt", "leaf.ext"))
    root = os.path.dirname(os.path.dirname(folder))
    ca_key, ca = os.path.join(root, "ca.key"), os.path.join(root, "ca.pem")

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    if not os.path.exists(ca):
        openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-days", "30", "-subj", "/CN=suites")
    openssl("req", *curve, "-keyout", key, "-out", request, "-subj", f"/CN={names[0]}")
    with open(ext, "w", encoding="ascii") as file:
        file.write("subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
        file.write("\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\n")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "20",
            "-extfile", ext, "-out", leaf)
    for scrap in (request, ext):
        os.remove(scrap)


class Door:
    """A doorward that runs while the `with` lasts.

    `routes` is a list of (host, backend port, further keys), `more` further config. `limits` are rlimits to set, by name.
    """

    def __init__(self, routes, sections="", https_keys="", limits=None, access="true", more=""):
        self.more = more
        self.routes, self.sections, self.https_keys = routes, sections, https_keys
        self.limits, self.access = limits or {}, access
        self.lines = []

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="doorward-suite-")
        home = self.folder.name
        routes = ""
        for host, port, keys in self.routes:
            certificate(os.path.join(home, "certs", host.replace("*", "_")), [host])
            routes += f'\n[[route]]\nhosts = ["{host}"]\nbackend = "127.0.0.1:{port}"\n{keys}\n'
        self.config = os.path.join(home, "doorward.toml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""workers = 2
[[listener]]
address = "127.0.0.1:0"
{self.https_keys}
[[listener]]
address = "127.0.0.2:0"
protocol = "http"
[certificates]
directories = ["{home}/certs"]
[storage]
path = "{home}/state"
[admin]
socket = "{home}/admin.sock"
[metrics]
address = "127.0.0.3:0"
[log]
format = "json"
access = {self.access}
{self.sections}
{routes}{self.more}""")

        def limit():
            for name, value in self.limits.items():
                resource.setrlimit(getattr(resource, name), (value, value))

        self.process = subprocess.Popen([os.environ["DOORWARD"], "run", "--config", self.config],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        preexec_fn=limit)
        self.bound = {}
        ready = threading.Event()
        log = (self.process.stderr, self.lines, self.bound.__setitem__, ready)
        threading.Thread(target=read_log, args=log, daemon=True).start()
        if not ready.wait(2 * PATIENCE) or self.process.poll() is not None:
            self.process.kill()
            raise RuntimeError(f"doorward did not start: {self.lines}")
        self.https, self.http, self.metrics_at = (self.bound[f"127.0.0.{n}:0"] for n in (1, 2, 3))
        self.context = ssl.create_default_context(cafile=os.path.join(home, "ca.pem"))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    @property
    def alive(self):
        return self.process.poll() is None

    def said(self, text):
        return [line for line in self.lines if text in json.dumps(line)]

    def tls(self, alpn, name=HOST, timeout=PATIENCE, tcp=None):
        """An open TLS connection with this ALPN list."""
        context = ssl.create_default_context(cafile=os.path.join(self.folder.name, "ca.pem"))
        context.set_alpn_protocols(alpn)
        raw = tcp or socket.create_connection(self.https, timeout=timeout)
        raw.settimeout(timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(raw, server_hostname=name)

    def http1(self, name=HOST, timeout=PATIENCE):
        return self.tls(["http/1.1"], name, timeout)

    def gauge(self, name):
        """The sum of a metric over its labels."""
        with socket.create_connection(self.metrics_at, timeout=PATIENCE) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = everything(sock).decode()
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)\s*$", text, re.M)
        return sum(float(value) for value in found)

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    def cpu(self):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def get(self, path="/", host=HOST, timeout=PATIENCE):
        """A whole GET on a connection of its own: (status, seconds)."""
        begun = time.monotonic()
        with self.http1(host, timeout) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            text = everything(sock)
        status = int(text.split(b" ", 2)[1]) if text.startswith(b"HTTP/") else 0
        return status, time.monotonic() - begun

    def honest(self, host=HOST):
        """Status and seconds of what an honest client asks: the best of three, as a busy machine may be slow once."""
        def once():
            try:
                return self.get(host=host)
            except OSError:
                return 0, PATIENCE
        return min((once() for _ in range(3)), key=lambda found: (found[0] != 200, found[1]))

    def signal(self, name):
        self.process.send_signal(getattr(signal, name))


def everything(sock):
    """All bytes up to the end, whatever that is."""
    parts = []
    with contextlib.suppress(OSError):
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


class Origin:
    """A backend. `answer(request, sock)` sends what it likes and returns whether the connection goes on.

    `seen` holds the requests that came whole, `bytes` all that came, `open` and `most` the requests under way.
    """

    OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def __init__(self, answer=None, port=0):
        self.answer = answer or (lambda request, sock: sock.sendall(self.OK) is None)
        self.seen, self.faults, self.early = [], [], ()
        self.bytes = 0
        self.accepted = self.working = self.most = 0
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.socket.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        reader = Reader(sock, self)
        with contextlib.suppress(OSError):
            while True:
                request = reader.request()
                if request is None:
                    break
                with self.lock:
                    self.seen.append(request)
                    self.working += 1
                    self.most = max(self.most, self.working)
                try:
                    goes_on = self.answer(request, sock)
                finally:
                    with self.lock:
                        self.working -= 1
                if not goes_on:
                    break
        sock.close()

    def clear(self):
        self.seen, self.faults, self.bytes = [], [], 0
        return self


class Reader:
    """A strict second parser: what it can't read in exactly one way is a fault."""

    NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
    LINE = re.compile(rb"([A-Z][A-Z0-9_-]*) ([!-~]+) HTTP/1\.1\Z")
    VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")

    def __init__(self, sock, origin):
        self.sock, self.origin, self.buffer = sock, origin, b""

    def more(self):
        part = self.sock.recv(65536)
        self.origin.bytes += len(part)
        self.buffer += part
        return bool(part)

    def fault(self, what):
        self.origin.faults.append(what)
        raise OSError(what)

    def take(self, length):
        while len(self.buffer) < length:
            if not self.more():
                return None
        part, self.buffer = self.buffer[:length], self.buffer[length:]
        return part

    def line(self):
        while b"\r\n" not in self.buffer:
            if not self.more():
                return None
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        if b"\r" in line or b"\n" in line:
            self.fault(f"a bare line end in {line!r}")
        return line

    def fields(self):
        fields = []
        while (line := self.line()) != b"":
            if line is None:
                return None
            name, colon, value = line.partition(b":")
            value = value.strip(b" \t")
            if not colon or not self.NAME.match(name) or not self.VALUE.match(value):
                self.fault(f"a field {line!r}")
            fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))
        return fields

    def request(self):
        start = self.line()
        if start is None:
            return None
        if not (found := self.LINE.match(start)):
            self.fault(f"a request line {start!r}")
        fields = self.fields()
        if fields is None:
            return None
        names = [name for name, _ in fields]
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value for name, value in fields if name == "transfer-encoding"]
        if names.count("host") != 1 or len(lengths) + len(codings) > 1:
            self.fault(f"host or framing in {fields}")
        request = {"method": found[1].decode(), "target": found[2].decode(), "fields": fields, "body": b"",
                   "trailers": []}
        if request["target"] in self.origin.early:
            # Answered before the body is read.
            request["body"] = b""
            return request
        if dict(fields).get("expect"):
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if lengths:
            if not re.fullmatch(r"\d{1,18}", lengths[0]):
                self.fault(f"a length {lengths}")
            request["body"] = self.take(int(lengths[0]))
        elif codings:
            if codings != ["chunked"]:
                self.fault(f"a coding {codings}")
            request["body"] = self.chunks(request)
        return None if request["body"] is None else request

    def chunks(self, request):
        body = b""
        while True:
            line = self.line()
            if line is None:
                return None
            if not re.fullmatch(rb"[0-9a-f]{1,16}", line):
                self.fault(f"a chunk's line {line!r}")
            if (size := int(line, 16)) == 0:
                request["trailers"] = self.fields()
                return None if request["trailers"] is None else body
            part = self.take(size + 2)
            if part is None:
                return None
            if part[-2:] != b"\r\n":
                self.fault("a chunk without its end")
            body += part[:-2]


def reply(sock, head_request=False):
    """One answer: (status, fields, body, how it ended: whole, cut, close). Interim ones are skipped."""
    origin = type("Nobody", (), {"bytes": 0, "faults": [], "early": ()})()
    reader = Reader(sock, origin)
    try:
        while True:
            start = reader.line()
            if start is None:
                return 0, [], b"", "cut"
            fields = reader.fields()
            if fields is None:
                return 0, [], b"", "cut"
            status = int(start.split(b" ")[1])
            if status >= 200 or status == 101:
                break
        named = dict(fields)
        if head_request or status in (101, 204, 304):
            return status, fields, b"", "whole"
        if named.get("transfer-encoding") == "chunked":
            body = reader.chunks({})
        elif "content-length" in named:
            body = reader.take(int(named["content-length"]))
        else:
            return status, fields, reader.buffer + everything(sock), "close"
        return (status, fields, reader.buffer, "cut") if body is None else (status, fields, body, "whole")
    except (OSError, ValueError):
        return 0, [], b"", "cut"


def closed(sock, within=PATIENCE):
    """Whether the other side ends the connection."""
    sock.settimeout(within)
    try:
        while sock.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


def wait(condition, within=PATIENCE):
    """Waits for a condition; whether it came."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def read_log(log, lines, listening, ready):
    """Reads doorward's log to its end into `lines`, tells where it listens, and sets `ready` then or at the end."""
    for line in log:
        try:
            line = json.loads(line)
        except ValueError:
            line = {"raw": line.decode("utf-8", "replace")}
        lines.append(line)
        if line.get("message") == "listening":
            host, port = line["address"].rsplit(":", 1)
            listening(line["listener"], (host, int(port)))
        if line.get("message") == "ready":
            ready.set()
    ready.set()


def at_once(*parts):
    """Runs a suite's parts side by side, as most of their time is waiting: all, or those that the command line names."""
    tally = Tally()

    def through(part):
        try:
            part(tally)
            print(f"  {part.__name__} is through", flush=True)
        except Exception as fault:
            tally.check(False, f"{part.__name__} came to its end", repr(fault))
    threads = [threading.Thread(target=through, args=(part,)) for part in parts if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.end()
