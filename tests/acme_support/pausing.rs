//! [`Pausing`]: a storage that stops a node dead at a chosen moment, as a crash there would.

use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use doorward::storage::{Events, Key, Lease, Storage, StorageError};
use tokio::sync::Notify;

/// What the node is about to do, or has just done, when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    BeforeWrite(&'static str),
    AfterWrite(&'static str),
    BeforeDelete(&'static str),
}

/// Passes everything on, and at the moment that is set never comes back.
#[derive(Debug)]
pub struct Pausing {
    inner: Arc<dyn Storage>,
    moment: Mutex<Option<Moment>>,
    reached: Notify,
}

impl Pausing {
    pub fn new(inner: Arc<dyn Storage>, moment: Option<Moment>) -> Self {
        Self { inner, moment: Mutex::new(moment), reached: Notify::new() }
    }

    /// Waits until the moment has come.
    pub async fn reached(&self) {
        tokio::time::timeout(super::PATIENCE, self.reached.notified()).await.expect("the moment comes");
    }

    async fn at(&self, is: impl Fn(Moment) -> bool) {
        if self.moment.lock().expect("not poisoned").is_some_and(is) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Storage for Pausing {
    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read(key).await
    }

    async fn write(&self, key: &Key, value: &[u8]) -> Result<(), StorageError> {
        self.at(|m| matches!(m, Moment::BeforeWrite(p) if key.as_str().starts_with(p))).await;
        self.inner.write(key, value).await?;
        self.at(|m| matches!(m, Moment::AfterWrite(p) if key.as_str().starts_with(p))).await;
        Ok(())
    }

    async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        self.at(|m| matches!(m, Moment::BeforeDelete(p) if key.as_str().starts_with(p))).await;
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
