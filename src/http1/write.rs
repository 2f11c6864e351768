//! Heads and chunks as bytes. Everything that is sent is written here, piece by piece, from parsed parts.

use super::Fields;

/// Appends `name: value` and the line's end.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the line that begins a chunk of `length` bytes, which is not zero (RFC 9112 §7.1).
/// The data and a line's end follow.
pub fn chunk_head(out: &mut Vec<u8>, length: usize) {
    debug_assert!(length > 0, "a chunk of no bytes would end the body");
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(length >> (digit * 4)) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, with no trailers.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Appends the last chunk with trailers (RFC 9112 §7.1.2).
pub fn chunk_trailers(out: &mut Vec<u8>, trailers: &Fields) {
    out.extend_from_slice(b"0\r\n");
    trailers.iter().for_each(|(name, value)| field(out, name, value));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_chunks() {
        let mut out = Vec::new();
        number(&mut out, 0);
        out.push(b' ');
        number(&mut out, u64::MAX);
        out.push(b' ');
        for length in [1, 15, 16, 255, 65_536] {
            chunk_head(&mut out, length);
        }
        assert_eq!(out, b"0 18446744073709551615 1\r\nf\r\n10\r\nff\r\n10000\r\n");
    }
}
