"""How bytes are cut over writes changes no verdict.

Each malformed request and answer of the other suites, byte by byte with pauses, frame by frame, and in one write with a
sound request before it and behind it: it is refused all the same, and no app ever sees a whole request of it.
"""

import contextlib
import re
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import h2_spec
from frames import GOAWAY, H2, HEADERS, RST, block, frame, request
from harness import HOST, PATIENCE, Door, Origin, Tally, closed, everything, reply
from http1_desync import answers, bad_chunks, post, refused
from names_and_apps import OTHER, hello_with_sni

PAUSE = 0.0005
# Sound requests around a malformed one.
BEFORE, BEHIND = (f"GET /{name} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() for name in ("before", "behind"))
# Refused for what they ask: their bytes are sound, so that the connection goes on.
SOUND = ("method 'CONNECT", "method 'TRACE", "Expect of")


def pieces(data, most=250):
    """Byte by byte, or where that were too many, as many pieces as there may be."""
    step = -(-len(data) // most) or 1
    return [data[at:at + step] for at in range(0, len(data), step)]


def frames_of(data):
    """Frame by frame; a preface goes with the first."""
    found, at = [], 24 if data.startswith(b"PRI") else 0
    while at < len(data):
        end = at + 9 + int.from_bytes(data[at:at + 3], "big")
        found.append(data[0 if not found else at:end])
        at = end
    return found


def drip(sock, data):
    for piece in pieces(data):
        sock.sendall(piece)
        time.sleep(PAUSE)


def each(tally, cases, one):
    """All cases, most of whose time is waiting."""
    def guarded(case):
        try:
            one(*case)
        except Exception as fault:
            tally.check(False, f"{case[0]} came to its end", repr(fault))
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(guarded, cases))


def statuses(sock):
    """All answers up to the end of the connection."""
    found = []
    while status := reply_of(sock):
        found.append(status)
    return found


def reply_of(sock):
    # The harness's reader keeps no bytes between answers; ours all have a length, so that they can be taken singly.
    head = b""
    with contextlib.suppress(OSError):
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            if not byte:
                return 0
            head += byte
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while length:
            length -= len(sock.recv(length)) or length
        return int(head.split(b" ")[1])
    return 0


def http1(tally):
    origin = Origin()
    with Door([(HOST, origin.port, 'https = "both"')]) as door:
        def dripped(what, text, chunks):
            with socket.create_connection(door.http, timeout=PATIENCE) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):
                    drip(sock, text)
                got = reply(sock)[0]
                tally.check(got == 0 and chunks or 400 <= got < 600 and got not in (404, 502, 503), f"byte by byte, {what}", got)
                tally.check(what.startswith(SOUND) or closed(sock), f"byte by byte, {what}: closed", "stays open")

        def between(what, text, chunks):
            with socket.create_connection(door.http, timeout=PATIENCE) as sock:
                sock.sendall(BEFORE + text + BEHIND)
                got = statuses(sock) if not what.startswith(SOUND) else [reply_of(sock) for _ in range(3)]
            fine = got[:1] == [200] and all(400 <= status < 600 and status not in (404, 502, 503) for status in got[1:2])
            tally.check(fine and len(got) == (3 if what.startswith(SOUND) else 2) or chunks and got == [200], f"between two others, {what}", got)

        cases = [(what, text.encode("latin-1"), False) for what, text in refused()]
        cases += [(f"chunks, {what}", post("Transfer-Encoding: chunked", text).encode("latin-1"), True) for what, text in bad_chunks()]
        each(tally, cases, dripped)
        tally.check(not origin.seen and not origin.faults, "byte by byte: no app sees a whole request of it", f"{origin.seen} {origin.faults}")
        origin.clear()
        each(tally, cases, between)
        seen = sorted({seen["target"] for seen in origin.seen})
        tally.check(seen == ["/before", "/behind"] and not origin.faults, "between two others: no app sees a whole request of it", f"{seen} {origin.faults}")
        behind = sum(seen["target"] == "/behind" for seen in origin.seen)
        sound = sum(what.startswith(SOUND) for what, *_ in cases)
        tally.check(behind == sound, "between two others: nothing behind it is a request", f"{behind}, not {sound}")


def backends(tally):
    """The app's answers, byte by byte."""
    cases = [(what, text.encode("latin-1")) for what, text in answers()]
    cases += [(f"chunks, {what}", f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}".encode("latin-1")) for what, text in bad_chunks()]

    def answer(seen, sock):
        drip(sock, cases[int(seen["target"][1:])][1])
        return False

    with Door([(HOST, Origin(answer).port, "")], '[timeouts]\nfirst_byte = "20s"\nidle = "20s"') as door:
        def one(what, number):
            with door.http1() as sock:
                sock.sendall(f"GET /{number} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                status, _, body, ended = reply(sock)
                fine = status == 502 or what.startswith("chunks") and ended == "cut"
                tally.check(fine and b"EVIL" not in body, f"byte by byte, {what}", f"{status} {body!r} {ended}")
        each(tally, [(what, number) for number, (what, _) in enumerate(cases)], one)


class Cut(h2_spec.Suite):
    """All of HTTP/2's cases with what a client sends cut in this way."""

    def __init__(self, tally, door, origin, cut):
        super().__init__(tally, door, origin)
        self.cut = cut

    def connection(self):
        h2 = super().connection()
        h2.cut = self.cut
        return h2


class Between(h2_spec.Suite):
    """The malformed requests in one write with sound ones on streams before and behind."""

    def malformed(self, what, fields, flags=h2_spec.BOTH, more=b""):
        self.origin.clear()
        whole = lambda stream, path: frame(HEADERS, h2_spec.BOTH, stream, block(request(path=path)))
        more = more[:5] + struct.pack(">I", 3) + more[9:] if more else b""
        with self.connection() as h2:
            h2.quietly(whole(1, "/before") + frame(HEADERS, flags, 3, block(fields)) + more + whole(5, "/behind"))
            verdicts = {}
            with contextlib.suppress(TimeoutError):
                while len(verdicts) < 3 and (found := h2.read()):
                    kind, _, stream, payload = found
                    if kind == GOAWAY:
                        break
                    if kind == HEADERS:
                        verdicts[stream] = int(dict(h2.decoder.decode(payload))[":status"])
                    if kind == RST:
                        verdicts[stream] = "reset"
        got = verdicts.pop(3, "gone")
        self.tally.check(got in ("gone", "reset", 400, 405, 501) and set(verdicts.values()) <= {200}, f"between two others, {what}", f"{got} {verdicts}")
        seen = {seen["target"] for seen in self.origin.seen}
        self.tally.check(seen <= {"/before", "/behind"} and not self.origin.faults, f"between two others, {what}: unseen", f"{seen} {self.origin.faults}")

    def resets(self, *_, **__):
        """Asked of `Cut`."""


def http2(tally):
    def run(how, make, parts):
        origin = Origin(h2_spec.answer)
        named = type("Named", (), {"check": lambda _, ok, what, detail="": tally.check(ok, f"{how}: {what}", detail)})()
        try:
            with Door([(HOST, origin.port, "")]) as door:
                suite = make(named, door, origin)
                for part in parts:
                    part(suite)
                named.check(not door.said("panicked"), "nothing panicked", door.said("panicked")[:2])
        except Exception as fault:
            named.check(False, "came to its end", repr(fault))

    small = [h2_spec.frames_that_are_fine, h2_spec.errors_of_connections, h2_spec.flow_control, h2_spec.hpack]
    bytes_ = lambda data: pieces(data, 40)
    jobs = [("frame by frame", lambda *of: Cut(*of, frames_of), small), ("frame by frame", lambda *of: Cut(*of, frames_of), [h2_spec.requests]),
            ("byte by byte", lambda *of: Cut(*of, bytes_), small), ("byte by byte", lambda *of: Cut(*of, bytes_), [h2_spec.requests]),
            ("in one write", Between, [h2_spec.requests])]
    threads = [threading.Thread(target=run, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def handshakes(tally):
    """ClientHellos byte by byte and in many records, what is no TLS, and PROXY headers."""
    def records(hello, size):
        body = hello[5:]
        return b"".join(hello[:3] + struct.pack(">H", len(part)) + part for part in (body[at:at + size] for at in range(0, len(body), size)))

    with Door([(HOST, Origin().port, "")]) as door:
        def hello(what, data, first):
            with socket.create_connection(door.https, timeout=PATIENCE) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):
                    drip(sock, data)
                got = sock.recv(3)
                tally.check(got[:len(first)] == first, f"byte by byte, {what}", got)
        good, unknown, evil = (hello_with_sni(name) for name in (HOST, OTHER, b"app.example.test\0.evil"))
        cases = [("a ClientHello", good, b"\x16"), ("an unknown name", unknown, b"\x15"), ("NUL in a name", evil, b"\x15"), ("no TLS", BEFORE, b"HTT")]
        for size in (1, 4, 50):
            cases += [(f"a ClientHello in records of {size}", records(good, size), b"\x16"), (f"NUL in a name in records of {size}", records(evil, size), b"\x15")]
        each(tally, cases, hello)
    origin = Origin()
    with Door([(HOST, origin.port, "")], https_keys='proxy_protocol = true\ntrusted_proxies = ["127.0.0.1"]') as door:
        v2 = b"\r\n\r\n\0\r\nQUIT\n"
        for what, prefix in [("v1", b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"), ("v2", v2 + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1, 220, 4, 1, 187]))]:
            raw = socket.create_connection(door.https, timeout=PATIENCE)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            drip(raw, prefix)
            with door.tls(["http/1.1"], tcp=raw) as sock:
                sock.sendall(BEFORE)
                tally.check(reply(sock)[0] == 200, f"byte by byte, PROXY {what}")
            tally.check(dict(origin.seen[-1]["fields"]).get("x-real-ip") == "192.0.2.7", f"byte by byte, PROXY {what}: the client's address", origin.seen)
        origin.clear()
        for what, data in [("a bad address", b"PROXY TCP4 999.1.1.1 1.1.1.1 1 2\r\n"), ("two", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\n" * 2), ("v3", v2 + b"\x31\x11\0\x0c" + b"\1" * 12), ("none", b"")]:
            with socket.create_connection(door.https, timeout=PATIENCE) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):
                    drip(sock, data + good)
                got = everything(sock)
                tally.check(got[:1] in (b"", b"\x15") or got[9:12] == b"400", f"byte by byte, PROXY {what}: refused", got[:20])
        tally.check(not origin.seen and door.alive, "byte by byte, PROXY: nothing of it reached the app")


if __name__ == "__main__":
    tally = Tally()
    for part in (http1, backends, http2, handshakes):
        if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
            begun = time.monotonic()
            part(tally)
            print(f"  {part.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
    tally.end()
