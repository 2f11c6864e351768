"""HTTP/2 as a test program for conformance asks and judges: each frame in a write of its own, no wait that the case does
not ask for, windows opened only when they are used up, and two seconds for whatever has to come.

How h2spec judges is kept to the letter: the first frame of a kind counts where a kind is waited for; a connection
error is GOAWAY with a fitting code or a clean end (a TCP reset is none); a stream error may also be RST_STREAM.
"""

import ssl
import struct
import time

from hpack import Decoder

from frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, NO_ERROR, PING, PREFACE, PRIORITY,
                    RST, SETTINGS, WINDOW, frame)

# Later than this is never.
LATE = 2.0
WINDOW_AT_FIRST = 65535
# Bytes in a TLS record: Go's library begins with small ones, so that a large frame comes in many.
RECORD = 1200
LONG = 4000
BOTH = END_STREAM | END_HEADERS
END, TOO_LATE, BROKEN = "the end", "nothing in time", "broken"


class Wrong(Exception):
    """A verdict: what came instead."""


def u32(value):
    return struct.pack(">I", value)


def setting(number, value):
    return struct.pack(">HI", number, value)


def priority(parent=0, weight=255, exclusive=False):
    return u32(parent | exclusive << 31) + bytes([weight])


class Client(H2):
    """Sends what it is told to, and passes events on: frames as (kind, flags, stream, payload), or how it ended."""

    def __init__(self, door, path="/", pause=0.0):
        super().__init__(door, handshake=False, name=door.name, timeout=LATE, protocols=["h2", "h2-16"])
        self.door, self.path, self.pause = door, path, pause
        # The other side's settings; what is left of the windows that it was given.
        self.settings, self.windows = {}, {}

    def raw(self, data):
        for at in range(0, len(data), RECORD):
            self.quietly(data[at:at + RECORD])
        time.sleep(self.pause)
        return self

    def write(self, kind, flags=0, stream=0, payload=b""):
        return self.raw(frame(kind, flags, stream, payload))

    def apart(self, kind, flags, stream, payload):
        """The frame's head in one write and its payload in the next."""
        return self.raw(frame(kind, flags, stream, b"", len(payload))).raw(payload)

    def handshake(self):
        """Both SETTINGS and the other side's ACK, before anything else."""
        self.raw(PREFACE).write(SETTINGS, 0, 0, setting(4, WINDOW_AT_FIRST))
        left = {"theirs", "ours"}
        for kind, flags, _, payload in self.frames():
            if kind == SETTINGS and flags & ACK:
                left.discard("ours")
            elif kind == SETTINGS:
                left.discard("theirs")
                self.settings = dict(struct.unpack(">HI", payload[at:at + 6]) for at in range(0, len(payload), 6))
                self.write(SETTINGS, ACK)
            if not left:
                return self
        raise Wrong("no handshake")

    def fields(self, method="GET", more=(), path=None):
        return [(":method", method), (":scheme", "https"), (":path", self.path if path is None else path),
                (":authority", self.door.authority), *more]

    def block(self, fields):
        return self.encoder.encode(fields)

    def ask(self, flags=BOTH, stream=1, method="GET", more=(), head=b"", tail=b""):
        """HEADERS of a request, with bytes around its block."""
        return self.write(HEADERS, flags, stream, head + self.block(self.fields(method, more)) + tail)

    def only(self, fields):
        """HEADERS with these fields and no others."""
        return self.write(HEADERS, BOTH, 1, self.block(fields))

    def post(self, flags=END_HEADERS, more=()):
        return self.ask(flags, method="POST", more=more)

    def goes_on(self, flags=END_HEADERS, stream=1):
        """CONTINUATION with a long field."""
        return self.write(CONTINUATION, flags, stream, self.block(long_fields(1)))

    def data(self, flags=END_STREAM, stream=1, payload=b"body"):
        return self.write(DATA, flags, stream, payload)

    def prioritise(self, stream=1, **how):
        return self.write(PRIORITY, 0, stream, priority(**how))

    def reset(self, stream=1, code=8):
        return self.write(RST, 0, stream, u32(code))

    def opens(self, stream=1, by=1):
        return self.write(WINDOW, 0, stream, u32(by))

    def set(self, *pairs):
        return self.write(SETTINGS, 0, 0, b"".join(setting(*pair) for pair in pairs))

    def ping(self, payload=bytes(8), flags=0):
        return self.write(PING, flags, 0, payload)

    def frames(self):
        """Frames as they come, within the time there is; what ends them ends this."""
        until = time.monotonic() + LATE
        while isinstance(event := self._event(until), tuple):
            yield event
        self.ended = event

    def _event(self, until):
        try:
            self.sock.settimeout(max(until - time.monotonic(), 0.001))
            if (head := self._take(9)) is None:
                return BROKEN if self.buffer else END
            if (payload := self._take(int.from_bytes(head[:3], "big"))) is None:
                return BROKEN
        except TimeoutError:
            return TOO_LATE
        except (ssl.SSLError, OSError) as fault:
            return f"{BROKEN}: {fault}"
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        if kind == DATA:
            self._used(stream, len(payload))
            self._used(0, len(payload))
        return kind, flags, stream, payload

    def _used(self, stream, length):
        """A window is opened again when there is nothing left of it, not before."""
        left = self.windows.get(stream, WINDOW_AT_FIRST) - length
        if left <= 0:
            self.opens(stream, WINDOW_AT_FIRST - left)
            left = WINDOW_AT_FIRST
        self.windows[stream] = left

    def expect(self, frame_is, end_is_fine=False):
        """Reads on until a frame is the right one; others don't matter."""
        seen = []
        for event in self.frames():
            if frame_is(*event):
                return self
            seen.append(event[:3] + (event[3][:16],))
        if end_is_fine and self.ended == END:
            return self
        raise Wrong(f"{seen[-4:]}, then {self.ended}")

    def first(self, wanted, is_right):
        """The first frame of a kind has to be the right one."""
        for event in self.frames():
            if event[0] == wanted:
                if is_right(*event):
                    return self
                raise Wrong(event[:3] + (event[3][:16],))
        raise Wrong(self.ended)

    def length(self):
        """Bytes of the answer to a GET."""
        total = 0
        for kind, flags, _, payload in self.handshake().ask().frames():
            total += len(payload) if kind == DATA else 0
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return total
        raise Wrong(f"no whole answer: {total} bytes, then {self.ended}")


def long_fields(count):
    return [(f"x-long-{number}", "x" * LONG) for number in range(count)]


# The verdicts: each takes a client, and is quiet or raises `Wrong`.

def connection_error(*codes):
    return lambda c: c.expect(lambda kind, _, __, payload: kind == GOAWAY and code_of(payload[4:]) in codes, True)


def stream_error(*codes):
    return lambda c: c.expect(lambda kind, _, __, payload: kind == GOAWAY and code_of(payload[4:]) in codes
                              or kind == RST and code_of(payload) in codes, True)


def code_of(payload):
    return struct.unpack(">I", payload[:4])[0]


def closes(c):
    return c.expect(lambda *_: False, True)


def stream_ends(c):
    return c.expect(lambda kind, flags, _, payload: kind in (DATA, HEADERS) and flags & END_STREAM
                    or kind == RST and code_of(payload) == NO_ERROR)


def goes_away(c):
    return c.expect(lambda kind, *_: kind == GOAWAY)


def answered(c):
    """By a head on stream 1: h2spec takes any, but here the request is a good one."""
    def is_right(_, __, stream, payload):
        return stream == 1 and c.door.status in (None, int(dict(Decoder().decode(payload))[":status"]))
    return c.first(HEADERS, is_right)


def pong(payload=bytes(8)):
    return lambda c: c.first(PING, lambda _, flags, __, got: flags & ACK and got == payload)


def pong_or_end(payload):
    return lambda c: c.expect(lambda kind, flags, _, got: kind == PING and flags & ACK and got == payload, True)


def acknowledged(c):
    return c.first(SETTINGS, lambda _, flags, *__: flags & ACK)


def some_data(c):
    return c.first(DATA, lambda *_: True)


def one_byte(c):
    return c.first(DATA, lambda _, __, ___, payload: len(payload) == 1)
