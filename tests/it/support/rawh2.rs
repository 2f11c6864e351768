//! HTTP/2 written by hand, for the requests that no decent client sends.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use super::{Tls, client_config};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// A connection whose preface and settings are through.
pub(crate) struct RawH2 {
    tls: Tls,
}

impl RawH2 {
    /// To `name` at `address`.
    pub(crate) fn connect(address: SocketAddr, name: &str) -> Self {
        let mut tls = Tls::with(client_config(&["h2"]), address, name).expect("a handshake");
        tls.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").send(frame(SETTINGS, 0, 0, &[]));
        Self { tls }
    }

    /// Sends one request that ends with its head, whatever is in it, and returns the answer's status;
    /// none where the stream was reset or the connection ended.
    pub(crate) fn request(&mut self, fields: &[(&str, &str)]) -> Option<u16> {
        let end_stream_and_headers = 0x5;
        self.tls.send(frame(HEADERS, end_stream_and_headers, 1, &block(fields)));
        loop {
            let (kind, flags, stream, payload) = self.read()?;
            match kind {
                SETTINGS if flags & 1 == 0 => {
                    // The peer may have closed already; then the next read says so.
                    let _ = self.tls.stream.write_all(&frame(SETTINGS, 1, 0, &[]));
                    let _ = self.tls.stream.flush();
                }
                HEADERS if stream == 1 => return Some(status(&payload)),
                DATA if stream == 1 => {}
                RST_STREAM | GOAWAY => return None,
                _ => {}
            }
        }
    }

    /// Opens and resets streams until the other side has had enough; how many it took, at most `most`.
    pub(crate) fn rapid_reset(&mut self, fields: &[(&str, &str)], most: u32) -> Option<u32> {
        let block = block(fields);
        for n in 0..most {
            let stream = 2 * n + 1;
            let mut bytes = frame(HEADERS, 0x5, stream, &block);
            bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
            if self.tls.stream.write_all(&bytes).and_then(|()| self.tls.stream.flush()).is_err() {
                return Some(n);
            }
        }
        // All were written; a GOAWAY may be on its way.
        while let Some((kind, _, _, payload)) = self.read() {
            if kind == GOAWAY && payload.get(4..8) != Some(&[0; 4]) {
                return Some(most);
            }
        }
        Some(most)
    }

    fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.tls.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.tls.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some((head[3], head[4], stream, payload))
    }
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal fields, never indexed, without Huffman coding (RFC 7541 §6.2.3).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0x10], text(name), text(value)].concat()).collect()
}

/// The status of a header block that begins with it, as encoders do (RFC 7541, appendix A).
fn status(block: &[u8]) -> u16 {
    // A change of the dynamic table's size may stand before it.
    let block = match block {
        [size, rest @ ..] if size & 0xe0 == 0x20 => rest,
        block => block,
    };
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        // A literal with the name of index 8 to 14: three digits, plain or in Huffman code.
        [name, 3, a, b, c, ..] if name & 0x0f >= 8 => {
            std::str::from_utf8(&[*a, *b, *c]).ok().and_then(|digits| digits.parse().ok()).unwrap_or(999)
        }
        _ => 999,
    }
}
