//! [`Status`]: how a certificate stands, for `doorward status`.

use std::time::SystemTime;

use serde::Serialize;

use super::backoff::Failure;
use super::certificate::{Issued, Meta};
use super::clock::unix;
use crate::config::CertificateId;
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
    /// What the config has changed that is taken up only at the renewal.
    pub pending: Option<String>,
    /// Names, and how far the last order is with each.
    pub progress: Vec<(String, String)>,
}

/// What the storage tells of a certificate's orders, whether or not anybody looks after it now. Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The issuer's name; none where no CA issued it.
    pub issuer: Option<String>,
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
    /// The same, with what is not the certificate's own failure: that its CA is down, by whoever looks after it now.
    #[must_use]
    pub fn with(mut self, status: Option<&Status>) -> Self {
        if let Some(status) = status.filter(|status| status.state == State::Failing && status.failures == 0) {
            self.last_error = status.last_error.clone();
            self.last_failure = status.last_failure;
            self.next_attempt = status.next_attempt;
        }
        self
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
