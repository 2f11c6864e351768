//! [`Intent`]: a note of a record that is about to be written, so that it is removed whatever happens.

use serde::{Deserialize, Serialize};

use super::{DnsError, TxtRecord};
use crate::storage::{Key, Storage, StorageError, keys};

/// A record that was written, or is about to be, and has to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What it is known by: the CA's token.
    pub token: String,
    /// The lock in the storage that its maker holds while it is needed. Who gets this lock may remove it.
    pub lock: String,
    /// The solver's id.
    pub solver: String,
    /// The record.
    pub record: TxtRecord,
    /// When it was written, in unix seconds.
    pub since: u64,
}

impl Intent {
    pub(super) async fn save(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        // Plain fields: serialising them cannot fail.
        storage.write(&keys::dns_record(&self.token), &serde_json::to_vec(self).unwrap_or_default()).await
    }

    pub(super) async fn load(storage: &dyn Storage, token: &str) -> Result<Option<Self>, DnsError> {
        read(storage, &keys::dns_record(token)).await
    }

    pub(super) async fn forget(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        storage.delete(&keys::dns_record(&self.token)).await
    }

    /// Every record that has not been removed yet.
    ///
    /// # Errors
    /// [`DnsError::Storage`].
    pub async fn all(storage: &dyn Storage) -> Result<Vec<Self>, DnsError> {
        let mut all = Vec::new();
        for key in storage.list(keys::DNS_RECORDS).await? {
            all.extend(read(storage, &key).await?);
        }
        Ok(all)
    }
}

async fn read(storage: &dyn Storage, key: &Key) -> Result<Option<Intent>, DnsError> {
    let Some(value) = storage.read(key).await? else { return Ok(None) };
    let intent = serde_json::from_slice(&value);
    if let Err(error) = &intent {
        tracing::warn!(%key, %error, "a note of a DNS record cannot be read; remove the record by hand");
        storage.delete(key).await?;
    }
    Ok(intent.ok())
}
