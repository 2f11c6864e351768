//! [`Hooked`]: a storage in whose changes a test has a say.

use std::sync::Arc;

use async_trait::async_trait;
use doorward::storage::{Events, Key, Lease, Storage, StorageError};

/// What a test does about changes.
#[async_trait]
pub trait Hook: std::fmt::Debug + Send + Sync {
    async fn before_write(&self, key: &Key) -> Result<(), StorageError>;
    async fn after_write(&self, _: &Key) {}
    async fn before_delete(&self, _: &Key) {}
}

/// Passes everything on, and tells `hook` of changes.
#[derive(Debug)]
pub struct Hooked<H> {
    inner: Arc<dyn Storage>,
    pub hook: H,
}

impl<H> Hooked<H> {
    pub fn new(inner: Arc<dyn Storage>, hook: H) -> Self {
        Self { inner, hook }
    }
}

#[async_trait]
impl<H: Hook + 'static> Storage for Hooked<H> {
    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read(key).await
    }

    async fn write(&self, key: &Key, value: &[u8]) -> Result<(), StorageError> {
        self.hook.before_write(key).await?;
        self.inner.write(key, value).await?;
        self.hook.after_write(key).await;
        Ok(())
    }

    async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        self.hook.before_delete(key).await;
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &'static str) -> Result<Vec<Key>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn lock(&self, name: &str) -> Result<Lease, StorageError> {
        self.inner.lock(name).await
    }

    async fn watch(&self, prefix: &'static str) -> Result<Events, StorageError> {
        self.inner.watch(prefix).await
    }
}
