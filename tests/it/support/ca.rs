//! A certificate authority, and the certificates that operators put into folders.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

/// A root with one intermediate below it, which signs every leaf.
pub(crate) struct TestCa {
    /// The root, which clients trust.
    pub(crate) root_pem: String,
    /// The intermediate, which servers send.
    pub(crate) intermediate_pem: String,
    intermediate: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    /// The certificate alone.
    pub(crate) certificate_pem: String,
    /// Its issuer's.
    pub(crate) chain_pem: String,
    /// PKCS#8.
    pub(crate) key_pem: String,
    /// The certificate as it goes over the wire.
    pub(crate) der: CertificateDer<'static>,
}

/// What a leaf is made of; made by [`TestCa::leaf`].
pub(crate) struct LeafPlan<'a> {
    ca: &'a TestCa,
    names: Vec<String>,
    rsa: bool,
    client: bool,
    days: (i64, i64),
}

/// The CA that all tests share.
pub(crate) fn ca() -> &'static TestCa {
    static CA: OnceLock<TestCa> = OnceLock::new();
    CA.get_or_init(TestCa::new)
}

impl TestCa {
    /// A new one.
    pub(crate) fn new() -> Self {
        let root_key = KeyPair::generate().expect("a key");
        let root_params = authority("doorward test root");
        let root = root_params.self_signed(&root_key).expect("a root");
        let root_issuer = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().expect("a key");
        let params = authority("doorward test intermediate");
        let intermediate = params.signed_by(&key, &root_issuer).expect("an intermediate");
        Self { root_pem: root.pem(), intermediate_pem: intermediate.pem(), intermediate: Issuer::new(params, key) }
    }

    /// A certificate for these names (or addresses), ECDSA and valid unless it is told otherwise.
    pub(crate) fn leaf(&self, names: &[&str]) -> LeafPlan<'_> {
        LeafPlan {
            ca: self,
            names: names.iter().map(ToString::to_string).collect(),
            rsa: false,
            client: false,
            days: (-1, 90),
        }
    }
}

impl LeafPlan<'_> {
    /// RSA with 2048 bits.
    pub(crate) fn rsa(mut self) -> Self {
        self.rsa = true;
        self
    }

    /// Valid from and until, in days from now.
    pub(crate) fn valid_days(mut self, from: i64, until: i64) -> Self {
        self.days = (from, until);
        self
    }

    /// For a client.
    pub(crate) fn client(mut self) -> Self {
        self.client = true;
        self
    }

    /// Makes it.
    pub(crate) fn issue(self) -> Leaf {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let key = if self.rsa {
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        } else {
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        }
        .expect("a key");
        let mut params = CertificateParams::new(self.names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed)));
        params.extended_key_usages =
            vec![if self.client { ExtendedKeyUsagePurpose::ClientAuth } else { ExtendedKeyUsagePurpose::ServerAuth }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = OffsetDateTime::now_utc() + Duration::days(self.days.0);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(self.days.1);
        let certificate = params.signed_by(&key, &self.ca.intermediate).expect("a certificate");
        Leaf {
            certificate_pem: certificate.pem(),
            chain_pem: self.ca.intermediate_pem.clone(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }
}

impl Leaf {
    /// The leaf and its chain in one PEM.
    pub(crate) fn full_chain(&self) -> String {
        format!("{}{}", self.certificate_pem, self.chain_pem)
    }

    /// Writes certbot's layout into `folder`, each file by rename.
    pub(crate) fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("the folder");
        replace(&folder.join("privkey.pem"), &self.key_pem);
        replace(&folder.join("fullchain.pem"), &self.full_chain());
    }
}

/// Writes a file in one step, as tools that care do.
pub(crate) fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("the file");
    fs::rename(&new, file).expect("the rename");
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
