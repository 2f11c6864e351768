//! [`Status`]: how a certificate stands, for `doorward status`.

use std::time::SystemTime;

use serde::Serialize;

use super::backoff::Failure;
use super::certificate::{Issued, Meta};
use super::clock::unix;
use super::record::key_type_name;
use crate::certs::KeyKind;
use crate::config::{self, CertificateId, KeyType};
use crate::storage::{Storage, StorageError, keys};

/// How one wanted certificate stands. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its id.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// The issuer in the config; none where there is no `[acme]`.
    pub issuer: Option<String>,
    /// What is going on.
    pub state: State,
    /// The end of the certificate that there is.
    pub not_after: Option<u64>,
    /// When it is to be renewed.
    pub renew_at: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, in plain words.
    pub last_error: Option<String>,
    /// When that was.
    pub last_failure: Option<u64>,
    /// When the next attempt may be made.
    pub next_attempt: Option<u64>,
    /// Names, and how far the last order is with each.
    pub progress: Vec<(String, String)>,
}

/// What the storage tells of a certificate's orders, whether or not anybody looks after it now. Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The issuer's name; none where no CA issued it.
    pub issuer: Option<String>,
    /// The URL of the issuer's directory.
    pub directory: Option<String>,
    /// The profile that it was issued by; none: the issuer's default.
    pub profile: Option<String>,
    /// When it was issued.
    pub issued: Option<u64>,
    /// When it is to be renewed.
    pub renew_at: Option<u64>,
    /// When it was revoked by command.
    pub revoked: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, in plain words.
    pub last_error: Option<String>,
    /// When that was.
    pub last_failure: Option<u64>,
    /// When the next attempt may be made.
    pub next_attempt: Option<u64>,
}

impl Kept {
    /// Reads it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn load(storage: &dyn Storage, id: &CertificateId, now: SystemTime) -> Result<Self, StorageError> {
        let meta = meta(storage, id).await?;
        // Of what no CA issued to doorward there is no more to know, and the bundle need not be read.
        let issued = if meta.directory.is_empty() { None } else { Issued::load(storage, id, now).await? };
        let failure = Failure::load(storage, id).await?;
        Ok(Self {
            issuer: issued.as_ref().map(|issued| issued.meta.issuer.clone()),
            directory: issued.as_ref().map(|issued| issued.meta.directory.clone()),
            profile: issued.as_ref().and_then(|issued| issued.meta.profile.clone()),
            issued: issued.as_ref().map(|issued| issued.meta.issued),
            renew_at: issued.as_ref().map(|issued| unix(issued.due())),
            revoked: meta.revoked,
            failures: failure.as_ref().map_or(0, |failure| failure.attempts),
            last_error: failure.as_ref().map(|failure| failure.error.clone()),
            last_failure: failure.as_ref().map(|failure| failure.at),
            next_attempt: failure.map(|failure| failure.next),
        })
    }

    /// The same with less to read: by what whoever looks after it says, or of one that nobody looks after.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn of(storage: &dyn Storage, id: &CertificateId, status: Option<&Status>) -> Result<Self, StorageError> {
        let meta = meta(storage, id).await?;
        let issued = !meta.directory.is_empty();
        Ok(Self {
            issuer: issued.then_some(meta.issuer),
            directory: issued.then_some(meta.directory),
            profile: meta.profile,
            issued: issued.then_some(meta.issued),
            renew_at: status.and_then(|status| status.renew_at).filter(|_| issued),
            revoked: meta.revoked,
            failures: status.map_or(0, |status| status.failures),
            last_error: status.and_then(|status| status.last_error.clone()),
            last_failure: status.and_then(|status| status.last_failure),
            next_attempt: status.and_then(|status| status.next_attempt),
        })
    }
}

async fn meta(storage: &dyn Storage, id: &CertificateId) -> Result<Meta, StorageError> {
    let meta = storage.read(&keys::certificate_meta(id)).await?;
    Ok(meta.and_then(|meta| serde_json::from_slice(&meta).ok()).unwrap_or_default())
}

impl Kept {
    /// The same, with what whoever looks after it knows better: that its CA is down, and when that is asked again.
    #[must_use]
    pub fn with(mut self, status: Option<&Status>) -> Self {
        if let Some(status) = status.filter(|status| status.state == State::Failing) {
            self.last_error = status.last_error.clone();
            self.last_failure = status.last_failure;
            self.next_attempt = status.next_attempt;
        }
        self
    }

    /// What `acme`, by which it is ordered, has otherwise than this certificate with a key of this kind, a line each:
    /// it is taken up at the renewal.
    #[must_use]
    pub fn pending(&self, acme: &config::Acme, key: KeyKind) -> Vec<String> {
        let Some(issuer) = self.directory.as_deref().and_then(|directory| acme.issuer_at(directory)) else {
            return Vec::new();
        };
        let same_key = match acme.key {
            KeyType::P256 => key == KeyKind::EcdsaP256,
            KeyType::P384 => key == KeyKind::EcdsaP384,
            KeyType::Rsa2048 => key == KeyKind::Rsa(2048),
        };
        let profile = |profile: &Option<String>| {
            profile.as_ref().map_or_else(|| "the CA's default profile".to_owned(), |name| format!("profile {name}"))
        };
        let mut lines = Vec::new();
        if !same_key {
            let wanted = key_type_name(acme.key);
            lines.push(format!("its key is {key}; from its renewal on it is {wanted}, as the config has it now"));
        }
        if self.profile != issuer.profile {
            let (now, then) = (profile(&self.profile), profile(&issuer.profile));
            lines.push(format!("it is of {now}; from its renewal on it is of {then}, as the config has it now"));
        }
        lines
    }
}

/// What is going on with a wanted certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not looked at yet.
    Starting,
    /// There is one, and it is not due.
    Valid,
    /// One from a directory covers all names: nothing is ordered.
    Covered,
    /// Waiting for its turn, or for another process that has the lock.
    Waiting,
    /// An order is under way.
    Ordering,
    /// The last attempt failed; the next is waited for.
    Failing,
    /// There is no `[acme]` to ask.
    Disabled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_config_has_otherwise_waits_for_the_renewal() {
        let acme = config::Acme { key: KeyType::P384, ..config::Acme::default() };
        let directory = Some(acme.issuer.directory.clone());
        let kept = Kept { directory, ..Kept::default() };
        let said = kept.pending(&acme, KeyKind::EcdsaP256).concat();
        assert!(said.contains("ECDSA P-256") && said.contains("p384") && said.contains("renewal"), "{said}");
        assert_eq!(kept.pending(&acme, KeyKind::EcdsaP384), [""; 0]);
        let other = Kept { profile: Some("shortlived".to_owned()), ..kept.clone() };
        let said = other.pending(&acme, KeyKind::EcdsaP384).concat();
        assert!(said.contains("profile shortlived; from its renewal on it is of the CA's default profile"), "{said}");
        // Another CA's is ordered anew, and one that no CA issued is not renewed.
        let elsewhere = Kept { directory: Some("https://other.test/".to_owned()), ..other };
        assert_eq!(elsewhere.pending(&acme, KeyKind::EcdsaP256), [""; 0]);
        assert_eq!(Kept::default().pending(&acme, KeyKind::EcdsaP256), [""; 0]);
    }
}
