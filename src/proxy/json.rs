//! Fields of a JSON object (RFC 8259), appended to bytes: for lines of which there is one for each request.

use std::io::Write as _;
use std::net::IpAddr;

use crate::http1;

/// A key as it stands behind another field.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

pub(super) use key;

/// A text that may hold anything.
pub(super) fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    // Not `any`, which would look at one byte after the other.
    let needs_escape =
        value.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    if needs_escape {
        out.extend_from_slice(key.as_bytes());
        // Into memory, and of a text: nothing can fail.
        let _ = serde_json::to_writer(out, value);
    } else {
        plain(out, key, |out| out.extend_from_slice(value.as_bytes()));
    }
}

/// A text that needs no escapes.
pub(super) fn plain(out: &mut Vec<u8>, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    write(out);
    out.push(b'"');
}

pub(super) fn number(out: &mut Vec<u8>, key: &str, value: impl itoa::Integer) {
    out.extend_from_slice(key.as_bytes());
    http1::number(out, value);
}

/// With zeroes in front to so many digits, which the number does not exceed.
pub(super) fn digits(out: &mut Vec<u8>, value: u32, count: u32) {
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(&buffer.format(10_u32.pow(count) + value).as_bytes()[1..]);
}

pub(super) fn hexadecimal(out: &mut Vec<u8>, value: u64) {
    out.extend((0..16).rev().map(|at| b"0123456789abcdef"[(value >> (4 * at)) as usize & 15]));
}

pub(super) fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (n, octet) in address.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push(b'.');
                }
                http1::number(out, octet);
            }
        }
        // Into memory: nothing can fail.
        IpAddr::V6(address) => _ = write!(out, "{address}"),
    }
}
