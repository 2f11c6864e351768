//! HTTP/1.1 as it stands on the wire: just enough to read answers and requests, byte by byte.

use std::io::Read;

/// An answer, as a raw client reads it.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// The code; 0 where the connection ended before there was one.
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Decoded, as far as it came.
    pub(crate) body: Vec<u8>,
    /// Of a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
    /// How it ended.
    pub(crate) ended: Ended,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Where its framing says.
    Whole,
    /// Before that.
    #[default]
    Cut,
    /// With the connection, because the head has no length.
    Close,
}

impl Reply {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads one answer, 1xx included as answers of their own. `bodiless` where the request was a HEAD.
pub(crate) fn read_reply(from: &mut impl Read, bodiless: bool) -> Reply {
    let Some(head) = read_head(from) else { return Reply::default() };
    let (start, headers) = parse_head(&head);
    let status = start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut reply = Reply { status, headers, ended: Ended::Whole, ..Reply::default() };
    if !bodiless && status >= 200 && status != 204 && status != 304 {
        reply.ended = match read_body(from, &reply.headers, &mut reply.body, &mut reply.trailers) {
            Some(ended) => ended,
            None => {
                let _ = from.read_to_end(&mut reply.body);
                Ended::Close
            }
        };
    }
    reply
}

/// The bytes up to and with the empty line; none where the connection ends before.
pub(crate) fn read_head(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read_byte(from)?);
    }
    Some(head)
}

/// The start line, and the fields with names in lower case.
pub(crate) fn parse_head(head: &[u8]) -> (String, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    (start, fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect())
}

/// Reads a body by its framing; none where the head gives no length.
pub(crate) fn read_body(
    from: &mut impl Read,
    headers: &[(String, String)],
    body: &mut Vec<u8>,
    trailers: &mut Vec<(String, String)>,
) -> Option<Ended> {
    if find(headers, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Some(read_chunks(from, body, trailers).map_or(Ended::Cut, |()| Ended::Whole));
    }
    let length: u64 = find(headers, "content-length")?.parse().ok()?;
    let read = from.take(length).read_to_end(body);
    let whole = read.is_ok() && body.len() as u64 == length;
    Some(if whole { Ended::Whole } else { Ended::Cut })
}

/// The first value of a field, by its name in lower case.
pub(crate) fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn read_chunks(from: &mut impl Read, body: &mut Vec<u8>, trailers: &mut Vec<(String, String)>) -> Option<()> {
    loop {
        let line = read_line(from)?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            break;
        }
        let start = body.len();
        body.resize(start + size, 0);
        let mut filled = start;
        while filled < body.len() {
            match from.read(&mut body[filled..]) {
                Ok(read @ 1..) => filled += read,
                _ => {
                    body.truncate(filled);
                    return None;
                }
            }
        }
        read_line(from)?;
    }
    loop {
        let line = read_line(from)?;
        let Some((name, value)) = line.split_once(':') else { return line.is_empty().then_some(()) };
        trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(from: &mut impl Read) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(read_byte(from)?);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).ok()
}

fn read_byte(from: &mut impl Read) -> Option<u8> {
    let mut byte = [0];
    matches!(from.read(&mut byte), Ok(1)).then_some(byte[0])
}
