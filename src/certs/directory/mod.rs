//! Watched folders of certificates: what operators, certbot or Kubernetes put there is served.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Certificate, CertificateError, Table};
use crate::config::CertificateId;

/// The watched folders. [`Directory::start`] is the only way in.
pub struct Directory;

/// Holds the watch; dropping it ends the watch, and what was served stays in the table.
pub struct DirectoryHandle {}

/// What became of one certificate of the folders.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its id.
    pub id: CertificateId,
    /// Its folder, or its file where it is a combined one.
    pub path: PathBuf,
    /// What the files last read led to.
    pub state: State,
    /// What is served for it, whatever became of the files.
    pub served: Option<Arc<Certificate>>,
}

/// What the files last read led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// They are served.
    Served,
    /// They are sound, but wait; why, and for what.
    Pending(String),
    /// They can't be served; why, and the remedy.
    Refused(String),
}

/// Why a certificate was not taken by force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForceError {
    /// No such id in the folders.
    #[error("no certificate {0} in the watched directories")]
    Unknown(CertificateId),
    /// There is nothing to take: what is there is served, or can't be.
    #[error("nothing of {0} is pending: {1}")]
    NotPending(CertificateId, String),
}

impl Directory {
    /// Loads all that is in `directories` into `table`, then watches them on a thread of its own. Blocks until
    /// the first load is complete: about a second for 10,000 certificates.
    #[must_use]
    pub fn start(directories: Vec<PathBuf>, table: Arc<Table>) -> DirectoryHandle {
        let _ = (directories, table);
        DirectoryHandle {}
    }
}

impl DirectoryHandle {
    /// The state of every certificate in the folders, by path.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        Vec::new()
    }

    /// Serves what is pending for `id`, whatever speaks against it.
    ///
    /// # Errors
    /// [`ForceError`].
    pub fn force(&self, id: &CertificateId) -> Result<(), ForceError> {
        Err(ForceError::Unknown(id.clone()))
    }

    /// Watches these folders from now on. Certificates of folders that are no longer named are withdrawn at once.
    /// Returns when all that is in the new ones is loaded.
    pub async fn update(&self, directories: Vec<PathBuf>) {
        let _ = directories;
    }
}

/// Reads all certificates in `directory` and below, by path: for `doorward check`.
#[must_use]
pub fn examine(directory: &Path) -> Vec<(PathBuf, Result<Certificate, CertificateError>)> {
    let _ = directory;
    Vec::new()
}
