//! What the CA signs: leaves for names, and other people's requests.

use std::net::IpAddr;
use std::time::SystemTime;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

use super::{BACKDATED, LocalCa, LocalCaError, PemPair, random_serial};
use crate::names::HostPattern;

/// The longest a leaf may last, in days.
pub const MAX_LEAF_DAYS: u32 = 825;

impl LocalCa {
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
            let names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
            let params = self.leaf(names, days, now)?;
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            // With the root nobody takes the chain for incomplete; it is not sent.
            let chain = self.chain(&certificate.pem()) + &self.certificate;
            Ok(PemPair { certificate: chain, key: key.serialize_pem() })
        };
        issue().map_err(|source| {
            let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            LocalCaError::Issue { names, source }
        })
    }

    /// A certificate for the key and the names of a signing request (RFC 2986), PEM; the chain follows. All else
    /// that is asked for, to be a CA above all, is passed over.
    ///
    /// # Errors
    /// [`LocalCaError::Request`], where it is no sound request, or has no name.
    pub fn sign(&self, request: &str, days: u32) -> Result<String, LocalCaError> {
        let refused = |reason: String| LocalCaError::Request { reason };
        // Its own signature, which proves that the key is the asker's, is checked here.
        let parsed = CertificateSigningRequestParams::from_pem(request).map_err(|error| refused(error.to_string()))?;
        let names: Vec<SanType> = parsed.params.subject_alt_names.clone();
        let sound = |name: &SanType| match name {
            SanType::DnsName(name) => HostPattern::parse(name.as_str()).is_ok(),
            SanType::IpAddress(_) => true,
            _ => false,
        };
        if names.is_empty() || !names.iter().all(sound) {
            return Err(refused(
                "it has to ask for DNS names or addresses (subjectAltName), and for nothing else".to_owned(),
            ));
        }
        let sign = || {
            let params = self.leaf(names, days, SystemTime::now())?;
            let request = CertificateSigningRequestParams { params, public_key: parsed.public_key };
            Ok::<_, rcgen::Error>(self.chain(&request.signed_by(&self.issuer)?.pem()))
        };
        sign().map_err(|error| refused(error.to_string()))
    }

    /// What every leaf is like.
    fn leaf(&self, names: Vec<SanType>, days: u32, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        // No common name: the names are in the alternative names (RFC 9525 §6.3).
        params.distinguished_name = DistinguishedName::new();
        params.not_before = OffsetDateTime::from(now) - BACKDATED;
        params.not_after = params.not_before + Duration::days(i64::from(days.clamp(1, MAX_LEAF_DAYS)));
        if let Ok(end) = OffsetDateTime::from_unix_timestamp(self.end) {
            params.not_after = params.not_after.min(end);
        }
        params.serial_number = Some(random_serial()?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // A subject key identifier comes with an explicit "not a CA".
        params.is_ca = IsCa::ExplicitNoCa;
        Ok(params)
    }

    /// The leaf, and what clients need to get to the root.
    fn chain(&self, leaf: &str) -> String {
        format!("{}{}", leaf, self.intermediate.as_deref().unwrap_or_default())
    }
}

/// A fresh key and a signing request for `names`, for another CA; both PEM.
///
/// # Errors
/// [`LocalCaError::Issue`], where no request can hold the names.
pub fn signing_request(names: &[HostPattern]) -> Result<(String, String), LocalCaError> {
    let make = || {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?.pem()?;
        Ok((key.serialize_pem(), request))
    };
    make().map_err(|source| {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        LocalCaError::Issue { names, source }
    })
}

fn alternative_name(name: &HostPattern) -> Result<SanType, rcgen::Error> {
    let ip: Option<IpAddr> = if name.is_wildcard() { None } else { name.base().ip() };
    Ok(match ip {
        Some(ip) => SanType::IpAddress(ip),
        None => SanType::DnsName(name.to_string().try_into()?),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use rcgen::BasicConstraints;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    /// Whether who trusts the root accepts the certificate for the name.
    pub(in super::super) fn verify(ca: &LocalCa, pair: &PemPair, name: &str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.certificate().as_bytes()).expect("PEM")).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).map(|der| der.expect("PEM")).collect();
        let (leaf, below) = chain.split_first().expect("a leaf");
        let name = ServerName::try_from(name).expect("a name");
        verifier.verify_server_cert(leaf, below, &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn leaves_hold_just_the_names_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = LocalCa::open_or_create(folder.path()).expect("made");
        let names: Vec<HostPattern> =
            ["localhost", "*.example.test", "127.0.0.1", "::1"].map(|n| n.parse().expect("a name")).into();
        let pair = ca.issue(&names, 3000).expect("issues");
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
    fn a_request_gets_its_names_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = LocalCa::open_or_create(folder.path()).expect("made");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let request = params.serialize_request(&key).expect("a request").pem().expect("PEM");
        if let Ok(signed) = ca.sign(&request, 10) {
            let (_, pem) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).expect("PEM");
            assert!(!pem.parse_x509().expect("a certificate").is_ca());
        }
        let nameless = CertificateParams::default().serialize_request(&key).expect("a request").pem().expect("PEM");
        assert!(ca.sign(&nameless, 10).expect_err("no name").to_string().contains("subjectAltName"));
    }
}
