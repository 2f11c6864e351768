//! Certificates: from PEM to what a handshake is answered with. Floor 4.
//!
//! There is one way for all of them: a source (a watched folder, storage) hands bytes to
//! [`Certificate::from_pem`], which checks them; the [`Table`] takes the result; handshakes are served from
//! it from then on.

mod bundle;
mod certificate;
mod chain;
mod challenge_certificate;
mod challenges;
mod changes;
mod disabled;
mod error;
mod key_kind;
mod links;
mod local_ca;
mod local_issuer;
mod on_demand;
mod pem;
mod resolver;
mod stored;
mod table;
mod trust;
mod vault;

pub mod directory;
pub mod foreign;
#[cfg(test)]
pub(crate) mod testing;

pub use bundle::Bundle;
pub(crate) use certificate::provider;
pub use certificate::{Certificate, SignatureScheme, Warning};
pub use challenge_certificate::{ChallengeCertificate, ChallengeCertificateError};
pub use challenges::Challenges;
pub use directory::{Directory, DirectoryHandle};
pub use disabled::Disabled;
pub use error::CertificateError;
pub use key_kind::KeyKind;
pub use links::{ChainLink, links};
pub use local_ca::{LocalCa, LocalCaError, MAX_LEAF_DAYS, PemPair, signing_request};
pub use local_issuer::{LocalIssuer, LocalIssuerError};
pub use on_demand::{BoxFuture, OnDemand, OnDemandError};
pub use pem::{PemPart, PemParts};
pub use resolver::Chosen;
pub use stored::{Stored, Unusable};
pub use table::{Ask, Choice, Table};
pub use trust::is_trusted;
pub use vault::{About, Origin, Vault, VaultError, Version, Wish};

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Now, in unix seconds; what the clock says, even where that is before 1970.
pub(crate) fn unix_now() -> i64 {
    let since = |earlier: std::time::Duration| i64::try_from(earlier.as_secs()).unwrap_or(i64::MAX);
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}
