"""Files that misbehave: every broken state of a certificate, a key, the config and the storage, at start and while running.

At start, what is broken is named with its file and a remedy, and holds up nothing else. While running, what was served
goes on being served, and what comes after is taken.
"""

import contextlib
import datetime
import fcntl
import json
import os
import random
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from harness import HOST, Origin, at_once, certificate, everything, read_log, wait

OTHER = "other.example.test"
# How long a file may take to be seen and judged: half a copy is waited for.
SEEN = 60.0
# Root may read everything; without capabilities modes hold for it, too.
PLAIN = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []


class Home:
    """A folder with a sound config and two sound certificates, to break something in, and the doorward that runs on it."""

    def __init__(self, backend=9):
        self.scrap = tempfile.TemporaryDirectory(prefix="doorward-files-")
        self.path = self.scrap.name
        for host in (HOST, OTHER):
            certificate(self.at("certs", host), [host])
        self.config = self.at("doorward.toml")
        self.backend = backend
        self.write("doorward.toml", self.text())
        self.process, self.lines = None, []

    def text(self, more=""):
        return f"""workers = 1
{more}
[[listener]]
address = "127.0.0.1:0"
[certificates]
directories = ["{self.path}/certs"]
[storage]
path = "{self.path}/state"
[admin]
socket = "{self.path}/admin.sock"
[log]
format = "json"
[[route]]
hosts = ["{HOST}"]
backend = "127.0.0.1:{self.backend}"
[[route]]
hosts = ["{OTHER}"]
backend = "127.0.0.1:{self.backend}"
"""

    def at(self, *parts):
        return os.path.join(self.path, *parts)

    def write(self, name, data, mode=None):
        path = self.at(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        if mode is not None:
            os.chmod(path, mode)
        return path

    def start(self, stderr=None, limits=None, before=(), wait_for=60):
        """Whether it comes up; it has ended where not, or is stuck (`self.stuck`)."""
        def limit():
            for name, value in (limits or {}).items():
                resource.setrlimit(getattr(resource, name), (value, value))
        self.lines, self.address, self.stuck = [], None, False
        ready = threading.Event()
        self.process = subprocess.Popen([*before, *PLAIN, os.environ["DOORWARD"], "run", "--config", self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if stderr is None else stderr, preexec_fn=limit)
        if stderr is not None:
            return True

        def listening(_, address):
            self.address = address
        threading.Thread(target=read_log, args=(self.process.stderr, self.lines, listening, ready), daemon=True).start()
        self.stuck = not ready.wait(wait_for)
        return not self.stuck and self.said('"ready"')

    def said(self, *words):
        return any(all(word in json.dumps(line, ensure_ascii=False) for word in words) for line in list(self.lines))

    def served(self, host=HOST):
        """The serial of the certificate that is served for this name; none where there is no handshake."""
        context = ssl.create_default_context(cafile=self.at("ca.pem"))
        with contextlib.suppress(OSError):
            with socket.create_connection(self.address, timeout=10) as raw, context.wrap_socket(raw, server_hostname=host) as sock:
                return sock.getpeercert()["serialNumber"]
        return None

    def state(self, host=HOST):
        """What `status` says of the certificate in this folder."""
        code, said = self.run("status", "--json", "--socket", self.at("admin.sock"))
        return next((one["state"] for one in json.loads(said)["certificates"] if one["id"] == host), None) if code == 0 else None

    def end_process(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def end(self):
        self.end_process()
        subprocess.run(["chmod", "-R", "u+rwX", self.path], check=False, stderr=subprocess.DEVNULL)
        self.scrap.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def run(self, *args, timeout=60):
        """A command's exit code and all that it said; none where it is stuck."""
        try:
            done = subprocess.run([*PLAIN, os.environ["DOORWARD"], *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return None, "stuck"
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def take_away(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def instead(make):
    """Something else at the place of the file."""
    def break_it(path):
        take_away(path)
        make(path)
    return break_it


def content(change):
    """The same file with other content, in place."""
    def break_it(path):
        with open(path, "rb") as file:
            data = file.read()
        with open(path, "wb") as file:
            file.write(change(data))
    return break_it


def sparse(path):
    with open(path, "wb") as file:
        file.truncate(8 << 30)


def is_socket(path):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(path)


# What can stand where a file should be, whatever the file is.
STATES = {
    "gone": take_away,
    "empty": content(lambda data: b""),
    "a folder": instead(os.mkdir),
    "a link to itself": instead(lambda path: os.symlink(os.path.basename(path), path)),
    "a link to nothing": instead(lambda path: os.symlink("/nowhere/at/all", path)),
    "a named pipe": instead(os.mkfifo),
    "a socket": instead(is_socket),
    "/dev/zero": instead(lambda path: os.symlink("/dev/zero", path)),
    "8 GiB of zeros": instead(sparse),
    "not to be read": lambda path: os.chmod(path, 0),
    "noise": content(lambda data: bytes(n * 197 % 256 for n in range(3000))),
    "UTF-16": content(lambda data: data.decode("latin-1").encode("utf-16")),
    "NULs, as after a crash": content(lambda data: b"\0" * len(data)),
}
PEM_STATES = STATES | {
    "cut in the middle": content(lambda data: data[:len(data) // 2]),
    "without its last line": content(lambda data: data[:data.rstrip().rindex(b"\n") + 1]),
    "its lines joined": content(lambda data: data.replace(b"\n", b" ")),
    "DER": content(lambda data: ssl.PEM_cert_to_DER_cert(relabelled(data))),
    "a web page": content(lambda data: b"<!doctype html><title>404</title>"),
}
# Of these all can be read: another editor's habits.
SOUND = {
    "CRLF": content(lambda data: data.replace(b"\n", b"\r\n")),
    "a byte order mark": content(lambda data: b"\xef\xbb\xbf" + data),
    "no line end": content(bytes.rstrip),
    "text in front": content(lambda data: b"subject=CN = x\nissuer=CN = y\n" + data),
    "a world-readable key": lambda path: os.chmod(path, 0o644),
}


def relabelled(pem):
    import re
    return re.sub(rb"-----(BEGIN|END) [A-Z ]+-----", rb"-----\1 CERTIFICATE-----", pem).decode()


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def certificate_states():
    """What a certificate's folder can hold that is no certificate for us: name → (what does it, a word that has to be said)."""
    def pair(at, *more, days="10", key=("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        openssl("req", "-x509", *key, "-nodes", "-keyout", os.path.join(at, "ssl.key"), "-out", os.path.join(at, "ssl.crt"),
                "-days", days, "-subj", "/CN=x", *more)

    def another_key(at):
        with open(os.path.join(at, "ssl.key"), "wb") as file:
            file.write(openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1"))

    def passphrase(at):
        key = os.path.join(at, "ssl.key")
        with open(key, "rb") as file:
            locked = openssl("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:x", data=file.read())
        with open(key, "wb") as file:
            file.write(locked)

    def swapped(at):
        key, crt, third = (os.path.join(at, name) for name in ("ssl.key", "ssl.crt", "third"))
        os.rename(key, third)
        os.rename(crt, key)
        os.rename(third, crt)

    def pkcs12(at):
        key, crt = os.path.join(at, "ssl.key"), os.path.join(at, "ssl.crt")
        whole = openssl("pkcs12", "-export", "-inkey", key, "-in", crt, "-passout", "pass:")
        with open(crt, "wb") as file:
            file.write(whole)

    return {
        "another's key": (another_key, "does not belong"),
        "a key with a passphrase": (passphrase, "passphrase"),
        "key and certificate swapped": (swapped, "ssl."),
        "PKCS#12": (pkcs12, "PKCS#12"),
        "no names": (lambda at: pair(at), "subjectAltName"),
        "a small RSA key": (lambda at: pair(at, "-addext", f"subjectAltName=DNS:{HOST}", key=("-newkey", "rsa:1024")), "RSA"),
    }


def refused(home, host, what, tally, path, words=()):
    """It runs, serves the other name, and says what is wrong with the file."""
    if not tally.check(home.start(), f"{what}: it starts", home.stuck or home.lines[-2:]):
        return
    good = OTHER if host == HOST else HOST
    tally.check(wait(lambda: home.served(good), SEEN), f"{what}: the other name is served", home.lines[-2:])
    if not what.endswith("gone"):
        tally.check(wait(lambda: home.said(path, *words), SEEN), f"{what}: the file is named", home.lines)
    tally.check(not home.said("panicked"), f"{what}: no panic")


def certificates_at_start(tally):
    for file in ("ssl.key", "ssl.crt"):
        for what, break_it in PEM_STATES.items():
            with Home() as home:
                path = home.at("certs", HOST, file)
                break_it(path)
                refused(home, HOST, f"at start, {file}: {what}", tally, f"{HOST}")
                code, said = home.run("check", "--config", home.config)
                tally.check(code == 1 and HOST in said, f"check, {file}: {what}", f"{code} {said[:300]}")
    for what, (break_it, word) in certificate_states().items():
        with Home() as home:
            break_it(home.at("certs", HOST))
            refused(home, HOST, f"at start: {what}", tally, HOST, [word])
            code, said = home.run("check", "--config", home.config)
            tally.check(code == (0 if what == "no names" else 1) and word in said, f"check: {what}", f"{code} {said[:300]}")
    for what, break_it in SOUND.items():
        with Home() as home:
            os.chmod(home.path, 0o755)
            break_it(home.at("certs", HOST, "ssl.key"))
            if what != "a world-readable key":
                break_it(home.at("certs", HOST, "ssl.crt"))
            tally.check(home.start() and home.served(), f"at start: {what} is served", home.lines[-3:])
            if what == "a world-readable key":
                tally.check(home.said("ssl.key", "chmod"), f"at start: {what} is told", home.lines)
            else:
                tally.check(not home.said("chmod"), f"at start: {what}: nothing is said of its mode", home.lines)
    # The folder itself.
    for what in ("gone", "a link to itself", "a named pipe", "not to be read"):
        with Home() as home:
            STATES[what](home.at("certs", HOST))
            tally.check(home.start() and home.served(OTHER), f"at start, a certificate's folder: {what}", home.lines[-2:])
        with Home() as home:
            STATES[what](home.at("certs"))
            home.start()
            tally.check(not home.stuck and home.said(home.at("certs")), f"at start, all certificates' folder: {what} is told", home.lines)


def certificates_running(tally):
    """One doorward goes through all of it, one state after the other."""
    with Home() as home:
        if not tally.check(home.start(), "it starts", home.lines):
            return
        folder = home.at("certs", HOST)
        sound = home.at("sound")
        shutil.copytree(folder, sound)
        before = home.served()
        states = [(f"{file}: {what}", break_it, file) for file in ("ssl.key", "ssl.crt") for what, break_it in PEM_STATES.items()]
        states += [(what, break_it, "") for what, (break_it, _) in certificate_states().items()]
        for what, break_it, file in states:
            home.lines.clear()
            break_it(os.path.join(folder, file) if file else folder)
            # What is not there, or not whole, may be a copy under way.
            told = wait(lambda: home.said(HOST, "WARN"), SEEN)
            tally.check(told, f"while running, {what}: told", home.lines[-3:])
            tally.check(home.served() == before, f"while running, {what}: the old one is served", home.lines[-3:])
            take_away(folder)
            shutil.copytree(sound, folder)
            tally.check(wait(lambda: home.state() in ("served", "warning") and home.served() == before, SEEN), f"while running, {what}: and again", home.lines[-3:])
        certificate(folder, [HOST])
        tally.check(wait(lambda: home.served() not in (None, before), SEEN), "after all that a new one is taken", home.lines[-3:])
        tally.check(home.served(OTHER), "after all that the other name is served")
        tally.check(not home.said("panicked"), "while running: no panic")


CONFIG_STATES = {what: state for what, state in STATES.items() if what != "a link to nothing"} | {
    "cut in the middle of a string": content(lambda data: data[:data.index(b"127.0.0.1") + 4]),
    "tables within tables within tables": content(lambda data: b"a = " + b"[" * 200_000),
    "inline tables without end": content(lambda data: b"a = " + b"{a=" * 100_000),
    "a long dotted key": content(lambda data: b"a" + b".a" * 100_000 + b" = 1"),
    "a key twice": content(lambda data: data + b"\n[storage]\npath = '/x'\n"),
    "JSON": content(lambda data: b'{"listener": [{"address": "127.0.0.1:0"}]}'),
    "it includes a folder": content(lambda data: b'include = ["certs"]\n' + data),
    "it includes /dev/zero": content(lambda data: b'include = ["/dev/zero"]\n' + data),
}


def config_at_start(tally):
    for what, break_it in CONFIG_STATES.items():
        with Home() as home:
            break_it(home.config)
            for args in (("run",), ("check",)):
                code, said = home.run(*args, "--config", home.config)
                tally.check(code == 2 and "doorward.toml" in said, f"config at start ({args[0]}): {what}", f"{code} {said[:400]}")
    for what in ("CRLF", "a byte order mark", "no line end"):
        with Home() as home:
            SOUND[what](home.config)
            tally.check(home.start(), f"config at start: {what} is taken", home.lines)
    # A secret's file.
    for what, break_it in STATES.items():
        with Home() as home:
            secret = home.write("secret", "precious")
            break_it(secret)
            home.write("doorward.toml", home.text().replace("[storage]", f'[[issuer]]\nname = "x"\ndirectory = "https://127.0.0.1:9/"\neab = {{ key_id = "k", hmac_key = "file:{secret}" }}\n[storage]'))
            code, said = home.run("check", "--config", home.config)
            read = what in ("empty", "NULs, as after a crash")
            tally.check(code == 2 and ("hmac_key" if read else secret) in said, f"a secret's file: {what}", f"{code} {said[:400]}")
    # A pipe of the shell is a config, too.
    with Home() as home:
        done = subprocess.run(["sh", "-c", f'"$DOORWARD" check --config /dev/stdin < {home.config}'], capture_output=True, timeout=60, check=False)
        tally.check(done.returncode == 0, "config at start: /dev/stdin", done.stdout + done.stderr)
        done = subprocess.run(["sh", "-c", f'cat {home.config} | "$DOORWARD" check --config /dev/stdin'], capture_output=True, timeout=60, check=False)
        tally.check(done.returncode == 0, "config at start: a pipe", done.stdout + done.stderr)


def config_running(tally):
    with Home() as home:
        if not tally.check(home.start(), "it starts", home.lines):
            return
        before = home.served()
        for what, break_it in CONFIG_STATES.items():
            home.lines.clear()
            break_it(home.config)
            home.process.send_signal(signal.SIGHUP)
            tally.check(wait(lambda: home.said("doorward.toml") or home.said("reload"), SEEN), f"config while running, {what}: told", home.lines)
            tally.check(home.served() == before, f"config while running, {what}: served", home.lines[-3:])
            # Through the socket it says so to who asks.
            code, said = home.run("reload", "--socket", home.at("admin.sock"))
            tally.check(code in (1, 2) and "doorward.toml" in said, f"config while running, {what}: `doorward reload` tells", f"{code} {said[:300]}")
            take_away(home.config)
            home.write("doorward.toml", home.text())
        home.lines.clear()
        code, said = home.run("reload", "--socket", home.at("admin.sock"))
        tally.check(code == 0, "config while running: a sound one is taken after all that", f"{code} {said}")
        tally.check(not home.said("panicked") and home.process.poll() is None, "config while running: it lives")


def storage_at_start(tally):
    for what in ("a link to itself", "a named pipe", "a socket", "noise"):
        with Home() as home:
            state = home.write("state", "x")
            STATES[what](state)
            tally.check(home.start() and home.served(), f"storage at start: {what}: what needs none of it is served", home.lines)
            home.end_process()
            home.write("doorward.toml", home.text() + 'certificate = "self-signed"\n')
            code, said = home.run("run", "--config", home.config)
            tally.check(code == 1 and state in said, f"storage at start: {what}", f"{code} {said[:300]}")
    for what, mode in (("nothing may be read", 0), ("read-only", 0o500)):
        with Home() as home:
            os.mkdir(home.at("state"))
            os.chmod(home.at("state"), mode)
            home.write("doorward.toml", home.text() + 'certificate = "self-signed"\n')
            code, said = home.run("check", "--config", home.config)
            tally.check(code == 1 and home.at("state") in said, f"storage, {what}: `check` tells", f"{code} {said[:300]}")
            started = home.start(wait_for=60)
            told = home.said(home.at("state"))
            tally.check(told and not home.stuck, f"storage at start, {what}: told", home.lines)
            if started:
                tally.check(home.served(), f"storage at start, {what}: what needs none of it is served")
    # Somebody's litter in it.
    for place in ("certificates/x.pem", "accounts/x.json", "accounts/letsencrypt/account.json", "orders/x.json", "challenges/x", "tickets", "sticky", "locks/x", "disabled/x"):
        for what in ("empty", "a folder", "a link to itself", "a named pipe", "/dev/zero", "8 GiB of zeros", "not to be read", "noise"):
            with Home() as home:
                STATES[what](home.write(f"state/{place}", "{"))
                tally.check(home.start(wait_for=60) and home.served(), f"storage at start, {place}: {what}", home.lines[-3:])
                tally.check(not home.said("panicked"), f"storage at start, {place}: {what}: no panic")


def full(tally):
    """No space: for the storage, for the log."""
    origin = Origin()
    with Home(origin.port) as home:
        # Files end at 0 bytes. (The signal that comes with it would end a program that does not mind it.)
        tally.check(home.start(limits={"RLIMIT_FSIZE": 0}, wait_for=60), "no file may grow: it starts", home.lines[-2:])
        tally.check(home.address and home.served(), "no file may grow: what needs no storage is served", home.lines[-2:])
    for name in ("/dev/full", "a log that nobody reads any more"):
        with Home(origin.port) as home:
            port = free_port()
            home.write("doorward.toml", home.text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
            home.address = ("127.0.0.1", port)
            if name == "/dev/full":
                with open(name, "wb") as out:
                    home.start(stderr=out)
            else:
                reader, writer = os.pipe()
                home.start(stderr=writer)
                os.close(writer)
                os.close(reader)
            home.address = ("127.0.0.1", port)
            tally.check(wait(home.served, SEEN), f"{name}: served", home.process.poll())
            for _ in range(20):
                get(home)
            home.process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            tally.check(get(home).startswith(b"HTTP/1.1 200"), f"{name}: requests are answered", home.process.poll())


def free_port():
    """Below what the kernel gives to those who do not mind which: so it is free a moment later as well."""
    for port in random.sample(range(10_240, 32_768), 1_000):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def get(home, host=HOST, more=""):
    """What is answered; with `more` behind a head that never ends."""
    context = ssl.create_default_context(cafile=home.at("ca.pem"))
    with contextlib.suppress(OSError), socket.create_connection(home.address, timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname=host) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more or chr(13) + chr(10)}".encode())
            return everything(sock)
    return b""


if __name__ == "__main__":
    at_once(certificates_at_start, certificates_running, config_at_start, config_running, storage_at_start, full)
