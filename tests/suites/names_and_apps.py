"""Names and 421, tickets, truncation both ways, backends that misbehave, and WebSockets from a library of others."""

import asyncio
import socket
import ssl
import struct
import threading
import time

from frames import (DATA, END_HEADERS, END_STREAM, H2, HEADERS, RST, block, frame, request)
from harness import HOST, PATIENCE, Door, Origin, Tally, closed, everything, reply, wait

OTHER = "other.example.test"
WILD = "*.wild.example.test"


def ask(sock, host=HOST, path="/", method="GET", extra="", body=""):
    sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n{body}".encode("latin-1"))
    return reply(sock, method == "HEAD")


def hello_with_sni(name):
    """A ClientHello of TLS 1.2 and 1.3 with this SNI, whatever is in it."""
    name = name if isinstance(name, bytes) else name.encode()
    sni = struct.pack(">HBH", len(name) + 3, 0, len(name)) + name
    extension = lambda kind, data: struct.pack(">HH", kind, len(data)) + data
    groups = struct.pack(">HHH", 4, 29, 23)
    key = struct.pack(">HHH", 36, 29, 32) + b"\x09" * 32
    extensions = (extension(0, sni) + extension(10, groups) + extension(13, struct.pack(">HHH", 4, 0x0403, 0x0804))
                  + extension(43, b"\x04\x03\x04\x03\x03") + extension(51, key))
    body = (b"\x03\x03" + b"r" * 32 + b"\0" + struct.pack(">HHH", 4, 0x1301, 0xC02B) + b"\x01\0"
            + struct.pack(">H", len(extensions)) + extensions)
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def names(tally):
    app, other = Origin(), Origin()
    routes = [(HOST, app.port, ""), (OTHER, other.port, ""), (WILD, other.port, "")]
    with Door(routes) as door:
        def name(sni):
            try:
                with door.tls(["http/1.1"], sni):
                    return "ok"
            except ssl.SSLError as fault:
                return fault.reason or str(fault)
            except OSError as fault:
                return type(fault).__name__
        tally.check(name("a.wild.example.test") == "ok", "a wildcard matches one label")
        tally.check(name("A.Wild.Example.Test") == "ok", "without regard to case")
        for bad in ["wild.example.test", "a.b.wild.example.test", "nobody.example.test", "xwild.example.test"]:
            tally.check("UNRECOGNIZED_NAME" in name(bad), f"{bad} is unknown", name(bad))
        for what, sni in [("NUL", b"app.example.test\0.evil"), ("an address", b"127.0.0.1"), ("an empty name", b""), ("a space", b"app .example.test"),
                          ("a line break", b"app\r\n.example.test"), ("high bytes", b"\xff\xfe"), ("300 bytes", b"a" * 300),
                          ("a wildcard", b"*.wild.example.test"), ("dots", b"..."), ("an address in brackets", b"[::1]"), ("an empty label", b"app..example.test"),
                          ("a port", b"app.example.test:443"), ("a slash", b"app.example.test/")]:
            with socket.create_connection(door.https, timeout=PATIENCE) as sock:
                sock.sendall(hello_with_sni(sni))
                answer = sock.recv(4096)
                tally.check(answer[:1] == b"\x15" and answer[5:6] == b"\x02", f"an SNI with {what} is refused by an alert", answer[:16])
        with socket.create_connection(door.https, timeout=PATIENCE) as sock:
            sock.sendall(hello_with_sni(b"app.example.test."))
            tally.check(sock.recv(5)[:1] == b"\x16", "a trailing dot is taken off")
        # 421 on h1, on a connection that was used before, and on h2; the other tenant sees nothing.
        with door.http1() as sock:
            for host, status in [(HOST, 200), (OTHER, 421), (HOST, 200), ("a.wild.example.test", 421), ("nobody.example.test", 421),
                                 (HOST.upper() + ":443", 200), ("127.0.0.1", 421), ("[::1]", 421)]:
                tally.check(ask(sock, host)[0] == status, f"h1: {host} on {HOST}'s connection is {status}")
        with door.tls(["http/1.1"], "a.wild.example.test") as sock:
            tally.check(ask(sock, "b.wild.example.test")[0] == 200, "a wildcard's connection serves its other names")
            tally.check(ask(sock, "x.b.wild.example.test")[0] == 421, "but not what is two labels below")
            tally.check(ask(sock, "wild.example.test")[0] == 421, "nor the name itself")
        with H2(door) as h2:
            for n, (host, status) in enumerate([(HOST, 200), (OTHER, 421), (HOST, 200), ("nobody.example.test", 421)]):
                h2.ask(2 * n + 1, request(authority=host))
                got = h2.status(2 * n + 1)
                tally.check(got == status, f"h2: {host} on {HOST}'s connection is {status}", got)
        tally.check(len(other.seen) == 1, "the other tenant saw its own request alone", len(other.seen))
        # A ticket of one name is of no use for another.
        context = ssl.create_default_context(cafile=f"{door.folder.name}/ca.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        def session(name, known=None):
            raw = socket.create_connection(door.https, timeout=PATIENCE)
            with context.wrap_socket(raw, server_hostname=name, session=known) as sock:
                ask(sock, name)
                return sock.session_reused, sock.session
        _, ticket = session(HOST)
        tally.check(session(HOST, ticket)[0], "a ticket resumes for its name")
        reused, _ = session(OTHER, ticket)
        tally.check(not reused, "and for no other")
    with Door(routes, https_keys=f'default_certificate = "{HOST}"') as door:
        context = ssl.create_default_context(cafile=f"{door.folder.name}/ca.pem")
        context.check_hostname = False
        for sni in [None, "nobody.example.test"]:
            with context.wrap_socket(socket.create_connection(door.https, timeout=PATIENCE), server_hostname=sni) as sock:
                tally.check(ask(sock, HOST)[0] == 200, f"SNI {sni}: the default certificate's host is served")
                tally.check(ask(sock, OTHER)[0] == 421, f"SNI {sni}: another's is 421")


def paths(tally):
    """A route by path is no fence that a spelling leads around."""
    public, admin = Origin(), Origin()
    with Door([(HOST, public.port, 'path = "/public"')], more=f'''
[[route]]
hosts = ["{HOST}"]
path = "/admin"
backend = "127.0.0.1:{admin.port}"
''') as door, door.http1() as sock:
        for path in ["/public/../admin/x", "/public/%2e%2e/admin", "/public/.%2e/admin", "/public%2f..%2fadmin", "/public/..%2fadmin", "/public/..;/admin",
                     "/public/..;a=b/admin", "/public/..\\admin", "/public/..%5cadmin", "/public/%252e%252e/admin", "/public/..", "/public/a/../../b",
                     "/%70ublic/x", "/%61dmin", "/admin/../public/x", "//public/x", "/./admin", "/x/..;/admin", "/public/..%3b/admin", "/public/..%00/../admin"]:
            tally.check(ask(sock, path=path)[0] == 400, f"paths: {path} goes nowhere")
        for path, origin in [("/public", public), ("/public/", public), ("/public/a%2Fb", public), ("/public//a;b=c/./d/../e", public), ("/public/100%", public),
                             ("/public?x=/../admin", public), ("/admin/%2e/x", admin)]:
            status = ask(sock, path=path)[0]
            tally.check(status == 200 and origin.seen[-1]["target"] == path, f"paths: {path} is forwarded as it is written", status)
        for path in ["/PUBLIC/x", "/publicx", "/", "/admi"]:
            tally.check(ask(sock, path=path)[0] == 404, f"paths: {path} is no route's")
        tally.check(len(public.seen) == 6 and len(admin.seen) == 1, "paths: no other request reached an app")
        with H2(door) as h2:
            h2.ask(1, request(path="/public/..%2fadmin"))
            tally.check(h2.status(1) == 400, "paths: over HTTP/2, too")


def truncation(tally):
    """No body that is cut ends cleanly, in either direction."""
    cases = {
        "/length": b"Content-Length: 100\r\n\r\npart", "/chunk": b"Transfer-Encoding: chunked\r\n\r\n64\r\npart",
        "/chunks": b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", "/last": b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
        "/none": b"Transfer-Encoding: chunked\r\n\r\n", "/trailer": b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nX: y\r\n",
    }

    def answer(seen, sock):
        path, _, how = seen["target"].partition("?")
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + cases[path])
        time.sleep(0.05)
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how == "stall":
            time.sleep(3)
        sock.close()
        return False

    origin = Origin(answer)
    with Door([(HOST, origin.port, "")], '[timeouts]\nidle = "500ms"') as door:
        for path in cases:
            for how in ["close", "reset", "stall"]:
                with door.http1() as sock:
                    status, _, _, ended = ask(sock, path=f"{path}?{how}")
                    tally.check(status in (200, 502) and (status == 502 or ended == "cut"), f"h1: {path} {how} is a cut", f"{status} {ended}")
                with H2(door) as h2:
                    h2.ask(1, request(path=f"{path}?{how}"))
                    clean = False
                    end = h2.until(lambda kind, flags, stream, _: stream == 1 and (kind == RST or kind in (DATA, HEADERS) and flags & END_STREAM))
                    clean = isinstance(end, tuple) and end[0] != RST
                    tally.check(not clean, f"h2: {path} {how} is a reset", end)
    # Uploads.
    seen_whole = Origin()
    with Door([(HOST, seen_whole.port, "")]) as door:
        for what, head, parts in [("length", "Content-Length: 100\r\n", "part"), ("chunk", "Transfer-Encoding: chunked\r\n", "64\r\npart"),
                                  ("no last chunk", "Transfer-Encoding: chunked\r\n", "4\r\npart\r\n"),
                                  ("no end of trailers", "Transfer-Encoding: chunked\r\n", "4\r\npart\r\n0\r\n")]:
            for how in ["close", "reset"]:
                sock = door.http1()
                sock.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\n{head}\r\n{parts}".encode())
                time.sleep(0.05)
                if how == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        for how in ["reset", "close", "goaway"]:
            with H2(door) as h2:
                h2.ask(1, request("POST"), END_HEADERS)
                h2.send(frame(DATA, 0, 1, b"part"))
                time.sleep(0.05)
                if how == "reset":
                    h2.send(frame(RST, 0, 1, struct.pack(">I", 0)))
                    time.sleep(0.1)
        time.sleep(0.5)
        tally.check(not seen_whole.seen, "a cut upload never looks whole to the app", seen_whole.seen)


def apps(tally):
    """Backends that misbehave: the right status, nothing asked twice, no answer to the wrong client."""
    counts = {}

    def count(seen):
        counts[seen["target"]] = counts.get(seen["target"], 0) + 1
        return counts[seen["target"]]

    def answer(seen, sock):
        n = count(seen)
        path = seen["target"].split("?")[0]
        if path == "/ok":
            sock.sendall(Origin.OK)
            return True
        if path == "/reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        if path == "/stall":
            time.sleep(6)
        if path == "/garbage":
            sock.sendall(b"\x00\xff\xfegarbage\r\n\r\n")
        if path == "/twice":
            sock.sendall(Origin.OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG")
            return True
        if path == "/unasked":
            sock.sendall(Origin.OK)
            threading.Timer(0.05, lambda: _quietly(sock, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG")).start()
            return True
        if path == "/closes":
            return n == 1 and sock.sendall(Origin.OK) is None
        if path == "/early":
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return False

    def _quietly(sock, data):
        try:
            sock.sendall(data)
        except OSError:
            pass

    origin = Origin(answer)
    origin.early = ("/early",)
    with Door([(HOST, origin.port, "")], '[timeouts]\nfirst_byte = "2s"\nconnect = "2s"') as door:
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"]:
            extra, body = ("Content-Length: 2\r\n", "hi") if method not in ("GET", "DELETE") else ("", "")
            for path, status in [("/reset", 502), ("/stall", 504), ("/garbage", 502)]:
                # Over a connection that the pool has kept.
                with door.http1() as sock:
                    ask(sock, path="/ok")
                    before = dict(counts)
                    target = f"{path}?{method}"
                    got = ask(sock, path=target, method=method, extra=extra, body=body)[0]
                    asked = counts.get(target, 0) - before.get(target, 0)
                    tally.check(got == status, f"{method} {path} is {status}", got)
                    most = 2 if method == "GET" and path == "/reset" else 1
                    tally.check(asked <= most, f"{method} {path} is not asked again", asked)
        for path in ["/twice", "/unasked"]:
            for n in range(10):
                with door.http1() as sock:
                    tally.check(ask(sock, path=path)[2] == b"ok", f"{path}: the first answer")
                time.sleep(0.1)
                with door.http1() as sock:
                    tally.check(ask(sock, path="/ok")[2] == b"ok", f"after {path}: no answer of another")
        with door.http1() as sock:
            sock.sendall(f"POST /early HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10000000\r\n\r\n".encode() + b"x" * 10000)
            tally.check(reply(sock)[0] == 413, "an early answer reaches the client")
        # It goes away and comes back: pools recover.
        for n in range(20):
            with door.http1() as sock:
                ask(sock, path="/ok")
        tally.check(door.get("/ok")[0] == 200, "afterwards it is served")
    # Nobody listens; then somebody does.
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with Door([(HOST, port, "")]) as door:
        tally.check(door.get()[0] == 502, "a backend that refuses is 502")
        Origin(port=port)
        tally.check(wait(lambda: door.get()[0] == 200), "and 200 as soon as it is there")


def websocket(tally):
    """The websockets library on both ends, through doorward; and handshakes that are none."""
    import logging

    import websockets

    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async def session():
        headers = []

        async def echo(socket_):
            headers.append(dict(socket_.request.headers.raw_items()))
            async for message in socket_:
                await socket_.send(message)

        async with serve(echo, "127.0.0.1", 0, max_size=8 << 20) as server:
            port = server.sockets[0].getsockname()[1]
            async def client(**more):
                raw = socket.create_connection(door.https)
                raw.setblocking(False)
                return await connect(f"wss://{HOST}/chat", sock=raw, ssl=door.context, server_hostname=HOST, max_size=8 << 20, **more)

            with Door([(HOST, port, "")]) as door:
                ws = await client(additional_headers={"X-Forwarded-Proto": "http", "X_Forwarded_For": "6.6.6.6"})
                for message in ["text", "", "\u00e4\u20ac" * 1000, b"", b"\0" * 100, b"x" * (1 << 20), "y" * (4 << 20)]:
                    await ws.send(message)
                    tally.check(await asyncio.wait_for(ws.recv(), PATIENCE) == message, f"echo of {len(message)}")
                await ws.send(["frag", "men", "ted"])
                tally.check(await ws.recv() == "fragmented", "fragments")
                tally.check(await asyncio.wait_for(await ws.ping(b"hi"), PATIENCE) >= 0, "a ping is answered")
                await ws.close(4000, "bye")
                tally.check(ws.close_code == 4000, "the close code passes", ws.close_code)
                seen = {name.lower(): value for name, value in headers[0].items()}
                tally.check(seen.get("x-forwarded-proto") == "https" and "x_forwarded_for" not in seen, "the contract holds", seen)
                many_ = [await client() for _ in range(20)]
                await asyncio.gather(*(w.send(f"{n}") for n, w in enumerate(many_)))
                got = await asyncio.gather(*(w.recv() for w in many_))
                tally.check(got == [str(n) for n in range(20)], "twenty at once, each its own")
                tally.check(door.gauge("doorward_tunnels_open") == 20, "they are counted")
                for w in many_[:10]:
                    w.transport.abort()
                await asyncio.gather(*(w.close() for w in many_[10:]))
                tally.check(await asyncio.to_thread(wait, lambda: door.gauge("doorward_tunnels_open") == 0), "and let go of")
            with Door([(HOST, port, "")], '[timeouts]\ntunnel_idle = "5s"') as door:
                ws = await client(ping_interval=None)
                begun = time.monotonic()
                try:
                    await asyncio.wait_for(ws.recv(), PATIENCE)
                except (websockets.ConnectionClosed, TimeoutError):
                    pass
                tally.check(4 < time.monotonic() - begun < 20, "an idle one ends by tunnel_idle", time.monotonic() - begun)

    asyncio.run(session())
    # An app that answers the handshake wrongly, or not at all.
    key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    for what, head, status in [
        ("another protocol", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\n", 502),
        ("no protocol", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 502),
        ("a refusal", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
        ("an answer of its own", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        ("an upgrade that is asked for", b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", 426),
    ]:
        origin = Origin(lambda seen, sock, head=head: sock.sendall(head) is None)
        with Door([(HOST, origin.port, "")]) as door, door.http1() as sock:
            tally.check(ask(sock, extra=key)[0] == status, f"{what} is {status}")
            # What a client sends behind a refused upgrade is a request, never bytes for the app (the WebSocket smuggling of 2019).
            if status < 500 and status != 403:
                tally.check(ask(sock, path="/next")[0] == status, f"{what}: the next request is one")
                tally.check([seen["target"] for seen in origin.seen] == ["/", "/next"] and not origin.faults, f"{what}: read alike behind", origin.seen)


def switching(tally):
    """What stands beside a change of protocol, and in its place."""
    smuggled = f"GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    # An upgrade with a body is none: an app that does not switch could take the body for a request (CVE-2026-58055).
    for what, extra, body in [("a length", f"Content-Length: {len(smuggled)}\r\n", smuggled),
                              ("chunks", "Transfer-Encoding: chunked\r\n", f"{len(smuggled):x}\r\n{smuggled}\r\n0\r\n\r\n")]:
        origin = Origin()
        with Door([(HOST, origin.port, "")]) as door, door.http1() as sock:
            tally.check(ask(sock, extra=key + extra, body=body)[0] == 200, f"an upgrade with {what} is a request")
            named = dict(origin.seen[0]["fields"])
            tally.check("upgrade" not in named and "connection" not in named and origin.seen[0]["body"] == smuggled.encode(),
                        f"an upgrade with {what}: the app is asked for none", named)
            tally.check(ask(sock, path="/next")[0] == 200 and [seen["target"] for seen in origin.seen] == ["/", "/next"],
                        f"an upgrade with {what}: the next request is one")
    # What comes over HTTP/2 before the app agreed to a WebSocket is kept from it (CVE-2025-64763).
    for status in (b"403 Forbidden", b"200 OK", b"426 Upgrade Required"):
        origin = Origin(lambda seen, sock, status=status: sock.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno") is None)
        with Door([(HOST, origin.port, "")]) as door, H2(door) as h2:
            fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", HOST), (":path", "/ws"), ("sec-websocket-version", "13")]
            h2.send(frame(HEADERS, END_HEADERS, 1, block(fields)) + frame(DATA, 0, 1, smuggled.encode()))
            tally.check(h2.status(1) == (502 if status.startswith(b"200") else int(status[:3])), f"early data behind {status}")
            h2.ask(3, request(path="/next"))
            h2.status(3)
            tally.check([seen["target"] for seen in origin.seen] == ["/ws", "/next"] and not origin.faults, f"early data behind {status}: never forwarded", origin.seen)
    # A backend behind TLS that speaks before its handshake is not believed (CVE-2026-1642).
    listener = socket.create_server(("127.0.0.1", 0))

    def impostor():
        while True:
            try:
                sock, _ = listener.accept()
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
            except OSError:
                return
    threading.Thread(target=impostor, daemon=True).start()
    with Door([(HOST, Origin().port, "")], more=f'''
[[route]]
hosts = ["{HOST}"]
path = "/tls"
[route.backend]
endpoints = ["https://127.0.0.1:{listener.getsockname()[1]}"]
[route.backend.tls]
insecure = true
''') as door, door.http1() as sock:
        status, _, body, _ = ask(sock, path="/tls")
        tally.check(status == 502 and b"EVIL" not in body, "a plain answer in place of a handshake is 502", f"{status} {body}")
    listener.close()


def proxy_protocol(tally):
    """The PROXY protocol: taken from whom it is expected, to the byte, and refused otherwise."""
    origin = Origin()
    keys = 'proxy_protocol = true\ntrusted_proxies = ["127.0.0.1"]'
    with Door([(HOST, origin.port, "")], https_keys=keys) as door:
        v2 = b"\r\n\r\n\0\r\nQUIT\n"
        for what, prefix, ip in [
            ("v1", b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "192.0.2.7"),
            ("v1 of IPv6", b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "2001:db8::7"),
            ("v1 unknown", b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            ("v2", v2 + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1, 220, 4, 1, 187]), "192.0.2.7"),
            ("v2 local", v2 + b"\x20\0\0\0", "127.0.0.1"),
        ]:
            raw = socket.create_connection(door.https, timeout=PATIENCE)
            raw.sendall(prefix)
            origin.clear()
            with door.tls(["http/1.1"], tcp=raw) as sock:
                status = ask(sock)[0]
            seen = dict(origin.seen[0]["fields"]) if origin.seen else {}
            tally.check(status == 200 and seen.get("x-real-ip") == ip, f"{what}: the client is {ip}", f"{status} {seen}")
        origin.clear()
        hello = hello_with_sni(HOST)
        for what, data in [("none", hello), ("a bad address", b"PROXY TCP4 999.1.1.1 1.1.1.1 1 2\r\n" + hello), ("two", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\n" * 2 + hello),
                           ("too long", b"PROXY TCP4 " + b"1" * 200 + b"\r\n"), ("bare LF", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 2\n" + hello),
                           ("small letters", b"proxy tcp4 1.1.1.1 1.1.1.1 1 2\r\n" + hello), ("v3", v2 + b"\x31\x11\0\x0c" + b"\1" * 12),
                           ("v2 too short", v2 + b"\x21\x11\0\x04\1\1\1\1"), ("v2 of 64 KiB", v2 + b"\x21\x11\xff\xff" + b"\1" * 65535)]:
            with socket.create_connection(door.https, timeout=PATIENCE) as sock:
                try:
                    sock.sendall(data)
                except OSError:
                    pass
                got = everything(sock) if closed else b""
                tally.check(got[:1] in (b"", b"\x15") or got[9:12] == b"400", f"a header that is {what}: refused", got[:20])
        tally.check(not origin.seen and door.alive, "nothing of it reached the app")


if __name__ == "__main__":
    import sys

    tally = Tally()
    for part in (names, paths, truncation, apps, websocket, switching, proxy_protocol):
        if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
            part(tally)
    tally.end()
