//! [`Certificate`]: what a handshake can be answered with, checked in full.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_PKCS1_SHA1WITHRSA;

pub use rustls::SignatureScheme;

use super::chain::{self, Link};
use super::key_kind::KeyKind;
use super::pem::{PemParts, Role, quoted};
use super::{CertificateError, hex};
use crate::config::CertificateId;
use crate::names::{HostPattern, Hostname};

/// ecdsa-with-SHA1 (RFC 3279 §2.2.3).
const ECDSA_WITH_SHA1: &str = "1.2.840.10045.4.1";

/// A certificate with its chain and key. What exists as one has a key that belongs to it, a chain in order,
/// and at least one name.
pub struct Certificate {
    id: CertificateId,
    names: Vec<HostPattern>,
    not_before: i64,
    not_after: i64,
    key: KeyKind,
    serial: String,
    fingerprint: String,
    issuer: String,
    self_signed: bool,
    warnings: Vec<Warning>,
    certified: Arc<CertifiedKey>,
}

/// What is served all the same, but should be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Past its end.
    #[error("expired on {0}")]
    Expired(String),
    /// Before its beginning.
    #[error("not valid before {0}")]
    NotYetValid(String),
    /// An RSA key that is too short for today.
    #[error("its RSA key of {0} bits is weak: 2048 is the least")]
    WeakKey(usize),
    /// A signature over a SHA-1 digest.
    #[error("it is signed with SHA-1, which clients refuse")]
    Sha1,
    /// The issuer is not among the certificates that came.
    #[error(
        "the intermediate certificate of {issuer} is missing: clients that don't have it will refuse the connection; append it to the certificate's file"
    )]
    MissingIntermediate {
        /// The name of the certificate's issuer.
        issuer: String,
    },
    /// A certificate that has no place in the chain.
    #[error("the certificate of {subject} does not belong to the chain and is left out")]
    Unrelated {
        /// The subject of what was left out.
        subject: String,
    },
    /// Only a common name, which clients have not looked at for years (RFC 9525 §2).
    #[error(
        "it has no subjectAltName, and clients do not look at its common name: ask its CA for one with the names in it"
    )]
    CommonNameOnly,
    /// A name that no client could ask for.
    #[error("its name {0:?} is no host name and is left out")]
    UnusableName(String),
    /// Every user of the machine can read the private key, which is in this file.
    #[error("every user of this machine can read its private key: chmod o-r {0}")]
    ExposedKey(String),
}

impl Certificate {
    /// Parses and checks the parts. `now` (unix seconds) decides between several certificates of one issuer.
    ///
    /// # Errors
    /// [`CertificateError`], which names the file and the remedy.
    pub fn from_pem(id: CertificateId, parts: PemParts<'_>, now: i64) -> Result<Self, CertificateError> {
        let combined = parts.certificate.file == parts.key.file;
        let (certificate_role, key_role) =
            if combined { (Role::Combined, Role::Combined) } else { (Role::Certificate, Role::Key) };
        let mut ders = parts.certificate.certificates(certificate_role)?;
        if ders.is_empty() {
            return Err(CertificateError::NoCertificate { file: parts.certificate.file.to_owned() });
        }
        let key = parts.key.key(key_role)?;
        if let Some(chain) = parts.chain {
            match chain.certificates(Role::Certificate) {
                Ok(chain) => ders.extend(chain),
                // An empty chain file says that there is no chain; a missing intermediate is warned of below.
                Err(CertificateError::Empty { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut seen = std::collections::HashSet::new();
        ders.retain(|der| seen.insert(der.as_ref().to_vec()));

        let key = provider().key_provider.load_private_key(key).map_err(|_| parts.key.unusable_key())?;
        Self::assemble(id, &parts, &ders, key, now)
    }

    fn assemble(
        id: CertificateId,
        parts: &PemParts<'_>,
        ders: &[CertificateDer<'static>],
        key: Arc<dyn SigningKey>,
        now: i64,
    ) -> Result<Self, CertificateError> {
        let file = || parts.certificate.file.to_owned();
        let parse = |der| Link::parse(der).map_err(|reason| CertificateError::Parse { file: file(), reason });
        let mut links = ders.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let leaf = links.swap_remove(leaf_index(&links, &*key).ok_or_else(|| mismatch(parts))?);

        let mut warnings = Vec::new();
        let names = names(&leaf, &mut warnings);
        if names.is_empty() {
            return Err(CertificateError::NoName { file: file() });
        }
        let kind = KeyKind::of(&leaf);
        if let KeyKind::Rsa(bits @ ..2048) = kind {
            warnings.push(Warning::WeakKey(bits));
        }
        let algorithm = &leaf.parsed.signature_algorithm.algorithm;
        if !leaf.is_self_issued()
            && (*algorithm == OID_PKCS1_SHA1WITHRSA || algorithm.to_id_string() == ECDSA_WITH_SHA1)
        {
            warnings.push(Warning::Sha1);
        }
        let chain = chain::order(&leaf, &links, now, &mut warnings);
        let certified = CertifiedKey::new(chain, key);
        if certified.keys_match().is_err() {
            return Err(mismatch(parts));
        }
        Ok(Self {
            id,
            names,
            not_before: leaf.parsed.validity().not_before.timestamp(),
            not_after: leaf.parsed.validity().not_after.timestamp(),
            key: kind,
            serial: hex(leaf.parsed.raw_serial()),
            fingerprint: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf.der).as_ref()),
            issuer: leaf.parsed.issuer().to_string(),
            self_signed: leaf.is_self_issued(),
            warnings,
            certified: Arc::new(certified),
        })
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &CertificateId {
        &self.id
    }

    /// The names that it is valid for; at least one.
    #[must_use]
    pub fn names(&self) -> &[HostPattern] {
        &self.names
    }

    /// The first second of its validity, in unix seconds.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// The last second of its validity, in unix seconds.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Whether it is within its validity at `now` (unix seconds).
    #[must_use]
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Its key's kind.
    #[must_use]
    pub fn key_kind(&self) -> KeyKind {
        self.key
    }

    /// Its serial number, in lower-case hex without separators.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The SHA-256 of its DER, in lower-case hex without separators.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Its issuer's distinguished name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether nobody but itself vouches for it.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    /// What should be looked at, as of `now` (unix seconds).
    #[must_use]
    pub fn warnings(&self, now: i64) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        if now > self.not_after {
            warnings.push(Warning::Expired(date(self.not_after)));
        } else if now < self.not_before {
            warnings.push(Warning::NotYetValid(date(self.not_before)));
        }
        warnings
    }

    /// Adds what only who read its files can know.
    pub(super) fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }

    /// Whether the certificate's issuer did not come with it: a chain file may still be on its way.
    #[must_use]
    pub fn is_chain_incomplete(&self) -> bool {
        let incomplete = |w: &Warning| matches!(w, Warning::MissingIntermediate { .. } | Warning::Unrelated { .. });
        self.warnings.iter().any(incomplete)
    }

    /// Whether it is valid for the canonical `host`.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.matches(host))
    }

    /// Whether it is valid for every host that `patterns` stand for.
    #[must_use]
    pub fn covers_all(&self, patterns: &[HostPattern]) -> bool {
        patterns.iter().all(|pattern| self.names.iter().any(|name| name.covers(pattern)))
    }

    /// Whether its key can sign under one of `schemes`.
    #[must_use]
    pub fn allowed_by(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.allowed_by(schemes).unwrap_or_else(|| self.certified.key.choose_scheme(schemes).is_some())
    }

    /// The certificates that a handshake sends, leaf first, as DER.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.certified.cert.iter().map(AsRef::as_ref)
    }

    /// The same certificate under another id.
    #[must_use]
    pub(super) fn with_id(&self, id: CertificateId) -> Self {
        Self {
            id,
            names: self.names.clone(),
            serial: self.serial.clone(),
            fingerprint: self.fingerprint.clone(),
            issuer: self.issuer.clone(),
            warnings: self.warnings.clone(),
            certified: Arc::clone(&self.certified),
            ..*self
        }
    }

    /// Whether handshakes with both send the same chain.
    #[must_use]
    pub(super) fn serves_like(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.certified.cert == other.certified.cert
    }

    /// What rustls signs with.
    #[must_use]
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// The certificate that the key belongs to; of several (renewed under one key) the newest.
fn leaf_index(links: &[Link<'_>], key: &dyn SigningKey) -> Option<usize> {
    let Some(public) = key.public_key() else { return Some(0) };
    let own = links.iter().enumerate().filter(|(_, link)| link.parsed.public_key().raw == public.as_ref());
    own.max_by_key(|(_, link)| link.parsed.validity().not_before.timestamp()).map(|(index, _)| index)
}

fn mismatch(parts: &PemParts<'_>) -> CertificateError {
    CertificateError::Mismatch {
        certificate: parts.certificate.file.to_owned(),
        key: parts.key.file.to_owned(),
        command: format!(
            "openssl x509 -noout -pubkey -in {}; openssl pkey -pubout -in {}",
            quoted(parts.certificate.file),
            quoted(parts.key.file)
        ),
    }
}

/// SAN's DNS names and addresses; the common name only where there is no SAN at all (RFC 9525 §2).
fn names(leaf: &Link<'_>, warnings: &mut Vec<Warning>) -> Vec<HostPattern> {
    let mut names: Vec<HostPattern> = Vec::new();
    let mut common_name_only = false;
    let mut add = |text: &str| match HostPattern::parse(text) {
        Ok(name) if names.contains(&name) => {}
        Ok(name) => names.push(name),
        Err(_) => warnings.push(Warning::UnusableName(text.to_owned())),
    };
    match leaf.parsed.subject_alternative_name() {
        Ok(Some(san)) => {
            for name in &san.value.general_names {
                match name {
                    GeneralName::DNSName(name) => add(name),
                    GeneralName::IPAddress(octets) => {
                        if let Some(ip) = address(octets) {
                            add(Hostname::from(ip).as_str());
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(None) => {
            common_name_only = true;
            leaf.parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).for_each(add);
        }
        Err(_) => {}
    }
    if common_name_only {
        warnings.push(Warning::CommonNameOnly);
    }
    names
}

fn address(octets: &[u8]) -> Option<std::net::IpAddr> {
    <[u8; 4]>::try_from(octets).map(Into::into).ok().or_else(|| <[u8; 16]>::try_from(octets).map(Into::into).ok())
}

/// The one cryptographic provider of the process.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// Unix seconds as an operator reads them.
pub(super) fn date(unix: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let when = time::OffsetDateTime::from_unix_timestamp(unix).ok();
    when.and_then(|when| when.format(format).ok()).unwrap_or_else(|| format!("unix second {unix}"))
}

/// Never the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, names, not_after, key, fingerprint, .. } = self;
        f.debug_struct("Certificate")
            .field("id", id)
            .field("names", names)
            .field("not_after", not_after)
            .field("key", key)
            .field("fingerprint", fingerprint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
