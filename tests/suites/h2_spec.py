"""HTTP/2 by the book: each MUST of RFC 9113 and RFC 7541 that a server can be tested for, section by section, and
what a downgrade to HTTP/1.1 must not let through.

The cases are written from the RFCs. A connection error may show as GOAWAY with the code or as a close, a stream
error as RST_STREAM with the code or as a connection error.
"""

import struct
import time

from frames import (ACK, CANCEL, COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW, FRAME_SIZE, GOAWAY, H2,
                    HEADERS, PADDED, PING, PREFACE, PRIO, PRIORITY, PROTOCOL, PUSH, REFUSED, RST, SETTINGS, STREAM_CLOSED,
                    WINDOW, block, frame, integer, literal, request)
from harness import HOST, Door, Origin, Tally

ES, EH = END_STREAM, END_HEADERS
BOTH = ES | EH
POST = request("POST")


def u32(value):
    return struct.pack(">I", value)


def setting(number, value):
    return struct.pack(">HI", number, value)


class Suite:
    def __init__(self, tally, door, origin):
        self.tally, self.door, self.origin = tally, door, origin

    def connection(self):
        return H2(self.door)

    def dies(self, what, codes, send, prepare=None):
        """A connection error."""
        with self.connection() as h2:
            if prepare:
                prepare(h2)
            h2.quietly(send)
            code = h2.goaway()
            # As h2spec does: the connection has to end; the code may be the general one.
            self.tally.check(code == "closed" or code in (*codes, PROTOCOL), what, f"{code}, not {codes}")

    def resets(self, what, codes, send, stream=1, prepare=None):
        """A stream error, or a connection error."""
        with self.connection() as h2:
            if prepare:
                prepare(h2)
            h2.quietly(send)
            got = h2.status(stream)
            while isinstance(got, int):
                got = h2.status(stream)
            ok = got == "closed" or got == ("goaway", PROTOCOL) or isinstance(got, tuple) and got[1] in codes
            self.tally.check(ok, what, f"{got}, not {codes}")

    def malformed(self, what, fields, flags=BOTH, more=b""):
        """RFC 9113 §8.1.1: PROTOCOL_ERROR on the stream, or an answer of 400; and the backend sees nothing."""
        self.origin.clear()
        with self.connection() as h2:
            h2.quietly(frame(HEADERS, flags, 1, block(fields)) + more)
            got = h2.status()
            ok = got in ("closed", 400, 405, 501) or isinstance(got, tuple) and got[1] == PROTOCOL
            self.tally.check(ok, what, f"{got}")
        self.tally.check(self.origin.bytes == 0 and not self.origin.seen, f"{what}: unseen", f"{self.origin.seen}")

    def strictly(self, what, fields, flags=BOTH, more=b""):
        """As `malformed`, but a stream error and nothing else."""
        self.malformed(what, fields, flags, more)
        self.resets(what + " (a stream error)", [PROTOCOL], frame(HEADERS, flags, 1, block(fields)) + more)

    def only_the_next_is_seen(self, what):
        """Of what was sent since `clear` the backend saw no whole request, nor does it before the next one."""
        with self.connection() as h2:
            h2.ask(1, request(path="/next"))
            got = h2.status()
        seen = [request["target"] for request in self.origin.seen]
        self.tally.check(got == 200 and seen == ["/next"], what, (got, seen))

    def answers(self, what, send, status=200, stream=1):
        with self.connection() as h2:
            h2.send(send)
            got = h2.status(stream)
            self.tally.check(got == status, what, f"{got}, not {status}")

    def lives(self, what, send, prepare=None):
        with self.connection() as h2:
            if prepare:
                prepare(h2)
            h2.send(send)
            self.tally.check(h2.alive(), what, "the connection ended")


def open_post(h2, stream=1):
    h2.ask(stream, POST, EH)


def closed_by_answer(h2):
    h2.ask(1)
    h2.until(lambda kind, flags, stream, _: stream == 1 and kind in (DATA, HEADERS) and flags & ES)


def reset_by_us(h2):
    h2.ask(1, POST, EH)
    h2.send(frame(RST, 0, 1, u32(CANCEL)))


def frames_that_are_fine(s):
    head = block(request())
    ok = frame(HEADERS, BOTH, 1, head)
    s.answers("GET", ok)
    s.answers("HEAD", frame(HEADERS, BOTH, 1, block(request("HEAD"))))
    s.answers("POST", frame(HEADERS, EH, 1, block(POST)) + frame(DATA, ES, 1, b"x"))
    s.answers("POST in pieces", frame(HEADERS, EH, 1, block(POST)) + frame(DATA, 0, 1, b"x") * 3 + frame(DATA, ES, 1))
    s.answers("POST padded", frame(HEADERS, EH, 1, block(POST)) + frame(DATA, ES | PADDED, 1, b"\x02x\0\0"))
    s.answers("POST with trailers", frame(HEADERS, EH, 1, block(POST)) + frame(DATA, 0, 1, b"x")
              + frame(HEADERS, BOTH, 1, literal("x-sum", "1")))
    s.answers("HEADERS padded", frame(HEADERS, BOTH | PADDED, 1, b"\x02" + head + b"\0\0"))
    s.answers("HEADERS with priority", frame(HEADERS, BOTH | PRIO, 1, u32(0) + b"\xff" + head))
    s.answers("HEADERS with padding and priority", frame(HEADERS, BOTH | PRIO | PADDED, 1, b"\x01" + u32(0) + b"\0" + head + b"\0"))
    for weight, parent in [(0, 0), (255, 0), (15, 3), (15, 0x80000003)]:
        s.answers(f"PRIORITY {weight} {parent:x} on an idle stream", frame(PRIORITY, 0, 1, u32(parent) + bytes([weight])) + ok)
    s.lives("PRIORITY on a half-closed stream", ok + frame(PRIORITY, 0, 1, u32(0) + b"\1"))
    s.lives("WINDOW_UPDATE on a half-closed stream", ok + frame(WINDOW, 0, 1, u32(100)))
    s.lives("RST_STREAM on a half-closed stream", ok + frame(RST, 0, 1, u32(CANCEL)))
    s.lives("PRIORITY on a closed stream", frame(PRIORITY, 0, 1, u32(0) + b"\1"), closed_by_answer)
    s.lives("WINDOW_UPDATE on a closed stream", frame(WINDOW, 0, 1, u32(1)), closed_by_answer)
    s.lives("RST_STREAM on a closed stream", frame(RST, 0, 1, u32(CANCEL)), closed_by_answer)
    s.answers("CONTINUATION", frame(HEADERS, ES, 1, head[:10]) + frame(CONTINUATION, EH, 1, head[10:]))
    s.answers("CONTINUATION twice", frame(HEADERS, ES, 1, head[:3]) + frame(CONTINUATION, 0, 1, head[3:7])
              + frame(CONTINUATION, EH, 1, head[7:]))
    s.answers("an empty HEADERS and CONTINUATION", frame(HEADERS, ES, 1) + frame(CONTINUATION, EH, 1, head))
    s.lives("SETTINGS", frame(SETTINGS, 0, 0, setting(3, 100)))
    s.lives("SETTINGS unknown (6.5.2)", frame(SETTINGS, 0, 0, setting(0xFFFF, 1)))
    s.lives("WINDOW_UPDATE of the connection", frame(WINDOW, 0, 0, u32(1)))
    s.lives("WINDOW_UPDATE with the reserved bit", frame(WINDOW, 0, 0, u32(0x80000001)))
    s.lives("an unknown type (4.1, 5.5)", frame(0xFF, 0xFF, 0, b"x" * 8))
    s.lives("an unknown type on a stream", frame(0x16, 0, 1, b"x"))
    s.lives("undefined flags (4.1)", frame(PING, 0xFE, 0, b"12345678"))
    s.lives("the reserved bit (4.1)", frame(PING, 0, 0x80000000, b"12345678"))
    s.lives("a PING that is an answer (6.7)", frame(PING, ACK, 0, b"12345678"))
    s.answers("an unknown error code in RST_STREAM (7)", frame(HEADERS, EH, 1, block(POST)) + frame(RST, 0, 1, u32(0xFF))
              + frame(HEADERS, BOTH, 3, head), stream=3)
    s.answers("DATA of 2^14 bytes (4.2)", frame(HEADERS, EH, 1, block(POST)) + frame(DATA, ES, 1, b"x" * 16384))
    with s.connection() as h2:
        h2.send(frame(SETTINGS))
        found = h2.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        s.tally.check(isinstance(found, tuple), "SETTINGS are acknowledged (6.5.3)")
        h2.send(frame(GOAWAY, 0, 0, u32(0) + u32(0xFF)))
        found = h2.until(lambda kind, *_: kind == GOAWAY)
        s.tally.check(found is None or isinstance(found, tuple), "GOAWAY with an unknown code (7)", found)
    with H2(s.door, handshake=False) as h2:
        h2.send(PREFACE + frame(SETTINGS))
        first = h2.read()
        s.tally.check(first and first[0] == SETTINGS and not first[1] & ACK, "SETTINGS come first (3.4)", first)
        limits = {struct.unpack(">HI", first[3][at:at + 6]) for at in range(0, len(first[3]), 6)}
        s.tally.check(any(key == 3 and value >= 100 for key, value in limits), "MAX_CONCURRENT_STREAMS is told", limits)


def errors_of_connections(s):
    head = block(request())
    for what, bytes_ in [("an HTTP/1.1 request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ("a wrong preface", b"INVALID PREFACE\r\n\r\nSM\r\n\r\n" * 2),
                         ("a cut preface and a frame", PREFACE[:10] + frame(SETTINGS) * 3)]:
        with H2(s.door, handshake=False) as h2:
            h2.quietly(bytes_)
            code = h2.goaway()
            s.tally.check(code in ("closed", PROTOCOL), f"{what} for a preface (3.4)", code)
    with H2(s.door, handshake=False) as h2:
        h2.quietly(PREFACE + frame(PING, 0, 0, b"12345678"))
        code = h2.goaway()
        s.tally.check(code in ("closed", PROTOCOL), "no SETTINGS first (3.4)", code)
    post = frame(HEADERS, EH, 1, block(POST))
    s.resets("DATA too large (4.2)", [FRAME_SIZE], post + frame(DATA, ES, 1, b"x" * 16385))
    s.dies("HEADERS too large (4.2)", [FRAME_SIZE], frame(HEADERS, BOTH, 1, head + literal("x", "y" * 17000)))
    s.dies("SETTINGS too large (4.2)", [FRAME_SIZE], frame(SETTINGS, 0, 0, setting(0xFF, 1) * 3000))
    s.dies("an unknown frame too large (4.2)", [FRAME_SIZE], frame(0xF0, 0, 0, b"x" * 17000))
    s.dies("a header block that is none (4.3)", [COMPRESSION], frame(HEADERS, BOTH, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
    s.dies("PRIORITY within a block (4.3)", [PROTOCOL], frame(HEADERS, ES, 1, head[:5]) + frame(PRIORITY, 0, 1, u32(0) + b"\1")
           + frame(CONTINUATION, EH, 1, head[5:]))
    s.dies("HEADERS of another stream within a block (4.3)", [PROTOCOL], frame(HEADERS, ES, 1, head[:5]) + frame(HEADERS, BOTH, 3, head))
    s.dies("PING within a block", [PROTOCOL], frame(HEADERS, ES, 1, head[:5]) + frame(PING, 0, 0, b"12345678"))
    s.dies("DATA within a block (6.2)", [PROTOCOL], frame(HEADERS, 0, 1, head[:5]) + frame(DATA, ES, 1, b"x"))
    s.dies("an unknown frame within a block (5.5)", [PROTOCOL], frame(HEADERS, ES, 1, head[:5]) + frame(0x16, 0, 0, b"x")
           + frame(CONTINUATION, EH, 1, head[5:]))
    for what, sent in [("DATA", frame(DATA, ES, 1, b"x")), ("RST_STREAM", frame(RST, 0, 1, u32(CANCEL))),
                       ("WINDOW_UPDATE", frame(WINDOW, 0, 1, u32(1))), ("CONTINUATION", frame(CONTINUATION, EH, 1, head))]:
        s.dies(f"{what} on an idle stream (5.1)", [PROTOCOL], sent)
        s.dies(f"{what} on an idle stream above open ones (5.1)", [PROTOCOL], frame(HEADERS, BOTH, 1, head) + sent[:5] + u32(9) + sent[9:])
    ok = frame(HEADERS, BOTH, 1, head)
    slow = frame(HEADERS, BOTH, 1, block(request(path="/slow")))
    s.resets("DATA on a half-closed stream (5.1)", [STREAM_CLOSED], slow + frame(DATA, ES, 1, b"x"))
    s.resets("HEADERS on a half-closed stream (5.1)", [STREAM_CLOSED, PROTOCOL], slow + ok)
    s.dies("CONTINUATION on a half-closed stream (5.1)", [STREAM_CLOSED, PROTOCOL], slow + frame(CONTINUATION, EH, 1, head))
    s.dies("CONTINUATION on a stream that we reset (5.1)", [STREAM_CLOSED, PROTOCOL], frame(CONTINUATION, EH, 1, head), reset_by_us)
    s.resets("DATA on a stream that we reset (5.1)", [STREAM_CLOSED], frame(DATA, ES, 1, b"x"), prepare=reset_by_us)
    s.resets("HEADERS on a stream that we reset (5.1)", [STREAM_CLOSED, PROTOCOL], ok, prepare=reset_by_us)
    s.resets("DATA on a closed stream (5.1)", [STREAM_CLOSED], frame(DATA, ES, 1, b"x"), prepare=closed_by_answer)
    s.dies("HEADERS on a closed stream (5.1)", [STREAM_CLOSED, PROTOCOL], ok, closed_by_answer)
    s.dies("CONTINUATION on a closed stream (5.1)", [STREAM_CLOSED, PROTOCOL], frame(CONTINUATION, EH, 1, head), closed_by_answer)
    s.dies("an even stream (5.1.1)", [PROTOCOL], frame(HEADERS, BOTH, 2, head))
    s.dies("a smaller stream (5.1.1)", [PROTOCOL, STREAM_CLOSED], frame(HEADERS, BOTH, 5, head) + frame(HEADERS, BOTH, 3, head))
    s.resets("HEADERS that depend on themselves (5.3.1)", [PROTOCOL], frame(HEADERS, BOTH | PRIO, 1, u32(1) + b"\xff" + head))
    s.resets("PRIORITY that depends on itself (5.3.1)", [PROTOCOL], post + frame(PRIORITY, 0, 1, u32(1) + b"\xff"))
    with s.connection() as h2:
        h2.send(b"".join(frame(HEADERS, EH, 2 * n + 1, block(POST)) for n in range(200)))
        refused = h2.until(lambda kind, _, stream, payload: kind == RST and payload in (u32(REFUSED), u32(PROTOCOL)) or kind == GOAWAY)
        s.tally.check(isinstance(refused, tuple), "too many streams are refused (5.1.2)", refused)
    s.dies("DATA on stream 0 (6.1)", [PROTOCOL], frame(DATA, ES, 0, b"x"))
    s.dies("padding as long as DATA (6.1)", [PROTOCOL], post + frame(DATA, ES | PADDED, 1, b"\x05xxxx"))
    s.dies("padding of DATA that is not there (6.1)", [PROTOCOL, FRAME_SIZE], post + frame(DATA, ES | PADDED, 1))
    s.dies("HEADERS on stream 0 (6.2)", [PROTOCOL], frame(HEADERS, BOTH, 0, head))
    s.dies("padding longer than HEADERS (6.2)", [PROTOCOL], frame(HEADERS, BOTH | PADDED, 1, b"\xff" + head))
    s.dies("HEADERS too short for priority (6.2)", [PROTOCOL, FRAME_SIZE], frame(HEADERS, BOTH | PRIO, 1, b"\0\0"))
    s.dies("PRIORITY on stream 0 (6.3)", [PROTOCOL], frame(PRIORITY, 0, 0, u32(1) + b"\1"))
    s.resets("PRIORITY of 4 bytes (6.3)", [FRAME_SIZE], slow + frame(PRIORITY, 0, 1, u32(0)))
    s.dies("RST_STREAM on stream 0 (6.4)", [PROTOCOL], frame(RST, 0, 0, u32(CANCEL)))
    s.dies("RST_STREAM of 3 bytes (6.4)", [FRAME_SIZE], slow + frame(RST, 0, 1, b"\0\0\0"))
    s.dies("SETTINGS ACK with a payload (6.5)", [FRAME_SIZE], frame(SETTINGS, ACK, 0, setting(3, 1)))
    s.dies("SETTINGS on a stream (6.5)", [PROTOCOL], frame(SETTINGS, 0, 1, setting(3, 1)))
    s.dies("SETTINGS of 3 bytes (6.5)", [FRAME_SIZE], frame(SETTINGS, 0, 0, b"\0\0\0"))
    s.dies("ENABLE_PUSH of 2 (6.5.2)", [PROTOCOL], frame(SETTINGS, 0, 0, setting(2, 2)))
    s.dies("INITIAL_WINDOW_SIZE too large (6.5.2)", [FLOW], frame(SETTINGS, 0, 0, setting(4, 0x80000000)))
    s.dies("MAX_FRAME_SIZE too small (6.5.2)", [PROTOCOL], frame(SETTINGS, 0, 0, setting(5, 16383)))
    s.dies("MAX_FRAME_SIZE too large (6.5.2)", [PROTOCOL], frame(SETTINGS, 0, 0, setting(5, 16777216)))
    s.dies("ENABLE_CONNECT_PROTOCOL of 2 (RFC 8441 §3)", [PROTOCOL], frame(SETTINGS, 0, 0, setting(8, 2)))
    s.dies("PING on a stream (6.7)", [PROTOCOL], frame(PING, 0, 1, b"12345678"))
    s.dies("PING of 6 bytes (6.7)", [FRAME_SIZE], frame(PING, 0, 0, b"123456"))
    s.dies("GOAWAY on a stream (6.8)", [PROTOCOL], frame(GOAWAY, 0, 1, u32(0) * 2))
    s.dies("GOAWAY too short (6.8)", [FRAME_SIZE, PROTOCOL], frame(GOAWAY, 0, 0, u32(0)))
    s.dies("WINDOW_UPDATE of 0 (6.9)", [PROTOCOL], frame(WINDOW, 0, 0, u32(0)))
    s.resets("WINDOW_UPDATE of 0 on a stream (6.9)", [PROTOCOL], slow + frame(WINDOW, 0, 1, u32(0)))
    s.dies("WINDOW_UPDATE of 3 bytes (6.9)", [FRAME_SIZE], frame(WINDOW, 0, 0, b"\0\0\1"))
    s.dies("the connection's window over its bound (6.9.1)", [FLOW], frame(WINDOW, 0, 0, u32(0x7FFFFFFF)) * 2)
    s.resets("a stream's window over its bound (6.9.1)", [FLOW], slow + frame(WINDOW, 0, 1, u32(0x7FFFFFFF)) * 2)
    s.dies("windows over their bound by SETTINGS (6.9.2)", [FLOW], slow + frame(WINDOW, 0, 1, u32(0x7FFFFFFF - 65535))
           + frame(SETTINGS, 0, 0, setting(4, 0x7FFFFFFF)))
    for what, sent in [("on stream 0", frame(HEADERS, ES, 1, head[:5]) + frame(CONTINUATION, EH, 0, head[5:])),
                       ("after END_HEADERS", slow + frame(CONTINUATION, EH, 1, head)),
                       ("after CONTINUATION with END_HEADERS", frame(HEADERS, ES, 1, head[:5]) + frame(CONTINUATION, EH, 1, head[5:])
                        + frame(CONTINUATION, EH, 1, head)),
                       ("after DATA", post + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, EH, 1, head)),
                       ("of another stream", frame(HEADERS, ES, 1, head[:5]) + frame(CONTINUATION, EH, 3, head[5:])),
                       ("and another frame between", frame(HEADERS, ES, 1, head[:5]) + frame(CONTINUATION, 0, 1, head[5:9])
                        + frame(DATA, ES, 1, b"x"))]:
        s.dies(f"CONTINUATION {what} (6.10)", [PROTOCOL], sent)
    s.dies("PUSH_PROMISE from a client (8.4)", [PROTOCOL], slow + frame(PUSH, EH, 1, u32(2) + head))
    with s.connection() as h2:
        h2.quietly(frame(PING, 0, 0, b"1"))
        found = h2.until(lambda kind, *_: kind == GOAWAY)
        s.tally.check(isinstance(found, tuple), "GOAWAY comes before the close (5.4.1)", found)


def flow_control(s):
    with H2(s.door, settings=setting(4, 1)) as h2:
        h2.ask()
        found = h2.until(lambda kind, *_: kind == DATA)
        s.tally.check(found[3] == b"o", "DATA respects a window of 1 (6.9.1)", found)
        h2.send(frame(SETTINGS, 0, 0, setting(4, 2)))
        found = h2.until(lambda kind, *_: kind == DATA)
        s.tally.check(found[3] == b"k", "a larger INITIAL_WINDOW_SIZE lets more pass (6.9.2)", found)
    with H2(s.door, settings=setting(4, 2)) as h2:
        h2.ask(1, request(path="/ten"))
        found = h2.until(lambda kind, *_: kind == DATA)
        s.tally.check(found[3] == b"01", "DATA respects a window of 2", found)
        h2.send(frame(SETTINGS, 0, 0, setting(4, 0)) + frame(WINDOW, 0, 1, u32(2)))
        h2.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        h2.send(frame(WINDOW, 0, 1, u32(3)))
        found = h2.until(lambda kind, *_: kind == DATA)
        s.tally.check(found[3] == b"234", "a window below zero is counted up (6.9.2)", found)
    with H2(s.door, settings=setting(4, 0) + setting(4, 1)) as h2:
        h2.ask()
        found = h2.until(lambda kind, *_: kind == DATA)
        s.tally.check(found[3] == b"o", "the last of two settings counts (6.5.3)", found)


def hpack(s):
    base = [(":method", "GET"), (":scheme", "https"), (":authority", HOST)]
    head = block(base)
    path = literal(":path", "/")
    host = b"\x01" + bytes([len(HOST)]) + HOST.encode()
    for what, part in [("an indexed field", b"\x84"), ("a literal with indexing, name indexed", b"\x44\x01/"),
                       ("a literal with indexing, new name", b"\x84\x40\x03x-a\x01b"), ("a literal without indexing", b"\x04\x01/"),
                       ("a literal never indexed", b"\x14\x01/"), ("Huffman code", b"\x04\x81\x63"), ("a size update", b"")]:
        s.answers(f"HPACK: {what} (6)", frame(HEADERS, BOTH, 1, (b"\x20" if not part else b"") + head + (part or path)))
    s.answers("HPACK: two size updates (4.2)", frame(HEADERS, BOTH, 1, b"\x20" + integer(4096, 5, 0x20) + head + path))
    s.answers("HPACK: a name from the static table", frame(HEADERS, BOTH, 1, b"\x82\x87" + host + b"\x84"))
    for what, bad in [("index 0 (6.1)", b"\x80"), ("an index beyond the tables (2.3.3)", b"\xff\x00"), ("a name beyond the tables", b"\x7f\x00\x01x"),
                      ("a size update at the end (4.2)", b"\x84\x3f\x01"), ("a size update over the bound (6.3)", None),
                      ("Huffman: padding longer than 7 bits (5.2)", b"\x84\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
                      ("Huffman: padding of zeros (5.2)", b"\x84\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"),
                      ("Huffman: EOS (5.2)", b"\x84\x00\x88\xf2\xb2\x4a\x84\xff\xff\xff\xff\x83\x49\x50\x9f"),
                      ("an integer too large", b"\x84\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
                      ("a text longer than the block", b"\x84\x00\x7fabc")]:
        block_ = integer(70000, 5, 0x20) + head + b"\x84" if bad is None else head + bad
        s.dies(f"HPACK: {what}", [COMPRESSION], frame(HEADERS, BOTH, 1, block_))


def lengths_that_lie(s):
    """Content-Length and DATA that differ, in one write and in one a frame, so that the fault is seen when the head was:
    the backend must see no whole request (RFC 9113 §8.1.1)."""
    end, empty = frame(DATA, ES, 1), frame(DATA, 0, 1)
    piece = lambda data, flags=0: frame(DATA, flags, 1, data)
    for what, length, frames in [
        ("shorter than the body", "1", [piece(b"xx", ES)]),
        ("longer than the body", "3", [piece(b"xx", ES)]),
        ("longer, in pieces", "5", [piece(b"xx"), piece(b"xx", ES)]),
        ("shorter, in pieces", "3", [piece(b"xx"), piece(b"xx", ES)]),
        ("met, and then more", "2", [piece(b"xx"), piece(b"x", ES)]),
        ("met, and then more, and no end", "2", [piece(b"xx"), empty, piece(b"x")]),
        ("0 with a body", "0", [piece(b"x", ES)]),
        ("0 with a body behind nothing", "0", [empty, piece(b"x", ES)]),
    ]:
        head = frame(HEADERS, EH, 1, block(request("POST", extra=[("content-length", length)])))
        for how, writes in [("", [head + b"".join(frames)]), (", one by one", [head, *frames])]:
            s.origin.clear()
            with s.connection() as h2:
                for write in writes:
                    h2.quietly(write)
                    # Until it is read: what comes at once is judged at once.
                    if write is not writes[-1]:
                        h2.alive()
                got = h2.status()
                ok = got in ("closed", 400) or isinstance(got, tuple) and got[1] == PROTOCOL
                s.tally.check(ok, f"a length {what}{how} (8.1.1)", got)
            s.only_the_next_is_seen(f"a length {what}{how}: never whole")
    for what, length, frames in [("0", "0", [end]), ("0, after nothing", "0", [empty, end]), ("2", "2", [piece(b"xx"), end]),
                                 ("2, in pieces", "2", [piece(b"x"), piece(b"x"), empty, end]),
                                 ("2, with trailers", "2", [piece(b"xx"), frame(HEADERS, BOTH, 1, literal("x-sum", "1"))])]:
        s.origin.clear()
        with s.connection() as h2:
            h2.send(frame(HEADERS, EH, 1, block(request("POST", extra=[("content-length", length)]))))
            for part in frames:
                h2.alive()
                s.tally.check(not s.origin.seen, f"a length of {what}: not whole before its end", s.origin.seen)
                h2.send(part)
            got = h2.status()
        s.tally.check(got == 200, f"a length of {what}, ended later", got)
        bodies = [len(request["body"]) for request in s.origin.seen]
        s.tally.check(bodies == [int(length)], f"a length of {what}, ended later: seen once, whole", bodies)


def requests(s):
    good = request()
    for what, fields in [
        ("a name in capitals (8.2.1)", [*good, ("X-A", "b")]),
        ("an unknown pseudo-header (8.3)", [*good, (":x", "y")]),
        ("a pseudo-header of answers (8.3)", [*good, (":status", "200")]),
        ("a pseudo-header behind a field (8.3)", [*good[:3], ("x-a", "b"), good[3]]),
        ("connection (8.2.2)", [*good, ("connection", "keep-alive")]),
        ("keep-alive (8.2.2)", [*good, ("keep-alive", "x")]),
        ("proxy-connection (8.2.2)", [*good, ("proxy-connection", "keep-alive")]),
        ("transfer-encoding (8.2.2)", [*good, ("transfer-encoding", "chunked")]),
        ("upgrade (8.2.2)", [*good, ("upgrade", "h2c")]),
        ("te that is not trailers (8.2.2)", [*good, ("te", "trailers, deflate")]),
        ("te gzip (8.2.2)", [*good, ("te", "gzip")]),
        ("an empty :path (8.3.1)", request(path="")),
        ("no :method (8.3.1)", good[1:]), ("no :scheme (8.3.1)", [good[0], *good[2:]]), ("no :path (8.3.1)", good[:3]),
        ("two :method (8.3.1)", [good[0], *good]), ("two :scheme (8.3.1)", [good[1], *good]), ("two :path (8.3.1)", [*good, good[3]]),
        ("two :authority (8.3.1)", [good[2], *good]),
    ]:
        s.strictly(what, fields)
    for what, fields in [
        ("no :authority and no Host", [good[0], good[1], good[3]]),
        ("an empty :authority", request(authority="")),
        ("two Hosts", [*good[:2], good[3], ("host", HOST), ("host", HOST)]),
        ("a Host at odds", [*good, ("host", "evil.example.test")]),
        ("two lengths", [*good, ("content-length", "0"), ("content-length", "0")]),
        ("a length with a sign", [*good, ("content-length", "+0")]),
        ("a list of lengths", [*good, ("content-length", "0, 0")]),
        ("an empty length", [*good, ("content-length", "")]),
        ("a length too large", [*good, ("content-length", "99999999999999999999")]),
        ("a field without a name", [*good, ("", "x")]),
        ("a :protocol without CONNECT", [*good, (":protocol", "websocket")]),
        ("CONNECT", [(":method", "CONNECT"), (":authority", HOST + ":443")]),
        ("CONNECT with :path", request("CONNECT")),
        ("a method with a space", request("GET /x HTTP/1.1\r\nX: y")), ("an empty method", request("")), ("a method in small letters", request("get")),
        ("a method with a colon", request("GET:")), ("a method with a line break", request("GET\r\n")),
        ("a scheme with a line break", request(scheme="https\r\nx: y")), ("a scheme with a space", request(scheme="https x")),
        ("a scheme with a path", request(scheme="https://evil/")), ("an empty scheme", request(scheme="")),
        ("a path of an authority", request(path="https://evil.example.test/")), ("a path without a slash", request(path="x")),
        ("an asterisk", request(path="*")),
    ]:
        s.malformed(what, fields)
    for code in [*range(0, 33), 127, 128, 255, ord("#"), ord("<"), ord(">"), ord('"'), ord("\\"), ord("^"), ord("`"), ord("{"), ord("}"), ord("|")]:
        char = chr(code)
        if code <= 32 or code in (127, 128, 255):
            s.malformed(f"{char!r} in the path", request(path=f"/a{char}b"))
        s.malformed(f"{char!r} in the authority", request(authority=f"app{char}.example.test"))
        if code <= 32 or code in (127, 128, 255) or char in '"\\{}':
            s.malformed(f"{char!r} in the method", request(method=f"G{char}T"))
            s.malformed(f"{char!r} in a name", [*good, (f"x{char}a", "b")])
            s.malformed(f"{char!r} in the scheme", request(scheme=f"http{char}s"))
        if code in (*range(0, 9), *range(10, 32), 127):
            s.malformed(f"{char!r} in a value", [*good, ("x-a", f"a{char}b")])
            s.malformed(f"{char!r} in a cookie", [*good, ("cookie", f"a{char}b")])
            s.malformed(f"{char!r} in a Host", [*good[:2], good[3], ("host", f"app{char}.example.test")])
        if code in (9, 10, 13, 32):
            s.malformed(f"{char!r} before a value", [*good, ("x-a", f"{char}b")])
            s.malformed(f"{char!r} behind a value", [*good, ("x-a", f"b{char}")])
    for text in ["x:y", "host:", "x: y\r\nz", "transfer-encoding: chunked\r\nx", "x y", "(x)", "x/y", "x@y", "x=y", "[x]", "x,y", "\xe4"]:
        s.malformed(f"a name {text!r}", [*good, (text, "b")])
    for host in ["user@" + HOST, HOST + "/", HOST + "?x", HOST + "#x", HOST + ":", HOST + ":x", HOST + ":99999", HOST + ", " + HOST, "[::1",
                 HOST + ":443:443", "." + HOST, HOST + "\\", "a" * 260]:
        s.malformed(f"an authority {host!r}", request(authority=host))
    lengths_that_lie(s)
    s.strictly("a length and no body (8.1.1)", request("POST", extra=[("content-length", "1")]))
    for what, trailer in [("a pseudo-header", (":path", "/")), ("capitals", ("X-A", "b")), ("a line break", ("x", "a\r\nb")),
                          ("connection", ("connection", "x")), ("transfer-encoding", ("transfer-encoding", "chunked"))]:
        s.origin.clear()
        with s.connection() as h2:
            h2.quietly(frame(HEADERS, EH, 1, block(POST)) + frame(DATA, 0, 1, b"x") + frame(HEADERS, BOTH, 1, literal(*trailer)))
            got = h2.status()
            s.tally.check(got in ("closed", 400) or isinstance(got, tuple) and got[1] == PROTOCOL, f"{what} in trailers (8.1)", got)
        s.tally.check(not s.origin.seen, f"{what} in trailers: never whole", s.origin.seen)
    s.origin.clear()
    with s.connection() as h2:
        # The head has put it into the dynamic table, so that a number is all that comes of it.
        head, trailers = h2.encoder.encode(POST), h2.encoder.encode([(":authority", HOST)])
        s.tally.check(trailers[0] & 0x80 and trailers[0] != 0x81, "the field comes by its dynamic index", trailers)
        h2.quietly(frame(HEADERS, EH, 1, head) + frame(DATA, 0, 1, b"x") + frame(HEADERS, BOTH, 1, trailers))
        got = h2.status()
        s.tally.check(got in ("closed", 400) or isinstance(got, tuple) and got[1] == PROTOCOL,
                      "a pseudo-header in trailers by its dynamic index (8.1)", got)
    s.only_the_next_is_seen("a pseudo-header in trailers by its dynamic index: never whole")
    s.resets("a second HEADERS that does not end the stream (8.1)", [PROTOCOL], frame(HEADERS, EH, 1, block(POST))
             + frame(DATA, 0, 1, b"x") + frame(HEADERS, EH, 1, literal("x", "y")))
    # A fragment is no part of a request (RFC 9110 §7.1): it is cut off, and never reaches the app.
    s.origin.clear()
    s.answers("a fragment is cut off", frame(HEADERS, BOTH, 1, block(request(path="/a#b"))))
    s.tally.check([seen["target"] for seen in s.origin.seen] == ["/a"], "a fragment never passes", s.origin.seen)
    # What passes, and how it looks behind.
    s.origin.clear()
    with s.connection() as h2:
        fields = request("POST", "/p?q", extra=[("cookie", "a=1"), ("x-forwarded-proto", "http"), ("x_forwarded_proto", "http"), ("cookie", "b=2"),
                                                ("te", "trailers"), ("trailer", "x-sum")])
        h2.send(frame(HEADERS, EH, 1, block(fields)) + frame(DATA, 0, 1, b"body") + frame(HEADERS, BOTH, 1, block([
            ("x-sum", "1"), ("x-forwarded-for", "6.6.6.6"), ("content-length", "9"), ("host", "evil"), ("x_real_ip", "6.6.6.6")])))
        s.tally.check(h2.status() == 200, "a request with all of it passes")
    seen = s.origin.seen[0] if s.origin.seen else {"fields": [], "trailers": []}
    values = lambda name: [value for key, value in seen["fields"] if key == name]
    s.tally.check(values("cookie") == ["a=1; b=2"], "cookie crumbs are joined (8.2.3)", seen["fields"])
    s.tally.check(values("x-forwarded-proto") == ["https"] and not values("x_forwarded_proto"), "the contract holds over h2", seen["fields"])
    s.tally.check(seen["trailers"] == [("x-sum", "1")], "trailers pass, ours are never taken from them", seen["trailers"])
    s.tally.check(not s.origin.faults, "a strict parser reads what is sent", s.origin.faults)


def answer(seen, sock):
    """What the cases ask of an app."""
    if seen["target"] == "/slow":
        time.sleep(0.3)
    body = b"0123456789" if seen["target"] == "/ten" else b"ok"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    sock.sendall(head if seen["method"] == "HEAD" else head + body)
    return True


if __name__ == "__main__":
    tally = Tally()
    origin = Origin(answer)
    with Door([(HOST, origin.port, "")]) as door:
        suite = Suite(tally, door, origin)
        for part in (frames_that_are_fine, errors_of_connections, flow_control, hpack, requests):
            part(suite)
        tally.check(door.get()[0] == 200, "a sound request passes at the end")
        tally.check(not door.said("panicked"), "nothing panicked", door.said("panicked")[:2])
    tally.end()
