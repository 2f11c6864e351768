//! [`Vault`]: what the storage keeps of certificates besides what is served: where one came from, what was
//! served before it, and what operators had generated.
//!
//! Whoever replaces a certificate, ACME or an operator, calls [`Vault::archive`] first, so that there is always
//! a way back. All changes of one certificate happen under its lock, [`keys::certificate_lock`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Bundle, CertificateError, unix_now};
use crate::config::CertificateId;
use crate::storage::{Lease, Storage, StorageError, keys};

/// How many earlier versions are kept of a certificate.
const KEPT: usize = 5;

/// The certificates in a storage.
#[derive(Clone, Debug)]
pub struct Vault {
    storage: Arc<dyn Storage>,
}

/// What is known of a certificate that an operator brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Who made it.
    pub origin: Origin,
    /// Since when it has been served, unix seconds.
    pub since: u64,
    /// Where it was read from, as the operator named it.
    pub from: Option<String>,
}

/// Who made a stored certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Ordered from a CA by doorward.
    Generated,
    /// Brought by an operator.
    Imported,
    /// Issued by doorward's own CA on command.
    OwnCa,
}

/// What was served before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Key and chain, PEM.
    pub bundle: String,
    /// Since when it was served, unix seconds; 0 where that is not known.
    pub since: u64,
    /// When something took its place, unix seconds.
    pub until: u64,
    about: Option<About>,
    meta: Option<String>,
}

/// What an operator had generated: kept and renewed whether or not a route has these names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The certificate's id.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// The issuer's name, where it is not the config's.
    pub issuer: Option<String>,
    /// The word for the key's kind, where it is not the config's.
    pub key: Option<String>,
    /// The profile, where it is not the config's.
    pub profile: Option<String>,
    /// When it was asked for, unix seconds.
    pub at: u64,
}

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is nothing under this id.
    #[error("the storage has no certificate {0}")]
    Unknown(CertificateId),
    /// There is no earlier version.
    #[error("no earlier version of {0} is kept")]
    NoVersion(CertificateId),
    /// What is stored cannot be used.
    #[error(transparent)]
    Unusable(#[from] CertificateError),
}

impl Vault {
    /// The vault in `storage`.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// The storage.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Waits until nobody else works on this certificate.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn lock(&self, id: &CertificateId) -> Result<Lease, StorageError> {
        self.storage.lock(&keys::certificate_lock(id)).await
    }

    /// The ids of all stored certificates, usable or not.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn ids(&self) -> Result<Vec<CertificateId>, StorageError> {
        Ok(self.storage.list(keys::CERTIFICATES).await?.iter().filter_map(keys::certificate_id).collect())
    }

    /// What is stored under `id`.
    ///
    /// # Errors
    /// [`VaultError::Unknown`], [`VaultError::Unusable`], [`VaultError::Storage`].
    pub async fn bundle(&self, id: &CertificateId) -> Result<Bundle, VaultError> {
        let key = keys::certificate(id);
        let text = self.storage.read(&key).await?.ok_or_else(|| VaultError::Unknown(id.clone()))?;
        Ok(Bundle::from_text(id.clone(), key.as_str(), &text, unix_now())?)
    }

    /// Who made the stored certificate; none where there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn about(&self, id: &CertificateId) -> Result<Option<About>, StorageError> {
        match self.storage.read(&keys::certificate(id)).await? {
            Some(_) => self.about_stored(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// As [`Vault::about`], for a certificate that is known to be stored.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn about_stored(&self, id: &CertificateId) -> Result<About, StorageError> {
        if let Some(about) = self.own_about(id).await? {
            return Ok(about);
        }
        let meta = self.storage.read(&keys::certificate_meta(id)).await?;
        let meta = meta.and_then(|meta| serde_json::from_slice::<serde_json::Value>(&meta).ok()).unwrap_or_default();
        let since = meta["issued"].as_u64().unwrap_or(0);
        Ok(About { origin: Origin::Generated, since, from: meta["issuer"].as_str().map(str::to_owned) })
    }

    /// What was served before, the newest first.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn versions(&self, id: &CertificateId) -> Result<Vec<Version>, StorageError> {
        let value = self.storage.read(&keys::certificate_versions(id)).await?;
        // What cannot be understood is no version to go back to.
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default())
    }

    /// Keeps what is stored now as an earlier version. The caller holds the lock and then writes the new one.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn archive(&self, id: &CertificateId, now: u64) -> Result<(), StorageError> {
        let Some(bundle) = self.storage.read(&keys::certificate(id)).await? else { return Ok(()) };
        let Ok(bundle) = String::from_utf8(bundle) else { return Ok(()) };
        let mut versions = self.versions(id).await?;
        // The same again after a crash between the two writes.
        versions.retain(|version| version.bundle != bundle);
        let since = self.about(id).await?.map_or(0, |about| about.since);
        let meta = self.storage.read(&keys::certificate_meta(id)).await?.and_then(|meta| String::from_utf8(meta).ok());
        versions.insert(0, Version { bundle, since, until: now, about: self.own_about(id).await?, meta });
        versions.truncate(KEPT);
        self.write_versions(id, &versions).await?;
        self.storage.delete(&keys::certificate_about(id)).await
    }

    /// Stores what an operator brought. What was there is kept. The caller holds the lock.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn put(&self, bundle: &Bundle, about: &About) -> Result<(), StorageError> {
        let id = bundle.certificate.id();
        self.archive(id, about.since).await?;
        self.storage.delete(&keys::certificate_meta(id)).await?;
        self.write(&keys::certificate_about(id), about).await?;
        self.storage.write(&keys::certificate(id), bundle.pem.as_bytes()).await
    }

    /// Brings the newest earlier version back; what it takes the place of is kept as one itself. The caller holds
    /// the lock, and has the last word by `allow`.
    ///
    /// # Errors
    /// [`VaultError`], or what `allow` says.
    pub async fn roll_back<E: From<VaultError>>(
        &self,
        id: &CertificateId,
        now: u64,
        allow: impl FnOnce(&Bundle) -> Result<(), E>,
    ) -> Result<Bundle, E> {
        let storage = |error: StorageError| E::from(VaultError::Storage(error));
        let versions = self.versions(id).await.map_err(storage)?;
        let version = versions.into_iter().next().ok_or_else(|| VaultError::NoVersion(id.clone()))?;
        let file = format!("the earlier version of {id}");
        let bundle = Bundle::from_text(id.clone(), &file, version.bundle.as_bytes(), unix_now())
            .map_err(|error| E::from(VaultError::Unusable(error)))?;
        allow(&bundle)?;
        let restore = async {
            self.archive(id, now).await?;
            let mut versions = self.versions(id).await?;
            versions.retain(|kept| kept.bundle != version.bundle);
            self.write_versions(id, &versions).await?;
            match &version.meta {
                Some(meta) => self.storage.write(&keys::certificate_meta(id), meta.as_bytes()).await?,
                None => self.storage.delete(&keys::certificate_meta(id)).await?,
            }
            if let Some(about) = version.about {
                self.write(&keys::certificate_about(id), &About { since: now, ..about }).await?;
            }
            self.storage.write(&keys::certificate(id), version.bundle.as_bytes()).await
        };
        restore.await.map_err(storage)?;
        Ok(bundle)
    }

    /// Removes a certificate with all that is known of it. The caller holds the lock.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn delete(&self, id: &CertificateId) -> Result<(), StorageError> {
        // First what would bring it back, and the certificate itself last but for what is of no use without it.
        for key in [
            keys::wanted(id),
            keys::order(id),
            keys::certificate(id),
            keys::certificate_meta(id),
            keys::certificate_about(id),
            keys::certificate_versions(id),
            keys::failure(id.as_str()),
        ] {
            self.storage.delete(&key).await?;
        }
        Ok(())
    }

    /// Everything that operators had generated. What cannot be understood is logged and left out.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn wishes(&self) -> Result<Vec<Wish>, StorageError> {
        let mut wishes = Vec::new();
        for key in self.storage.list(keys::WANTED).await? {
            let Some(value) = self.storage.read(&key).await? else { continue };
            match serde_json::from_slice(&value) {
                Ok(wish) => wishes.push(wish),
                Err(error) => tracing::error!(%key, %error, "what an operator had generated cannot be understood"),
            }
        }
        Ok(wishes)
    }

    /// Remembers what is to be kept.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn wish(&self, wish: &Wish) -> Result<(), StorageError> {
        self.write(&keys::wanted(&CertificateId::new(wish.id.as_str())), wish).await
    }

    async fn own_about(&self, id: &CertificateId) -> Result<Option<About>, StorageError> {
        let value = self.storage.read(&keys::certificate_about(id)).await?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    async fn write_versions(&self, id: &CertificateId, versions: &[Version]) -> Result<(), StorageError> {
        self.write(&keys::certificate_versions(id), &versions).await
    }

    async fn write(&self, key: &crate::storage::Key, value: &impl Serialize) -> Result<(), StorageError> {
        // Plain fields: serialising them cannot fail.
        self.storage.write(key, &serde_json::to_vec(value).unwrap_or_default()).await
    }
}

/// Never the key.
impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version").field("since", &self.since).field("until", &self.until).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
