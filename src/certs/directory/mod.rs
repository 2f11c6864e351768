//! Watched folders of certificates: what operators, certbot or Kubernetes put there is served.
//!
//! Each certificate is judged alone, and what was served goes on being served until something better is there:
//! files that are copied piece by piece are given time to settle, a certificate that would make things worse
//! waits, a folder that vanishes is withdrawn only after it stays gone.

mod ids;
mod layouts;
mod ledger;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use self::layouts::Found;
use self::ledger::Ledger;
use self::watch::{Message, Watch};
use super::{Bundle, Certificate, CertificateError, Table};
use crate::config::CertificateId;

/// The watched folders. [`Directory::start`] is the only way in.
#[derive(Debug)]
pub struct Directory;

/// Holds the watch; dropping it ends the watch, and what was served stays in the table.
#[derive(Debug)]
pub struct DirectoryHandle {
    ledger: Arc<Mutex<Ledger>>,
    outbox: Sender<Message>,
}

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
    #[error(
        "there is no certificate {0}, neither in the watched directories nor from ACME; `doorward status` lists them"
    )]
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
        let ledger = Arc::new(Mutex::new(Ledger::new(table, directories.clone())));
        let (outbox, inbox) = mpsc::channel();
        let watch = Watch::start(Arc::clone(&ledger), directories, (outbox.clone(), inbox));
        let thread = std::thread::Builder::new().name("certificates".to_owned());
        if let Err(error) = thread.spawn(move || watch.run()) {
            tracing::error!(%error, "no thread for the certificate folders: changes in them are not seen");
        }
        DirectoryHandle { ledger, outbox }
    }
}

impl DirectoryHandle {
    /// The state of every certificate in the folders, by path.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        watch::lock(&self.ledger).status()
    }

    /// Serves what is pending for `id`, whatever speaks against it.
    ///
    /// # Errors
    /// [`ForceError`].
    pub fn force(&self, id: &CertificateId) -> Result<(), ForceError> {
        watch::lock(&self.ledger).force(id, watch::moment())
    }

    /// Watches these folders from now on. Certificates of folders that are no longer named are withdrawn at once.
    /// Returns when all that is in the new ones is loaded.
    pub async fn update(&self, directories: Vec<PathBuf>) {
        self.ask(|done| Message::Update(directories, done)).await;
    }

    /// Compares all files with what was read, without waiting for an event. Returns when that is done.
    pub async fn rescan(&self) {
        self.ask(Message::Rescan).await;
    }

    async fn ask(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) {
        let (done, answer) = oneshot::channel();
        if self.outbox.send(message(done)).is_ok() {
            // The thread ends only with this handle.
            let _ = answer.await;
        }
    }
}

impl Drop for DirectoryHandle {
    fn drop(&mut self) {
        // The thread is gone where nobody hears.
        let _ = self.outbox.send(Message::Stop);
    }
}

/// Reads all certificates in `directory` and below, by path: for `doorward check`.
#[must_use]
pub fn examine(directory: &Path) -> Vec<(PathBuf, Result<Certificate, CertificateError>)> {
    let scan = layouts::scan(directory);
    let unreadable = scan.unreadable.into_iter().map(|(path, error)| {
        let file = path.display().to_string();
        (path, Err(CertificateError::Read { file, reason: error.to_string() }))
    });
    let read = watch::read_all(&scan.sources);
    let read = scan.sources.into_iter().zip(read).filter_map(|(source, found)| match found {
        Found::Gone | Found::Read { stray: true, .. } => None,
        Found::Read { result, .. } => Some((source.path, result.map(|certificate| *certificate))),
    });
    let mut all: Vec<_> = read.chain(unreadable).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// A certificate of a folder with its key, to be taken elsewhere.
#[derive(Debug)]
pub struct Gathered {
    /// Its folder's or file's name.
    pub name: String,
    /// Its folder, or its file where it is a combined one.
    pub path: PathBuf,
    /// What is there.
    pub result: Result<Bundle, CertificateError>,
}

/// Reads all certificates in `directory` and below with their keys, by path, in the layouts that are watched.
#[must_use]
pub fn gather(directory: &Path) -> Vec<Gathered> {
    let scan = layouts::scan(directory);
    let unreadable = scan.unreadable.into_iter().map(|(path, error)| {
        let (file, name) = (path.display().to_string(), path.display().to_string());
        Gathered { name, path, result: Err(CertificateError::Read { file, reason: error.to_string() }) }
    });
    let read = scan.sources.into_iter().filter(|source| !matches!(source.read(), Found::Read { stray: true, .. }));
    let read = read.map(|source| Gathered { name: source.name(), result: source.bundle(), path: source.path });
    let mut all: Vec<_> = read.chain(unreadable).collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

#[cfg(test)]
mod tests;
