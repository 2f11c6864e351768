//! [`links`]: what a chain is made of, for people.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Certificate, hex};

/// One certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// The last second of its validity, unix seconds.
    pub not_after: i64,
    /// SHA-256 of its DER, hex.
    pub fingerprint: String,
    /// SHA-256 of its public key (the SubjectPublicKeyInfo), hex.
    pub key_fingerprint: String,
}

/// What a handshake sends, the certificate first.
#[must_use]
pub fn links(certificate: &Certificate) -> Vec<ChainLink> {
    // Each was parsed when the certificate was made.
    let link = |der: &[u8]| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(ChainLink {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            not_after: parsed.validity().not_after.timestamp(),
            fingerprint: sha256(der),
            key_fingerprint: sha256(parsed.public_key().raw),
        })
    };
    certificate.chain().filter_map(link).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Order, TestCa};
    use super::*;

    #[test]
    fn the_leaf_comes_first_and_each_is_issued_by_the_next() {
        let certificate = TestCa::new("links").certificate("x", Order::new(&["a.test"]));
        let links = links(&certificate);
        assert_eq!(links.len(), 2);
        assert_eq!(links[0].issuer, links[1].subject);
        assert_eq!(links[0].fingerprint, certificate.fingerprint());
        assert_ne!(links[0].key_fingerprint, links[1].key_fingerprint);
    }
}
