//! The name in a ClientHello that rustls cannot go on with: who passes TLS on needs no more.

use crate::names::{Hostname, Normalized};

/// The content type of handshake messages (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// The handshake type of a ClientHello (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
/// The extension `server_name`, and the kind of name in it (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// The name that a whole ClientHello of any version asks for. None: it is not whole, no ClientHello, or has no name.
pub(super) fn asked_for(records: &[u8]) -> Option<Hostname> {
    let handshake = joined(records)?;
    let mut hello = Reader(&handshake);
    if hello.u8()? != CLIENT_HELLO {
        return None;
    }
    let length = usize::from(hello.u8()?) << 16 | usize::from(hello.u16()?);
    let mut hello = Reader(hello.take(length)?);
    // The version and the random; then the session id, the cipher suites and the compressions.
    hello.take(2 + 32)?;
    hello.short()?;
    hello.long()?;
    hello.short()?;
    let mut extensions = Reader(hello.long()?);
    while let Some(kind) = extensions.u16() {
        let extension = extensions.long()?;
        if kind == SERVER_NAME {
            let mut names = Reader(Reader(extension).long()?);
            let is_host = names.u8()? == HOST_NAME;
            let text = std::str::from_utf8(names.long().filter(|_| is_host)?).ok()?;
            return Hostname::parse(Normalized::new(text).ok()?.as_str()).ok();
        }
    }
    None
}

/// The handshake bytes of these records, up to the first that is something else or not whole.
fn joined(records: &[u8]) -> Option<Vec<u8>> {
    let mut records = Reader(records);
    let mut bytes = Vec::new();
    while let Some(HANDSHAKE) = records.u8() {
        records.take(2)?;
        let Some(record) = records.long() else { break };
        bytes.extend_from_slice(record);
    }
    Some(bytes)
}

/// Takes bytes from the front; none where there are too few.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes behind their length in one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// Bytes behind their length in two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello of TLS 1.0 with this name, in records of so many bytes.
    fn hello(name: &[u8], size: usize) -> Vec<u8> {
        let length = |n: usize| u16::try_from(n).expect("a length").to_be_bytes();
        let sni =
            [&[0, 0], &length(name.len() + 5)[..], &length(name.len() + 3), &[0], &length(name.len()), name].concat();
        let other = [0, 23, 0, 0];
        let body = [
            &[3, 1][..],
            &[7; 32],
            &[0],
            &[0, 4, 0, 0x2f, 0, 0x35],
            &[1, 0],
            &length(other.len() + sni.len()),
            &other,
            &sni,
        ]
        .concat();
        let message = [&[1, 0][..], &length(body.len()), &body].concat();
        message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &length(piece.len()), piece].concat()).collect()
    }

    #[test]
    fn the_name_is_found_in_any_records_and_in_nothing_less() {
        let whole = hello(b"App.Example.test", 1000);
        assert_eq!(asked_for(&whole).map(|name| name.to_string()).as_deref(), Some("app.example.test"));
        assert_eq!(
            asked_for(&hello(b"app.example.test", 7)).map(|name| name.to_string()).as_deref(),
            Some("app.example.test")
        );
        for cut in 0..whole.len() {
            assert_eq!(asked_for(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(asked_for(&hello(b"not a name", 1000)), None);
        assert_eq!(asked_for(&hello(b"\xff", 1000)), None);
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let mut bytes = whole.clone();
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            // It may be a name or none, but no panic.
            let _ = asked_for(&bytes);
        }
    }
}
