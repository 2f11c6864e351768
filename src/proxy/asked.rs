//! [`Asked`]: which host and path a request is for, once all places that say so agree.

use std::borrow::Cow;

use http::Method;

use super::failure::Failure;
use crate::http1::RequestHead;
use crate::names::Normalized;

/// What a request is for.
pub(super) struct Asked<'a> {
    /// The host in canonical form.
    pub(super) host: Normalized,
    /// The host as the client wrote it, with its port if one was written.
    pub(super) authority: &'a [u8],
    /// The target in origin form (RFC 9112 §3.2.1), or `*`.
    pub(super) target: Cow<'a, [u8]>,
}

impl<'a> Asked<'a> {
    /// Checks target and host (RFC 9112 §3.2, §3.3; RFC 9113 §8.3.1). `default_port` is that of the scheme in use.
    pub(super) fn new(head: &'a RequestHead, default_port: u16) -> Result<Self, Failure> {
        let target = head.target();
        if !target.iter().all(|&b| b.is_ascii_graphic() && b != b'#') {
            return Err(Failure::bad_request("the request target has a character that must be percent-encoded"));
        }
        let mut hosts = head.fields.all("host");
        let authority = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host,
            (None, _) => return Err(Failure::bad_request("the request has no Host")),
            (Some(_), Some(_)) => return Err(Failure::bad_request("the request has more than one Host")),
        };
        let (host, port) = split(authority)?;
        let target = match target {
            [b'/', ..] => Cow::Borrowed(target),
            b"*" if head.method == Method::OPTIONS => Cow::Borrowed(target),
            _ => {
                let (named, rest) = absolute(target, &head.method)?;
                let (other, other_port) = split(named)?;
                if other.as_str() != host.as_str() || other_port.unwrap_or(default_port) != port.unwrap_or(default_port)
                {
                    return Err(Failure::bad_request("the Host and the request target name different hosts"));
                }
                rest
            }
        };
        Ok(Self { host, authority, target })
    }

    /// The path, without a query; of `*`, which is about all paths, the one that all lie below.
    pub(super) fn path(&self) -> &[u8] {
        if *self.target == *b"*" {
            return b"/";
        }
        match memchr::memchr(b'?', &self.target) {
            Some(at) => &self.target[..at],
            None => &self.target,
        }
    }
}

/// Splits `http://AUTHORITY/REST` (RFC 9112 §3.2.2) and makes the rest an origin form; of OPTIONS without a path, `*`
/// (§3.2.4).
fn absolute<'a>(target: &'a [u8], method: &Method) -> Result<(&'a [u8], Cow<'a, [u8]>), Failure> {
    let malformed = || Failure::bad_request("the request target is malformed");
    let scheme = target.iter().position(|&b| b == b':').ok_or_else(malformed)?;
    if !target[..scheme].eq_ignore_ascii_case(b"http") && !target[..scheme].eq_ignore_ascii_case(b"https") {
        return Err(malformed());
    }
    let rest = target[scheme..].strip_prefix(b"://").ok_or_else(malformed)?;
    let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let rest = match path {
        [] if *method == Method::OPTIONS => Cow::Borrowed(&b"*"[..]),
        [b'/', ..] => Cow::Borrowed(path),
        _ => Cow::Owned([b"/", path].concat()),
    };
    Ok((authority, rest))
}

/// Splits `HOST[:PORT]` (RFC 3986 §3.2); user information is refused.
fn split(authority: &[u8]) -> Result<(Normalized, Option<u16>), Failure> {
    let malformed = || Failure::bad_request("the host is malformed");
    let text = std::str::from_utf8(authority).map_err(|_| malformed())?;
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    };
    let port = match port {
        None => None,
        Some(digits) if (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| malformed())?)
        }
        Some(_) => return Err(malformed()),
    };
    if host.contains(':') != (host.starts_with('[') && host.ends_with(']')) {
        return Err(malformed());
    }
    Ok((Normalized::new(host).map_err(|_| malformed())?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, target: &str, hosts: &[&str]) -> Option<(String, String)> {
        let mut head = RequestHead::default();
        head.begin(method, target.as_bytes());
        hosts.iter().for_each(|host| head.fields.push(b"Host", host.as_bytes()));
        let asked = Asked::new(&head, 80).ok()?;
        Some((asked.host.as_str().to_owned(), String::from_utf8_lossy(&asked.target).into_owned()))
    }

    #[test]
    fn host_and_target_have_to_agree() {
        for (target, hosts, expected) in [
            ("/a?b", &["Example.com:8080"][..], Some(("example.com", "/a?b"))),
            ("/", &["[::1]:80"], Some(("::1", "/"))),
            ("/", &["[::1]"], Some(("::1", "/"))),
            ("http://example.com", &["example.com"], Some(("example.com", "/"))),
            ("HTTP://example.com?q", &["example.com:80"], Some(("example.com", "/?q"))),
            ("http://other.com/", &["example.com"], None),
            ("http://example.com:81/", &["example.com"], None),
            ("http://u@example.com/", &["example.com"], None),
            ("ftp://example.com/", &["example.com"], None),
            ("example.com:80", &["example.com"], None),
            ("*", &["example.com"], None),
            ("/a#b", &["example.com"], None),
            ("/ä", &["example.com"], None),
            ("/", &[], None),
            ("/", &[""], None),
            ("/", &["a.com", "a.com"], None),
            ("/", &["a.com, b.com"], None),
            ("/", &["a.com:"], None),
            ("/", &["a.com:70000"], None),
            ("/", &["a.com:+80"], None),
            ("/", &["::1"], None),
            ("/", &["user@a.com"], None),
            ("/", &["a b"], None),
        ] {
            let expected = expected.map(|(host, target)| (host.to_owned(), target.to_owned()));
            assert_eq!(asked(Method::GET, target, hosts), expected, "{target} {hosts:?}");
        }
        let mut head = RequestHead::default();
        head.begin(Method::OPTIONS, b"*");
        head.fields.push(b"Host", b"a.com");
        assert_eq!(Asked::new(&head, 80).ok().map(|asked| asked.path().to_vec()), Some(b"/".to_vec()));
        for (target, expected) in [("*", "*"), ("http://a.com", "*"), ("http://a.com/", "/"), ("http://a.com?", "/?")] {
            assert_eq!(asked(Method::OPTIONS, target, &["a.com"]), Some(("a.com".into(), expected.into())), "{target}");
        }
    }
}
