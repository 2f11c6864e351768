"""Slow clients and many: half-open handshakes, silent connections, drips and slow readers, and an honest client's
latency meanwhile; no descriptors left; clients that leave.
"""

import contextlib
import socket
import statistics
import struct
import sys
import threading
import time

from frames import END_HEADERS, END_STREAM, H2, HEADERS, WINDOW, block, frame, request
from harness import HOST, PATIENCE, Door, Origin, Tally, closed, everything, reply, wait

# A ClientHello's first bytes: a record of 512 bytes is announced, 20 come.
HALF_HELLO = bytes([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]) + b"x" * 9
MILLION = b"x" * 1_000_000
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def latencies(door, quiet, count=80):
    """The median and the 90th percentile of whole requests on new connections, in seconds: of this doorward, and of one
    that nobody attacks, asked in turn, so that whatever else the machine does weighs on both."""
    times = ([], [])
    for _ in range(count):
        for which, one in enumerate((door, quiet)):
            status, took = one.get()
            times[which].append(took if status == 200 else 99.0)
    return [(statistics.median(list_), sorted(list_)[int(count * 0.9)]) for list_ in times]


def pressure(tally, door, quiet, what, count, make):
    begun = time.monotonic()
    clients = []
    for n in range(count):
        try:
            clients.append(make())
        except OSError as fault:
            tally.check(False, f"{what}: {n} connections", fault)
            break
    made = time.monotonic() - begun
    (median, late), (usual, usually_late) = latencies(door, quiet)
    # A few milliseconds are what a busy machine adds by itself.
    tally.check(median <= max(2 * usual, usual + 0.01), f"{what}: an honest client's median latency",
                f"{median * 1000:.1f} ms, {usual * 1000:.1f} usually")
    tally.check(late <= max(2 * usually_late, usually_late + 0.05), f"{what}: the 90th percentile",
                f"{late * 1000:.1f} ms, {usually_late * 1000:.1f} usually")
    print(f"  {what}: {len(clients)} in {made:.1f} s; median {median * 1000:.1f} ms (usually {usual * 1000:.1f}), "
          f"90th {late * 1000:.1f} (usually {usually_late * 1000:.1f}), memory {door.memory() >> 20} MiB", flush=True)
    for client in clients:
        client.close()
    tally.check(wait(lambda: door.gauge("doorward_connections_open") == 0), f"{what}: all are let go of",
                door.gauge("doorward_connections_open"))


def connect(door, data=b""):
    sock = socket.create_connection(door.https, timeout=PATIENCE)
    if data:
        sock.sendall(data)
    return sock


def many(tally):
    def answer(seen, sock):
        if seen["target"] != "/large":
            return sock.sendall(Origin.OK) is None
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(100):
            sock.sendall(MILLION)
        return True

    def slow_reader():
        sock = door.http1()
        sock.sendall(GET.replace(b"/ ", b"/large "))
        return sock

    def everybody():
        kind = len(everything_) % 73
        everything_.append(kind)
        return slow_reader() if kind < 3 else connect(door) if kind < 23 else connect(door, HALF_HELLO)

    everything_ = []
    origin = Origin(answer)
    with Door([(HOST, origin.port, "")]) as door, Door([(HOST, Origin().port, "")]) as quiet:
        latencies(door, quiet, 20)
        # A whole ClientHello, and then nothing: the server has done its part.
        hello = recorded_hello(door)
        for what, count, make in [
            ("5,000 half-open handshakes", 5000, lambda: connect(door, HALF_HELLO)),
            ("5,000 connections that say nothing", 5000, lambda: connect(door)),
            ("2,000 stopped behind their ClientHello", 2000, lambda: connect(door, hello)),
            ("2,000 silent plain connections", 2000, lambda: socket.create_connection(door.http, timeout=PATIENCE)),
            ("300 silent TLS connections", 300, door.http1),
            ("5,000 half-open handshakes, 2,000 silent connections and 300 slow readers at once", 7300, everybody),
        ]:
            pressure(tally, door, quiet, what, count, make)
        tally.check(not door.said("panicked"), "nothing panicked")


def recorded_hello(door, alpn="http/1.1"):
    """What Python's client sends first, for this doorward's name."""
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    def take():
        sock, _ = listener.accept()
        got.append(sock.recv(4096))
        sock.close()
    thread = threading.Thread(target=take)
    thread.start()
    try:
        door.tls([alpn], tcp=socket.create_connection(listener.getsockname())).close()
    except OSError:
        pass
    thread.join()
    listener.close()
    return got[0]


def deadlines(tally):
    """Each phase has a deadline, and none is moved by dripping."""
    def answer(seen, sock):
        if seen["target"] == "/large":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(100):
                sock.sendall(b"x" * 1_000_000)
        else:
            sock.sendall(Origin.OK)
        return True

    origin = Origin(answer)
    times = '[timeouts]\nhandshake = "2s"\nrequest_header = "2s"\nrequest_body = "2s"\nkeep_alive = "2s"\nwrite = "2s"\nidle = "2s"\nfirst_byte = "2s"'
    with Door([(HOST, origin.port, "https = \"both\"")], times) as door:
        def lasts(what, sock, drip=b"", every=0.2, bound=8.0, status=None):
            """How long the other side lets us go on."""
            begun = time.monotonic()
            sock.settimeout(every)
            got, n = b"", 0
            while time.monotonic() - begun < bound + 3:
                try:
                    if drip:
                        sock.sendall(drip[n % len(drip):n % len(drip) + 1])
                        n += 1
                    part = sock.recv(65536)
                    got += part
                    if not part:
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            took = time.monotonic() - begun
            tally.check(took < bound, f"deadline: {what}", f"{took:.1f} s")
            if status:
                tally.check(got.split(b" ")[1:2] == [str(status).encode()], f"deadline: {what}: {status}", got[:60])
            sock.close()

        head = b"X-A: " + b"a" * 500
        lasts("no first byte", connect(door))
        lasts("a dripped ClientHello", connect(door), recorded_hello(door))
        lasts("a stopped handshake of TLS-ALPN-01", connect(door, recorded_hello(door, "acme-tls/1")))
        lasts("no request", door.http1())
        lasts("a lone P", _sent(door.http1(), b"P"), status=408)
        lasts("empty lines", door.http1(), b"\r\n")
        lasts("a dripped head", _sent(door.http1(), GET[:-2]), head, status=408)
        lasts("a dripped head, plain", _sent(socket.create_connection(door.http), GET[:-2]), head, status=408)
        upload = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n".encode()
        lasts("no body", _sent(door.http1(), upload + b"Content-Length: 1000\r\n\r\n"), status=408)
        lasts("a dripped body", _sent(door.http1(), upload + b"Content-Length: 1000\r\n\r\n"), b"x", status=408)
        lasts("a dripped chunk", _sent(door.http1(), upload + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"), b"x", status=408)
        lasts("dripped chunks", _sent(door.http1(), upload + b"Transfer-Encoding: chunked\r\n\r\n"), b"1\r\nx\r\n", status=408)
        lasts("dripped trailers", _sent(door.http1(), upload + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"), head, status=408)
        lasts("keep-alive", _asked(door.http1()))
        # A reader that takes nothing: the backend is released.
        with door.http1() as sock:
            sock.sendall(GET.replace(b"/ ", b"/large "))
            tally.check(wait(lambda: origin.working == 1), "a slow reader: asked")
            tally.check(wait(lambda: origin.working == 0), "a slow reader: the backend is released", origin.working)
        # And one over HTTP/2 that takes a byte at a time.
        with H2(door, settings=struct.pack(">HI", 4, 0)) as h2:
            h2.ask(1, request(path="/large"))
            tally.check(wait(lambda: origin.working == 1), "a reader of single bytes: asked")
            begun = time.monotonic()
            while origin.working and time.monotonic() - begun < 20:
                h2.quietly(frame(WINDOW, 0, 1, struct.pack(">I", 1)))
                time.sleep(0.2)
            tally.check(time.monotonic() - begun < 15, "a reader of single bytes: the backend is released")
        # Uploads over HTTP/2 that drip.
        with H2(door, timeout=0.3) as h2:
            h2.send(frame(HEADERS, END_HEADERS, 1, block(request("POST"))))
            begun, got = time.monotonic(), "timeout"
            while got == "timeout" and time.monotonic() - begun < 20:
                h2.quietly(frame(0, 0, 1, b"x"))
                got = h2.status()
            tally.check(got == 408 and time.monotonic() - begun < 12, "a dripped upload over HTTP/2: 408", f"{got} after {time.monotonic() - begun:.1f} s")
        # Clients that leave.
        origin2 = Origin(lambda seen, sock: sock.recv(1) is None)
        with Door([(HOST, origin2.port, "")]) as other:
            clients = [other.http1() for _ in range(20)]
            for client in clients:
                client.sendall(GET)
            tally.check(wait(lambda: origin2.working == 20), "clients that leave: asked", origin2.working)
            for client in clients:
                client.close()
            tally.check(wait(lambda: origin2.working == 0), "clients that leave: the backend is released", origin2.working)
        tally.check(door.get()[0] == 200, "and an honest client is served")


def _sent(sock, data):
    sock.sendall(data)
    return sock


def _asked(sock):
    sock.sendall(GET)
    reply(sock)
    return sock


def _connected(door, most):
    """Connections that do nothing: as many as there can be, and no more than `most`."""
    held = []
    for _ in range(most):
        try:
            held.append(socket.create_connection(door.https, timeout=1))
        except OSError:
            break
    return held


def descriptors(tally):
    """No descriptors left: it goes on, says so, and recovers."""
    origin = Origin()
    with Door([(HOST, origin.port, "")], limits={"RLIMIT_NOFILE": 200}) as door:
        tally.check(door.get()[0] == 200, "descriptors: before")
        held = _connected(door, 400)
        time.sleep(1)
        tally.check(door.alive, "descriptors: it lives")
        said = door.said("open files") + door.said("Too many open files") + door.said("connections are open")
        tally.check(bool(said), "descriptors: it says so", door.lines[-3:])
        print(f"  descriptors: {len(held)} held, {door.descriptors()} in use, said {[line.get('message') for line in said][:2]}", flush=True)
        for sock in held:
            sock.close()
        tally.check(wait(lambda: _ok(door)), "descriptors: it recovers")
        # While they are gone, a client that is in is still served.
        with door.http1() as sock:
            held = _connected(door, 300)
            time.sleep(0.5)
            statuses = []
            for _ in range(5):
                sock.sendall(GET)
                statuses.append(reply(sock)[0])
            tally.check(statuses == [200] * 5, "descriptors: who is in is served", statuses)
        for sock in held:
            sock.close()
        tally.check(wait(lambda: _ok(door)), "descriptors: it recovers again")
        tally.check(not door.said("panicked"), "descriptors: nothing panicked", door.said("panicked")[:1])


def memory(tally):
    """With little memory: as many connections as fit, the rest wait; it lives, says so, and recovers."""
    origin = Origin()
    with Door([(HOST, origin.port, "")], limits={"RLIMIT_DATA": 256 << 20}, access="false") as door:
        tally.check(door.get()[0] == 200 and door.said("memory limit"), "memory: it starts, and says what it has room for", door.lines[-3:])
        # Those that are in take what they can: streams with large heads, uploads.
        held, greedy = [], []
        for _ in range(20):
            try:
                h2 = H2(door)
                greedy.append(h2)
                for n in range(50):
                    h2.quietly(frame(HEADERS, END_HEADERS, 2 * n + 1, block(request("POST", extra=[("x", "y" * 15000)]))))
                    h2.quietly(frame(0, 0, 2 * n + 1, b"z" * 16000))
            except OSError:
                break
        for n in range(1500):
            try:
                held.append(socket.create_connection(door.https, timeout=1))
                held[-1].sendall(HALF_HELLO)
            except OSError:
                break
        time.sleep(1)
        tally.check(len(greedy) == 20 and len(held) > 700, "memory: all that fit came in", f"{len(greedy)}, {len(held)}")
        tally.check(door.alive, "memory: it lives", door.lines[-3:])
        tally.check(bool(door.said("connections are open")), "memory: it says that no more fit", door.lines[-3:])
        print(f"  memory: {len(held)} + {len(greedy)} held, {door.memory() >> 20} MiB", flush=True)
        for client in held + [h2.sock for h2 in greedy]:
            client.close()
        tally.check(wait(lambda: _ok(door)), "memory: it recovers", f"{origin.working} at the app, {door.gauge('doorward_connections_open')} open, {door.lines[-3:]}")
        tally.check(not door.said("panicked"), "memory: nothing panicked", door.said("panicked")[:1])


def held_requests(tally):
    """With little memory, many requests on few connections whose answers or uploads nobody takes: as many as fit, the
    others are refused; it lives, says so, and recovers."""
    huge = 1 << 30
    for what, method, window, uploads in [("answers that nobody reads", "GET", huge, 0), ("answers with no window", "GET", 0, 0), ("uploads that nobody takes", "POST", 0, 62)]:
        enough = threading.Event()

        def answer(seen, sock):
            with contextlib.suppress(OSError):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + MILLION)
            return False

        origin = Origin(answer) if method == "GET" else Origin()
        if method == "POST":
            # Takes connections, and reads nothing.
            origin._serve = lambda sock: enough.wait(60)
        with Door([(HOST, origin.port, ""), ("other.example.test", Origin().port, "")], limits={"RLIMIT_DATA": 256 << 20}, access="false") as door:
            base, clients = door.memory(), []
            for _ in range(12):
                try:
                    h2 = H2(door, settings=struct.pack(">HI", 4, window))
                    clients.append(h2)
                    h2.quietly(frame(WINDOW, 0, 0, struct.pack(">I", huge)))
                    flags = END_HEADERS | (END_STREAM if method == "GET" else 0)
                    for n in range(100):
                        h2.quietly(frame(HEADERS, flags, 2 * n + 1, block(request(method))))
                    for n in range(uploads):
                        h2.quietly(frame(0, 0, 2 * n + 1, b"z" * 16000))
                except OSError:
                    break
            time.sleep(2)
            alive = door.alive
            tally.check(alive, f"held, {what}: it lives", door.lines[-3:])
            if not alive:
                continue
            tally.check(door.gauge("doorward_http2_refused_total") > 0 and door.said("as many requests over HTTP/2"), f"held, {what}: it says that no more fit", door.lines[-3:])
            tally.check(door.honest("other.example.test")[0] == 200, f"held, {what}: over HTTP/1.1 there is room")
            print(f"  held, {what}: {len(clients)} connections, {(door.memory() - base) >> 20} MiB, {door.gauge('doorward_http2_refused_total'):.0f} refused", flush=True)
            for h2 in clients:
                h2.sock.close()
            enough.set()
            tally.check(wait(lambda: door.gauge("doorward_requests_under_way") == 0), f"held, {what}: all are let go of", door.gauge("doorward_requests_under_way"))
            tally.check(not door.said("panicked"), f"held, {what}: nothing panicked", door.said("panicked")[:1])


def _ok(door):
    try:
        return door.get(timeout=5)[0] == 200
    except OSError:
        return False


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    tally = Tally()
    for part in (deadlines, descriptors, memory, held_requests, many):
        if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
            part(tally)
    tally.end()
