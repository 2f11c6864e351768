//! [`RequestHead`]: what a client asks.

use std::mem::MaybeUninit;

use http::Method;

use super::Fields;
use super::fields::Span;
use super::head::{self, HeadError, HeadLimits, MAX_FIELDS};

/// A request's head: method, target, version and fields (RFC 9112 §3).
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Whether the request is HTTP/1.0.
    pub http10: bool,
    /// The fields.
    pub fields: Fields,
    target: (u32, u32),
}

impl RequestHead {
    /// Reads the head that `input` is, all of it, as [`super::Progress::find_end`] found it.
    ///
    /// # Errors
    /// [`HeadError`]; this then holds nothing of use.
    pub fn read(&mut self, input: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        self.fields.clear();
        self.fields.text.extend_from_slice(input);
        let mut slots = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        let count = limits.fields.min(MAX_FIELDS);
        let status = httparse::ParserConfig::default()
            .parse_request_with_uninit_headers(&mut parsed, &self.fields.text, &mut slots[..count])
            .map_err(head::from_httparse)?;
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HeadError::StartLine);
        };
        if status != httparse::Status::Complete(input.len()) {
            return Err(HeadError::Field);
        }
        let text = &self.fields.text;
        for header in parsed.headers.iter() {
            self.fields
                .list
                .push(Span { name: head::span(text, header.name.as_bytes()), value: head::span(text, header.value) });
        }
        self.method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::StartLine)?;
        self.target = head::span(text, target.as_bytes());
        self.http10 = version == 0;
        Ok(())
    }

    /// Starts a head that did not come as HTTP/1.1 text: no fields yet.
    pub fn begin(&mut self, method: Method, target: &[u8]) {
        self.fields.clear();
        self.target = self.fields.append(target);
        self.method = method;
        self.http10 = false;
    }

    /// The request target as it came (RFC 9112 §3.2).
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.fields.slice(self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Progress;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1000, fields: 5 };

    fn read(text: &str) -> Result<RequestHead, HeadError> {
        let end = Progress::default().find_end(text.as_bytes(), &LIMITS)?.expect("a whole head");
        let mut head = RequestHead::default();
        head.read(&text.as_bytes()[..end], &LIMITS).map(|()| head)
    }

    #[test]
    fn a_head_is_read() {
        let head = read("GET /a?b=c HTTP/1.1\r\nHost: x\r\nEmpty:\r\nA:  b c \t\r\n\r\nrest").expect("a head");
        assert_eq!((head.method.as_str(), head.target(), head.http10), ("GET", &b"/a?b=c"[..], false));
        let fields: Vec<_> = head.fields.iter().collect();
        assert_eq!(fields, [(&b"Host"[..], &b"x"[..]), (b"Empty", b""), (b"A", b"b c")]);
    }

    #[test]
    fn a_head_used_again_forgets_the_last_one() {
        let mut head = read("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("a head");
        let next = b"POST /2 HTTP/1.0\r\n\r\n";
        head.read(next, &LIMITS).expect("a head");
        assert_eq!(
            (head.method.as_str(), head.target(), head.http10, head.fields.len()),
            ("POST", &b"/2"[..], true, 0)
        );
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for (text, error) in [
            ("GET / HTTP/1.1\nHost: x\r\n\r\n", HeadError::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", HeadError::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\r\n\n", HeadError::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", HeadError::Field),
            ("\nGET / HTTP/1.1\r\n\r\n", HeadError::StartLine),
            (" GET / HTTP/1.1\r\n\r\n", HeadError::StartLine),
            ("GET  / HTTP/1.1\r\n\r\n", HeadError::StartLine),
            ("GET /a b HTTP/1.1\r\n\r\n", HeadError::Version),
            ("GET / HTTP/2.0\r\n\r\n", HeadError::Version),
            ("GET / HTTP/1.1 \r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\nNo colon\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\n: x\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\n\r\n", HeadError::TooManyFields),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_end_is_found_however_the_bytes_come() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nmore";
        let mut progress = Progress::default();
        for n in 1..text.len() - 4 {
            assert_eq!(progress.find_end(&text[..n], &LIMITS), Ok(None));
        }
        assert_eq!(progress.find_end(text, &LIMITS), Ok(Some(text.len() - 4)));
    }

    #[test]
    fn a_head_without_end_stops_at_the_limit() {
        let text = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1000));
        assert_eq!(Progress::default().find_end(text.as_bytes(), &LIMITS), Err(HeadError::TooLarge));
    }
}
