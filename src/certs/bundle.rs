//! [`Bundle`]: a certificate with its key and chain as one PEM text, as the storage holds it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::PrivateKeyDer;

use super::pem::Role;
use super::{Certificate, CertificateError, PemPart, PemParts};
use crate::config::CertificateId;

/// How long a line of base64 is (RFC 7468 §2).
const LINE: usize = 64;

/// A checked certificate, and the text that it can be had from again.
pub struct Bundle {
    /// What was checked.
    pub certificate: Certificate,
    /// The key, the certificate, then its chain in order; PEM.
    pub pem: String,
}

impl Bundle {
    /// Checks the parts in full, and writes what of them is served: nothing that lay beside it.
    ///
    /// # Errors
    /// [`CertificateError`], as [`Certificate::from_pem`].
    pub fn from_parts(id: CertificateId, parts: PemParts<'_>, now: i64) -> Result<Self, CertificateError> {
        let certificate = Certificate::from_pem(id, parts, now)?;
        let combined = parts.certificate.file == parts.key.file;
        let key = parts.key.key(if combined { Role::Combined } else { Role::Key })?;
        let label = match &key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let mut pem = block(label, key.secret_der());
        certificate.chain().for_each(|der| pem.push_str(&block("CERTIFICATE", der)));
        Ok(Self { certificate, pem })
    }

    /// As [`Bundle::from_parts`], of one text that holds key and certificates; messages call it `file`.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_text(id: CertificateId, file: &str, text: &[u8], now: i64) -> Result<Self, CertificateError> {
        let part = PemPart::new(file, text);
        Self::from_parts(id, PemParts { certificate: part, key: part, chain: None }, now)
    }

    /// The key alone, PEM.
    #[must_use]
    pub fn key(&self) -> &str {
        self.pem.find("-----BEGIN CERTIFICATE").map_or(&self.pem, |at| &self.pem[..at])
    }

    /// The certificate and its chain, PEM.
    #[must_use]
    pub fn chain(&self) -> &str {
        self.pem.find("-----BEGIN CERTIFICATE").map_or("", |at| &self.pem[at..])
    }
}

/// Never the key.
impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// One PEM block (RFC 7468 §3).
fn block(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE) {
        // Base64 is ASCII, and writing to a String does not fail.
        let _ = writeln!(out, "{}", String::from_utf8_lossy(line));
    }
    let _ = writeln!(out, "-----END {label}-----");
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Order, TestCa};
    use super::super::unix_now;
    use super::*;

    #[test]
    fn a_bundle_is_what_is_served_and_comes_back_the_same() {
        let ca = TestCa::new("bundle");
        for order in [Order::new(&["a.test"]), Order::new(&["a.test"]).rsa()] {
            let issued = ca.issue(order);
            // The chain in the wrong order, and the root, which is not sent.
            let chain = format!("{}{}{}", ca.root.pem(), issued.certificate, ca.intermediate.pem());
            let parts = PemParts {
                certificate: PemPart::new("c", chain.as_bytes()),
                key: PemPart::new("k", issued.key.as_bytes()),
                chain: None,
            };
            let id = CertificateId::new("x");
            let bundle = Bundle::from_parts(id.clone(), parts, unix_now()).expect("sound");
            let again = Bundle::from_text(id, "b", bundle.pem.as_bytes(), unix_now()).expect("sound");
            assert_eq!(bundle.pem, again.pem);
            assert_eq!(bundle.certificate.fingerprint(), again.certificate.fingerprint());
            assert!(bundle.key().contains("PRIVATE KEY") && !bundle.key().contains("BEGIN CERTIFICATE"));
            assert!(bundle.chain().starts_with("-----BEGIN CERTIFICATE"));
            assert!(!format!("{bundle:?}").contains("PRIVATE"));
        }
    }
}
