//! [`Certificate`]: what a handshake can be answered with, checked in full.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SIG_ED25519};
use x509_parser::public_key::PublicKey;

pub use rustls::SignatureScheme;

use super::chain::{self, Link};
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

/// What kind of key a certificate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with the number of bits of its modulus.
    Rsa(usize),
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// Anything else that the cryptographic library can sign with.
    Other,
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
    /// A name that no client could ask for.
    #[error("its name {0:?} is no host name and is left out")]
    UnusableName(String),
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

        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| CertificateError::Key { file: parts.key.file.to_owned(), reason: error.to_string() })?;
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
        let kind = key_kind(&leaf);
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
        use SignatureScheme as S;
        match self.key {
            KeyKind::Rsa(_) => schemes.iter().any(|scheme| {
                matches!(
                    scheme,
                    S::RSA_PSS_SHA256
                        | S::RSA_PSS_SHA384
                        | S::RSA_PSS_SHA512
                        | S::RSA_PKCS1_SHA256
                        | S::RSA_PKCS1_SHA384
                        | S::RSA_PKCS1_SHA512
                )
            }),
            KeyKind::EcdsaP256 => schemes.contains(&S::ECDSA_NISTP256_SHA256),
            KeyKind::EcdsaP384 => schemes.contains(&S::ECDSA_NISTP384_SHA384),
            KeyKind::EcdsaP521 => schemes.contains(&S::ECDSA_NISTP521_SHA512),
            KeyKind::Ed25519 => schemes.contains(&S::ED25519),
            KeyKind::Other => self.certified.key.choose_scheme(schemes).is_some(),
        }
    }

    /// The certificates that a handshake sends, leaf first, as DER.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.certified.cert.iter().map(AsRef::as_ref)
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
            leaf.parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).for_each(add);
        }
        Err(_) => {}
    }
    names
}

fn address(octets: &[u8]) -> Option<std::net::IpAddr> {
    <[u8; 4]>::try_from(octets).map(Into::into).ok().or_else(|| <[u8; 16]>::try_from(octets).map(Into::into).ok())
}

fn key_kind(leaf: &Link<'_>) -> KeyKind {
    let public = leaf.parsed.public_key();
    match public.parsed() {
        Ok(PublicKey::RSA(key)) => KeyKind::Rsa(key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            256 => KeyKind::EcdsaP256,
            384 => KeyKind::EcdsaP384,
            // 521 bits take 66 octets.
            521..=528 => KeyKind::EcdsaP521,
            _ => KeyKind::Other,
        },
        _ if public.algorithm.algorithm == OID_SIG_ED25519 => KeyKind::Ed25519,
        _ => KeyKind::Other,
    }
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

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other => f.write_str("other"),
        }
    }
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
mod tests {
    use super::super::testing::{DAY, Issued, Order, TestCa, ecdsa, self_signed};
    use super::super::{PemPart, unix_now};
    use super::*;

    fn read(certificate: &[u8], key: &[u8], chain: Option<&str>) -> Result<Certificate, CertificateError> {
        let parts = PemParts {
            certificate: PemPart::new("/c/a/ssl.crt", certificate),
            key: PemPart::new("/c/a/ssl.key", key),
            chain: chain.map(|chain| PemPart::new("/c/a/ssl.chain", chain.as_bytes())),
        };
        Certificate::from_pem(CertificateId::new("a"), parts, unix_now())
    }

    fn message(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> String {
        read(certificate.as_ref(), key.as_ref(), None).expect_err("a refusal").to_string()
    }

    #[test]
    fn the_chain_is_put_right_whatever_its_order() {
        let ca = TestCa::new("test");
        let Issued { certificate: leaf, key } = ca.issue(Order::new(&["example.com"]));
        let (intermediate, root) = (ca.intermediate.pem(), ca.root.pem());
        let expected = |certificate: &Certificate| {
            let chain: Vec<&[u8]> = certificate.chain().collect();
            assert_eq!(chain.len(), 2);
            assert_eq!(chain[1], ca.intermediate.der().as_ref());
            assert_eq!(certificate.warnings(unix_now()), []);
        };
        for file in [
            format!("{leaf}{intermediate}"),
            format!("{intermediate}{leaf}"),
            format!("{root}{intermediate}{leaf}{leaf}{intermediate}"),
        ] {
            expected(&read(file.as_bytes(), key.as_bytes(), None).expect("sound"));
        }
        expected(&read(leaf.as_bytes(), key.as_bytes(), Some(&format!("{root}{intermediate}"))).expect("sound"));
        expected(&read(leaf.replace('\n', "\r\n").as_bytes(), key.as_bytes(), Some(&intermediate)).expect("sound"));
    }

    #[test]
    fn a_gap_in_the_chain_and_strangers_are_warned_of() {
        let (ca, other) = (TestCa::new("test"), TestCa::new("other"));
        let Issued { certificate: leaf, key } = ca.issue(Order::new(&["example.com"]));
        let alone = read(leaf.as_bytes(), key.as_bytes(), None).expect("sound");
        assert!(alone.is_chain_incomplete());
        assert!(
            matches!(&alone.warnings(unix_now())[..], [Warning::MissingIntermediate { issuer }] if issuer.contains("test intermediate"))
        );
        let strange = read(leaf.as_bytes(), key.as_bytes(), Some(&other.intermediate.pem())).expect("sound");
        assert_eq!(strange.chain().count(), 1);
        assert!(strange.warnings(unix_now()).iter().any(|w| matches!(w, Warning::Unrelated { .. })));
    }

    #[test]
    fn names_are_those_of_the_san_and_else_the_common_name() {
        let order = Order { common_name: "cn.example", ..Order::new(&["Example.com", "*.example.com", "192.0.2.1"]) };
        let certificate = TestCa::new("test").certificate("a", order);
        let names: Vec<_> = certificate.names().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["example.com", "*.example.com", "192.0.2.1"]);
        assert!(certificate.covers("a.example.com") && !certificate.covers("cn.example"));
        assert!(certificate.covers_all(&["*.example.com".parse().expect("a pattern")]));
        assert!(!certificate.covers_all(&["*.b.example.com".parse().expect("a pattern")]));

        let order = Order { common_name: "cn.example", ..Order::new(&[]) };
        assert!(TestCa::new("test").certificate("a", order).covers("cn.example"));
    }

    #[test]
    fn dates_warn() {
        let ca = TestCa::new("test");
        let expired = ca.certificate("a", Order::new(&["a.example"]).valid(-20, -10));
        let early = ca.certificate("a", Order::new(&["a.example"]).valid(10, 20));
        assert!(matches!(expired.warnings(unix_now())[..], [Warning::Expired(_)]));
        assert!(matches!(early.warnings(unix_now())[..], [Warning::NotYetValid(_)]));
        assert_eq!(early.warnings(unix_now() + 15 * DAY), []);
        assert!(!format!("{early:?}").contains("PRIVATE") && format!("{early:?}").contains("a.example"));
    }

    #[test]
    fn refusals_name_the_file_and_the_remedy() {
        let ca = TestCa::new("test");
        let Issued { certificate, key } = ca.issue(Order::new(&["example.com"]));
        let (leaf, pem_key) = (certificate.as_str(), key.as_str());
        let contains = |message: String, parts: &[&str]| {
            for part in parts {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
        };
        let convert = "-in /c/a/ssl.key -out /c/a/ssl.key.new && mv /c/a/ssl.key.new /c/a/ssl.key";
        for encrypted in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        ] {
            contains(message(leaf, encrypted), &["passphrase", &format!("openssl pkey {convert}")]);
        }
        let key_der = KeyPairDer::of(&key);
        contains(message(leaf, &key_der), &["/c/a/ssl.key is DER", &format!("openssl pkey -inform DER {convert}")]);
        contains(
            message(ca.root.der(), pem_key),
            &["/c/a/ssl.crt is DER", "openssl x509 -inform DER -in /c/a/ssl.crt"],
        );
        let pkcs12 = [0x30, 0x82, 1, 0, 2, 1, 3, 0x30];
        contains(message(pkcs12, pem_key), &["/c/a/ssl.crt is PKCS#12", "openssl pkcs12 -nokeys -in /c/a/ssl.crt"]);
        contains(
            message(leaf, pkcs12),
            &["/c/a/ssl.key is PKCS#12", "openssl pkcs12 -nocerts -nodes -in /c/a/ssl.key"],
        );
        let other = ecdsa().serialize_pem();
        contains(message(leaf, other), &["/c/a/ssl.key", "/c/a/ssl.crt", "does not belong", "openssl pkey -pubout"]);
        contains(message("", pem_key), &["/c/a/ssl.crt is empty"]);
        contains(message("\n\n", pem_key), &["/c/a/ssl.crt is empty"]);
        for cut in [3, 20, 27, 60, leaf.len() / 2, leaf.len() - 10] {
            contains(message(&leaf[..cut], pem_key), &["/c/a/ssl.crt", "copied only in part"]);
            contains(message(leaf, &pem_key[..cut.min(pem_key.len() - 10)]), &["/c/a/ssl.key", "copied only in part"]);
        }
        contains(message("hello", pem_key), &["/c/a/ssl.crt is no PEM"]);
        contains(message(pem_key, pem_key), &["/c/a/ssl.crt has no certificate"]);
        contains(message(leaf, leaf), &["/c/a/ssl.key has no private key"]);
        let nameless = self_signed(Order::new(&[]));
        contains(message(&nameless.certificate, &nameless.key), &["no usable name", "subjectAltName"]);
    }

    #[test]
    fn every_cut_of_a_file_is_refused_or_whole() {
        let issued = self_signed(Order::new(&["example.com"]));
        let whole = issued.certificate.trim_end().len();
        for cut in 0..whole {
            assert!(read(&issued.certificate.as_bytes()[..cut], issued.key.as_bytes(), None).is_err(), "{cut}");
        }
        assert!(read(&issued.certificate.as_bytes()[..whole], issued.key.as_bytes(), None).is_ok());
    }

    #[test]
    fn key_kinds_are_told_and_sign_what_they_can() {
        let ca = TestCa::new("test");
        let rsa = ca.certificate("a", Order::new(&["a.example"]).rsa());
        assert_eq!(rsa.key_kind(), KeyKind::Rsa(2048));
        assert!(rsa.allowed_by(&[SignatureScheme::RSA_PSS_SHA256]));
        assert!(!rsa.allowed_by(&[SignatureScheme::ECDSA_NISTP256_SHA256]));
        for (algorithm, kind, scheme) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcdsaP256, SignatureScheme::ECDSA_NISTP256_SHA256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcdsaP384, SignatureScheme::ECDSA_NISTP384_SHA384),
            (&rcgen::PKCS_ECDSA_P521_SHA512, KeyKind::EcdsaP521, SignatureScheme::ECDSA_NISTP521_SHA512),
            (&rcgen::PKCS_ED25519, KeyKind::Ed25519, SignatureScheme::ED25519),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
            let certificate = ca.certificate("a", Order { key, ..Order::new(&["a.example"]) });
            assert_eq!(certificate.key_kind(), kind);
            assert!(certificate.allowed_by(&[scheme]) && !certificate.allowed_by(&[SignatureScheme::RSA_PSS_SHA256]));
            assert!(certificate.certified_key().key.choose_scheme(&[scheme]).is_some(), "{kind}: as rustls has it");
        }
    }

    struct KeyPairDer;

    impl KeyPairDer {
        fn of(pem: &str) -> Vec<u8> {
            rcgen::KeyPair::from_pem(pem).expect("a key").serialize_der()
        }
    }
}
