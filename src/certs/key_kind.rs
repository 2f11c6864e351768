//! [`KeyKind`]: what a certificate's key is, and so which clients can verify what it signs.

use std::fmt;

use rustls::SignatureScheme;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::public_key::PublicKey;

use super::chain::Link;

/// What kind of key a certificate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with the number of bits of its modulus.
    Rsa(usize),
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// Anything else that the cryptographic library can sign with.
    Other,
}

impl KeyKind {
    /// The kind of the key in `leaf`.
    pub(super) fn of(leaf: &Link<'_>) -> Self {
        let public = leaf.parsed.public_key();
        match public.parsed() {
            Ok(PublicKey::RSA(key)) => KeyKind::Rsa(key.key_size()),
            Ok(PublicKey::EC(point)) => match point.key_size() {
                256 => KeyKind::EcdsaP256,
                384 => KeyKind::EcdsaP384,
                // 521 bits take 66 octets.
                521..=528 => KeyKind::EcdsaP521,
                _ => KeyKind::Other,
            },
            _ if public.algorithm.algorithm == OID_SIG_ED25519 => KeyKind::Ed25519,
            _ => KeyKind::Other,
        }
    }

    /// Whether such a key can sign under one of `schemes`; none where only the key itself knows.
    pub(super) fn allowed_by(self, schemes: &[SignatureScheme]) -> Option<bool> {
        use SignatureScheme as S;
        let allowed = match self {
            Self::Rsa(_) => schemes.iter().any(|scheme| {
                matches!(
                    scheme,
                    S::RSA_PSS_SHA256
                        | S::RSA_PSS_SHA384
                        | S::RSA_PSS_SHA512
                        | S::RSA_PKCS1_SHA256
                        | S::RSA_PKCS1_SHA384
                        | S::RSA_PKCS1_SHA512
                )
            }),
            Self::EcdsaP256 => schemes.contains(&S::ECDSA_NISTP256_SHA256),
            Self::EcdsaP384 => schemes.contains(&S::ECDSA_NISTP384_SHA384),
            Self::EcdsaP521 => schemes.contains(&S::ECDSA_NISTP521_SHA512),
            Self::Ed25519 => schemes.contains(&S::ED25519),
            Self::Other => return None,
        };
        Some(allowed)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other => f.write_str("other"),
        }
    }
}
