"""HTTP/2 as h2spec has it, case by case: what each of its 147 cases sends, judged by its rule for a pass (verdicts.py).

The labels are h2spec's, so that its output can be held against this one; `http2/5.4.1/2` is the one that it runs with
`--strict` alone. Each case has a connection of its own. All of them run against an answer of five bytes, the least
that h2spec skips nothing for, one of 100 KiB, an app that answers before a request's body is there, and slowly,
with a pause behind each frame.

With HOST:PORT and perhaps a path, against a proxy that runs there already, as h2spec does: `h2_sections.py
localhost:8443 /`.
"""

import socket
import ssl
import sys

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from frames import (ACK, COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW, FRAME_SIZE, GOAWAY, HEADERS, PADDED,
                    PING, PREFACE, PRIO, PRIORITY, PROTOCOL, PUSH, REFUSED, RST, SETTINGS, STREAM_CLOSED, WINDOW, integer)
from harness import HOST, Door, Origin, Tally
from verdicts import (BOTH, TOO_LATE, WINDOW_AT_FIRST, Client, Wrong, acknowledged, answered, closes, code_of, connection_error,
                      goes_away, long_fields, one_byte, pong, pong_or_end, priority, setting, some_data, stream_ends,
                      stream_error, u32)

ES, EH = END_STREAM, END_HEADERS
UNKNOWN = 0x16
MOST = (1 << 31) - 1


def coded(data):
    """A text in Huffman code."""
    data = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(data)
    return integer(len(data), 7, 0x80) + data


def plain(data):
    return integer(len(data), 7) + data


def pair(first, text, name=b"x-section", value=b"doorward"):
    """A literal field with its name written out; the first byte says whether it is indexed."""
    return bytes([first]) + text(name) + text(value)


def bits(text):
    """Its Huffman code as zeros and ones, without padding."""
    return "".join(f"{REQUEST_CODES[byte]:0{REQUEST_CODES_LENGTH[byte]}b}" for byte in text)


def valued(code, padding, more=""):
    """A field whose value is this code, padded to a byte."""
    code += padding * (-len(code) % 8) + more
    value = int(code, 2).to_bytes(len(code) // 8, "big")
    return b"\0" + coded(b"x-section") + integer(len(value), 7, 0x80) + value


def without(c, *names):
    return [(name, value) for name, value in c.fields() if name not in names]


def closed(c):
    """A stream that was answered to its end."""
    return stream_ends(c.ask())


def narrow(c, window):
    """No more than this for each stream, and the other side knows."""
    return acknowledged(c.set((4, window)))


def crowd(c):
    """One request more than the other side takes at once, none of which can be answered to its end."""
    c.set((4, 0))
    block = c.block(c.fields())
    for stream in range(1, 2 * c.settings[3] + 2, 2):
        c.write(HEADERS, BOTH, stream, block)


def over_the_table(c):
    c.ask(head=integer(c.settings.get(1, 4096) + 1, 5, 0x20))


def small_table(c):
    c.encoder.header_table_size = 128
    c.ask()


def in_pieces(c, *cuts):
    """A GET in HEADERS and CONTINUATION."""
    block = c.block(c.fields())
    parts = [block[start:end] for start, end in zip((0, *cuts), (*cuts, None))]
    c.write(HEADERS, ES, 1, parts[0])
    for part in parts[1:]:
        c.write(CONTINUATION, EH if part is parts[-1] else 0, 1, part)


def twice(c, kind, before=lambda c: c):
    """The very same block in HEADERS, and once more in a frame of this kind."""
    block = c.block(c.fields())
    c.write(HEADERS, BOTH, 1, block)
    before(c)
    c.write(kind, BOTH if kind == HEADERS else EH, 1, block)


def padding_over_the_end(c):
    block = c.block(c.fields())
    c.raw(bytes([0, 0, len(block) + 1, HEADERS, BOTH | PADDED, 0, 0, 0, 1])).raw(bytes([len(block) + 2])).raw(block)


def larger(c, by):
    """A POST whose DATA is as large as a frame may be, and by this larger."""
    c.post().data(payload=b"x" * (c.settings.get(5, 16384) + by))


def shrinking(c):
    """Three bytes come, the window is made smaller by one, so that it is below zero, and then larger by two."""
    some_data(narrow(c, 3).ask())
    narrow(c, 2).opens(by=2)


def flow_fault(kind):
    """The first frame of this kind says that the window is too large."""
    return lambda c: c.first(kind, lambda kind, _, stream, payload: stream == (kind == RST)
                             and code_of(payload[0 if kind == RST else 4:]) == FLOW)


def begins(c):
    c.raw(PREFACE).set((4, WINDOW_AT_FIRST))


def own_settings_first(c):
    for kind, flags, *_ in c.frames():
        if kind == SETTINGS and not flags & ACK:
            return
        raise Wrong((kind, flags))
    raise Wrong(c.ended)


PREFACES = {"generic/1/1", "http2/3.5/1", "http2/3.5/2"}
TRIES = 2
# The answer has to have so many bytes; h2spec looks while its connection waits with the preface still to come.
LENGTHS = {"http2/6.5.3/1": 1, "http2/6.9.1/1": 1, "http2/6.9.2/1": 1, "http2/6.9.2/2": 5}
EIGHT = b"sections"

GENERIC = [
    ("1/1", "a preface", begins, own_settings_first),
    ("2/1", "PRIORITY of an idle stream", lambda c: c.prioritise().ping(), pong()),
    ("2/2", "WINDOW_UPDATE, half-closed", lambda c: c.set((4, 0)).ask().opens(), some_data),
    ("2/3", "PRIORITY, half-closed", lambda c: c.set((4, 0)).ask().prioritise().opens(), some_data),
    ("2/4", "RST_STREAM, half-closed", lambda c: c.ask().reset().ping(), pong()),
    ("2/5", "PRIORITY of a closed stream", lambda c: closed(c).prioritise().ping(), pong()),
    ("3.1/1", "DATA", lambda c: c.post().data(), answered),
    ("3.1/2", "DATA twice", lambda c: c.post().data(0).data(), answered),
    ("3.1/3", "DATA, padded", lambda c: c.post().data(ES | PADDED, payload=b"\5body" + bytes(5)), answered),
    ("3.2/1", "HEADERS", lambda c: c.ask(), answered),
    ("3.2/2", "HEADERS, padded", lambda c: c.ask(BOTH | PADDED, head=b"\x08", tail=bytes(8)), answered),
    ("3.2/3", "HEADERS with a priority", lambda c: c.ask(BOTH | PRIO, head=priority()), answered),
    ("3.3/1", "PRIORITY, the least weight", lambda c: c.prioritise(weight=0).ask(), answered),
    ("3.3/2", "PRIORITY, the most weight", lambda c: c.prioritise(weight=255).ask(), answered),
    ("3.3/3", "PRIORITY below another stream", lambda c: c.prioritise(3, parent=1, weight=0).ask(), answered),
    ("3.3/4", "PRIORITY, exclusive", lambda c: c.prioritise(weight=0, exclusive=True).ask(), answered),
    ("3.3/5", "PRIORITY of a later stream", lambda c: c.prioritise(3).ask(), answered),
    ("3.4/1", "RST_STREAM", lambda c: c.ask(EH).reset().ping(), pong()),
    ("3.5/1", "SETTINGS, all six", lambda c: c.set((1, 4096), (2, 1), (3, 100), (4, 65535), (5, 16384), (6, 100)), acknowledged),
    ("3.7/1", "PING", lambda c: c.ping(EIGHT), pong(EIGHT)),
    ("3.8/1", "GOAWAY", lambda c: c.write(GOAWAY, payload=bytes(8) + EIGHT).ping(EIGHT), pong_or_end(EIGHT)),
    ("3.9/1", "WINDOW_UPDATE of the connection", lambda c: c.opens(0).ping(), pong()),
    ("3.9/2", "WINDOW_UPDATE of a stream", lambda c: c.ask().opens(), answered),
    ("3.10/1", "CONTINUATION", lambda c: in_pieces(c, 5), answered),
    ("3.10/2", "CONTINUATION twice", lambda c: in_pieces(c, 5, 10), answered),
    ("4/1", "GET", lambda c: c.ask(), answered),
    ("4/2", "HEAD", lambda c: c.ask(method="HEAD"), answered),
    ("4/3", "POST", lambda c: c.post().data(), answered),
    ("4/4", "POST with trailers", lambda c: c.post(more=[("trailer", "x-sum")]).data(0).only([("x-sum", "1")]), answered),
    ("5/1", "a field of the static table", lambda c: c.ask(tail=b"\xba"), answered),
    *((f"5/{number}", f"{what} {name.decode()}, {text.__name__}", lambda c, rep=pair(first, text, name): c.ask(tail=rep), answered)
      for number, what, first, name, text in [
          (2, "indexed", 0x40, b"user-agent", coded), (3, "indexed", 0x40, b"user-agent", plain),
          (4, "indexed", 0x40, b"x-section", plain), (5, "indexed", 0x40, b"x-section", coded),
          (6, "not indexed", 0, b"user-agent", plain), (7, "not indexed", 0, b"user-agent", coded),
          (8, "not indexed", 0, b"x-section", plain), (9, "not indexed", 0, b"x-section", coded),
          (10, "never indexed", 0x10, b"user-agent", plain), (11, "never indexed", 0x10, b"user-agent", coded),
          # Both are in Huffman code, whatever the first one is called.
          (12, "never indexed", 0x10, b"x-section", coded), (13, "never indexed", 0x10, b"x-section", coded)]),
    ("5/14", "a smaller table", small_table, answered),
    ("5/15", "a smaller table and a larger one", lambda c: c.ask(head=integer(128, 5, 0x20) + integer(4096, 5, 0x20)), answered),
]

HPACK = [
    ("2.3.3/1", "an index behind the tables", lambda c: c.ask(tail=integer(70, 7, 0x80))),
    ("2.3.3/2", "a name behind the tables", lambda c: c.ask(tail=integer(70, 6, 0x40) + b"\0")),
    ("4.2/1", "a size update at the end", lambda c: c.ask(tail=integer(1, 5, 0x20))),
    ("5.2/1", "a byte of padding too many", lambda c: c.ask(tail=valued(bits(b"text"), "1", "1" * 8))),
    ("5.2/2", "padding of zeros", lambda c: c.ask(tail=valued(bits(b"text"), "0"))),
    ("5.2/3", "the end of a text within it", lambda c: c.ask(tail=valued(bits(b"te") + "1" * 30 + bits(b"xt"), "1"))),
    ("6.1/1", "the index 0", lambda c: c.ask(tail=b"\x80")),
    ("6.3/1", "a table larger than allowed", over_the_table),
]

DEAD = connection_error(PROTOCOL)
BAD = stream_error(PROTOCOL)
OVER = stream_error(STREAM_CLOSED)
NO_MORE = stream_error(STREAM_CLOSED, PROTOCOL)
TOO_LARGE = connection_error(FRAME_SIZE)
OPEN_BLOCK = 0

HTTP2 = [
    ("3.5/1", "a preface", begins, own_settings_first),
    ("3.5/2", "what is no preface", lambda c: c.raw(b"THIS IS NOT A PREFACE\r\n\r\n\r\n\r\n\r\n"[:30]), DEAD),
    ("4.1/1", "an unknown type", lambda c: c.apart(UNKNOWN, 0, 0, bytes(8)).ping(), pong()),
    ("4.1/2", "flags that PING has not", lambda c: c.apart(PING, 0x16, 0, bytes(8)), lambda c: c.first(PING, lambda *_: True)),
    ("4.1/3", "the reserved bit", lambda c: c.apart(PING, 0x16, 1 << 31, bytes(8)), lambda c: c.first(PING, lambda *_: True)),
    ("4.2/1", "the largest DATA", lambda c: larger(c, 0), answered),
    ("4.2/2", "DATA larger than that", lambda c: larger(c, 1), stream_error(FRAME_SIZE)),
    ("4.2/3", "HEADERS too large", lambda c: c.ask(more=long_fields(5)), TOO_LARGE),
    ("4.3/1", "half a field", lambda c: c.write(HEADERS, BOTH, 1, b"\x40"), connection_error(COMPRESSION)),
    ("4.3/2", "PRIORITY within a block", lambda c: c.ask(OPEN_BLOCK).prioritise().goes_on(), DEAD),
    ("4.3/3", "another head within a block", lambda c: c.ask(OPEN_BLOCK).ask(stream=3).goes_on(), DEAD),
    ("5.1/1", "DATA, idle", lambda c: c.data(), DEAD),
    ("5.1/2", "RST_STREAM, idle", lambda c: c.reset(), DEAD),
    ("5.1/3", "WINDOW_UPDATE, idle", lambda c: c.opens(by=100), DEAD),
    ("5.1/4", "CONTINUATION, idle", lambda c: c.write(CONTINUATION, EH, 1, c.block(c.fields())), DEAD),
    ("5.1/5", "DATA, half-closed", lambda c: c.ask().data(), OVER),
    ("5.1/6", "HEADERS, half-closed", lambda c: c.ask().ask(), OVER),
    ("5.1/7", "CONTINUATION, half-closed", lambda c: twice(c, CONTINUATION), NO_MORE),
    ("5.1/8", "DATA behind RST_STREAM", lambda c: c.ask(EH).reset().data(), OVER),
    ("5.1/9", "HEADERS behind RST_STREAM", lambda c: c.ask(EH).reset().ask(), OVER),
    ("5.1/10", "CONTINUATION behind RST_STREAM", lambda c: c.ask(EH).reset().goes_on(), NO_MORE),
    ("5.1/11", "DATA, closed", lambda c: closed(c).data(), OVER),
    ("5.1/12", "HEADERS, closed", lambda c: twice(c, HEADERS, stream_ends), connection_error(STREAM_CLOSED)),
    ("5.1/13", "CONTINUATION, closed", lambda c: closed(c).goes_on(), connection_error(STREAM_CLOSED, PROTOCOL)),
    ("5.1.1/1", "an even stream", lambda c: c.ask(stream=2), DEAD),
    ("5.1.1/2", "a lower stream", lambda c: c.ask(stream=5).ask(stream=3), DEAD),
    ("5.1.2/1", "more streams than allowed", crowd, stream_error(PROTOCOL, REFUSED)),
    ("5.3.1/1", "HEADERS below themselves", lambda c: c.ask(BOTH | PRIO, head=priority(1)), BAD),
    ("5.3.1/2", "PRIORITY below itself", lambda c: c.prioritise(parent=1), BAD),
    ("5.4.1/1", "an error of the connection: close", lambda c: c.apart(PING, 0, 3, bytes(8)), closes),
    ("5.4.1/2", "an error of the connection: GOAWAY", lambda c: c.apart(PING, 0, 3, bytes(8)), goes_away),
    ("5.5/1", "an extension", lambda c: c.apart(UNKNOWN, 0, 0, bytes(8)).ping(), pong()),
    ("5.5/2", "an extension within a block", lambda c: c.ask(ES).apart(UNKNOWN, 0, 0, bytes(8)), DEAD),
    ("6.1/1", "DATA of stream 0", lambda c: c.data(stream=0), DEAD),
    ("6.1/2", "DATA behind a POST's end", lambda c: c.post(BOTH).data(), OVER),
    ("6.1/3", "DATA with more padding than there is",
     lambda c: c.post(more=[("content-length", "4")]).apart(DATA, ES | PADDED, 1, b"\x06body"), DEAD),
    ("6.2/1", "HEADERS, PRIORITY, CONTINUATION", lambda c: c.ask(OPEN_BLOCK).prioritise().goes_on(), DEAD),
    ("6.2/2", "HEADERS, HEADERS, CONTINUATION", lambda c: c.ask(OPEN_BLOCK).ask(stream=3).goes_on(), DEAD),
    ("6.2/3", "HEADERS of stream 0", lambda c: c.ask(stream=0), DEAD),
    ("6.2/4", "HEADERS with more padding than there is", padding_over_the_end, BAD),
    ("6.3/1", "PRIORITY of stream 0", lambda c: c.prioritise(0), DEAD),
    ("6.3/2", "PRIORITY, too short", lambda c: c.ask().apart(PRIORITY, 0, 1, u32(1 << 31 | 1)), stream_error(FRAME_SIZE)),
    ("6.4/1", "RST_STREAM of stream 0", lambda c: c.reset(0), DEAD),
    ("6.4/2", "RST_STREAM of an idle stream", lambda c: c.reset(), DEAD),
    ("6.4/3", "RST_STREAM, too short", lambda c: c.ask().apart(RST, 0, 1, bytes(3)), stream_error(FRAME_SIZE)),
    ("6.5/1", "SETTINGS with ACK and a payload", lambda c: c.apart(SETTINGS, ACK, 0, b"\0"), TOO_LARGE),
    ("6.5/2", "SETTINGS of a stream", lambda c: c.apart(SETTINGS, 0, 1, setting(3, 100)), DEAD),
    ("6.5/3", "half a setting", lambda c: c.apart(SETTINGS, 0, 0, b"\0\3\0"), stream_error(PROTOCOL, FRAME_SIZE)),
    ("6.5.2/1", "ENABLE_PUSH of 2", lambda c: c.set((2, 2)), DEAD),
    ("6.5.2/2", "a first window too large", lambda c: c.set((4, MOST + 1)), connection_error(FLOW)),
    ("6.5.2/3", "a MAX_FRAME_SIZE too small", lambda c: c.set((5, 16383)), DEAD),
    ("6.5.2/4", "a MAX_FRAME_SIZE too large", lambda c: c.set((5, 1 << 24)), DEAD),
    ("6.5.2/5", "a setting that nobody knows", lambda c: c.set((0xFF, 1)).ping(), pong()),
    ("6.5.3/1", "a first window set twice at once", lambda c: acknowledged(c.set((4, 100), (4, 1))).ask(), one_byte),
    ("6.5.3/2", "SETTINGS", lambda c: c.set((2, 0)), acknowledged),
    ("6.7/1", "PING", lambda c: c.ping(EIGHT), pong(EIGHT)),
    ("6.7/2", "PING with ACK, and one without", lambda c: c.ping(b"not this", ACK).ping(EIGHT), pong(EIGHT)),
    ("6.7/3", "PING of a stream", lambda c: c.apart(PING, 0, 1, bytes(8)), DEAD),
    ("6.7/4", "PING, too short", lambda c: c.apart(PING, 0, 0, bytes(6)), TOO_LARGE),
    ("6.8/1", "GOAWAY of a stream", lambda c: c.apart(GOAWAY, 0, 1, bytes(8)), DEAD),
    ("6.9/1", "WINDOW_UPDATE by 0", lambda c: c.opens(0, 0), DEAD),
    ("6.9/2", "WINDOW_UPDATE of a stream by 0", lambda c: c.ask(EH).opens(by=0), BAD),
    ("6.9/3", "WINDOW_UPDATE, too short", lambda c: c.apart(WINDOW, 0, 0, b"\0\0\1"), TOO_LARGE),
    ("6.9.1/1", "a first window of 1", lambda c: narrow(c, 1).ask(), one_byte),
    ("6.9.1/2", "a window too large", lambda c: c.opens(0, MOST).opens(0, MOST), flow_fault(GOAWAY)),
    ("6.9.1/3", "a stream's window too large", lambda c: c.ask(EH).opens(by=MOST).opens(by=MOST), flow_fault(RST)),
    ("6.9.2/1", "a window opened by SETTINGS", lambda c: narrow(c, 0).ask().set((4, 1)), one_byte),
    ("6.9.2/2", "a window below zero", shrinking, one_byte),
    ("6.9.2/3", "a first window too large, in two writes", lambda c: c.apart(SETTINGS, 0, 0, setting(4, MOST + 1)), connection_error(FLOW)),
    ("6.10/1", "CONTINUATION twice", lambda c: c.ask(ES).goes_on(0).goes_on(), answered),
    ("6.10/2", "DATA within a block", lambda c: c.post(OPEN_BLOCK).goes_on(0).data(), DEAD),
    ("6.10/3", "CONTINUATION of stream 0", lambda c: c.ask(ES).goes_on(stream=0), DEAD),
    ("6.10/4", "CONTINUATION behind HEADERS that end", lambda c: c.ask().goes_on(), DEAD),
    ("6.10/5", "CONTINUATION behind one that ends", lambda c: c.ask(ES).goes_on().goes_on(), DEAD),
    ("6.10/6", "CONTINUATION behind DATA", lambda c: c.post(OPEN_BLOCK).data().goes_on(0).goes_on(stream=0), DEAD),
    ("7/1", "GOAWAY with an unknown code", lambda c: c.write(GOAWAY, payload=u32(0) + u32(0xFF)).ping(EIGHT), pong_or_end(EIGHT)),
    ("7/2", "RST_STREAM with an unknown code", lambda c: c.post().reset(code=0xFF).ping(), pong()),
    ("8.1/1", "trailers that do not end the stream", lambda c: c.post().data(0).write(HEADERS, EH, 1, c.block([("x-sum", "1")])), BAD),
    ("8.1.2/1", "a name in capitals", lambda c: c.ask(more=[("X-SUM", "1")]), BAD),
    ("8.1.2.1/1", "an unknown pseudo-header", lambda c: c.ask(more=[(":sum", "1")]), BAD),
    ("8.1.2.1/2", "a pseudo-header of answers", lambda c: c.ask(more=[(":status", "200")]), BAD),
    ("8.1.2.1/3", "a pseudo-header in trailers", lambda c: c.post().data(0).write(HEADERS, EH, 1, c.block([(":method", "POST")])), BAD),
    ("8.1.2.1/4", "pseudo-headers behind a field", lambda c: c.only([("x-sum", "1"), *c.fields()]), BAD),
    ("8.1.2.2/1", "connection", lambda c: c.ask(more=[("connection", "keep-alive")]), BAD),
    ("8.1.2.2/2", "te that is not trailers", lambda c: c.ask(more=[("trailers", "x"), ("te", "trailers, deflate")]), BAD),
    ("8.1.2.3/1", "an empty :path", lambda c: c.only(c.fields(path="")), BAD),
    # h2spec leaves out :scheme here, too.
    ("8.1.2.3/2", "no :method", lambda c: c.only(without(c, ":method", ":scheme")), BAD),
    ("8.1.2.3/3", "no :scheme", lambda c: c.only(without(c, ":scheme")), BAD),
    ("8.1.2.3/4", "no :path", lambda c: c.only(without(c, ":path")), BAD),
    ("8.1.2.3/5", ":method twice", lambda c: c.ask(more=[(":method", "GET")]), BAD),
    ("8.1.2.3/6", ":scheme twice", lambda c: c.ask(more=[(":scheme", "https")]), BAD),
    ("8.1.2.3/7", ":path twice", lambda c: c.ask(more=[(":path", c.path)]), BAD),
    ("8.1.2.6/1", "a length that is not the body's", lambda c: c.post(more=[("content-length", "1")]).data(), BAD),
    ("8.1.2.6/2", "a length that is not the sum", lambda c: c.post(more=[("content-length", "1")]).data(0).data(), BAD),
    ("8.2/1", "PUSH_PROMISE", lambda c: c.write(PUSH, EH, 1, u32(3) + c.block(c.fields())), DEAD),
]

CASES = [("generic/" + label, *case) for label, *case in GENERIC]
CASES += [("hpack/" + label, *case, connection_error(COMPRESSION)) for label, *case in HPACK]
CASES += [("http2/" + label, *case) for label, *case in HTTP2]


def judge(door, path, pause, label, send, verdict):
    """Nothing where the case passes, or what came instead."""
    try:
        with Client(door, path, pause) as client:
            if label in LENGTHS:
                with Client(door, path) as other:
                    if (length := other.length()) < LENGTHS[label]:
                        raise Wrong(f"h2spec would skip it: the answer has {length} bytes")
            if label not in PREFACES:
                client.handshake()
            send(client)
            verdict(client)
    except (Wrong, OSError) as wrong:
        return wrong
    return None


def run(tally, door, what, path, pause=0.0):
    for label, name, send, verdict in CASES:
        for _ in range(TRIES):
            wrong = judge(door, path, pause, label, send, verdict)
            # What comes too late because the machine is busy comes in time when it is less so; what never comes does not.
            if not isinstance(wrong, TimeoutError) and TOO_LATE not in str(wrong):
                break
        tally.check(wrong is None, f"{label}: {name} ({what})", wrong)


class Running:
    """A proxy that runs already, with any certificate."""

    status = None

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address, self.name = (host, int(port)), host
        self.authority = host if port == "443" else address

    def tls(self, alpn, name, timeout):
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(alpn)
        raw = socket.create_connection(self.address, timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # No SNI for an address, as Go has it.
        return context.wrap_socket(raw, server_hostname=None if name[-1:].isdigit() else name)


if __name__ == "__main__":
    BODIES = {"/": b"small", "/large": bytes(100 * 1024), "/early": b"small"}

    def answer(seen, sock):
        body = BODIES[seen["target"]]
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        sock.sendall(head if seen["method"] == "HEAD" else head + body)
        return True

    tally = Tally()
    tally.check(len({label for label, *_ in CASES}) == len(CASES) == 147, "146 cases and a strict one", len(CASES))
    if len(sys.argv) > 1:
        run(tally, Running(sys.argv[1]), sys.argv[1], *sys.argv[2:3] or ["/"])
        tally.end()
    origin = Origin(answer)
    origin.early = ("/early",)
    with Door([(HOST, origin.port, "")]) as door:
        door.name, door.authority, door.status = HOST, f"{HOST}:{door.https[1]}", 200
        run(tally, door, "a small answer", "/")
        run(tally, door, "a large answer", "/large")
        run(tally, door, "an early answer", "/early")
        run(tally, door, "slowly", "/", 0.003)
        run(tally, door, "an early answer, slowly", "/early", 0.003)
        tally.check(door.get()[0] == 200, "a sound request passes at the end")
        tally.check(not door.said("panicked"), "nothing panicked", door.said("panicked")[:2])
    tally.end()
