//! Every path in the storage, in one place.
//!
//! ```text
//! accounts/ISSUER-HASH/account.json   the account at that directory URL, with its key
//! orders/ID.json                      an order under way: its URL and the certificate's key
//! certificates/ID/bundle.pem          what is served: key and chain in one value, so that no pair is ever torn
//! certificates/ID/meta.json           who issued it, and the renewal window that the CA suggests
//! certificates/ID/about.json          where it came from, where an operator brought it
//! certificates/ID/versions.json       what was served before it, with the keys, newest first
//! wanted/ID.json                      names that an operator had a certificate generated for
//! disabled/NAME.json                  a name whose HTTPS is switched off
//! challenges/TOKEN.json               an HTTP-01 answer
//! attempts/ID.json                    which issuers and challenges failed for it
//! budget/ISSUER-HASH/orders.json      the orders of late at that CA
//! budget/ISSUER-HASH/domains/NAME.json  its certificates and failed validations for a registered domain
//! outages/HASH.json                   that the CA with the directory of that hash is down
//! on-demand/NAME.json                 a name that got its certificate at a handshake
//! failures/ID.json                    how often an order failed, and when the next may be tried
//! dns/ID.json                         a DNS solver that was added by command, with its secrets
//! dns-records/TOKEN.json              a DNS record that was written and has to be removed
//! sticky/key                          what makes the cookies of sticky sessions
//! ```

use std::fmt;
use std::sync::Arc;

use crate::config::CertificateId;

/// Prefix of all certificates.
pub const CERTIFICATES: &str = "certificates/";
/// Prefix of all challenge answers.
pub const CHALLENGES: &str = "challenges/";
/// Prefix of what was learnt of issuers and challenges.
pub const ATTEMPTS: &str = "attempts/";
/// Prefix of the ledger of what was asked of CAs.
pub const BUDGET: &str = "budget/";
/// Prefix of all names that are served on demand.
pub const ON_DEMAND: &str = "on-demand/";
/// Prefix of all DNS solvers that were added by command.
pub const DNS: &str = "dns/";
/// Prefix of all notes of DNS records.
pub const DNS_RECORDS: &str = "dns-records/";
/// Prefix of all failure records.
pub const FAILURES: &str = "failures/";
/// Prefix of all orders under way.
pub const ORDERS: &str = "orders/";
/// Prefix of all that is wanted by an operator's word.
pub const WANTED: &str = "wanted/";
/// Prefix of all names whose HTTPS is off.
pub const DISABLED: &str = "disabled/";

const BUNDLE: &str = "/bundle.pem";
const JSON: &str = ".json";

/// A path in the storage: segments between `/`, each of letters, digits, `-`, `_`, `%` and `.`,
/// none empty and none with a leading dot. So it is a safe file path as it stands.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

/// The account with the issuer called `issuer` whose directory URL has the short hash `directory`.
#[must_use]
pub fn account(issuer: &str, directory: &str) -> Key {
    Key::new(format!("accounts/{}/account.json", segment(&format!("{issuer}-{directory}"))))
}

/// What makes the cookies of sticky sessions: 32 bytes.
#[must_use]
pub fn sticky_key() -> Key {
    Key::new("sticky/key".to_owned())
}

/// The order that is under way for a certificate.
#[must_use]
pub fn order(id: &CertificateId) -> Key {
    Key::new(format!("{ORDERS}{}{JSON}", segment(id.as_str())))
}

/// A certificate's key and chain, PEM.
#[must_use]
pub fn certificate(id: &CertificateId) -> Key {
    Key::new(format!("{CERTIFICATES}{}{BUNDLE}", segment(id.as_str())))
}

/// What else is known of a certificate.
#[must_use]
pub fn certificate_meta(id: &CertificateId) -> Key {
    Key::new(format!("{CERTIFICATES}{}/meta.json", segment(id.as_str())))
}

/// Where a certificate came from that an operator brought.
#[must_use]
pub fn certificate_about(id: &CertificateId) -> Key {
    Key::new(format!("{CERTIFICATES}{}/about.json", segment(id.as_str())))
}

/// What was served under this id before.
#[must_use]
pub fn certificate_versions(id: &CertificateId) -> Key {
    Key::new(format!("{CERTIFICATES}{}/versions.json", segment(id.as_str())))
}

/// The lock of whoever orders or changes a certificate.
#[must_use]
pub fn certificate_lock(id: &CertificateId) -> String {
    format!("acme-{id}")
}

/// What an operator had generated under this id.
#[must_use]
pub fn wanted(id: &CertificateId) -> Key {
    Key::new(format!("{WANTED}{}{JSON}", segment(id.as_str())))
}

/// The switch of a name or wildcard.
#[must_use]
pub fn disabled(name: &str) -> Key {
    Key::new(format!("{DISABLED}{}{JSON}", segment(name)))
}

/// The name or wildcard whose switch is under `key`; none where it is any other key.
#[must_use]
pub fn disabled_name(key: &Key) -> Option<String> {
    unsegment(key.0.strip_prefix(DISABLED)?.strip_suffix(JSON)?)
}

/// The answer to an HTTP-01 token.
#[must_use]
pub fn challenge(token: &str) -> Key {
    Key::new(format!("{CHALLENGES}{}{JSON}", segment(token)))
}

/// The failures of a certificate's orders.
#[must_use]
pub fn failure(id: &str) -> Key {
    Key::new(format!("{FAILURES}{}{JSON}", segment(id)))
}

/// What was learnt of a certificate's issuers and challenges.
#[must_use]
pub fn attempts(id: &CertificateId) -> Key {
    Key::new(format!("{ATTEMPTS}{}{JSON}", segment(id.as_str())))
}

/// The orders of late at the CA of this `ISSUER-HASH`.
#[must_use]
pub fn budget_orders(ca: &str) -> Key {
    Key::new(format!("{BUDGET}{}/orders{JSON}", segment(ca)))
}

/// What the CA of this `ISSUER-HASH` issued for a registered domain of late.
#[must_use]
pub fn budget_domain(ca: &str, domain: &str) -> Key {
    Key::new(format!("{BUDGET}{}/domains/{}{JSON}", segment(ca), segment(domain)))
}

/// That the CA whose directory URL has this short hash is down.
#[must_use]
pub fn outage(directory: &str) -> Key {
    Key::new(format!("outages/{}{JSON}", segment(directory)))
}

/// A name that is served on demand.
#[must_use]
pub fn on_demand(name: &str) -> Key {
    Key::new(format!("{ON_DEMAND}{}{JSON}", segment(name)))
}

/// The name under `key`; none where it is any other key.
#[must_use]
pub fn on_demand_name(key: &Key) -> Option<String> {
    unsegment(key.0.strip_prefix(ON_DEMAND)?.strip_suffix(JSON)?)
}

/// A DNS solver that was added by command.
#[must_use]
pub fn dns_solver(id: &str) -> Key {
    Key::new(format!("{DNS}{}{JSON}", segment(id)))
}

/// The note of a DNS record that was written for a token.
#[must_use]
pub fn dns_record(token: &str) -> Key {
    Key::new(format!("{DNS_RECORDS}{}{JSON}", segment(token)))
}

/// The id of the DNS solver that is under `key`; none where it is any other key.
#[must_use]
pub fn dns_solver_id(key: &Key) -> Option<String> {
    unsegment(key.0.strip_prefix(DNS)?.strip_suffix(JSON)?)
}

/// The id of the certificate whose key and chain are under `key`; none where it is any other key.
#[must_use]
pub fn certificate_id(key: &Key) -> Option<CertificateId> {
    let id = key.0.strip_prefix(CERTIFICATES)?.strip_suffix(BUNDLE)?;
    unsegment(id).map(CertificateId::new)
}

/// The token whose answer is under `key`; none where it is any other key.
#[must_use]
pub fn challenge_token(key: &Key) -> Option<String> {
    unsegment(key.0.strip_prefix(CHALLENGES)?.strip_suffix(JSON)?)
}

impl Key {
    fn new(path: String) -> Self {
        Self(Arc::from(path))
    }

    /// A key from what a storage lists; none where doorward would not have made it.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let sound = |segment: &str| {
            !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(|b| b == b'%' || plain(b))
        };
        path.split('/').all(sound).then(|| Self(Arc::from(path)))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// How long an id or a name is within a key: a folder's file names have 255 bytes at most.
#[must_use]
pub fn written(text: &str) -> usize {
    segment(text).len()
}

/// One segment of a path: everything but plain characters percent-encoded (RFC 3986 §2.1), a leading dot too.
pub(super) fn segment(text: &str) -> String {
    if text.bytes().all(plain) && !text.starts_with('.') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        if plain(byte) && !(at == 0 && byte == b'.') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unsegment(segment: &str) -> Option<String> {
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
            out.push(digit(bytes.next())? * 16 + digit(bytes.next())?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_never_leave_their_folder() {
        for id in ["cert-0123abcd", "../../etc/passwd", "..", ".hidden", "a/b", "*.example.com", "ü", "100%", "a b"] {
            let key = certificate(&CertificateId::new(id));
            assert_eq!(key.as_str().split('/').count(), 3, "{key}");
            assert!(!key.as_str().contains("/."), "{key}");
            assert_eq!(Key::parse(key.as_str()), Some(key.clone()));
            assert_eq!(certificate_id(&key), Some(CertificateId::new(id)));
        }
        assert_eq!(challenge_token(&challenge("aZ-_09")).as_deref(), Some("aZ-_09"));
        assert_eq!(certificate_id(&certificate_meta(&CertificateId::new("x"))), None);
    }

    #[test]
    fn foreign_files_are_no_keys() {
        for path in ["", "a//b", "a/../b", "a/.b", "/a", "a/", "a b", "a\0"] {
            assert_eq!(Key::parse(path), None, "{path:?}");
        }
    }
}
