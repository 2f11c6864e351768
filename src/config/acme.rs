//! `[acme]` and `[[issuer]]`: who issues certificates, and as whom doorward asks.

use std::path::PathBuf;

/// `[acme]`, with the issuer that it names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// `issuer`: a built-in name (`letsencrypt`, `letsencrypt-staging`) or one of `[[issuer]]`. Default `letsencrypt`.
    pub issuer: Issuer,
    /// `contact`: mail addresses for the account, without `mailto:`.
    pub contact: Vec<String>,
    /// `key`: what certificates' keys are, default `p256`.
    pub key: KeyType,
}

/// A certificate authority that speaks ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `name`: what it is called in the config, in logs and in storage.
    pub name: String,
    /// `directory`: the directory URL (RFC 8555 §7.1.1); `https://`.
    pub directory: String,
    /// `trust`: a PEM file with the roots to trust for the directory, in place of the system's.
    pub trust: Option<PathBuf>,
    /// `profile`: the certificate profile to ask for, where the CA has it.
    pub profile: Option<String>,
    /// `eab`: external account binding (RFC 8555 §7.3.4).
    pub eab: Option<Eab>,
}

/// `eab = { key_id = "…", hmac_key = "…" }`.
#[derive(Clone, PartialEq, Eq)]
pub struct Eab {
    /// The key id.
    pub key_id: String,
    /// The MAC key, base64url as CAs print it.
    pub hmac_key: String,
}

/// A kind of certificate key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA P-256.
    #[default]
    P256,
    /// ECDSA P-384.
    P384,
    /// RSA, 2048 bits.
    Rsa2048,
}

impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eab").field("key_id", &self.key_id).field("hmac_key", &"***").finish()
    }
}
