//! [`Record`]: an order under way, as it is stored from its first moment to the certificate's arrival in storage.

use rcgen::KeyPair;
use serde::{Deserialize, Serialize};

use crate::config::{self, CertificateId, KeyType};
use crate::names::HostPattern;
use crate::storage::{Storage, StorageError, keys};

/// An order's URL and the key that its certificate will have.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    directory: String,
    /// Empty: it is about to be made.
    pub(super) order: String,
    names: Vec<String>,
    profile: Option<String>,
    key_type: String,
    pub(super) key: String,
}

impl Record {
    /// Of an order that is about to be made.
    pub(super) fn new(acme: &config::Acme, names: &[HostPattern], key: &KeyPair) -> Self {
        Self {
            directory: acme.issuer.directory.clone(),
            order: String::new(),
            names: names.iter().map(ToString::to_string).collect(),
            profile: acme.issuer.profile.clone(),
            key_type: key_type_name(acme.key).to_owned(),
            key: key.serialize_pem(),
        }
    }

    pub(super) async fn save(&self, storage: &dyn Storage, id: &CertificateId) -> Result<(), StorageError> {
        // Plain fields: serialising them cannot fail.
        storage.write(&keys::order(id), &serde_json::to_vec(self).unwrap_or_default()).await
    }

    /// The order that was left for `id`, where it is for these names, by this config, and not yet done with.
    pub(super) async fn load(
        storage: &dyn Storage,
        acme: &config::Acme,
        id: &CertificateId,
        names: &[HostPattern],
    ) -> Result<Option<Self>, StorageError> {
        let Some(value) = storage.read(&keys::order(id)).await? else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<Self>(&value) else { return Ok(None) };
        let usable = !record.order.is_empty() && record.is_for(acme, names) && !record.is_done(storage, id).await?;
        Ok(usable.then_some(record))
    }

    fn is_for(&self, acme: &config::Acme, names: &[HostPattern]) -> bool {
        self.directory == acme.issuer.directory
            && self.profile == acme.issuer.profile
            && self.key_type == key_type_name(acme.key)
            && self.names.iter().eq(names.iter().map(ToString::to_string).collect::<Vec<_>>().iter())
    }

    /// Whether its certificate is in the storage: the one that is there has its key.
    async fn is_done(&self, storage: &dyn Storage, id: &CertificateId) -> Result<bool, StorageError> {
        let bundle = storage.read(&keys::certificate(id)).await?;
        Ok(bundle.is_some_and(|bundle| bundle.starts_with(self.key.trim_end().as_bytes())))
    }
}

/// As the config has it.
pub(super) fn key_type_name(kind: KeyType) -> &'static str {
    match kind {
        KeyType::P256 => "p256",
        KeyType::P384 => "p384",
        KeyType::Rsa2048 => "rsa2048",
    }
}
