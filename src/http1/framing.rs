//! How long a message's body is: decided once, from the parsed head, and never guessed.

use http::Method;

use super::{Fields, RequestHead, ResponseHead};

/// A body's framing (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// All until the connection closes: answers only.
    UntilClose,
}

/// Why a body's framing cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.1: request smuggling).
    #[error("both Content-Length and Transfer-Encoding are given")]
    Both,
    /// More than one `Content-Length`, or a list in one.
    #[error("more than one Content-Length is given")]
    TwoLengths,
    /// `Content-Length` is not a plain decimal number that fits 63 bits.
    #[error("the Content-Length is not a number")]
    BadLength,
    /// `Transfer-Encoding` is not exactly `chunked`, once.
    #[error("the Transfer-Encoding is not exactly chunked")]
    Coding,
    /// `Transfer-Encoding` in HTTP/1.0, which does not know it.
    #[error("Transfer-Encoding is given in HTTP/1.0")]
    CodingInHttp10,
}

/// The framing of a request's body (RFC 9112 §6.3).
///
/// # Errors
/// [`FramingError`]: answer 400 and close.
pub fn request_framing(head: &RequestHead) -> Result<Framing, FramingError> {
    Ok(declared(&head.fields, head.http10)?.unwrap_or(Framing::None))
}

/// The framing of the answer to a request with `method` (RFC 9112 §6.3).
///
/// # Errors
/// [`FramingError`]: the answer must not be passed on.
pub fn response_framing(method: &Method, head: &ResponseHead) -> Result<Framing, FramingError> {
    // Fields that contradict each other are refused even where no body can follow: a cache or client
    // behind us might believe them.
    let declared = declared(&head.fields, head.http10)?;
    if *method == Method::HEAD || matches!(head.status, 100..200 | 204 | 304) {
        return Ok(Framing::None);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

/// The one `Content-Length` of a message that has no body of its own (an answer to HEAD, a 304).
pub(crate) fn declared_length(fields: &Fields) -> Option<u64> {
    match declared(fields, false) {
        Ok(Some(Framing::Length(length))) => Some(length),
        _ => None,
    }
}

fn declared(fields: &Fields, http10: bool) -> Result<Option<Framing>, FramingError> {
    let mut length = None;
    let mut coding = None;
    for (name, value) in fields.iter() {
        // Names of 14 and 17 characters: few others are, so this costs next to nothing.
        if name.len() == 14 && name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(value).is_some() {
                return Err(FramingError::TwoLengths);
            }
        } else if name.len() == 17 && name.eq_ignore_ascii_case(b"transfer-encoding") && coding.replace(value).is_some()
        {
            return Err(FramingError::Coding);
        }
    }
    match (length, coding) {
        (Some(_), Some(_)) => Err(FramingError::Both),
        (None, Some(_)) if http10 => Err(FramingError::CodingInHttp10),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        (None, Some(_)) => Err(FramingError::Coding),
        (Some(length), None) => decimal(length).map(|n| Some(Framing::Length(n))),
        (None, None) => Ok(None),
    }
}

fn decimal(text: &[u8]) -> Result<u64, FramingError> {
    if text.contains(&b',') {
        return Err(FramingError::TwoLengths);
    }
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return Err(FramingError::BadLength);
    }
    Ok(text.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(http10: bool, fields: &[(&str, &str)]) -> Result<Framing, FramingError> {
        let mut head = RequestHead::default();
        head.begin(Method::POST, b"/");
        head.http10 = http10;
        fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
        request_framing(&head)
    }

    fn response(method: Method, status: u16, fields: &[(&str, &str)]) -> Result<Framing, FramingError> {
        let mut head = ResponseHead { status, ..Default::default() };
        fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
        response_framing(&method, &head)
    }

    #[test]
    fn requests() {
        const CL: &str = "content-Length";
        const TE: &str = "Transfer-encoding";
        assert_eq!(request(false, &[]), Ok(Framing::None));
        assert_eq!(request(false, &[(CL, "42")]), Ok(Framing::Length(42)));
        assert_eq!(request(true, &[(CL, "0")]), Ok(Framing::Length(0)));
        assert_eq!(request(false, &[(TE, "Chunked")]), Ok(Framing::Chunked));
        assert_eq!(request(true, &[(TE, "chunked")]), Err(FramingError::CodingInHttp10));
        assert_eq!(request(false, &[(CL, "1"), (TE, "chunked")]), Err(FramingError::Both));
        assert_eq!(request(false, &[(CL, "1"), (CL, "1")]), Err(FramingError::TwoLengths));
        assert_eq!(request(false, &[(CL, "1, 1")]), Err(FramingError::TwoLengths));
        for bad in ["", "+1", "-1", "0x1", "1 1", "1e3", "9999999999999999999"] {
            assert_eq!(request(false, &[(CL, bad)]), Err(FramingError::BadLength), "{bad:?}");
        }
        for bad in ["", "gzip, chunked", "chunked, identity", "identity", "chunked;x=y", "xchunked"] {
            assert_eq!(request(false, &[(TE, bad)]), Err(FramingError::Coding), "{bad:?}");
        }
        assert_eq!(request(false, &[(TE, "chunked"), (TE, "chunked")]), Err(FramingError::Coding));
    }

    #[test]
    fn answers() {
        assert_eq!(response(Method::GET, 200, &[]), Ok(Framing::UntilClose));
        assert_eq!(response(Method::GET, 200, &[("content-length", "3")]), Ok(Framing::Length(3)));
        assert_eq!(response(Method::HEAD, 200, &[("content-length", "3")]), Ok(Framing::None));
        assert_eq!(response(Method::GET, 304, &[("content-length", "3")]), Ok(Framing::None));
        assert_eq!(response(Method::GET, 204, &[("transfer-encoding", "chunked")]), Ok(Framing::None));
        assert_eq!(
            response(Method::HEAD, 200, &[("content-length", "3"), ("transfer-encoding", "chunked")]),
            Err(FramingError::Both)
        );
    }
}
