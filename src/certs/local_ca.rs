//! [`LocalCa`]: doorward's own certificate authority, for `doorward dev` and self-signed routes.
//!
//! One P-256 root, made once and kept as `ca.key` and `ca.crt`; leaves are not kept.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::names::HostPattern;
use crate::storage::StorageError;
use crate::storage::files;

/// How long the root lasts.
const ROOT_YEARS: i64 = 10;
/// The longest a leaf may last, in days.
pub const MAX_LEAF_DAYS: u32 = 90;
/// Clocks of clients may be this much behind.
const BACKDATED: Duration = Duration::hours(1);

/// A certificate authority in a folder.
pub struct LocalCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    path: PathBuf,
}

/// A certificate chain and its key.
#[derive(Clone)]
pub struct PemPair {
    /// The chain, PEM, the leaf first, the root last.
    pub certificate: String,
    /// The private key, PEM, PKCS#8.
    pub key: String,
}

/// Why the local CA could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalCaError {
    /// Its files could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The files are there, but not both, or not what they should be.
    #[error("the local CA in {folder} is unusable: {reason}; move ca.key and ca.crt away to have a new one made (clients then have to trust that one)", folder = folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("the local CA cannot issue for {names}: {source}")]
    Issue {
        /// The names asked for.
        names: String,
        /// What came back.
        source: rcgen::Error,
    },
}

impl LocalCa {
    /// Opens the CA in the folder `dir`, and makes it (mode 0600 for the key) where there is none.
    ///
    /// # Errors
    /// [`LocalCaError`]. A CA that is there is never replaced.
    pub fn open_or_create(dir: &Path) -> Result<Self, LocalCaError> {
        let (key_path, path) = (dir.join("ca.key"), dir.join("ca.crt"));
        files::create_folder(dir)?;
        // Two first starts at once make one CA.
        let _lock = files::lock(&dir.join(".lock"))?;
        let (key, certificate) = match (files::read(&key_path)?, files::read(&path)?) {
            (Some(key), Some(certificate)) => (key, certificate),
            (None, None) => {
                let (key, certificate) = create_root()?;
                // The certificate last: with the key alone, as after a crash here, `ca.crt is missing` is said.
                files::replace(&key_path, key.as_bytes())?;
                files::replace_public(&path, certificate.as_bytes())?;
                (key.into_bytes(), certificate.into_bytes())
            }
            (Some(_), None) => return Err(unusable(dir, "ca.crt is missing")),
            (None, Some(_)) => return Err(unusable(dir, "ca.key is missing")),
        };
        Self::load(&key, certificate, path).map_err(|reason| unusable(dir, &reason))
    }

    fn load(key: &[u8], certificate: Vec<u8>, path: PathBuf) -> Result<Self, String> {
        let key = std::str::from_utf8(key).map_err(|e| format!("ca.key: {e}"))?;
        let key = KeyPair::from_pem(key).map_err(|e| format!("ca.key: {e}"))?;
        let certificate = String::from_utf8(certificate).map_err(|e| format!("ca.crt: {e}"))?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|e| format!("ca.crt: {e}"))?;
        let parsed = pem.parse_x509().map_err(|e| format!("ca.crt: {e}"))?;
        if parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err("ca.key is not the key of ca.crt".to_owned());
        }
        if parsed.validity().not_after.timestamp() < OffsetDateTime::now_utc().unix_timestamp() {
            return Err("ca.crt has expired".to_owned());
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(|e| format!("ca.crt: {e}"))?;
        Ok(Self { issuer, certificate, path })
    }

    /// Where the root certificate is: what clients have to trust.
    #[must_use]
    pub fn certificate_path(&self) -> &Path {
        &self.path
    }

    /// The root certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A fresh key and a certificate for `names`, valid from an hour ago for `days` days
    /// (1 to [`MAX_LEAF_DAYS`]; what is outside is brought inside).
    ///
    /// # Errors
    /// [`LocalCaError::Issue`], where no certificate can hold the names.
    pub fn issue(&self, names: &[HostPattern], days: u32) -> Result<PemPair, LocalCaError> {
        self.issue_at(names, days, SystemTime::now())
    }

    /// As [`LocalCa::issue`], at another time.
    ///
    /// # Errors
    /// As [`LocalCa::issue`].
    pub fn issue_at(&self, names: &[HostPattern], days: u32, now: SystemTime) -> Result<PemPair, LocalCaError> {
        let issue = || {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
            // No common name: the names are in the alternative names (RFC 9525 §6.3).
            params.distinguished_name = DistinguishedName::new();
            params.not_before = OffsetDateTime::from(now) - BACKDATED;
            params.not_after = params.not_before + Duration::days(i64::from(days.clamp(1, MAX_LEAF_DAYS)));
            params.serial_number = Some(random_serial()?);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.use_authority_key_identifier_extension = true;
            // A subject key identifier comes with an explicit "not a CA".
            params.is_ca = IsCa::ExplicitNoCa;
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            // With the root nobody takes the chain for incomplete; it is not sent.
            let chain = certificate.pem() + &self.certificate;
            Ok(PemPair { certificate: chain, key: key.serialize_pem() })
        };
        issue().map_err(|source| {
            let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            LocalCaError::Issue { names, source }
        })
    }
}

impl std::fmt::Debug for LocalCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalCa").field("path", &self.path).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemPair").field("certificate", &self.certificate).field("key", &"***").finish()
    }
}

fn create_root() -> Result<(String, String), LocalCaError> {
    let name = format!("doorward local CA ({})", whose());
    let create = || {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.clone());
        params.distinguished_name.push(DnType::OrganizationName, "doorward");
        params.not_before = OffsetDateTime::now_utc() - BACKDATED;
        params.not_after = params.not_before + Duration::days(365 * ROOT_YEARS);
        params.serial_number = Some(random_serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok((key.serialize_pem(), certificate.pem()))
    };
    create().map_err(|source| LocalCaError::Issue { names: name.clone(), source })
}

/// `user@host`, so that people recognise the CA in a trust store.
fn whose() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |text: &str| -> String {
        let sound = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        text.chars().filter(sound).take(40).collect()
    };
    match (plain(&user).as_str(), plain(&host).as_str()) {
        ("", "") => "this machine".to_owned(),
        ("", host) => host.to_owned(),
        (user, "") => user.to_owned(),
        (user, host) => format!("{user}@{host}"),
    }
}

fn alternative_name(name: &HostPattern) -> Result<SanType, rcgen::Error> {
    let ip: Option<IpAddr> = if name.is_wildcard() { None } else { name.base().ip() };
    Ok(match ip {
        Some(ip) => SanType::IpAddress(ip),
        None => SanType::DnsName(name.to_string().try_into()?),
    })
}

/// 127 random bits, positive and never zero (RFC 5280 §4.1.2.2).
fn random_serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn unusable(folder: &Path, reason: &str) -> LocalCaError {
    LocalCaError::Unusable { folder: folder.to_path_buf(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    fn verify(ca: &LocalCa, pair: &PemPair, name: &str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.certificate().as_bytes()).expect("PEM")).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        let leaf = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM");
        let name = ServerName::try_from(name).expect("a name");
        verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn the_root_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("ca");
        let first = LocalCa::open_or_create(&dir).expect("made");
        let again = LocalCa::open_or_create(&dir).expect("opened");
        assert_eq!(first.certificate(), again.certificate());
        let mode = |name: &str| dir.join(name).metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode("ca.key"), 0o600);
        assert_eq!(dir.metadata().expect("there").permissions().mode() & 0o777, 0o700);
        let pair = first.issue(&["a.localhost".parse().expect("a name")], 30).expect("issues");
        verify(&again, &pair, "a.localhost").expect("trusted after a restart");
    }

    #[test]
    fn leaves_hold_just_the_names_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = LocalCa::open_or_create(folder.path()).expect("made");
        let names: Vec<HostPattern> =
            ["localhost", "*.example.test", "127.0.0.1", "::1"].map(|n| n.parse().expect("a name")).into();
        let pair = ca.issue(&names, 1000).expect("issues");
        for name in ["localhost", "x.example.test", "127.0.0.1", "::1"] {
            verify(&ca, &pair, name).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        verify(&ca, &pair, "other.test").expect_err("not asked for");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes()).expect("PEM");
        let leaf = pem.parse_x509().expect("a certificate");
        let lifetime = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
        assert_eq!(lifetime, i64::from(MAX_LEAF_DAYS) * 86_400);
        let other = ca.issue(&names, 30).expect("issues");
        assert_ne!(other.key, pair.key);
    }

    #[test]
    fn what_is_broken_is_said_and_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(LocalCa::open_or_create(folder.path()).expect("made"));
        let key = folder.path().join("ca.key");
        let good = std::fs::read(&key).expect("there");
        std::fs::write(&key, "junk").expect("writes");
        let error = LocalCa::open_or_create(folder.path()).expect_err("junk").to_string();
        assert!(error.contains("ca.key") && error.contains("move"), "{error}");
        std::fs::write(&key, KeyPair::generate().expect("a key").serialize_pem()).expect("writes");
        let error = LocalCa::open_or_create(folder.path()).expect_err("foreign").to_string();
        assert!(error.contains("not the key"), "{error}");
        std::fs::write(&key, good).expect("writes");
        std::fs::remove_file(folder.path().join("ca.crt")).expect("removes");
        assert!(LocalCa::open_or_create(folder.path()).is_err());
    }
}
