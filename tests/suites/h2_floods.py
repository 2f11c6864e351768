"""HTTP/2 floods: whoever causes the resets, what they cost is bounded in requests under way at the app, in memory and
in CPU, and an honest client is served meanwhile.
"""

import re
import struct
import subprocess
import sys
import threading
import time

from frames import (ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, PING, PRIORITY, RST, SETTINGS, WINDOW,
                    block, frame, integer, literal, request)
from harness import HOST, PATIENCE, Door, Origin, Tally, wait

EH, BOTH = END_HEADERS, END_HEADERS | END_STREAM
MIB = 1 << 20
MILLION = b"x" * 1_000_000


def u32(value):
    return struct.pack(">I", value)


HEAD = block(request())
POST = block(request("POST"))
SLOW = block(request(path="/slow"))


def pump(h2, make, most, each=50):
    """Sends what `make(n)` gives until the other side has had enough; how many went."""
    h2.sock.settimeout(5)
    sent = 0
    try:
        while sent < most:
            h2.sock.sendall(b"".join(make(sent + n) for n in range(each)))
            sent += each
    except OSError:
        pass
    return sent


def drain(h2):
    """Reads and drops, as a flooder that keeps its side clear. The event tells of GOAWAY or of the end."""
    away = threading.Event()

    def run():
        try:
            while found := h2.read():
                if found[0] == GOAWAY:
                    away.set()
        except (AttributeError, OSError, ValueError):
            # Closed meanwhile.
            pass
        away.set()
    h2.reading(run)
    return away


def paced(h2, after, pause):
    """Requests one by one, each followed after a pause by the frames `after` its stream, until the client is sent away.
    Returns how many there were, and what tells that it was."""
    away = drain(h2)
    h2.sock.settimeout(5)
    n = 0
    try:
        while n < 1500 and not away.is_set():
            h2.sock.sendall(frame(HEADERS, BOTH, stream(n), SLOW))
            time.sleep(pause)
            h2.sock.sendall(after(stream(n)))
            n += 1
    except OSError:
        pass
    return n, away


def flood(tally, door, origin, what, make, most=200_000, prepare=b"", reads=True, cpu=4.0, in_flight=300, ends=True, each=50):
    origin.most = 0
    memory, used = door.memory(), door.cpu()
    with H2(door) as h2:
        if prepare:
            h2.send(prepare)
        away = drain(h2) if reads else None
        sent = pump(h2, make, most, each)
        grown, used = door.memory() - memory, door.cpu() - used
        if ends:
            away = away or drain(h2)
            tally.check(away.wait(PATIENCE), f"{what}: the client is sent away", f"after {sent} it is still there")
        tally.check(grown < 64 * MIB, f"{what}: memory", f"{grown / MIB:.0f} MiB more after {sent}")
        tally.check(used < cpu, f"{what}: CPU", f"{used:.1f} s for {sent}")
        tally.check(origin.most <= in_flight, f"{what}: in flight", f"{origin.most} at the app")
        status, took = door.honest()
        tally.check(status == 200 and took < 2, f"{what}: an honest client meanwhile", f"{status} in {took:.2f} s")
        print(f"  {what}: {sent} sent, {used:.2f} s CPU, {grown / MIB:.1f} MiB, {origin.most} in flight", flush=True)
    tally.check(wait(lambda: origin.working == 0), f"{what}: all is let go of", f"{origin.working} still at the app")


def stream(n):
    return 2 * n + 1


def kernel_buffers(door, port):
    """Bytes that wait in the kernel, for each of doorward's connections to the app."""
    shown = subprocess.run(["ss", "-Htnmp", "dport", "=", f":{port}"], capture_output=True, text=True, check=True).stdout
    ours = [line for line in shown.replace("\n\t", " ").splitlines() if f"pid={door.process.pid}," in line]
    return [int(re.search(r"skmem:\(r(\d+)", line)[1]) for line in ours]


def run(tally):
    def answer(seen, sock):
        if seen["target"] == "/slow":
            # Works on, whether or not the client has left: as many apps do.
            time.sleep(1)
        if seen["target"] == "/large":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
            for _ in range(50):
                sock.sendall(MILLION)
            return True
        sock.sendall(Origin.OK)
        return True

    origin = Origin(answer)
    with Door([(HOST, origin.port, ""), ("other.example.test", Origin().port, "")]) as door:
        door.get()
        opened = frame(HEADERS, EH, 1, POST)
        flood(tally, door, origin, "rapid reset", lambda n: frame(HEADERS, BOTH, stream(n), SLOW) + frame(RST, 0, stream(n), u32(CANCEL)))

        # One by one, so that each reaches the app before it is taken back.
        origin.most = 0
        with H2(door) as h2:
            n, away = paced(h2, lambda s: frame(RST, 0, s, u32(CANCEL)), 0.002)
            tally.check(n < 1500 or away.wait(PATIENCE), "paced reset: the client is sent away", n)
            tally.check(origin.most <= 300, "paced reset: in flight", origin.most)
            print(f"  paced reset: {n} sent, {origin.most} in flight", flush=True)
        wait(lambda: origin.working == 0)

        for what, fault in [("WINDOW_UPDATE of 0", lambda s: frame(WINDOW, 0, s, u32(0))),
                            ("a window over its bound", lambda s: frame(WINDOW, 0, s, u32(0x7FFFFFFF)) * 2),
                            ("DATA behind the end", lambda s: frame(DATA, 0, s, b"x")),
                            ("HEADERS behind the end", lambda s: frame(HEADERS, BOTH, s, HEAD)),
                            ("PRIORITY of itself", lambda s: frame(PRIORITY, 0, s, u32(s) + b"\1")),
                            ("PRIORITY of 4 bytes", lambda s: frame(PRIORITY, 0, s, u32(0)))]:
            origin.most = 0
            with H2(door) as h2:
                n, away = paced(h2, fault, 0.001)
                tally.check(away.wait(PATIENCE), f"MadeYouReset by {what}: the client is sent away", n)
                tally.check(origin.most <= 300, f"MadeYouReset by {what}: in flight", origin.most)
                print(f"  MadeYouReset by {what}: {n} sent, {origin.most} in flight", flush=True)
            wait(lambda: origin.working == 0)

        flood(tally, door, origin, "PING", lambda n: frame(PING, 0, 0, b"12345678"))
        flood(tally, door, origin, "PING unread", lambda n: frame(PING, 0, 0, b"12345678"), reads=False)
        flood(tally, door, origin, "PING answers", lambda n: frame(PING, ACK, 0, b"12345678"))
        flood(tally, door, origin, "SETTINGS", lambda n: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535 + n % 2)))
        flood(tally, door, origin, "SETTINGS unread", lambda n: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)), reads=False)
        flood(tally, door, origin, "SETTINGS answers", lambda n: frame(SETTINGS, ACK))
        flood(tally, door, origin, "empty DATA", lambda n: frame(DATA, 0, 1), prepare=opened)
        flood(tally, door, origin, "padded empty DATA", lambda n: frame(DATA, 8, 1, b"\x00"), prepare=opened, ends=False, most=50_000, cpu=8)
        flood(tally, door, origin, "PRIORITY", lambda n: frame(PRIORITY, 0, stream(n % 100000), u32(0) + b"\1"))
        flood(tally, door, origin, "WINDOW_UPDATE", lambda n: frame(WINDOW, 0, 0, u32(1)))
        flood(tally, door, origin, "WINDOW_UPDATE of a stream", lambda n: frame(WINDOW, 0, 1, u32(1)), prepare=opened)
        flood(tally, door, origin, "unknown frames", lambda n: frame(0xF0, 0xFF, 0, b"x"))
        flood(tally, door, origin, "CONTINUATION", lambda n: frame(CONTINUATION, 0, 1, literal("x", "y")), prepare=frame(HEADERS, 0, 1, HEAD))
        flood(tally, door, origin, "empty CONTINUATION", lambda n: frame(CONTINUATION, 0, 1), prepare=frame(HEADERS, 0, 1, HEAD))
        flood(tally, door, origin, "large CONTINUATION", lambda n: frame(CONTINUATION, 0, 1, literal("x", "y" * 16000)), most=20000,
              prepare=frame(HEADERS, 0, 1, HEAD), each=2)
        # An HPACK bomb: one large entry, named 16,000 times.
        bomb = b"\x40" + integer(1, 7) + b"x" + integer(4000, 7) + b"y" * 4000
        flood(tally, door, origin, "HPACK bomb", lambda n: frame(HEADERS, BOTH, stream(n + 1), HEAD + b"\xbe" * 15000), most=1500,
              prepare=frame(HEADERS, BOTH, 1, HEAD + bomb), ends=False, each=5, cpu=20)
        tally.check(not any(len(seen["fields"]) > 150 for seen in origin.seen), "HPACK bomb: none is forwarded")
        cookies = HEAD + b"".join(literal("cookie", "") for _ in range(5000))
        flood(tally, door, origin, "empty cookies", lambda n: frame(HEADERS, BOTH, stream(n), cookies[:16000]), most=1500, ends=False, each=5, cpu=20)

        # Few bytes that are many fields, held (CVE-2026-49975, CVE-2026-47774): 900 crumbs of a cookie, a byte each.
        memory, clients = door.memory(), []
        for _ in range(4):
            h2 = H2(door, settings=struct.pack(">HI", 4, 0))
            crumb = b"\x40" + integer(6, 7) + b"cookie\0"
            h2.send(frame(HEADERS, BOTH, 1, HEAD + crumb))
            h2.send(b"".join(frame(HEADERS, BOTH, stream(n + 1), SLOW + b"\xbe" * 900) for n in range(100)))
            clients.append(h2)
        time.sleep(0.7)
        grown = door.memory() - memory
        tally.check(grown < 24 * MIB, "many small fields, held: memory", f"{grown / MIB:.0f} MiB for 400 streams")
        print(f"  many small fields, held: {grown / MIB:.1f} MiB for 400 streams", flush=True)
        for h2 in clients:
            h2.sock.close()
        wait(lambda: origin.working == 0)

        # Zero windows: what is asked for is not taken; what waits is bounded.
        memory = door.memory()
        clients = []
        for _ in range(2):
            h2 = H2(door, settings=struct.pack(">HI", 4, 0))
            h2.send(b"".join(frame(HEADERS, BOTH, stream(n), block(request(path="/large"))) for n in range(50)))
            clients.append(h2)
        time.sleep(2)
        grown = door.memory() - memory
        tally.check(grown < 100 * MIB, "zero windows: memory", f"{grown / MIB:.0f} MiB for 100 streams")
        # Of another app: this one is at work for them.
        held = wait(lambda: kernel_buffers(door, origin.port)) and kernel_buffers(door, origin.port)
        tally.check(held and max(held) <= 512 << 10, "zero windows: the kernel's buffers", max(held, default=0))
        status, took = door.honest("other.example.test")
        tally.check(status == 200 and took < 4, "zero windows: an honest client meanwhile", f"{status} in {took:.2f} s")
        print(f"  zero windows: {grown / MIB:.1f} MiB for 100 streams", flush=True)
        for h2 in clients:
            h2.sock.close()
        tally.check(wait(lambda: origin.working == 0), "zero windows: all is let go of", origin.working)
        tally.check(door.alive and not door.said("panicked"), "nothing panicked", door.said("panicked")[:2])
        tally.check(door.gauge("doorward_http2_sent_away_total") > 0, "the metric counts who was sent away")
        tally.check(wait(lambda: door.gauge("doorward_connections_open") == 0), "no connection is left",
                    door.gauge("doorward_connections_open"))

    slow_heads(tally, origin)


def slow_heads(tally, origin):
    """A head that takes its time, in CONTINUATION frames or byte by byte, ends with `request_header`."""
    with Door([(HOST, origin.port, "")], '[timeouts]\nrequest_header = "2s"\nkeep_alive = "30s"') as door:
        for what, first, rest in [
            ("CONTINUATION frames", frame(HEADERS, 1, 1, HEAD[:5]), lambda n: frame(CONTINUATION, 0, 1, HEAD[5 + n:6 + n])),
            ("empty CONTINUATION frames", frame(HEADERS, 1, 1, HEAD), lambda n: frame(CONTINUATION, 0, 1)),
            ("bytes of HEADERS", frame(HEADERS, BOTH, 1, HEAD)[:9], lambda n: HEAD[n:n + 1]),
            ("bytes of a frame's head", frame(HEADERS, BOTH, 1, HEAD)[:1], lambda n: frame(HEADERS, BOTH, 1, HEAD)[1 + n:2 + n] if n < 5 else b""),
            ("bytes of a PING", frame(PING, 0, 0, b"12345678")[:10], lambda n: b"x" if n < 5 else b""),
        ]:
            for beside in [False, True]:
                with H2(door) as h2:
                    if beside:
                        # Another stream is under way: it must not lift the deadline.
                        h2.ask(1, request(path="/slow"))
                        first_ = first[:5] + u32(3) + first[9:] if len(first) >= 9 and first[3] == HEADERS else first
                    else:
                        first_ = first
                    begun = time.monotonic()
                    h2.send(first_)
                    ended = threading.Event()

                    def watch(h2=h2, ended=ended):
                        h2.goaway(PATIENCE)
                        ended.set()
                    h2.reading(watch)
                    n = 0
                    while not ended.wait(0.3) and n < 30:
                        part = rest(n)
                        if beside and len(part) >= 9 and part[3] == CONTINUATION:
                            part = part[:5] + u32(3) + part[9:]
                        h2.quietly(part)
                        n += 1
                    took = time.monotonic() - begun
                    tally.check(ended.is_set() and took < 8, f"slow {what} (beside a stream: {beside})", f"{took:.1f} s")


if __name__ == "__main__":
    tally = Tally()
    if "slow" in sys.argv:
        slow_heads(tally, Origin())
    else:
        run(tally)
    tally.end()
