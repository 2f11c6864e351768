//! `balance` of a backend: which endpoint takes the next request.

use std::fmt;

use super::reader::Item;

/// Which endpoint takes the next request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The one with the least under way.
    Least,
    /// Of two at random, the one with less under way.
    RandomTwo,
    /// Always the same for a client's address.
    HashClient,
    /// Always the same for the value of this header.
    HashHeader(String),
    /// Always the same for the value of this cookie.
    HashCookie(String),
}

impl Balance {
    /// Whether it looks at what the endpoints have under way.
    #[must_use]
    pub fn goes_by_load(&self) -> bool {
        !matches!(self, Self::RoundRobin)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("round-robin"),
            Self::Least => f.write_str("least"),
            Self::RandomTwo => f.write_str("random-two"),
            Self::HashClient => f.write_str("hash-client"),
            Self::HashHeader(name) => write!(f, "hash-header:{name}"),
            Self::HashCookie(name) => write!(f, "hash-cookie:{name}"),
        }
    }
}

/// Reads `balance`.
pub(super) fn read(item: &Item<'_>) -> Option<Balance> {
    const WORDS: [(&str, Balance); 4] = [
        ("round-robin", Balance::RoundRobin),
        ("least", Balance::Least),
        ("random-two", Balance::RandomTwo),
        ("hash-client", Balance::HashClient),
    ];
    let text = item.words()?;
    let token = |name: &str| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    match text.split_once(':') {
        Some(("hash-header", name)) if token(name) => Some(Balance::HashHeader(name.to_ascii_lowercase())),
        Some(("hash-cookie", name)) if token(name) => Some(Balance::HashCookie(name.to_owned())),
        Some(("hash-header" | "hash-cookie", _)) => item.fault(
            "the name behind the colon is none",
            "write it as in \"hash-header:x-user\" or \"hash-cookie:session\"",
        ),
        _ => item.choice(&WORDS),
    }
}
