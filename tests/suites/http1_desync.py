"""HTTP/1.1 requests and answers that two parsers could read differently (RFC 9110, 9112).

From the client: refused with 4xx or 501 or 505 and closed, and the backend sees not one byte. From the backend: 502
or a cut, never a second answer. And what does pass is read by a strict second parser.
"""

import itertools
import socket
import ssl
import threading
import time

from harness import HOST, PATIENCE, Door, Origin, Tally, closed, reply

HOSTLINE = f"Host: {HOST}\r\n"


def post(fields, body=""):
    return f"POST / HTTP/1.1\r\n{HOSTLINE}{fields}\r\n\r\n{body}"


def get(fields):
    return f"GET / HTTP/1.1\r\n{HOSTLINE}{fields}\r\n\r\n"


def refused():
    """(what, request as text of latin-1)."""
    smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"
    # Transfer-Encoding other than exactly "chunked", and every disguise of it that was ever used to desync.
    for value in ["identity", "gzip", "gzip, chunked", "chunked, identity", "chunked, chunked", "chunked;q=1", "xchunked",
                  "chunkedx", "\"chunked\"", "'chunked'", "chunked,", ",chunked", " , chunked", "chunked\x0b", "\x0bchunked",
                  "\x0cchunked", "chunk", "cow", "", "chunked\x00", "chunked\x80", "\xa0chunked", "chun ked", "x, chunked",
                  "chunked x", "trailers", "chunKed,cow", "\x85chunked", "chunked\x1f"]:
        yield f"coding {value!r}", post(f"Transfer-Encoding: {value}", smuggled)
        yield f"coding {value!r} and a length", post(f"Content-Length: 5\r\nTransfer-Encoding: {value}", smuggled)
    for name in ["Transfer-Encoding ", "Transfer-Encoding\t", " Transfer-Encoding", "Transfer-Encoding\x0b",
                 "Transfer-Encoding\x00", "Transfer Encoding", "Transfer-Encoding\r", "Transfer\\Encoding",
                 "\x00Transfer-Encoding", "Transfer-Encodin\xe7", "\xefTransfer-Encoding", "\"Transfer-Encoding\"",
                 "Transfer-Encoding\n", "Foo: bar\nTransfer-Encoding", "Foo: bar\rTransfer-Encoding",
                 "Foo: bar\r\n Transfer-Encoding", "Foo\r\nTransfer-Encoding", "Foo: bar\r\n\tTransfer-Encoding"]:
        yield f"name {name!r}", post(f"Content-Length: {len(smuggled)}\r\n{name}: chunked", smuggled)
    yield "coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 4", smuggled)
    yield "length and coding", post("Content-Length: 4\r\nTransfer-Encoding: chunked", smuggled)
    yield "length 0 and coding", post("Content-Length: 0\r\nTransfer-Encoding: chunked", smuggled)
    yield "coding twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", smuggled)
    yield "coding twice, cow", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", smuggled)
    yield "coding twice, cow first", post("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", smuggled)
    yield "coding folded", post("Transfer-Encoding:\r\n chunked", smuggled)
    yield "coding folded behind", post("Transfer-Encoding: chunked\r\n , cow", smuggled)
    yield "coding in 1.0", f"POST / HTTP/1.0\r\n{HOSTLINE}Transfer-Encoding: chunked\r\n\r\n{smuggled}"
    yield "coding in 1.0 with keep-alive", (f"POST / HTTP/1.0\r\n{HOSTLINE}Connection: keep-alive\r\n"
                                            f"Transfer-Encoding: chunked\r\n\r\n{smuggled}")
    for value in ["", " ", "+5", "-5", "-0", "+0", "5 5", "5,5", "5, 5", "5,", ",5", "0x5", "5.0", "5e0", "5_0", "05x", "\x0b5",
                  "5\x0b", "\"5\"", "5;", "\xb25", "99999999999999999999", "18446744073709551621", "9223372036854775808",
                  "4294967301x", "NaN", "five", "5\x00", "\u00b9", "1 ,1", "0,5"]:
        yield f"length {value!r}", post(f"Content-Length: {value}", "hello")
    yield "two lengths", post("Content-Length: 5\r\nContent-Length: 6", "hello!")
    yield "two lengths alike", post("Content-Length: 5\r\nContent-Length: 5", "hello")
    yield "two lengths, case", post("Content-Length: 5\r\ncontent-length: 5", "hello")
    yield "two lengths, 0 first", post("Content-Length: 0\r\nContent-Length: 5", "hello")
    for name in ["Content-Length ", "Content-Length\t", " Content-Length", "Content-Length\x00", "Content-Length\x0b",
                 "Foo: bar\nContent-Length", "Foo: bar\rContent-Length", "\x00Content-Length", "Content Length"]:
        yield f"name {name!r}", post(f"{name}: 5", "hello")
    # Control bytes anywhere.
    for code in [*range(0, 9), 11, 12, *range(14, 32), 127, 10, 13]:
        byte = chr(code)
        yield f"{byte!r} in a value", get(f"X-A: a{byte}b")
        yield f"{byte!r} at a value's start", get(f"X-A:{byte}b")
        yield f"{byte!r} in a name", get(f"X{byte}A: b")
        yield f"{byte!r} in the target", f"GET /a{byte}b HTTP/1.1\r\n{HOSTLINE}\r\n"
        yield f"{byte!r} in the Host", f"GET / HTTP/1.1\r\nHost: app{byte}.example.test\r\n\r\n"
        yield f"{byte!r} in the method", f"G{byte}ET / HTTP/1.1\r\n{HOSTLINE}\r\n"
        yield f"{byte!r} in the version", f"GET / HTTP/1.1{byte}\r\n{HOSTLINE}\r\n" if byte != "\r" else f"GET / HTTP{byte}/1.1\r\n{HOSTLINE}\r\n"
    for code in [32, 34, 40, 41, 44, 47, 58, 59, 60, 61, 62, 63, 64, 91, 92, 93, 123, 125, 9, 128, 255]:
        if code != 58:
            yield f"{chr(code)!r} in a name", get(f"X{chr(code)}A: b")
    for code in [9, 32, 128, 255, 35]:
        yield f"{chr(code)!r} in a target", f"GET /a{chr(code)}b HTTP/1.1\r\n{HOSTLINE}\r\n"
    # Lines.
    yield "bare LF after the start line", f"GET / HTTP/1.1\n{HOSTLINE}\r\n"
    yield "bare LF after a field", f"GET / HTTP/1.1\r\nHost: {HOST}\n\r\n"
    yield "bare LF for the empty line", f"GET / HTTP/1.1\r\n{HOSTLINE}\n"
    yield "bare LF throughout", f"GET / HTTP/1.1\nHost: {HOST}\n\n"
    yield "bare CR after the start line", f"GET / HTTP/1.1\r{HOSTLINE}\r\n"
    yield "bare CR throughout", f"GET / HTTP/1.1\rHost: {HOST}\r\r" + "\r\n\r\n"
    yield "CR CR LF", f"GET / HTTP/1.1\r\r\n{HOSTLINE}\r\n"
    yield "CR CR LF at the end", f"GET / HTTP/1.1\r\n{HOSTLINE}\r\r\n"
    yield "LF CR", f"GET / HTTP/1.1\n\r{HOSTLINE}\r\n"
    yield "obs-fold", get("X-A: 1\r\n 2")
    yield "obs-fold with tab", get("X-A: 1\r\n\t2")
    yield "obs-fold of Host", f"GET / HTTP/1.1\r\nHost:\r\n {HOST}\r\n\r\n"
    yield "obs-fold before the first field", f"GET / HTTP/1.1\r\n X: y\r\n{HOSTLINE}\r\n"
    yield "obs-fold, empty", get("X-A: 1\r\n ")
    yield "space before the colon", get("X-A : 1")
    yield "tab before the colon", get("X-A\t: 1")
    yield "no colon", get("X-A")
    yield "empty name", get(": 1")
    yield "leading LF", f"\nGET / HTTP/1.1\r\n{HOSTLINE}\r\n"
    yield "leading CR", f"\rGET / HTTP/1.1\r\n{HOSTLINE}\r\n"
    yield "leading space", f" GET / HTTP/1.1\r\n{HOSTLINE}\r\n"
    yield "leading NUL", f"\0GET / HTTP/1.1\r\n{HOSTLINE}\r\n"
    yield "a byte order mark", f"\xef\xbb\xbfGET / HTTP/1.1\r\n{HOSTLINE}\r\n"
    # Start lines.
    for line in ["GET /", "GET / ", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ", "GET\t/ HTTP/1.1", "GET /\tHTTP/1.1",
                 "GET / HTTP/1.1 x", "GET / HTTP/1.1/", "/ HTTP/1.1", "GET HTTP/1.1", "HTTP/1.1 200 OK", "GET / FTP/1.1",
                 "GET / http/1.1", "GET / HTTP/1,1", "GET / HTTP/11", "GET / HTTP/1.", "GET / HTTP/.1", "GET / HTTP/1.10",
                 "GET / HTTP/01.1", "GET / HTTP/1.01", "GET / HTTP/1.2", "GET / HTTP/1.9", "GET / HTTP/2", "GET / HTTP/2.0",
                 "GET / HTTP/3.0", "GET / HTTP/0.9", "GET / HTTP/9.9", "GET / HTTP/-1.1", "GET / HTTP/1 .1", "GET / HTTP /1.1",
                 "GET / HTP/1.1", "GET / HTTP/1.1.1", "GET / HTTP\\1.1", "GET / HTTPS/1.1", "GET / HTTP/1.1;x", "GET",
                 "PRI * HTTP/2.0", "PRI * HTTP/1.1"]:
        yield f"start line {line!r}", f"{line}\r\n{HOSTLINE}\r\n"
    for method in ["get", "Get", "gET", "G(T", "G\"T", "GET:", "G/T", "[GET]", "GE=T", "GET,POST", "G@T", "", "G\xe4T", "GET;x", "{GET}",
                   "CONNECT", "TRACE", "G'T", "G|T", "G^T", "G`T", "G~T", "G#T", "G$T", "G%T", "G&T", "G*T", "G+T", "!GET", "1GET",
                   "A" * 100]:
        yield f"method {method!r}", f"{method} / HTTP/1.1\r\n{HOSTLINE}\r\n"
    for target in ["*", "a", "a/b", "//" + chr(0x80), "http:/" + HOST, "http//x/", "http://", "http:///", "http://evil.example.test/",
                   f"https://user@{HOST}/", f"http://{HOST}:444/", f"ftp://{HOST}/", f"{HOST}:443", "javascript:x", "?x", "#x", "/#x",
                   "/a b", f"http://{HOST}#/", f"http://{HOST}\\@evil/", "https://[::1]/", f"https://{HOST}@evil.example.test/",
                   f"https://evil.example.test:@{HOST}/", f"HTTP:{HOST}/", "\\", "\\\\evil\\x"]:
        yield f"target {target!r}", f"GET {target} HTTP/1.1\r\n{HOSTLINE}\r\n"
    # Hosts.
    for hosts in [[], ["", HOST], [HOST, HOST], [HOST, "evil.example.test"], [""], [" "], [HOST + ", " + HOST], [HOST + " evil"],
                  [HOST + "/"], [HOST + "/x"], [HOST + "?x"], [HOST + "#x"], ["user@" + HOST], ["user:pw@" + HOST], [HOST + "@evil"],
                  [HOST + ":"], [HOST + ":x"], [HOST + ":-1"], [HOST + ":+443"], [HOST + ":65536"], [HOST + ":443:443"],
                  [HOST + ": 443"], [HOST + ":0x1bb"], [HOST + ":443\x0b"], ["." + HOST], [HOST + ".."], ["app..example.test"],
                  ["[" + HOST + "]"], ["[::1"], ["::1"], ["[::1]x"], ["[::1]]"], ["[v1.x]"], ["http://" + HOST], ["a" * 300],
                  ["\"" + HOST + "\""], [HOST + "\xe4"], [HOST + "%00"], ["app%2eexample.test"], ["app_example.test!"],
                  ["*.example.test"], [HOST + "\\"], [HOST + ";x"], [HOST + ":443, x"], ["app.example.test\t.evil"]]:
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        yield f"hosts {hosts!r}", f"GET / HTTP/1.1\r\n{lines}\r\n"
    yield "Host with a space before the colon", f"GET / HTTP/1.1\r\nHost : {HOST}\r\n\r\n"
    yield "Host and a disguised Host", f"GET / HTTP/1.1\r\n{HOSTLINE}Host\x00: evil\r\n\r\n"
    yield "hosts in two cases", f"GET / HTTP/1.1\r\n{HOSTLINE}hOST: evil.example.test\r\n\r\n"
    yield "no Host in 1.0", "GET / HTTP/1.0\r\n\r\n"
    # Limits.
    yield "a head too large", get("X-A: " + "a" * 40000)
    yield "too many fields", get("\r\n".join(f"X-{n}: y" for n in range(120)))
    yield "a target too large", f"GET /{'a' * 40000} HTTP/1.1\r\n{HOSTLINE}\r\n"
    # Expectations.
    yield "Expect of another kind", get("Expect: 200-ok")


def bad_chunks():
    end = "0\r\n\r\n"
    for line in ["", "x", "5x", "+5", "-5", "0x5", " 5", "5 ", "5\t", "\t5", "5\x0b", "\x0b5", "5.", "5,5", "g", "\"5\"", "5\x00", "\x005",
                 "fffffffffffffffff", "10000000000000005", "8000000000000005x", "5 ;x", "5\r", "5;\x00", "5;a\x01", "5;a\rb",
                 "5;" + "a" * 300, "\xb5"]:
        yield f"size line {line!r}", f"{line}\r\nhello\r\n{end}"
    yield "LF behind the size", f"5\nhello\r\n{end}"
    yield "CR behind the size", f"5\rhello\r\n{end}"
    yield "LF within an extension", f"5;a\nb\r\nhello\r\n{end}"
    yield "LF behind the data", f"5\r\nhello\n{end}"
    yield "CR behind the data", f"5\r\nhello\r{end}"
    yield "data longer than its size", f"5\r\nhelloo\r\n{end}"
    yield "data shorter than its size", f"6\r\nhello\r\n{end}"
    yield "no line end behind the data", f"5\r\nhello{end}"
    yield "LF at the end", "5\r\nhello\r\n0\n\n"
    yield "LF for the last line", "5\r\nhello\r\n0\r\n\n"
    yield "CR at the end", "5\r\nhello\r\n0\r\r\n"
    yield "a trailer without colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"
    yield "a trailer with space before the colon", "5\r\nhello\r\n0\r\nX : y\r\n\r\n"
    yield "a folded trailer", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"
    yield "a trailer that starts with space", "5\r\nhello\r\n0\r\n X: y\r\n\r\n"
    yield "NUL in a trailer", "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n"
    yield "LF in a trailer", "5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n"
    yield "CR in a trailer", "5\r\nhello\r\n0\r\nX: a\rY: b\r\n\r\n"
    yield "an empty trailer name", "5\r\nhello\r\n0\r\n: y\r\n\r\n"
    yield "trailers too many", "5\r\nhello\r\n0\r\n" + "".join(f"X-{n}: y\r\n" for n in range(200)) + "\r\n"
    yield "trailers too large", "5\r\nhello\r\n0\r\nX: " + "a" * 70000 + "\r\n\r\n"
    yield "extensions without end", "".join("1;" + "a" * 200 + "\r\nx\r\n" for _ in range(100)) + end


def clients(tally):
    origin = Origin()
    with Door([(HOST, origin.port, "https = \"both\"")]) as door:
        for (what, request), plain in itertools.product(refused(), [False, True]):
            origin.clear()
            sock = socket.create_connection(door.http, timeout=PATIENCE) if plain else door.http1()
            with sock:
                try:
                    sock.sendall(request.encode("latin-1"))
                    status = reply(sock)[0]
                except (OSError, ssl.SSLError):
                    status = 0
                tally.check(400 <= status < 600 and status not in (404, 502, 503), f"{what} (plain={plain})", f"status {status}")
                own = what.startswith(("method 'CONNECT", "method 'TRACE", "Expect of"))
                tally.check(own or closed(sock), f"{what}: closed", "stays open")
            tally.check(origin.bytes == 0, f"{what}: unseen", f"the backend got {origin.bytes} bytes: {origin.seen}")
        for what, body in bad_chunks():
            origin.clear()
            with door.http1() as sock:
                try:
                    sock.sendall(post("Transfer-Encoding: chunked", body).encode("latin-1"))
                    status = reply(sock)[0]
                except (OSError, ssl.SSLError):
                    status = 0
                tally.check(status in (0, 400), f"chunks, {what}", f"status {status}")
                tally.check(closed(sock), f"chunks, {what}: closed", "stays open")
            tally.check(not origin.seen and not origin.faults, f"chunks, {what}: never whole", f"{origin.seen} {origin.faults}")
        tally.check(door.get()[0] == 200, "a sound request passes at the end")


def passed(tally):
    """What may pass, and how it looks behind."""
    origin = Origin()
    with Door([(HOST, origin.port, "")]) as door:
        for what, request, expect in [
            ("chunks with extensions", post("Transfer-Encoding: chunked", "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\nX-T: 1\r\n\r\n"), b"hello"),
            ("chunked in capitals", post("transfer-ENCODING: CHUNKED", "5\r\nhello\r\n0\r\n\r\n"), b"hello"),
            ("leading zeros", post("Transfer-Encoding: chunked", "00005\r\nhello\r\n000\r\n\r\n"), b"hello"),
            ("a length with zeros", post("Content-Length: 005", "hello"), b"hello"),
            ("empty lines before", "\r\n\r\n" + post("Content-Length: 5", "hello"), b"hello"),
            ("obs-text", post("X-A: \xe4\xff\r\nContent-Length: 5", "hello"), b"hello"),
            ("an absolute target", f"GET https://{HOST}/x?y=z HTTP/1.1\r\n{HOSTLINE}\r\n", b""),
            ("the Host's port", f"GET / HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n", b""),
            ("the Host's dot", f"GET / HTTP/1.1\r\nHost: {HOST}.\r\n\r\n", b""),
            ("HTTP/1.0", f"GET / HTTP/1.0\r\n{HOSTLINE}\r\n", b""),
        ]:
            origin.clear()
            with door.http1() as sock:
                sock.sendall(request.encode("latin-1"))
                tally.check(reply(sock)[0] == 200, f"{what} passes")
            tally.check(len(origin.seen) == 1 and not origin.faults and origin.seen[0]["body"] == expect,
                        f"{what}: read alike behind", f"{origin.seen} {origin.faults}")


def answers():
    """(what, the backend's bytes, what the client may see)."""
    ok = "HTTP/1.1 200 OK\r\n"
    second = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!"
    for value in ["identity", "gzip, chunked", "chunked, identity", "chunked, chunked", "xchunked", "", "chunked;x", "\x0bchunked"]:
        yield f"answer coding {value!r}", f"{ok}Transfer-Encoding: {value}\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    for value in ["", "+2", "-2", "2,2", "2, 2", "0x2", "99999999999999999999", "2 2", "2x", "two"]:
        yield f"answer length {value!r}", f"{ok}Content-Length: {value}\r\n\r\nok{second}"
    yield "answer with both", f"{ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    yield "answer with two lengths", f"{ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"
    yield "answer with two lengths alike", f"{ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    yield "answer coding in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    for line in ["HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 abc OK", "HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "ICY 200 OK",
                 "HTTP/1.1  200 OK", "HTTP/1.1 200\rOK", "HTTP/1.1 099 X", "HTTP/1.1 -200 OK", " HTTP/1.1 200 OK", "200 OK", "garbage",
                 "HTTP/1.1 200 O\0K", "HTTP/1.1 000 X", "\0"]:
        yield f"answer line {line!r}", f"{line}\r\nContent-Length: 2\r\n\r\nok"
    for code in [*range(0, 9), 11, 12, *range(14, 32), 127, 10, 13]:
        yield f"answer with {chr(code)!r} in a value", f"{ok}X-A: a{chr(code)}b\r\nContent-Length: 2\r\n\r\nok"
        yield f"answer with {chr(code)!r} in a name", f"{ok}X{chr(code)}A: b\r\nContent-Length: 2\r\n\r\nok"
    yield "answer folded", f"{ok}X-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok"
    yield "answer with space before the colon", f"{ok}Content-Length : 2\r\n\r\nok"
    yield "answer with bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"
    yield "answer without colon", f"{ok}X\r\nContent-Length: 2\r\n\r\nok"
    yield "answer with too large a head", f"{ok}X: {'a' * 100000}\r\nContent-Length: 2\r\n\r\nok"
    yield "answer of nothing", ""
    yield "answer of a TLS alert", "\x15\x03\x01\x00\x02\x02\x28"
    yield "switching unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


def backends(tally):
    state = {"bytes": b""}

    def answer(_, sock):
        sock.sendall(state["bytes"])
        return False

    origin = Origin(answer)
    with Door([(HOST, origin.port, "")], "[timeouts]\nfirst_byte = \"2s\"\nidle = \"2s\"") as door:
        for what, text in answers():
            state["bytes"] = text.encode("latin-1")
            with door.http1() as sock:
                sock.sendall(get("").replace("\r\n\r\n\r\n", "\r\n\r\n").encode())
                status, fields, body, _ = reply(sock)
                tally.check(status == 502 and b"EVIL" not in body, what, f"{status} {fields} {body!r}")
        for what, text in [
            ("a bad chunk", "5\r\nhello\r\nx\r\n"), ("a chunk too long", "5\r\nhello!\r\n0\r\n\r\n"), ("a cut in the size", "5"),
            ("a cut in the data", "5\r\nhel"), ("a cut before the last chunk", "5\r\nhello\r\n"), ("a cut in the last", "5\r\nhello\r\n0\r\n"),
            ("bad trailers", "5\r\nhello\r\n0\r\nX : y\r\n\r\n"), ("a bare LF", "5\nhello\r\n0\r\n\r\n"),
        ]:
            state["bytes"] = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}".encode()
            with door.http1() as sock:
                sock.sendall(f"GET / HTTP/1.1\r\n{HOSTLINE}\r\n".encode())
                status, _, _, ended = reply(sock)
                tally.check(status == 502 or ended == "cut", f"answer with {what}: cut", f"{status} {ended}")
                tally.check(closed(sock), f"answer with {what}: closed")
    # Bytes left over never become another request's answer.
    for what, tail in [("at once", 0.0), ("late", 0.3)]:
        def leftover(request, sock, tail=tail):
            evil = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!"
            sock.sendall(Origin.OK + (evil if tail == 0 else b""))
            if tail:
                threading.Timer(tail, lambda: _quietly(sock, evil)).start()
            return True
        origin = Origin(leftover)
        with Door([(HOST, origin.port, "")]) as door:
            for n in range(20):
                with door.http1() as sock:
                    sock.sendall(f"GET /{n} HTTP/1.1\r\n{HOSTLINE}\r\n".encode())
                    tally.check(reply(sock)[2] == b"ok", f"leftover {what} is no answer")
                time.sleep(tail * 1.1)
    # A body behind an answer to HEAD, a 204 or a 304.
    for method, line in [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]:
        def bodied(request, sock, line=line):
            sock.sendall(f"HTTP/1.1 {line}\r\nContent-Length: 5\r\n\r\nEVIL!".encode())
            return True
        origin = Origin(bodied)
        with Door([(HOST, origin.port, "")]) as door, door.http1() as sock:
            for n in range(5):
                sock.sendall(f"{method} /{n} HTTP/1.1\r\n{HOSTLINE}\r\n".encode())
                status, _, body, _ = reply(sock, head_request=True)
                tally.check(str(status) == line[:3] and body == b"", f"{method} {line} with a body", f"{status} {body!r}")
            sock.settimeout(0.3)
            try:
                tally.check(sock.recv(100) == b"", f"{method} {line}: nothing behind")
            except TimeoutError:
                tally.check(True, "")


def _quietly(sock, data):
    try:
        sock.sendall(data)
    except OSError:
        pass


if __name__ == "__main__":
    tally = Tally()
    clients(tally)
    passed(tally)
    backends(tally)
    tally.end()
