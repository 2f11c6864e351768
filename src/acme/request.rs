//! What a certificate is asked for with: its names, a new key, a signing request.

use instant_acme::Identifier;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::AcmeError;
use crate::config::KeyType;
use crate::names::HostPattern;

/// The name as the CA calls it (RFC 8555 §7.1.3, RFC 8738 §3).
pub(super) fn identifier(name: &HostPattern) -> Identifier {
    match name.base().ip() {
        Some(ip) => Identifier::Ip(ip),
        None => Identifier::Dns(name.to_string()),
    }
}

/// A signing request for the names (RFC 8555 §7.4), with no common name.
pub(super) fn signing_request(names: &[HostPattern], key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// A new key for a certificate.
pub(super) async fn new_key(kind: KeyType) -> Result<KeyPair, AcmeError> {
    let algorithm = match kind {
        KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
    };
    // An RSA key takes a good part of a second.
    let made = tokio::task::spawn_blocking(move || KeyPair::generate_for(algorithm)).await;
    Ok(made.map_err(|e| AcmeError::Protocol(e.to_string()))??)
}
