"""Everything at once for so many seconds (120): honest clients of every kind, attackers of every kind, reloads.

Honest requests have to be answered, and when all is over memory and descriptors are where they were after the warm-up.
"""

import contextlib
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter

from frames import CANCEL, DATA, END_HEADERS, END_STREAM, H2, HEADERS, PING, RST, WINDOW, block, frame, request
from harness import HOST, Door, Origin, Tally, reply, wait
from slow_and_many import HALF_HELLO

BODY = os.urandom(200_000)
# More than this beyond the warm-up is a leak; what the allocator keeps by chance is less.
MEMORY = 32 << 20
DESCRIPTORS = 16


def honest_h1(door, count):
    with door.http1() as sock:
        for n in range(20):
            body = BODY[:random.randrange(len(BODY))] if n % 3 == 0 else b""
            head = f"POST /{n} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
            sock.sendall(head.encode() + body)
            if not count("h1", reply(sock)[0], 200):
                return


def honest_h2(door, count):
    with H2(door) as h2:
        for n in range(10):
            h2.send(frame(HEADERS, END_HEADERS, 2 * n + 1, block(request("POST"))) + frame(DATA, END_STREAM, 2 * n + 1, b"x" * 1000))
            if not count("h2", h2.status(2 * n + 1), 200):
                return


def large(door, count):
    with door.http1() as sock:
        sock.sendall(f"GET /large HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        status, _, body, ended = reply(sock)
        count("large", (status, len(body), ended), (200, 1_000_000, "whole"))


def leaver(door, _):
    with door.http1() as sock:
        sock.sendall(f"GET /large HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        sock.recv(1000)


def cut_upload(door, _):
    with door.http1() as sock:
        sock.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\npart".encode())
        if random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def smuggler(door, _):
    with door.http1() as sock:
        sock.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
        reply(sock)


def resetter(door, _):
    with H2(door) as h2:
        for n in range(300):
            h2.quietly(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, block(request())) + frame(RST, 0, 2 * n + 1, struct.pack(">I", CANCEL)))


def pinger(door, _):
    with H2(door) as h2:
        for _ in range(50):
            h2.quietly(frame(PING, 0, 0, b"12345678") * 100)


def zero_window(door, _):
    with H2(door, settings=struct.pack(">HI", 4, 0)) as h2:
        for n in range(20):
            h2.ask(2 * n + 1, request(path="/large"))
        h2.send(frame(WINDOW, 0, 1, struct.pack(">I", 1)))
        time.sleep(0.5)


def half_open(door, _):
    socks = [socket.create_connection(door.https, timeout=5) for _ in range(50)]
    for sock in socks:
        sock.sendall(HALF_HELLO)
    time.sleep(0.3)
    for sock in socks:
        sock.close()


def garbage(door, _):
    with socket.create_connection(door.https, timeout=5) as sock:
        sock.sendall(os.urandom(300))
    with door.http1() as sock:
        sock.sendall(os.urandom(300))


def answer(seen, sock):
    if seen["target"] == "/large":
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            sock.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        sock.sendall(b"0\r\n\r\n")
        return True
    # Said, as nobody could know otherwise that a request on this connection comes too late.
    closes = random.random() < 0.02
    sock.sendall(Origin.OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if closes else Origin.OK)
    return not closes


def run(seconds):
    tally = Tally()
    origin = Origin(answer)
    lock, counts, faults, stop = threading.Lock(), {}, Counter(), threading.Event()

    def count(what, got, wanted):
        ok = got == wanted
        with lock:
            good, bad = counts.get(what, (0, 0))
            counts[what] = (good + ok, bad + (not ok))
            if not ok:
                faults[f"{what}: {got}"] += 1
        return ok

    # Long enough for a client that a busy machine keeps from reading: who is cut off by them has not been honest.
    times = "[timeouts]\n" + "\n".join(f'{name} = "15s"' for name in (
        "handshake", "request_header", "request_body", "keep_alive", "write", "backend_keep_alive"))
    with Door([(HOST, origin.port, "")], times + "\n[limits]\nhandshakes = 200", access="false") as door:
        def work(job):
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    job(door, count)
                time.sleep(0.01)

        jobs = [honest_h1, honest_h2, large, leaver, cut_upload, smuggler, resetter, pinger, zero_window, half_open, garbage]
        threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        begun, warm, peak = time.monotonic(), None, 0
        warm_up = max(10, seconds / 5)
        while (passed := time.monotonic() - begun) < seconds:
            time.sleep(2)
            door.signal("SIGHUP")
            memory, descriptors = door.memory(), door.descriptors()
            peak = max(peak, memory)
            if warm is None and passed > warm_up:
                warm = memory
            if int(passed) % 20 < 2:
                print(f"  {passed:.0f} s: {memory >> 20} MiB, {descriptors} descriptors, {counts}", flush=True)
        stop.set()
        for thread in threads:
            thread.join(60)
        # What was under way ends by its deadlines.
        wait(lambda: door.gauge("doorward_connections_open") == 0, 60)
        time.sleep(20)
        memory, descriptors = door.memory(), door.descriptors()
        print(f"  what was not answered as it should be: {dict(faults)}", flush=True)
        print(f"  at the end: {memory >> 20} MiB (warm {warm >> 20}, peak {peak >> 20}), {descriptors} descriptors, {counts}", flush=True)
        tally.check(door.alive and not door.said("panicked"), "it lives, and nothing panicked", door.said("panicked")[:1])
        tally.check(memory < warm + MEMORY, "memory", f"{memory >> 20} MiB, {warm >> 20} after the warm-up")
        tally.check(descriptors < 60 + DESCRIPTORS, "descriptors", descriptors)
        for name in ["doorward_connections_open", "doorward_requests_under_way", "doorward_tunnels_open"]:
            tally.check(door.gauge(name) == 0, f"{name} is 0", door.gauge(name))
        tally.check(door.gauge("doorward_worker_restarts_total") == 0, "no worker was started again")
        for what, (good, bad) in counts.items():
            tally.check(good > 20 and bad == 0, f"honest {what}", f"{good} answered, {bad} not")
    tally.end()


if __name__ == "__main__":
    run(float(sys.argv[1]) if len(sys.argv) > 1 else 120.0)
