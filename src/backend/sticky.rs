//! [`Sticking`]: clients that stay with their endpoint, by a cookie that names it and does not tell its address.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::aws_lc_rs::hmac;

use super::{Backend, Endpoint, Member};
use crate::config::{SameSite, Sticky};

/// Bytes of a cookie's value, before they are written in hex: enough that no two endpoints share one.
const BYTES: usize = 12;

/// What turns an endpoint into a cookie's value: who does not have it learns nothing from the value.
#[derive(Clone)]
pub struct StickyKey(Arc<hmac::Key>);

/// One backend's cookie.
#[derive(Debug)]
pub(super) struct Sticking {
    cookie: Box<str>,
    /// The attributes behind the value, but for `Secure`.
    attributes: String,
    secure: Option<bool>,
    /// How long clients keep it; their cookie is renewed after half of this.
    lifetime: Option<Duration>,
    /// A value a member, in their order.
    values: Vec<String>,
}

impl StickyKey {
    /// A key of these bytes. Processes with the same ones know each other's cookies.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    fn value(&self, backend: &str, member: &Member) -> String {
        let tag = hmac::sign(&self.0, format!("{backend} {}", member.endpoint.address).as_bytes());
        tag.as_ref()[..BYTES].iter().fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl std::fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StickyKey")
    }
}

impl Sticking {
    pub(super) fn new(sticky: &Sticky, backend: &str, members: &[Member], key: &StickyKey) -> Self {
        let mut attributes = format!("; Path={}", sticky.path);
        if let Some(lifetime) = sticky.lifetime {
            let _ = write!(attributes, "; Max-Age={}", lifetime.as_secs());
        }
        if sticky.http_only {
            attributes.push_str("; HttpOnly");
        }
        attributes.push_str(match sticky.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        // Browsers take SameSite=None from secure cookies only.
        let secure = if sticky.same_site == SameSite::None { Some(true) } else { sticky.secure };
        let values = members.iter().map(|member| key.value(backend, member)).collect();
        Self { cookie: sticky.cookie.as_str().into(), attributes, secure, lifetime: sticky.lifetime, values }
    }
}

impl Backend {
    /// Whether clients are to stay with their endpoints.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        self.sticking.is_some()
    }

    /// The endpoint that a client's cookie names, where it can take requests, and whether the cookie is still new
    /// enough. One that drains still takes those of the clients that it has. `cookies` are the values of the request's
    /// `Cookie` fields.
    pub fn stuck<'c>(
        &self,
        cookies: impl Iterator<Item = &'c [u8]>,
        now: impl FnOnce() -> SystemTime,
    ) -> Option<(&Arc<Endpoint>, bool)> {
        let sticking = self.sticking.as_ref()?;
        let mut pairs = cookies.flat_map(|value| value.split(|b| *b == b';'));
        let value = pairs.find_map(|pair| {
            pair.trim_ascii().strip_prefix(sticking.cookie.as_bytes())?.strip_prefix(b"=").map(<[u8]>::trim_ascii)
        })?;
        // What stands behind the name of the endpoint is when the cookie was set.
        let (value, set) = value.split_at_checked(2 * BYTES)?;
        let index = sticking.values.iter().position(|known| known.as_bytes() == value)?;
        let is_new = sticking.lifetime.is_none_or(|lifetime| age(set, now()).is_some_and(|age| age <= lifetime / 2));
        let endpoint = self.members.get(index).map(|member| &member.endpoint);
        endpoint.filter(|endpoint| endpoint.keeps_clients()).map(|endpoint| (endpoint, is_new))
    }

    /// What `Set-Cookie` says to a client that is to stay with this endpoint; none where none is to.
    #[must_use]
    pub fn cookie(&self, endpoint: &Endpoint, secure: bool, now: impl FnOnce() -> SystemTime) -> Option<String> {
        let sticking = self.sticking.as_ref()?;
        let index = self.members.iter().position(|member| member.endpoint.id() == endpoint.id())?;
        let secure = if sticking.secure.unwrap_or(secure) { "; Secure" } else { "" };
        let set = sticking.lifetime.map_or_else(String::new, |_| format!("-{:x}", seconds(now())));
        Some(format!("{}={}{set}{}{secure}", sticking.cookie, sticking.values.get(index)?, sticking.attributes))
    }
}

/// How old a cookie is, by what stands behind its endpoint: a dash and the unix seconds, in hex. None where it does not
/// tell, or is of tomorrow.
fn age(set: &[u8], now: SystemTime) -> Option<Duration> {
    let set = u64::from_str_radix(std::str::from_utf8(set.strip_prefix(b"-")?).ok()?, 16).ok()?;
    seconds(now).checked_sub(set).map(Duration::from_secs)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Balance;

    fn backend(addresses: &[&str], lifetime: Option<Duration>) -> Backend {
        let member = |address: &&str| Member {
            endpoint: Arc::new(Endpoint::new(address.parse().expect("an address"), None, None)),
            weight: 1,
            tier: 0,
            drain: false,
        };
        let sticky = Sticky { cookie: "node".to_owned(), lifetime, ..Sticky::default() };
        let members = addresses.iter().map(member).collect();
        Backend::new("app", members, Balance::default()).sticking(&sticky, &StickyKey::new(b"secret"))
    }

    #[test]
    fn a_cookie_names_an_endpoint_and_does_not_tell_its_address() {
        let both = backend(&["10.0.0.5:80", "10.0.0.6:80"], None);
        let cookie = both.cookie(&both.members[1].endpoint, true, SystemTime::now).expect("a cookie");
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
        assert!(!cookie.contains("10.0") && pair.len() == "node=".len() + 2 * BYTES, "{cookie}");
        let found = |backend: &Backend, cookies: &str| {
            let stuck = backend.stuck(std::iter::once(cookies.as_bytes()), SystemTime::now);
            stuck.filter(|(_, is_new)| *is_new).map(|(endpoint, _)| endpoint.address.to_string())
        };
        let sent = format!("a=b; {pair}; other_node=x");
        assert_eq!(found(&both, &sent).as_deref(), Some("10.0.0.6:80"));
        assert_eq!(found(&both, "node=0; a=b"), None);
        // The value stays with the endpoint, wherever it stands in the list, and goes with it.
        assert_eq!(found(&backend(&["10.0.0.6:80", "10.0.0.7:80"], None), &sent).as_deref(), Some("10.0.0.6:80"));
        assert_eq!(found(&backend(&["10.0.0.5:80", "10.0.0.7:80"], None), &sent), None);
    }

    #[test]
    fn a_cookie_with_a_lifetime_is_renewed_after_half_of_it() {
        let backend = backend(&["10.0.0.5:80"], Some(Duration::from_secs(60)));
        let set = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let cookie = backend.cookie(&backend.members[0].endpoint, false, || set).expect("a cookie");
        let pair = cookie.split(';').next().expect("a pair").to_owned();
        let is_new = |pair: &str, after: i64| {
            let now = if after < 0 { set - Duration::from_secs(1) } else { set + Duration::from_secs(after as u64) };
            backend.stuck(std::iter::once(pair.as_bytes()), || now).map(|(_, is_new)| is_new)
        };
        assert_eq!([0, 30, 31, 600, -1].map(|after| is_new(&pair, after)), [true, true, false, false, false].map(Some));
        let (undated, _) = pair.split_once('-').expect("a date");
        for odd in ["", "-", "-x", "-ffffffffffffffffff"] {
            assert_eq!(is_new(&format!("{undated}{odd}"), 0), Some(false), "{odd}");
        }
        assert_eq!(is_new("node=12", 0), None);
    }
}
