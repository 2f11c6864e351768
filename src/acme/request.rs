//! What a certificate is asked for with: its names, its profile, a new key, a signing request.

use instant_acme::Identifier;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::AcmeError;
use super::session::Session;
use crate::config::{self, KeyType};
use crate::names::HostPattern;

/// The name as the CA calls it (RFC 8555 §7.1.3, RFC 8738 §3).
pub(super) fn identifier(name: &HostPattern) -> Identifier {
    match name.base().ip() {
        Some(ip) => Identifier::Ip(ip),
        None => Identifier::Dns(name.to_string()),
    }
}

/// The profile in the config, where the CA has it; instant-acme would ask for any.
pub(super) fn profile<'a>(acme: &'a config::Acme, session: &Session) -> Result<Option<&'a str>, AcmeError> {
    let Some(profile) = acme.issuer.profile.as_deref() else { return Ok(None) };
    let known: Vec<_> = session.account.profiles().map(|p| p.name.to_owned()).collect();
    if known.iter().any(|name| name == profile) {
        return Ok(Some(profile));
    }
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(AcmeError::Profile { profile: profile.to_owned(), known })
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
