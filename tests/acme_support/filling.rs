//! [`Filling`]: a storage whose disk is full from a chosen write on, until there is room again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use doorward::storage::{Events, Key, Lease, Storage, StorageError};

/// Passes everything on but writes, once the disk is full.
#[derive(Debug)]
pub struct Filling {
    inner: Arc<dyn Storage>,
    /// The first write below this prefix finds it full.
    prefix: &'static str,
    is_full: AtomicBool,
    refused: AtomicUsize,
    is_emptied: AtomicBool,
}

impl Filling {
    pub fn new(inner: Arc<dyn Storage>, prefix: &'static str) -> Self {
        let (is_full, is_emptied) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { inner, prefix, is_full, refused: AtomicUsize::new(0), is_emptied }
    }

    /// How many writes were refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// There is room again, for good.
    pub fn empty(&self) {
        self.is_emptied.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Storage for Filling {
    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read(key).await
    }

    async fn write(&self, key: &Key, value: &[u8]) -> Result<(), StorageError> {
        if key.as_str().starts_with(self.prefix) {
            self.is_full.store(true, Ordering::SeqCst);
        }
        if self.is_full.load(Ordering::SeqCst) && !self.is_emptied.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let (path, source) = (PathBuf::from(key.as_str()), std::io::ErrorKind::StorageFull.into());
            return Err(StorageError::Io { action: "write", path, source });
        }
        self.inner.write(key, value).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StorageError> {
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
