//! [`MemoryStorage`]: for tests, and as the plainest reading of what [`Storage`] promises.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::events::Hub;
use super::{Event, Events, Key, Lease, Storage, StorageError};

/// Values in memory; gone with the last reference.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    values: Mutex<BTreeMap<Key, Vec<u8>>>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    hub: Hub,
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn values(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Vec<u8>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.values().get(key).cloned())
    }

    async fn write(&self, key: &Key, value: &[u8]) -> Result<(), StorageError> {
        self.values().insert(key.clone(), value.to_vec());
        self.hub.publish(&Event::Written(key.clone()));
        Ok(())
    }

    async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        if self.values().remove(key).is_some() {
            self.hub.publish(&Event::Deleted(key.clone()));
        }
        Ok(())
    }

    async fn list(&self, prefix: &'static str) -> Result<Vec<Key>, StorageError> {
        Ok(self.values().keys().filter(|key| key.as_str().starts_with(prefix)).cloned().collect())
    }

    async fn lock(&self, name: &str) -> Result<Lease, StorageError> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        Ok(Lease::new(lock.lock_owned().await))
    }

    async fn watch(&self, prefix: &'static str) -> Result<Events, StorageError> {
        Ok(self.hub.subscribe(prefix))
    }
}
