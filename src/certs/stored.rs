//! [`Stored`]: certificates from the storage into the table, at the start and whenever one changes.
//!
//! Whoever gets a certificate, on this node or another, writes it to the storage and nothing else: it is
//! served from here. Each is judged alone, and what is broken never takes out what works.

use std::collections::HashMap;
use std::sync::Arc;

use super::certificate::date;
use super::changes::{Change, Changes};
use super::{Certificate, CertificateError, PemPart, PemParts, Table, unix_now};
use crate::config::CertificateId;
use crate::drain::Watch;
use crate::storage::{Key, Storage, StorageError, keys};

/// Keeps the table up with the storage.
pub struct Stored {
    storage: Arc<dyn Storage>,
    table: Arc<Table>,
    changes: Changes,
    /// What each certificate was made of, so that an event that comes twice costs no second parse.
    seen: HashMap<CertificateId, [u8; 32]>,
}

/// A certificate in the storage that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the stored certificate {id} cannot be used: {error}")]
pub struct Unusable {
    /// Its id.
    pub id: CertificateId,
    /// Why.
    pub error: CertificateError,
}

impl Stored {
    /// Puts every stored certificate into the table. Those that cannot be used are logged and left out.
    ///
    /// # Errors
    /// [`StorageError`], where the storage cannot be listed, read or watched.
    pub async fn load(storage: Arc<dyn Storage>, table: Arc<Table>) -> Result<Self, StorageError> {
        // Watched first, so that nothing falls between the two.
        let changes = Changes::new(storage.watch(keys::CERTIFICATES).await?);
        let mut this = Self { storage, table, changes, seen: HashMap::new() };
        this.read_all().await?;
        Ok(this)
    }

    /// All faults of the stored certificates, changing nothing: for `doorward check`.
    ///
    /// # Errors
    /// [`StorageError`], where the storage cannot be listed or read.
    pub async fn check(storage: &dyn Storage) -> Result<Vec<Unusable>, StorageError> {
        let mut faults = Vec::new();
        for key in storage.list(keys::CERTIFICATES).await? {
            if let (Some(id), Some(bundle)) = (keys::certificate_id(&key), storage.read(&key).await?)
                && let Err(error) = parse(&id, &key, &bundle)
            {
                faults.push(Unusable { id, error });
            }
        }
        Ok(faults)
    }

    /// Follows the storage until the drain begins.
    pub async fn follow(mut self, mut drain: Watch) {
        while let Some(change) = self.changes.next(&mut drain).await {
            let done = match change {
                Change::Of(key) => self.read(&key).await,
                Change::All => self.read_all().await,
            };
            if let Err(error) = done {
                tracing::error!(%error, "the storage cannot be read; the certificates that are loaded go on being served");
                self.changes.retry();
            }
        }
    }

    async fn read_all(&mut self) -> Result<(), StorageError> {
        let keys = self.storage.list(keys::CERTIFICATES).await?;
        let mut loaded = Vec::new();
        for key in &keys {
            loaded.extend(self.look_at(key).await?);
        }
        self.table.extend(loaded);
        let there: std::collections::HashSet<_> = keys.iter().filter_map(keys::certificate_id).collect();
        let gone: Vec<_> = self.seen.keys().filter(|id| !there.contains(*id)).cloned().collect();
        gone.iter().for_each(|id| self.withdraw(id));
        Ok(())
    }

    async fn read(&mut self, key: &Key) -> Result<(), StorageError> {
        if let Some(certificate) = self.look_at(key).await? {
            let names = certificate.names().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let (until, key) = (date(certificate.not_after()), certificate.key_kind());
            tracing::info!(id = %certificate.id(), source = "storage", names, until, %key, "certificate served");
            self.table.insert(certificate);
        }
        Ok(())
    }

    /// The certificate under `key`, where it is new and can be used.
    async fn look_at(&mut self, key: &Key) -> Result<Option<Arc<Certificate>>, StorageError> {
        let Some(id) = keys::certificate_id(key) else { return Ok(None) };
        let Some(bundle) = self.storage.read(key).await? else {
            self.withdraw(&id);
            return Ok(None);
        };
        let hash = sha256(&bundle);
        if self.seen.get(&id) == Some(&hash) {
            return Ok(None);
        }
        Ok(match parse(&id, key, &bundle) {
            Ok(certificate) => {
                for warning in certificate.warnings(unix_now()) {
                    tracing::warn!(certificate = %id, %warning, "a stored certificate should be looked at");
                }
                self.seen.insert(id, hash);
                Some(Arc::new(certificate))
            }
            Err(error) => {
                let kept = self.table.get(&id).is_some();
                tracing::error!(certificate = %id, %error, kept, "a stored certificate cannot be used");
                None
            }
        })
    }

    fn withdraw(&mut self, id: &CertificateId) {
        if self.seen.remove(id).is_some() {
            tracing::info!(certificate = %id, "the certificate is gone from storage and served no longer");
            self.table.remove(id);
        }
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("certificates", &self.seen.len()).finish_non_exhaustive()
    }
}

fn parse(id: &CertificateId, key: &Key, bundle: &[u8]) -> Result<Certificate, CertificateError> {
    let part = PemPart::new(key.as_str(), bundle);
    Certificate::from_pem(id.clone(), PemParts { certificate: part, key: part, chain: None }, unix_now())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::storage::MemoryStorage;

    fn bundle(name: &str) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem()).into_bytes()
    }

    fn key(id: &str) -> Key {
        keys::certificate(&CertificateId::new(id))
    }

    async fn until(table: &Table, done: impl Fn(&Table) -> bool) {
        let mut changed = table.changed();
        while !done(table) {
            tokio::time::timeout(Duration::from_secs(5), changed.changed()).await.expect("in time").expect("open");
        }
    }

    #[tokio::test]
    async fn a_broken_one_takes_no_other_down() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        storage.write(&key("a-broken"), b"junk").await.expect("writes");
        storage.write(&key("good"), &bundle("good.test")).await.expect("writes");
        let table = Arc::new(Table::new());
        let stored = Stored::load(Arc::clone(&storage), Arc::clone(&table)).await.expect("loads");
        assert!(table.has("good.test"));
        assert_eq!(table.list().len(), 1);
        assert_eq!(Stored::check(&*storage).await.expect("checks").len(), 1);

        let (drain, watch) = crate::drain::channel();
        let following = tokio::spawn(stored.follow(watch));
        storage.write(&key("good"), b"-----BEGIN half").await.expect("writes");
        storage.write(&key("new"), &bundle("new.test")).await.expect("writes");
        until(&table, |table| table.has("new.test")).await;
        assert!(table.has("good.test"), "what worked stays");
        storage.write(&key("good"), &bundle("renamed.test")).await.expect("writes");
        until(&table, |table| table.has("renamed.test")).await;
        assert!(!table.has("good.test"));
        storage.delete(&key("new")).await.expect("deletes");
        until(&table, |table| !table.has("new.test")).await;
        assert!(drain.drain(Duration::from_secs(5)).await);
        following.await.expect("ends");
    }
}
