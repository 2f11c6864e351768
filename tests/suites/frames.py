"""HTTP/2 written by hand (RFC 9113), for what no decent client sends."""

import contextlib
import socket
import struct
import threading
import time

from hpack import Decoder, Encoder

from harness import HOST, PATIENCE

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIO, ACK = 1, 4, 8, 0x20, 1
NO_ERROR, PROTOCOL, INTERNAL, FLOW, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
CALM = 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A field without indexing and without Huffman coding (RFC 7541 §6.2.2), whatever is in it."""
    def text(part):
        part = part.encode("latin-1") if isinstance(part, str) else part
        return integer(len(part), 7) + part
    return b"\x00" + text(name) + text(value)


def integer(value, prefix, first=0):
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def request(method="GET", path="/", authority=HOST, scheme="https", extra=()):
    return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *extra]


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


class H2:
    """A connection; `handshake=False` sends nothing yet."""

    def __init__(self, door, handshake=True, settings=b"", name=HOST, timeout=PATIENCE, protocols=("h2",)):
        self.sock = door.tls(list(protocols), name, timeout)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.buffer = b""
        self.cut = lambda data: [data]
        self.readers = []
        if handshake:
            self.send(PREFACE + frame(SETTINGS, payload=settings))
            self.until(lambda kind, flags, stream, payload: kind == SETTINGS and flags & ACK)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def reading(self, work):
        """Reads in a thread of its own, which ends with the connection."""
        self.readers.append(threading.Thread(target=work, daemon=True))
        self.readers[-1].start()

    def close(self):
        # Who still reads would read whatever the descriptor is next.
        with contextlib.suppress(OSError):
            if self.readers:
                self.sock.shutdown(socket.SHUT_RDWR)
        for reader in self.readers:
            reader.join(PATIENCE)
        with contextlib.suppress(OSError):
            self.sock.close()

    def send(self, data):
        """In the pieces that `cut` makes of it, each read before the next one comes, mostly."""
        for n, piece in enumerate(self.cut(data)):
            if n:
                time.sleep(0.0005)
            self.sock.sendall(piece)
        return self

    def quietly(self, data):
        """Sends what may find the connection closed."""
        with contextlib.suppress(OSError):
            self.send(data)
        return self

    def ask(self, stream=1, fields=None, flags=END_STREAM | END_HEADERS):
        return self.send(frame(HEADERS, flags, stream, block(fields or request())))

    def read(self):
        """The next frame; none at the end of the connection. SETTINGS and PING are answered."""
        try:
            head = self._take(9)
            if head is None:
                return None
            length = struct.unpack(">I", b"\0" + head[:3])[0]
            payload = self._take(length)
        except (ConnectionError, TimeoutError) as fault:
            if isinstance(fault, TimeoutError):
                raise
            return None
        except OSError:
            return None
        if payload is None:
            return None
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        if kind == SETTINGS and not flags & ACK:
            self.quietly(frame(SETTINGS, ACK))
        return kind, flags, stream & 0x7FFFFFFF, payload

    def _take(self, length):
        while len(self.buffer) < length:
            part = self.sock.recv(65536)
            if not part:
                return None
            self.buffer += part
        part, self.buffer = self.buffer[:length], self.buffer[length:]
        return part

    def until(self, condition):
        """Reads on; the frame that meets the condition, none at the end or where nothing more comes."""
        try:
            while found := self.read():
                if condition(*found):
                    return found
        except TimeoutError:
            return "timeout"
        return None

    def status(self, stream=1):
        """The status of the answer on a stream; else ("reset", code), ("goaway", code), "closed" or "timeout"."""
        try:
            while found := self.read():
                kind, flags, on, payload = found
                if kind == HEADERS:
                    fields = dict(self.decoder.decode(payload))
                    if on == stream and int(fields[":status"]) >= 200:
                        return int(fields[":status"])
                if kind == RST and on == stream:
                    return "reset", struct.unpack(">I", payload)[0]
                if kind == GOAWAY:
                    return "goaway", struct.unpack(">I", payload[4:8])[0]
        except TimeoutError:
            return "timeout"
        return "closed"

    def goaway(self, seconds=None):
        """The code of the GOAWAY; "closed" where the connection ended without one, "timeout" where it did not."""
        if seconds:
            self.sock.settimeout(seconds)
        found = self.until(lambda kind, *_: kind == GOAWAY)
        if isinstance(found, tuple):
            return struct.unpack(">I", found[3][4:8])[0]
        return found or "closed"

    def alive(self):
        """Whether a PING is answered."""
        self.quietly(frame(PING, payload=b"are-you?"))
        found = self.until(lambda kind, flags, _, payload: kind == PING and flags & ACK and payload == b"are-you?"
                           or kind == GOAWAY)
        return isinstance(found, tuple) and found[0] == PING
