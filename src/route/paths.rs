//! Paths that apps read in more than one way: with percent-encoding, dot segments, empty segments, backslashes and
//! path parameters. A request goes where its path leads as it is written; where what an app may make of the path leads
//! somewhere else, it goes nowhere. (nginx, Envoy, Traefik and Caddy each had advisories about one of the readings.)

/// An encoding within an encoding is undone as often as this.
const LAYERS: usize = 3;

/// Whether every reading of `path` (which has no query) leads where `path` itself does. `same` says so of one reading.
pub(super) fn is_plain(path: &[u8], mut same: impl FnMut(&[u8]) -> bool) -> bool {
    if !is_odd(path) {
        return true;
    }
    let mut decoded = path.to_vec();
    for _ in 0..=LAYERS {
        for parameters in [true, false] {
            if !same(&resolved(&decoded, parameters)) {
                return false;
            }
        }
        let next = decode(&decoded);
        if next == decoded {
            break;
        }
        decoded = next;
    }
    true
}

/// Whether it holds anything that can be read in two ways.
fn is_odd(path: &[u8]) -> bool {
    memchr::memchr3(b'%', b';', b'\\', path).is_some()
        || path.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'))
}

/// The path with `%XX` decoded, once.
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match (path[at], digit(at + 1), digit(at + 2)) {
            // Two hexadecimal digits are a byte.
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low).to_le_bytes()[0]);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// The path without dot segments (RFC 3986 §5.2.4) and empty ones, backslashes as slashes; without what stands behind
/// a `;` or NUL in a segment, unless `parameters` are kept.
fn resolved(path: &[u8], parameters: bool) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut folder = false;
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = if parameters {
            segment
        } else {
            segment.split(|byte| matches!(byte, b';' | 0)).next().unwrap_or_default()
        };
        folder = matches!(name, b"" | b"." | b"..");
        match name {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(name),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if folder || segments.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_is_looked_at() {
        let below_public = |path: &str| is_plain(path.as_bytes(), |reading| reading.starts_with(b"/public/"));
        for path in [
            "/public/a",
            "/public/./a",
            "/public//a",
            "/public/a%2Fb",
            "/public/a;b=c/d",
            "/public/100%",
            "/public/x/../a",
        ] {
            assert!(below_public(path), "{path}");
        }
        for path in [
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/.%2E/admin",
            "/public%2f..%2fadmin",
            "/public/..%5cadmin",
            "/public/..\\admin",
            "/public/..;/admin",
            "/public/..;x=y/admin",
            "/public/..%3b/admin",
            "/public/%252e%252e/admin",
            "/public/x/../../admin",
            "/public/..%00/../admin",
            "/public/..",
        ] {
            assert!(!below_public(path), "{path}");
        }
    }

    #[test]
    fn readings_are_whole_paths() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("//a", "/a"),
        ] {
            assert_eq!(resolved(path.as_bytes(), true), expected.as_bytes(), "{path}");
        }
        assert_eq!(decode(b"/%41%4g%2"), b"/A%4g%2");
    }
}
