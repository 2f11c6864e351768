//! [`Filling`]: a disk that is full from a chosen write on, until there is room again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use doorward::storage::{Key, StorageError};

use super::hooked::Hook;

/// Refuses all writes, once the disk is full.
#[derive(Debug)]
pub struct Filling {
    /// The first write below this prefix finds it full.
    prefix: &'static str,
    is_full: AtomicBool,
    refused: AtomicUsize,
    is_emptied: AtomicBool,
}

impl Filling {
    pub fn new(prefix: &'static str) -> Self {
        let (is_full, is_emptied) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { prefix, is_full, refused: AtomicUsize::new(0), is_emptied }
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
impl Hook for Filling {
    async fn before_write(&self, key: &Key) -> Result<(), StorageError> {
        if key.as_str().starts_with(self.prefix) {
            self.is_full.store(true, Ordering::SeqCst);
        }
        if !self.is_full.load(Ordering::SeqCst) || self.is_emptied.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        let (path, source) = (PathBuf::from(key.as_str()), std::io::ErrorKind::StorageFull.into());
        Err(StorageError::Io { action: "write", path, source })
    }
}
