"""HTTP/2 in the order and by the judgement of h2spec, the conformance suite that is asked most: its 146 cases, section
by section, each a connection of its own, frame by frame, with fields as an ordinary encoder writes them.

As there: a connection error shows as GOAWAY with the code or as an end of the connection in order, a stream error as
RST_STREAM or GOAWAY with the code or as that end; two seconds without a frame are too long. Each case is tried with a
write for each frame and with one write for all.
"""

import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from frames import (ACK, CANCEL, COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW, FRAME_SIZE, GOAWAY, H2,
                    HEADERS, PADDED, PING, PREFACE, PRIO, PRIORITY, PROTOCOL, PUSH, REFUSED, RST, SETTINGS, STREAM_CLOSED,
                    WINDOW, frame, integer)
from harness import HOST, Door, Origin, Tally

ES, EH = END_STREAM, END_HEADERS
BOTH = ES | EH
PATIENCE = 2.0
HUGE = 0x7FFFFFFF
GET = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", HOST)]
POST = [(":method", "POST"), *GET[1:]]
DUMMY = [(f"x-dummy{n}", "x" * 4000) for n in range(5)]


def u32(value):
    return struct.pack(">I", value)


def setting(number, value):
    return struct.pack(">HI", number, value)


class Fields:
    """A header block that is encoded when it is sent, as the table is then; `more` follows as it is."""

    def __init__(self, fields, more=b"", before=b"", part=slice(None)):
        self.fields, self.more, self.before, self.part = fields, more, before, part


def headers(fields=GET, flags=BOTH, stream=1, lead=b"", tail=b"", **more):
    return HEADERS, flags, stream, Fields(fields, **more), lead, tail


def block_in(*cuts, fields=GET):
    """HEADERS and CONTINUATION frames: one block, cut there."""
    return "block", fields, cuts


def data(text=b"test", flags=ES, stream=1):
    return frame(DATA, flags, stream, text)


PING_ = frame(PING, 0, 0, b"h2spec\0\0")
SEEN = "the answer has ended"
SETTLED = "the settings are acknowledged"
SOME = "some DATA has come"


# How it is judged: whether an event, a frame's (kind, flags, stream, payload) or "closed", is what has to come.

def dies(*codes):
    return lambda event: event == "closed" or event[0] == GOAWAY and code(event) in codes


def resets(*codes):
    return lambda event: event == "closed" or event[0] in (GOAWAY, RST) and code(event) in codes


def closes(event):
    return event == "closed"


def answers(event):
    return event[0] == HEADERS and event[2] == 1


def pongs(event):
    return event[0] == PING and event[1] & ACK


def pongs_or_closes(event):
    return event == "closed" or pongs(event)


def acknowledges(event):
    return event[0] == SETTINGS and event[1] & ACK


def sends(length):
    """The next DATA has so many bytes."""
    return lambda event: event[0] == DATA and (len(event[3]) == length or "wrong")


def tells(kind, reason):
    """A frame of this kind, with this code and no other."""
    return lambda event: event[0] == kind and (code(event) == reason or "wrong")


def code(event):
    return struct.unpack(">I", event[3][4:8] if event[0] == GOAWAY else event[3])[0]


def generic():
    text = lambda name: bytes([len(name)]) + name
    yield "generic 1", [], acknowledges
    yield "generic 2: PRIORITY on an idle stream", [frame(PRIORITY, 0, 1, u32(0) + b"\xff"), headers()], answers
    yield "generic 2: WINDOW_UPDATE on a half-closed stream", [headers(), frame(WINDOW, 0, 1, u32(100))], answers
    yield "generic 2: PRIORITY on a half-closed stream", [headers(), frame(PRIORITY, 0, 1, u32(0) + b"\xff")], answers
    yield "generic 2: RST_STREAM on a half-closed stream", [headers(), frame(RST, 0, 1, u32(CANCEL)), PING_], pongs
    yield "generic 2: PRIORITY on a closed stream", [headers(), SEEN, frame(PRIORITY, 0, 1, u32(0) + b"\xff"), PING_], pongs
    for what, sent in [("one DATA", [data()]), ("two DATA", [data(flags=0), data()]), ("padded DATA", [data(b"\x06test" + b"\0" * 6, ES | PADDED)])]:
        yield f"generic 3.1: {what}", [headers(POST, EH), *sent], answers
    yield "generic 3.2: HEADERS", [headers()], answers
    yield "generic 3.2: padded", [headers(flags=BOTH | PADDED, lead=b"\x06", tail=b"\0" * 6)], answers
    yield "generic 3.2: with priority", [headers(flags=BOTH | PRIO, lead=u32(0) + b"\xff")], answers
    for what, payload in [("1", b"\0"), ("256", b"\xff"), ("stream", b"\xff")]:
        yield f"generic 3.3: PRIORITY {what}", [frame(PRIORITY, 0, 1, u32(3 if what == "stream" else 0) + payload), headers()], answers
    yield "generic 3.3: PRIORITY, exclusive", [frame(PRIORITY, 0, 1, u32(0x80000003) + b"\xff"), headers()], answers
    yield "generic 3.3: PRIORITY of a later stream", [frame(PRIORITY, 0, 5, u32(0) + b"\xff"), headers()], answers
    yield "generic 3.4: RST_STREAM", [headers(flags=EH), frame(RST, 0, 1, u32(CANCEL)), PING_], pongs
    yield "generic 3.5: SETTINGS", [frame(SETTINGS, 0, 0, setting(3, 100))], acknowledges
    yield "generic 3.7: PING", [PING_], pongs
    yield "generic 3.8: GOAWAY", [frame(GOAWAY, 0, 0, u32(0) * 2), PING_], pongs_or_closes
    yield "generic 3.9: WINDOW_UPDATE", [frame(WINDOW, 0, 0, u32(1)), headers()], answers
    yield "generic 3.9: WINDOW_UPDATE of a stream", [headers(), frame(WINDOW, 0, 1, u32(1))], answers
    yield "generic 3.10: CONTINUATION", [block_in(1)], answers
    yield "generic 3.10: CONTINUATION twice", [block_in(1, 3)], answers
    yield "generic 4: GET", [headers()], answers
    yield "generic 4: HEAD", [headers([(":method", "HEAD"), *GET[1:]])], answers
    yield "generic 4: POST", [headers(POST, EH), data()], answers
    yield "generic 4: POST with trailers", [headers([*POST, ("trailer", "x-test")], EH), data(flags=0), headers([("x-test", "ok")])], answers
    agent, test, value = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93", b"\x85\xf2\xb2\x4a\x84\xff", b"\x84\x9c\x48\xac\xa4"
    for what, more in [("indexed", b"\xba"), *[(f"literal {first:x} {what}", bytes([first]) + rest) for first in (0x40, 0, 0x10) for what, rest in [
            ("name indexed", b""), ("name in full", text(b"user-agent") + text(b"h2spec")),
            ("name in Huffman code", agent + value), ("new", text(b"x-test") + text(b"h2spec")), ("new, in Huffman code", test + value)]]]:
        # The index of a name is added to the first byte.
        if what.endswith("name indexed"):
            more = integer(58, 6 if more[0] == 0x40 else 4, more[0]) + text(b"h2spec")
        yield f"generic 5: {what}", [headers(more=more)], answers
    yield "generic 5: a size update", [headers(before=b"\x20")], answers
    yield "generic 5: two size updates", [headers(before=b"\x20" + integer(4096, 5, 0x20))], answers


def frames_and_streams():
    yield "3.5: the preface", [], acknowledges
    yield "3.5: no preface", ["raw", b"INVALID CONNECTION PREFACE\r\n\r\n"], closes
    yield "4.1: an unknown type", [frame(0xFF, 0, 0, b"\0" * 8), PING_], pongs
    yield "4.1: undefined flags", [frame(PING, 0x16, 0, b"\0" * 8)], pongs
    yield "4.1: the reserved bit", [frame(PING, 0, 0x80000000, b"\0" * 8)], pongs
    yield "4.2: DATA of 2^14", [headers(POST, EH), data(b"x" * 16384)], answers
    yield "4.2: DATA too large", [headers(POST, EH), data(b"x" * 16385)], resets(FRAME_SIZE)
    yield "4.2: HEADERS too large", [frame(HEADERS, BOTH, 1, b"\x00\x01x" + b"\x7f\x81\x7f" + b"y" * 16400)], dies(FRAME_SIZE)
    yield "4.3: a broken block", [frame(HEADERS, BOTH, 1, b"\x40")], dies(COMPRESSION)
    yield "4.3: PRIORITY within a block", [headers(flags=ES), frame(PRIORITY, 0, 1, u32(0) + b"\xff"), frame(CONTINUATION, EH, 1)], dies(PROTOCOL)
    yield "4.3: HEADERS within a block", [headers(flags=ES), headers(stream=3)], dies(PROTOCOL)
    for what, sent in [("DATA", data()), ("RST_STREAM", frame(RST, 0, 1, u32(CANCEL))), ("WINDOW_UPDATE", frame(WINDOW, 0, 1, u32(100))),
                       ("CONTINUATION", (CONTINUATION, EH, 1, Fields(GET), b"", b""))]:
        yield f"5.1: {what} on an idle stream", [sent], dies(PROTOCOL)
    again = (CONTINUATION, EH, 1, Fields(GET), b"", b"")
    for what, sent, codes in [("DATA", data(), [STREAM_CLOSED]), ("HEADERS", headers(), [STREAM_CLOSED]), ("CONTINUATION", again, [STREAM_CLOSED, PROTOCOL])]:
        yield f"5.1: {what} on a half-closed stream", [headers(), sent], resets(*codes)
        yield f"5.1: {what} on a reset stream", [headers(flags=EH), frame(RST, 0, 1, u32(CANCEL)), sent], resets(*codes)
        yield f"5.1: {what} on a closed stream", [headers(), SEEN, sent], (resets if what == "DATA" else dies)(*codes)
    yield "5.1.1: an even stream", [headers(stream=2)], dies(PROTOCOL)
    yield "5.1.1: a smaller stream", [headers(stream=5), headers(stream=3)], dies(PROTOCOL)
    yield "5.1.2: one stream too many", [frame(SETTINGS, 0, 0, setting(4, 0)), "as many and one"], resets(PROTOCOL, REFUSED)
    yield "5.3.1: HEADERS that depend on themselves", [headers(flags=BOTH | PRIO, lead=u32(1) + b"\xff")], resets(PROTOCOL)
    yield "5.3.1: PRIORITY that depends on itself", [frame(PRIORITY, 0, 1, u32(1) + b"\xff")], resets(PROTOCOL)
    yield "5.4.1: the connection is closed", [frame(PING, 0, 3, b"\0" * 8)], closes
    yield "5.4.1: GOAWAY comes first", [frame(PING, 0, 3, b"\0" * 8)], tells(GOAWAY, PROTOCOL)
    yield "5.5: an extension", [frame(0x16, 0, 0, b"\0" * 8), PING_], pongs
    yield "5.5: an extension within a block", [headers(flags=ES), frame(0x16, 0, 0, b"\0" * 8)], dies(PROTOCOL)


def kinds_of_frames():
    yield "6.1: DATA on stream 0", [data(stream=0)], dies(PROTOCOL)
    yield "6.1: DATA on a half-closed stream", [headers(), data()], resets(STREAM_CLOSED)
    yield "6.1: padding as long as DATA", [headers(POST, EH), data(b"\x06test\0", ES | PADDED)], dies(PROTOCOL)
    yield "6.2: PRIORITY behind HEADERS without END_HEADERS", [headers(flags=ES), frame(PRIORITY, 0, 1, u32(0) + b"\xff")], dies(PROTOCOL)
    yield "6.2: HEADERS of another stream", [headers(flags=ES), headers(flags=ES, stream=3)], dies(PROTOCOL)
    yield "6.2: HEADERS on stream 0", [headers(stream=0)], dies(PROTOCOL)
    yield "6.2: padding longer than HEADERS", [headers(flags=BOTH | PADDED, lead=b"\xff")], dies(PROTOCOL)
    yield "6.3: PRIORITY on stream 0", [frame(PRIORITY, 0, 0, u32(0x80000001) + b"\xff")], dies(PROTOCOL)
    yield "6.3: PRIORITY of 4 bytes", [headers(flags=EH), frame(PRIORITY, 0, 1, u32(0x80000001))], resets(FRAME_SIZE)
    yield "6.4: RST_STREAM on stream 0", [frame(RST, 0, 0, u32(CANCEL))], dies(PROTOCOL)
    yield "6.4: RST_STREAM on an idle stream", [frame(RST, 0, 1, u32(CANCEL))], dies(PROTOCOL)
    yield "6.4: RST_STREAM of 3 bytes", [headers(flags=EH), frame(RST, 0, 1, b"\0\0\0")], dies(FRAME_SIZE)
    yield "6.5: an ACK with more", [frame(SETTINGS, ACK, 0, b"\0")], dies(FRAME_SIZE)
    yield "6.5: SETTINGS on a stream", [frame(SETTINGS, 0, 1, setting(3, 100))], dies(PROTOCOL)
    yield "6.5: SETTINGS of 3 bytes", [frame(SETTINGS, 0, 0, b"\0\3\0")], dies(FRAME_SIZE)
    for what, number, value, codes in [("ENABLE_PUSH of 2", 2, 2, [PROTOCOL]), ("INITIAL_WINDOW_SIZE", 4, 0x80000000, [FLOW]), ("MAX_FRAME_SIZE below", 5, 16383, [PROTOCOL]),
                                       ("MAX_FRAME_SIZE above", 5, 16777216, [PROTOCOL])]:
        yield f"6.5.2: {what}", [frame(SETTINGS, 0, 0, setting(number, value))], dies(*codes)
    yield "6.5.2: unknown", [frame(SETTINGS, 0, 0, setting(0xFF, 1)), PING_], pongs
    yield "6.5.3: the last value counts", [frame(SETTINGS, 0, 0, setting(4, 100) + setting(4, 1)), SETTLED, headers()], sends(1)
    yield "6.5.3: an ACK", [frame(SETTINGS)], acknowledges
    yield "6.7: PING", [PING_], lambda event: pongs(event) and (event[3] == b"h2spec\0\0" or "wrong")
    yield "6.7: an answer that nobody asked for", [frame(PING, ACK, 0, b"invalid\0"), PING_], lambda event: pongs(event) and (event[3] == b"h2spec\0\0" or "wrong")
    yield "6.7: PING on a stream", [frame(PING, 0, 1, b"\0" * 8)], dies(PROTOCOL)
    yield "6.7: PING of 6 bytes", [frame(PING, 0, 0, b"\0" * 6)], dies(FRAME_SIZE)
    yield "6.8: GOAWAY on a stream", [frame(GOAWAY, 0, 1, u32(0) * 2)], dies(PROTOCOL)
    yield "6.9: WINDOW_UPDATE of 0", [frame(WINDOW, 0, 0, u32(0))], dies(PROTOCOL)
    yield "6.9: WINDOW_UPDATE of 0 on a stream", [headers(flags=EH), frame(WINDOW, 0, 1, u32(0))], resets(PROTOCOL)
    yield "6.9: WINDOW_UPDATE of 3 bytes", [frame(WINDOW, 0, 0, b"\0\0\1")], dies(FRAME_SIZE)
    yield "6.9.1: a window of 1", [frame(SETTINGS, 0, 0, setting(4, 1)), SETTLED, headers()], sends(1)
    yield "6.9.1: the connection's window", [frame(WINDOW, 0, 0, u32(HUGE)), frame(WINDOW, 0, 0, u32(HUGE))], tells(GOAWAY, FLOW)
    yield "6.9.1: a stream's window", [headers(flags=EH), frame(WINDOW, 0, 1, u32(HUGE)), frame(WINDOW, 0, 1, u32(HUGE))], tells(RST, FLOW)
    yield "6.9.2: a window that opens", [frame(SETTINGS, 0, 0, setting(4, 0)), SETTLED, headers(), frame(SETTINGS, 0, 0, setting(4, 1))], sends(1)
    yield "6.9.2: a window below zero", [frame(SETTINGS, 0, 0, setting(4, 3)), SETTLED, headers(), SOME, frame(SETTINGS, 0, 0, setting(4, 2)), SETTLED,
                                          frame(WINDOW, 0, 1, u32(2))], sends(1)
    yield "6.9.2: INITIAL_WINDOW_SIZE too large", [frame(SETTINGS, 0, 0, setting(4, 0x80000000))], dies(FLOW)
    more = (CONTINUATION, EH, 1, Fields([("x-dummy", "x")]), b"", b"")
    yield "6.10: CONTINUATION twice", [block_in(1, 3)], answers
    yield "6.10: on stream 0", [headers(flags=ES), (CONTINUATION, EH, 0, more[3], b"", b"")], dies(PROTOCOL)
    yield "6.10: behind END_HEADERS", [headers(flags=BOTH), more], dies(PROTOCOL)
    yield "6.10: behind CONTINUATION with END_HEADERS", [headers(flags=ES), more, more], dies(PROTOCOL)
    yield "6.10: behind DATA", [headers(POST, EH), data(flags=0), more], dies(PROTOCOL)
    yield "6.10: behind that, without HEADERS", [headers(flags=ES), (CONTINUATION, EH, 3, more[3], b"", b"")], dies(PROTOCOL)
    yield "7: GOAWAY of an unknown code", [frame(GOAWAY, 0, 0, u32(0) + u32(0xFF))], closes
    yield "7: RST_STREAM of an unknown code", [headers(POST, EH), frame(RST, 0, 1, u32(0xFF)), PING_], pongs


def messages():
    yield "8.1: HEADERS twice, without an end", [headers(POST, EH), headers([("x-test", "ok")], EH)], resets(PROTOCOL)
    for what, fields in [("8.1.2: a capital", [*GET, ("X-TEST", "ok")]), ("8.1.2.1: unknown", [*GET, (":test", "ok")]), ("8.1.2.1: of answers", [*GET, (":status", "200")]),
                         ("8.1.2.1: behind a field", [("x-test", "ok"), *GET]), ("8.1.2.2: connection", [*GET, ("connection", "keep-alive")]),
                         ("8.1.2.2: te", [*GET, ("trailers", "test"), ("te", "trailers, deflate")]), ("8.1.2.3: :path is empty", [*GET[:2], (":path", ""), GET[3]]),
                         ("8.1.2.3: no :method", GET[1:]), ("8.1.2.3: no :scheme", [GET[0], *GET[2:]]), ("8.1.2.3: no :path", [*GET[:2], GET[3]]),
                         ("8.1.2.3: :method twice", [*GET, GET[0]]), ("8.1.2.3: :scheme twice", [*GET, GET[1]]), ("8.1.2.3: :path twice", [*GET, GET[2]])]:
        yield what, [headers(fields)], resets(PROTOCOL)
    # The last one's name is in the dynamic table by then.
    for what, trailer in [("by its static index", (":method", "POST")), ("by its name's", (":method", "200")), ("unknown", (":x", "y")), ("by its dynamic index", GET[3])]:
        yield f"8.1.2.1: in trailers, {what}", [headers([*POST, ("trailer", "x-test")], EH), data(flags=0), headers([trailer, ("x-test", "ok")])], resets(PROTOCOL)
    yield "8.1.2.6: a length that is not met", [headers([*POST, ("content-length", "1")], EH), data()], resets(PROTOCOL)
    yield "8.1.2.6: by two DATA", [headers([*POST, ("content-length", "1")], EH), data(flags=0), data()], resets(PROTOCOL)
    yield "8.2: PUSH_PROMISE", [(PUSH, EH, 1, Fields(GET), u32(3), b"")], dies(PROTOCOL)
    yield "hpack 2.3.3: an index beyond the tables", [headers(more=integer(70, 7, 0x80) + integer(200, 7, 0x80))], dies(COMPRESSION)
    yield "hpack 4.2: a size update at the end", [headers(more=b"\x20")], dies(COMPRESSION)
    name = b"\x00\x85\xf2\xb2\x4a\x84\xff"
    for what, more in [("longer than 7 bits", b"\x85\x9c\x48\xac\xa4\xff"), ("of zeros", b"\x83\x49\x50\x90"), ("EOS", b"\x88\x9c\x48\xac\xa4\xff\xff\xff\xff")]:
        yield f"hpack 5.2: padding {what}", [headers(more=name + more)], dies(COMPRESSION)
    yield "hpack 6.1: index 0", [headers(more=b"\x80")], dies(COMPRESSION)
    yield "hpack 6.3: a size over the bound", [headers(before=integer(8193, 5, 0x20))], dies(COMPRESSION)


class Connection(H2):
    """Sends as it is told, and hears what comes: frames, "closed", "broken" (no end in order) or "timeout"."""

    def __init__(self, door, at_once):
        super().__init__(door, handshake=False)
        self.sock.settimeout(PATIENCE)
        self.at_once, self.waiting, self.streams = at_once, b"", 100

    def write(self, data):
        self.waiting += data
        if not self.at_once:
            self.flush()

    def flush(self):
        waiting, self.waiting = self.waiting, b""
        if waiting:
            self.quietly(waiting)

    def event(self):
        self.flush()
        try:
            head = self._take(9)
            payload = head and self._take(int.from_bytes(head[:3], "big"))
        except TimeoutError:
            return "timeout"
        except OSError:
            return "broken"
        if head is None or payload is None:
            return "closed"
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        if kind == SETTINGS and not flags & ACK:
            self.quietly(frame(SETTINGS, ACK))
            for at in range(0, len(payload), 6):
                if payload[at:at + 2] == b"\0\3":
                    self.streams = struct.unpack(">I", payload[at + 2:at + 6])[0]
        return kind, flags, stream, payload

    def awaits(self, judge):
        """Reads on until the judge is content; what happened, if that is not so."""
        last = "nothing"
        while True:
            event = self.event()
            verdict = event not in ("timeout", "broken") and judge(event)
            if verdict and verdict != "wrong":
                return None
            if verdict == "wrong" or isinstance(event, str):
                return f"{event} behind {last}"
            last = event

    def encoded(self, fields):
        return fields.before + self.encoder.encode(fields.fields) + fields.more

    def step(self, step):
        """Does one step; what went wrong, if anything."""
        if isinstance(step, bytes):
            self.write(step)
        elif step == SEEN:
            return self.awaits(lambda event: event[0] in (DATA, HEADERS) and event[1] & ES)
        elif step == SETTLED:
            return self.awaits(acknowledges)
        elif step == SOME:
            return self.awaits(lambda event: event[0] == DATA)
        elif step == "as many and one":
            for n in range(self.streams + 1):
                self.write(frame(HEADERS, BOTH, 2 * n + 1, self.encoder.encode(GET)))
        elif step[0] == "block":
            block, cuts = self.encoder.encode(step[1]), [0, *step[2], None]
            for n, (start, end) in enumerate(zip(cuts, cuts[1:])):
                self.write(frame(CONTINUATION if n else HEADERS, (0 if n else ES) | (0 if end else EH), 1, block[start:end]))
        else:
            kind, flags, stream, fields, lead, tail = step
            self.write(frame(kind, flags, stream, lead + self.encoded(fields) + tail))
        return None


def attempt(door, steps, judge, at_once):
    with Connection(door, at_once) as connection:
        if steps[:1] == ["raw"]:
            connection.write(steps[1])
            return connection.awaits(judge)
        connection.write(PREFACE + frame(SETTINGS, 0, 0, setting(4, 65535)))
        # A case that is about an acknowledgement waits for it itself.
        if steps and (fault := connection.awaits(acknowledges)):
            return f"no handshake: {fault}"
        for step in steps:
            if fault := connection.step(step):
                return f"before its end: {fault}"
        connection.flush()
        return connection.awaits(judge)


def run(tally, door):
    cases = [case for group in (generic, frames_and_streams, kinds_of_frames, messages) for case in group()]
    if len(sys.argv) > 1:
        cases = [case for case in cases if any(word in case[0] for word in sys.argv[1:])]

    def one(job):
        (what, steps, judge), at_once = job
        # A busy machine may take two seconds by itself, but not each time.
        for _ in range(4):
            try:
                fault = attempt(door, steps, judge, at_once)
            except OSError as error:
                fault = f"timeout, or none at all: {error!r}"
            if not fault or "timeout" not in fault:
                break
        tally.check(not fault, f"{what}{' (in one write)' if at_once else ''}", fault)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, [(case, at_once) for at_once in (False, True) for case in cases]))
    print(f"  {len(cases)} cases, each twice", flush=True)


if __name__ == "__main__":
    tally = Tally()
    origin = Origin(lambda seen, sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + (b"" if seen["method"] == "HEAD" else b"0123456789")) is None)
    with Door([(HOST, origin.port, "")]) as door:
        run(tally, door)
        tally.check(not door.said("panicked"), "nothing panicked", door.said("panicked")[:2])
    tally.end()
