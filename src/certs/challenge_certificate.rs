//! [`ChallengeCertificate`]: the certificate that proves a name in a handshake (RFC 8737 §3).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::provider;
use crate::names::Hostname;

/// A self-signed certificate with the digest of a key authorisation in `acmeIdentifier`.
#[derive(Debug)]
pub struct ChallengeCertificate {
    digest: [u8; 32],
    certified: Arc<CertifiedKey>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeCertificateError {
    /// It cannot be made.
    #[error(transparent)]
    Made(#[from] rcgen::Error),
    /// Its key cannot be used.
    #[error(transparent)]
    Key(#[from] rustls::Error),
}

impl ChallengeCertificate {
    /// The certificate that proves `name`, a DNS name or an address.
    ///
    /// # Errors
    /// [`ChallengeCertificateError`], where the cryptographic provider fails.
    pub fn new(name: &Hostname, key_authorization: &str) -> Result<Self, ChallengeCertificateError> {
        let digest = digest(key_authorization);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_string()])?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
        let certificate = params.self_signed(&key)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // Not `from_der`: it parses the certificate, and the parser does not know the critical extension.
        let key = provider().key_provider.load_private_key(private)?;
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
        Ok(Self { digest, certified: Arc::new(certified) })
    }

    /// Whether it answers for this key authorisation.
    #[must_use]
    pub fn answers(&self, key_authorization: &str) -> bool {
        self.digest == digest(key_authorization)
    }

    /// What a CA asks for by SNI to have `name` proven: the name, or an address's reverse name (RFC 8738 §6).
    #[must_use]
    pub fn sni(name: &Hostname) -> String {
        match name.ip() {
            None => name.to_string(),
            Some(IpAddr::V4(ip)) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            Some(IpAddr::V6(ip)) => {
                let mut reversed = String::with_capacity(72);
                for byte in ip.octets().iter().rev() {
                    // Writing to a String does not fail.
                    let _ = write!(reversed, "{:x}.{:x}.", byte & 15, byte >> 4);
                }
                reversed + "ip6.arpa"
            }
        }
    }
}

impl ResolvesServerCert for ChallengeCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.certified))
    }
}

fn digest(key_authorization: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorization.as_bytes());
    out.copy_from_slice(hash.as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_name_and_the_digest_and_is_critical_about_it() {
        let name: Hostname = "a.test".parse().expect("a name");
        let made = ChallengeCertificate::new(&name, "token.thumb").expect("made");
        assert!(made.answers("token.thumb") && !made.answers("token.other"));
        let (_, parsed) = x509_parser::parse_x509_certificate(&made.certified.cert[0]).expect("X.509");
        let extension = parsed
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .expect("acmeIdentifier");
        assert!(extension.critical);
        // An OCTET STRING of 32 bytes.
        assert_eq!(extension.value[..2], [4, 32]);
        assert_eq!(extension.value[2..], digest("token.thumb"));
        let names = parsed.subject_alternative_name().expect("one").expect("one");
        assert_eq!(names.value.general_names.len(), 1);
    }

    #[test]
    fn addresses_are_asked_for_by_their_reverse_names() {
        let sni = |name: &str| ChallengeCertificate::sni(&name.parse().expect("a name"));
        assert_eq!(sni("a.test"), "a.test");
        assert_eq!(sni("127.0.0.1"), "1.0.0.127.in-addr.arpa");
        assert_eq!(sni("2001:db8::1"), "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }
}
