//! Certificates for tests.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::{Certificate, PemPart, PemParts, unix_now};
use crate::config::CertificateId;

/// A day, in seconds.
pub(crate) const DAY: i64 = 86_400;

/// A certificate authority: a root with an intermediate below it.
pub(crate) struct TestCa {
    pub(crate) root: CertifiedIssuer<'static, KeyPair>,
    pub(crate) intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// What a CA hands out, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What to ask a CA for.
pub(crate) struct Order<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) key: KeyPair,
    /// Days from now.
    pub(crate) valid: (i64, i64),
    pub(crate) common_name: &'a str,
}

impl<'a> Order<'a> {
    pub(crate) fn new(names: &'a [&'a str]) -> Self {
        Self { names, key: ecdsa(), valid: (-1, 30), common_name: "" }
    }

    pub(crate) fn valid(self, from: i64, to: i64) -> Self {
        Self { valid: (from, to), ..self }
    }

    pub(crate) fn rsa(self) -> Self {
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
        Self { key: key.expect("an RSA key"), ..self }
    }
}

pub(crate) fn ecdsa() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl TestCa {
    pub(crate) fn new(name: &str) -> Self {
        let root = CertifiedIssuer::self_signed(ca_params(&format!("{name} root")), ecdsa()).expect("a root");
        let intermediate = CertifiedIssuer::signed_by(ca_params(&format!("{name} intermediate")), ecdsa(), &root);
        Self { root, intermediate: intermediate.expect("an intermediate") }
    }

    /// Only the leaf, without its chain.
    pub(crate) fn issue(&self, order: Order<'_>) -> Issued {
        let params = leaf_params(&order);
        let certificate = params.signed_by(&order.key, &self.intermediate).expect("a certificate");
        Issued { certificate: certificate.pem(), key: order.key.serialize_pem() }
    }

    /// A certificate with its chain, for these names.
    pub(crate) fn certificate(&self, id: &str, order: Order<'_>) -> Certificate {
        let issued = self.issue(order);
        issued.certificate(id, &self.intermediate.pem())
    }
}

impl Issued {
    pub(crate) fn certificate(&self, id: &str, chain: &str) -> Certificate {
        let parts = PemParts {
            certificate: PemPart::new("ssl.crt", self.certificate.as_bytes()),
            key: PemPart::new("ssl.key", self.key.as_bytes()),
            chain: Some(PemPart::new("ssl.chain", chain.as_bytes())),
        };
        Certificate::from_pem(CertificateId::new(id), parts, unix_now()).expect("a sound certificate")
    }
}

pub(crate) fn self_signed(order: Order<'_>) -> Issued {
    let certificate = leaf_params(&order).self_signed(&order.key).expect("a certificate");
    Issued { certificate: certificate.pem(), key: order.key.serialize_pem() }
}

fn leaf_params(order: &Order<'_>) -> CertificateParams {
    let names = order.names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, order.common_name);
    params.use_authority_key_identifier_extension = true;
    let at = |days: i64| time::OffsetDateTime::from_unix_timestamp(unix_now() + days * DAY).expect("a date");
    (params.not_before, params.not_after) = (at(order.valid.0), at(order.valid.1));
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}
