//! [`LocalCa`]: doorward's own certificate authority, for `doorward dev` and self-signed routes.
//!
//! A P-256 root (`ca.key`, `ca.crt`) and an intermediate below it (`intermediate.key`, `intermediate.crt`), both made
//! once. The intermediate signs, so that `ca.key` may be taken elsewhere. A CA of an earlier version has the root
//! alone, which then signs.

mod issue;

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::storage::StorageError;
use crate::storage::files;

pub use issue::{MAX_LEAF_DAYS, signing_request};

/// How long the root lasts.
const ROOT_YEARS: i64 = 10;
/// Clocks of clients may be this much behind.
const BACKDATED: Duration = Duration::hours(1);

/// A certificate authority in a folder.
pub struct LocalCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    /// What signs, where it is not the root, PEM.
    intermediate: Option<String>,
    /// The end of what signs, unix seconds.
    end: i64,
    made: bool,
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
    #[error("the local CA in {folder} is unusable: {reason}; move ca.key, ca.crt, intermediate.key and intermediate.crt away to have a new one made (clients then have to trust that one)", folder = folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A signing request that is not signed.
    #[error("the signing request cannot be signed: {reason}")]
    Request {
        /// Why.
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
        let at = |name: &str| dir.join(name);
        files::create_folder(dir)?;
        // Two first starts at once make one CA.
        let _lock = files::lock(&dir.join(".lock"))?;
        let read = |name: &str| files::read(&at(name));
        let root = (read("ca.key")?, read("ca.crt")?);
        let intermediate = (read("intermediate.key")?, read("intermediate.crt")?);
        let path = at("ca.crt");
        match (root, intermediate) {
            ((None, None), (None, None)) => {
                let [root, intermediate] = create()?;
                // The root's certificate last: with anything alone, as after a crash here, what is missing is said.
                files::replace(&at("ca.key"), root.key.as_bytes())?;
                files::replace(&at("intermediate.key"), intermediate.key.as_bytes())?;
                files::replace_public(&at("intermediate.crt"), intermediate.certificate.as_bytes())?;
                files::replace_public(&path, root.certificate.as_bytes())?;
                let (key, below) = (intermediate.key.into_bytes(), Some(intermediate.certificate.into_bytes()));
                let ca = Self::load(&key, root.certificate.into_bytes(), below, path);
                ca.map(|ca| Self { made: true, ..ca }).map_err(|reason| unusable(dir, &reason))
            }
            ((_, Some(root)), (Some(key), Some(below))) => {
                Self::load(&key, root, Some(below), path).map_err(|reason| unusable(dir, &reason))
            }
            ((Some(key), Some(root)), (None, None)) => {
                Self::load(&key, root, None, path).map_err(|reason| unusable(dir, &reason))
            }
            ((_, None), _) => Err(unusable(dir, "ca.crt is missing")),
            ((None, _), (None, None)) => Err(unusable(dir, "ca.key is missing")),
            (_, (None, _)) => Err(unusable(dir, "intermediate.key is missing")),
            (_, (_, None)) => Err(unusable(dir, "intermediate.crt is missing")),
        }
    }

    /// Whether there is a CA in the folder `dir`.
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        dir.join("ca.crt").is_file()
    }

    /// `key` is that of the intermediate where there is one.
    fn load(key: &[u8], root: Vec<u8>, intermediate: Option<Vec<u8>>, path: PathBuf) -> Result<Self, String> {
        let signer = if intermediate.is_some() { "intermediate" } else { "ca" };
        let key = std::str::from_utf8(key).map_err(|e| format!("{signer}.key: {e}"))?;
        let key = KeyPair::from_pem(key).map_err(|e| format!("{signer}.key: {e}"))?;
        let certificate = String::from_utf8(root).map_err(|e| format!("ca.crt: {e}"))?;
        let intermediate = intermediate.map(String::from_utf8).transpose();
        let intermediate = intermediate.map_err(|e| format!("intermediate.crt: {e}"))?;
        let signing = intermediate.as_ref().unwrap_or(&certificate);
        let mut end = i64::MAX;
        for (file, text) in [("ca.crt", &certificate), (&format!("{signer}.crt"), signing)] {
            let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|e| format!("{file}: {e}"))?;
            let parsed = pem.parse_x509().map_err(|e| format!("{file}: {e}"))?;
            end = end.min(parsed.validity().not_after.timestamp());
            if end < OffsetDateTime::now_utc().unix_timestamp() {
                return Err(format!("{file} has expired"));
            }
            if std::ptr::eq(text, signing) && parsed.public_key().subject_public_key.data != key.public_key_raw() {
                return Err(format!("{signer}.key is not the key of {signer}.crt"));
            }
        }
        let issuer = Issuer::from_ca_cert_pem(signing, key).map_err(|e| format!("{signer}.crt: {e}"))?;
        Ok(Self { issuer, certificate, intermediate, end, made: false, path })
    }

    /// Whether this call made it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.made
    }

    /// The intermediate, PEM, where there is one.
    #[must_use]
    pub fn intermediate(&self) -> Option<&str> {
        self.intermediate.as_deref()
    }

    /// The end of its certificates, unix seconds: what it issues ends before.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.end
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

/// The root and its intermediate.
fn create() -> Result<[PemPair; 2], LocalCaError> {
    let name = format!("doorward local CA ({})", whose());
    let params = |name: &str, below: u8| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "doorward");
        params.not_before = OffsetDateTime::now_utc() - BACKDATED;
        params.not_after = params.not_before + Duration::days(365 * ROOT_YEARS);
        params.serial_number = Some(random_serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = below == 0;
        Ok::<_, rcgen::Error>(params)
    };
    let create = || {
        let (root_key, key) =
            (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        let root_params = params(&name, 1)?;
        let root = root_params.self_signed(&root_key)?;
        let root_pair = PemPair { certificate: root.pem(), key: root_key.serialize_pem() };
        let issuer = Issuer::new(root_params, root_key);
        let below = params(&format!("{name} intermediate"), 0)?.signed_by(&key, &issuer)?;
        Ok([root_pair, PemPair { certificate: below.pem(), key: key.serialize_pem() }])
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

    use super::issue::tests::verify;
    use super::*;
    use crate::names::HostPattern;

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
    fn what_is_broken_is_said_and_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(LocalCa::open_or_create(folder.path()).expect("made"));
        let key = folder.path().join("intermediate.key");
        let good = std::fs::read(&key).expect("there");
        std::fs::write(&key, "junk").expect("writes");
        let error = LocalCa::open_or_create(folder.path()).expect_err("junk").to_string();
        assert!(error.contains("intermediate.key") && error.contains("move"), "{error}");
        std::fs::write(&key, KeyPair::generate().expect("a key").serialize_pem()).expect("writes");
        let error = LocalCa::open_or_create(folder.path()).expect_err("foreign").to_string();
        assert!(error.contains("not the key"), "{error}");
        std::fs::write(&key, good).expect("writes");
        std::fs::remove_file(folder.path().join("ca.crt")).expect("removes");
        assert!(LocalCa::open_or_create(folder.path()).is_err());
    }

    #[test]
    fn the_roots_key_may_be_elsewhere_and_an_old_ca_has_no_intermediate() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = LocalCa::open_or_create(folder.path()).expect("made");
        assert!(made.is_new() && made.intermediate().is_some() && LocalCa::is_in(folder.path()));
        let names: Vec<HostPattern> = vec!["a.test".parse().expect("a name")];
        let (key, request) = signing_request(&names).expect("a request");
        std::fs::rename(folder.path().join("ca.key"), folder.path().join("elsewhere")).expect("moved");
        let ca = LocalCa::open_or_create(folder.path()).expect("opened");
        assert!(!ca.is_new());
        let signed = PemPair { certificate: ca.sign(&request, 10).expect("signed"), key };
        verify(&ca, &signed, "a.test").expect("trusted");
        for junk in ["", "junk", &signed.certificate] {
            ca.sign(junk, 10).expect_err(junk);
        }
        std::fs::rename(folder.path().join("elsewhere"), folder.path().join("ca.key")).expect("moved");
        for below in ["intermediate.key", "intermediate.crt"] {
            std::fs::remove_file(folder.path().join(below)).expect("removed");
        }
        let old = LocalCa::open_or_create(folder.path()).expect("as an earlier version left it");
        verify(&old, &old.issue(&names, 30).expect("issues"), "a.test").expect("trusted");
    }
}
