//! [`Hostname`]: a checked, canonical host, a DNS name or an IP address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The longest DNS name in its text form (RFC 1035 §2.3.4: 255 octets on the wire).
const MAX_NAME: usize = 253;
/// The longest label of a DNS name (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A host in canonical form: an ASCII DNS name in lower case without a trailing dot,
/// or the canonical text of an IP address (IPv6 without brackets).
///
/// Both share one type because both share one table; they cannot be confused, as a DNS name
/// never has an all-digit last label. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Arc<str>);

/// A host, or every host exactly one label below a name (`*.example.com`, RFC 6125 §6.4.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host and no other.
    Exact(Hostname),
    /// `*.NAME`: any single label in front of NAME, never NAME itself.
    Wildcard(Hostname),
}

/// Why a text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// More than 253 characters.
    #[error("the name is longer than 253 characters")]
    TooLong,
    /// A label is empty or longer than 63 characters.
    #[error("a label of the name is empty or longer than 63 characters")]
    Label,
    /// A byte that is not a letter, digit, `-` or `_`, or a `-` at a label's edge.
    #[error("the name has a character that host names cannot have (use the ASCII form, xn--…)")]
    Character,
    /// The last label is a number, but the whole is no IP address.
    #[error("the name ends in a number but is no IP address")]
    Number,
    /// `*` anywhere but as the whole first label, or above too short a name.
    #[error("a wildcard has to be the whole first label, as in *.example.com")]
    Wildcard,
}

impl Hostname {
    /// Parses a DNS name or an IP address (IPv6 with or without brackets).
    ///
    /// # Errors
    /// [`NameError`], for anything that DNS or a certificate could not hold.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Normalized::new(text).map(|n| Self(Arc::from(n.as_str())))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where this is an IP address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// The number of labels, zero for an IP address.
    #[must_use]
    pub fn labels(&self) -> usize {
        if self.ip().is_some() { 0 } else { self.0.split('.').count() }
    }
}

impl HostPattern {
    /// Parses `example.com`, `*.example.com`, `192.0.2.1` or `2001:db8::1`.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some(rest) = text.strip_prefix("*.") else {
            return if text.contains('*') { Err(NameError::Wildcard) } else { Hostname::parse(text).map(Self::Exact) };
        };
        let base = if rest.contains('*') { Err(NameError::Wildcard) } else { Hostname::parse(rest) }?;
        if base.ip().is_some() { Err(NameError::Wildcard) } else { Ok(Self::Wildcard(base)) }
    }

    /// Whether the canonical `host` is this one, or one label below it.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == host,
            Self::Wildcard(base) => parent(host) == Some(base.as_str()),
        }
    }

    /// Whether everything that `other` stands for is covered by this pattern.
    #[must_use]
    pub fn covers(&self, other: &HostPattern) -> bool {
        match other {
            Self::Exact(name) => self.matches(name.as_str()),
            Self::Wildcard(_) => self == other,
        }
    }

    /// The name, without the `*.`.
    #[must_use]
    pub fn base(&self) -> &Hostname {
        match self {
            Self::Exact(name) | Self::Wildcard(name) => name,
        }
    }

    /// Whether this stands for more than one host.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }
}

/// The name one label up, where the host is a DNS name of at least two labels.
pub(super) fn parent(host: &str) -> Option<&str> {
    let (label, rest) = host.split_once('.')?;
    let is_ip = label.bytes().all(|b| b.is_ascii_digit()) && host.parse::<IpAddr>().is_ok();
    (!is_ip && !rest.is_empty()).then_some(rest)
}

/// A canonical host in a buffer on the stack: what the hot path looks up, with no allocation.
pub struct Normalized {
    bytes: [u8; MAX_NAME + 1],
    length: usize,
}

impl Normalized {
    /// Checks `text` and puts it in canonical form.
    ///
    /// # Errors
    /// [`NameError`], as [`Hostname::parse`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        // Brackets are for IPv6 alone (RFC 3986 §3.2.2): `[app.example.com]` is no other way to write that name.
        let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if bracketed.is_some() || text.contains(':') {
            let ip: Ipv6Addr = bracketed.unwrap_or(text).parse().map_err(|_| NameError::Character)?;
            return Ok(Self::copy(&ip.to_string()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        check(text)?;
        let mut this = Self::copy(text);
        this.bytes[..this.length].make_ascii_lowercase();
        Ok(this)
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Checked to be ASCII by `new`; an empty name matches nothing.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }

    fn copy(text: &str) -> Self {
        let mut bytes = [0; MAX_NAME + 1];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self { bytes, length: text.len() }
    }
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let mut last = "";
    for label in text.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL {
            return Err(NameError::Label);
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            || label.starts_with('-')
            || label.ends_with('-')
        {
            return Err(NameError::Character);
        }
        last = label;
    }
    // A last label that a resolver could read as a number is an address or nothing (WHATWG URL, "ends in a number").
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if number && text.parse::<std::net::Ipv4Addr>().is_err() { Err(NameError::Number) } else { Ok(()) }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Look-ups in maps go by the canonical text. `Hash` and `Eq` of both agree: they are derived from the `str`.
impl std::borrow::Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::parse(s)
    }
}

impl From<IpAddr> for Hostname {
    fn from(ip: IpAddr) -> Self {
        Self(Arc::from(ip.to_string()))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(base) => write!(f, "*.{base}"),
        }
    }
}

impl FromStr for HostPattern {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::parse(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_folds_case_dots_and_brackets() {
        for (given, canonical) in [
            ("Example.COM.", "example.com"),
            ("_acme.Foo-bar.x", "_acme.foo-bar.x"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0:0::1]", "2001:db8::1"),
            ("::1", "::1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(Hostname::parse(given).map(|h| h.to_string()), Ok(canonical.to_owned()), "{given}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (given, error) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::Label),
            ("a.b..", NameError::Label),
            ("a b", NameError::Character),
            ("a\0b", NameError::Character),
            ("-a.b", NameError::Character),
            ("[a]", NameError::Character),
            ("[192.0.2.1]", NameError::Character),
            ("bücher.example", NameError::Character),
            ("1.2.3", NameError::Number),
            ("1.2.3.4.5", NameError::Number),
            ("01.2.3.4", NameError::Number),
            ("1.2.3.0x4", NameError::Number),
            ("*.example.com", NameError::Character),
        ] {
            assert_eq!(Hostname::parse(given), Err(error), "{given:?}");
        }
        assert_eq!(Hostname::parse(&format!("{}.com", "a".repeat(64))), Err(NameError::Label));
        assert_eq!(Hostname::parse(&"abc.".repeat(70)), Err(NameError::TooLong));
    }

    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let pattern = HostPattern::parse("*.Example.com").expect("a wildcard");
        assert!(pattern.matches("a.example.com"));
        assert!(!pattern.matches("example.com"));
        assert!(!pattern.matches("a.b.example.com"));
        assert!(!pattern.matches("aexample.com"));
        assert!(pattern.covers(&HostPattern::parse("x.example.com").expect("exact")));
        assert!(pattern.covers(&pattern));
        for bad in ["*", "*.", "a.*.com", "*a.com", "*.*.com", "*.192.0.2.1"] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
