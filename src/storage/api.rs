//! The trait [`Storage`] and what it speaks in.

use std::any::Any;
use std::fmt;
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

use super::{Events, Key};

/// Values by key, shared by every process that has the same storage.
///
/// Object safe. A write is atomic and durable when it returns: a reader (and a crash) sees the old value
/// or the new one, never a part. Nothing is promised across two keys.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// The value of `key`, none where there is none.
    ///
    /// # Errors
    /// [`StorageError`], where the storage cannot be read.
    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError>;

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// [`StorageError`]; the old value is then still there.
    async fn write(&self, key: &Key, value: &[u8]) -> Result<(), StorageError>;

    /// Removes `key`. That it is not there is no error.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn delete(&self, key: &Key) -> Result<(), StorageError>;

    /// Every key that begins with `prefix` (one of the constants in [`super::keys`]), sorted.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn list(&self, prefix: &'static str) -> Result<Vec<Key>, StorageError>;

    /// Waits for the lock `name` and holds it until the [`Lease`] is dropped or the process ends.
    /// Exclusive among all holders, in this process and in others. Dropping the future gives up.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn lock(&self, name: &str) -> Result<Lease, StorageError>;

    /// Tells of every later change under `prefix`, whoever made it. An event may come twice and says only
    /// that the key changed: read it. What is there already is not told: subscribe, then list.
    ///
    /// # Errors
    /// [`StorageError`], where the storage cannot be watched.
    async fn watch(&self, prefix: &'static str) -> Result<Events, StorageError>;
}

/// A held lock; dropping it lets go.
pub struct Lease {
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lease {
    /// A lease that ends when `guard` is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}

/// Why the storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system said no.
    #[error("cannot {action} {path}: {source}; the storage folder has to be writable by the user that doorward runs as; run commands as that user or as root", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
}
