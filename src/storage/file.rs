//! [`FileStorage`]: a folder. Folders are made 0700 and files 0600, from their first byte on.
//!
//! A value is written to a temporary file beside its place, synced, and renamed over it; then the folder
//! is synced. Locks are `flock` locks on files under `locks/`, so the kernel frees them with the process.

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use notify::{RecursiveMode, Watcher};

use super::events::Hub;
use super::files::{self, TEMPORARY, failed};
use super::{Event, Events, Key, Lease, Storage, StorageError, keys};
use crate::config::CertificateId;

const LOCKS: &str = "locks";
/// How long after a new folder appeared it is looked at again: a file that was put into it before the
/// watch was in place is told of by nobody.
const SETTLE: Duration = Duration::from_millis(300);
/// How often everything is looked at where the kernel does not tell of changes.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The storage of a single node, or of several processes on it.
pub struct FileStorage {
    root: Arc<PathBuf>,
    hub: Arc<Hub>,
    watching: Mutex<Option<Watching>>,
}

/// How changes by other processes are noticed.
enum Watching {
    /// The kernel tells, for as long as this is held.
    Told { _watcher: notify::RecommendedWatcher },
    /// Everything is looked at again now and then, as the kernel gives no (further) watch.
    Looking,
}

impl FileStorage {
    /// Opens the storage in the folder `root`, and makes the folder where it is missing.
    ///
    /// # Errors
    /// [`StorageError::Io`], where that cannot be.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        files::create_folder(root)?;
        // Events carry resolved paths; symlinks above must not hide them.
        let root = root.canonicalize().map_err(|e| failed("open", root, e))?;
        files::remove_stale(&root);
        Ok(Self { root: Arc::new(root), hub: Arc::default(), watching: Mutex::new(None) })
    }

    /// Whether [`FileStorage::open`] would work in `root` and what it writes could be written, without
    /// leaving a trace.
    ///
    /// # Errors
    /// [`StorageError::Io`], as `open` and a write would give it.
    pub fn check(root: &Path) -> Result<(), StorageError> {
        let folder = root.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(folder)
            .map(drop)
            .map_err(|e| failed("write in", folder, e))
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn start_watching(&self) {
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        if watching.is_some() {
            return;
        }
        *watching = Some(match self.watcher() {
            Ok(watcher) => Watching::Told { _watcher: watcher },
            Err(error) => {
                let remedy = "raise fs.inotify.max_user_watches or fs.inotify.max_user_instances (sysctl)";
                let (path, seconds) = (self.root.display(), LOOK_EVERY.as_secs());
                tracing::warn!(%path, %error, remedy, seconds, "storage can't be watched: it is looked at now and then");
                tokio::spawn(look_now_and_then(Arc::downgrade(&self.hub)));
                Watching::Looking
            }
        });
    }

    fn watcher(&self) -> notify::Result<notify::RecommendedWatcher> {
        let (root, hub) = (Arc::clone(&self.root), Arc::clone(&self.hub));
        let runtime = tokio::runtime::Handle::current();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) => translate(&root, &hub, &runtime, &event),
            Err(error) => {
                tracing::warn!(%error, "the watch on the storage had an error, looking at everything again");
                hub.publish(&Event::Resync);
            }
        })?;
        watcher.watch(&self.root, RecursiveMode::Recursive)?;
        Ok(watcher)
    }
}

impl std::fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStorage").field("root", &self.root).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for FileStorage {
    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.root.join(key.as_str());
        blocking(move || files::read(&path)).await
    }

    async fn write(&self, key: &Key, value: &[u8]) -> Result<(), StorageError> {
        let (root, path, value) = (Arc::clone(&self.root), self.root.join(key.as_str()), value.to_vec());
        blocking(move || {
            files::replace(&path, &value)?;
            files::adopt(&root, &path);
            Ok(())
        })
        .await?;
        // Our own changes are told at once and whatever the kernel's watch does.
        self.hub.publish(&Event::Written(key.clone()));
        Ok(())
    }

    async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        let path = self.root.join(key.as_str());
        blocking(move || files::remove(&path)).await?;
        self.hub.publish(&Event::Deleted(key.clone()));
        Ok(())
    }

    async fn list(&self, prefix: &'static str) -> Result<Vec<Key>, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || {
            let mut found = Vec::new();
            walk(&root, &root.join(prefix), &mut found).map_err(|e| failed("list", &root.join(prefix), e))?;
            found.sort();
            Ok(found)
        })
        .await
    }

    async fn lock(&self, name: &str) -> Result<Lease, StorageError> {
        let path = self.root.join(LOCKS).join(keys::segment(name));
        let file = blocking({
            let path = path.clone();
            let root = Arc::clone(&self.root);
            move || files::open_lock(&path).inspect(|_| files::adopt(&root, &path))
        })
        .await?;
        // Asking again now and then, as a blocking lock would hold a thread for each that waits.
        let mut pause = Duration::from_millis(20);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lease::new(file)),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(pause).await,
                Err(TryLockError::Error(e)) => return Err(failed("lock", &path, e)),
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn watch(&self, prefix: &'static str) -> Result<Events, StorageError> {
        self.start_watching();
        Ok(self.hub.subscribe(prefix))
    }
}

/// The files and ids of all certificates in the storage folder `root`, changing nothing: for `doorward check`.
/// A folder that is not there, or cannot be read, has none.
#[must_use]
pub fn certs_in_storage(root: &Path) -> Vec<(PathBuf, CertificateId)> {
    let mut found = Vec::new();
    if let Err(error) = walk(root, &root.join(keys::CERTIFICATES), &mut found) {
        tracing::debug!(%error, "the storage cannot be listed");
    }
    found.sort();
    found.iter().filter_map(|key| keys::certificate_id(key).map(|id| (root.join(key.as_str()), id))).collect()
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Key>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else if let Some(key) = key_of(root, &path) {
            found.push(key);
        }
    }
    Ok(())
}

fn key_of(root: &Path, path: &Path) -> Option<Key> {
    let inside = path.strip_prefix(root).ok()?.to_str()?;
    if inside.starts_with(LOCKS) { None } else { Key::parse(inside) }
}

/// Our own changes are told at once; this finds those of other processes, until the storage is gone.
async fn look_now_and_then(hub: Weak<Hub>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(hub) = hub.upgrade() else { return };
        hub.publish(&Event::Resync);
    }
}

/// What the kernel told, in our words.
fn translate(root: &Arc<PathBuf>, hub: &Arc<Hub>, runtime: &tokio::runtime::Handle, event: &notify::Event) {
    if event.need_rescan() {
        return hub.publish(&Event::Resync);
    }
    if event.kind.is_access() {
        return;
    }
    for path in &event.paths {
        if path.is_dir() {
            if event.kind.is_create()
                || matches!(event.kind, notify::EventKind::Modify(notify::event::ModifyKind::Name(_)))
            {
                let (root, hub, path) = (Arc::clone(root), Arc::clone(hub), path.clone());
                runtime.spawn(async move {
                    tokio::time::sleep(SETTLE).await;
                    publish_folder(&root, &hub, path).await;
                });
            }
        } else if let Some(key) = key_of(root, path) {
            hub.publish(&if path.exists() { Event::Written(key) } else { Event::Deleted(key) });
        }
    }
}

async fn publish_folder(root: &Arc<PathBuf>, hub: &Hub, folder: PathBuf) {
    let root = Arc::clone(root);
    let found = blocking(move || {
        let mut found = Vec::new();
        walk(&root, &folder, &mut found).map_err(|e| failed("list", &folder, e)).map(|()| found)
    });
    for key in found.await.unwrap_or_default() {
        hub.publish(&Event::Written(key));
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(failed("work on", Path::new("the storage"), io::Error::other(e))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::CertificateId;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("it is there").permissions().mode() & 0o777
    }

    fn open() -> (tempfile::TempDir, FileStorage) {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = FileStorage::open(&folder.path().join("state")).expect("opens");
        (folder, storage)
    }

    #[tokio::test]
    async fn values_are_private_and_leave_nothing_behind() {
        let (_folder, storage) = open();
        let key = keys::certificate(&CertificateId::new("a/../b"));
        assert_eq!(storage.read(&key).await.expect("reads"), None);
        for value in [&b"one"[..], b"two"] {
            storage.write(&key, value).await.expect("writes");
            assert_eq!(storage.read(&key).await.expect("reads").as_deref(), Some(value));
        }
        let path = storage.root().join(key.as_str());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
        assert_eq!(mode(storage.root()), 0o700);
        assert_eq!(
            fs::read_dir(path.parent().expect("a folder")).expect("lists").count(),
            1,
            "no temporary file stays"
        );
        assert_eq!(storage.list(keys::CERTIFICATES).await.expect("lists"), std::slice::from_ref(&key));
        assert_eq!(storage.list(keys::CHALLENGES).await.expect("lists"), []);
        storage.delete(&key).await.expect("deletes");
        storage.delete(&key).await.expect("deletes what is gone");
        assert_eq!(storage.list(keys::CERTIFICATES).await.expect("lists"), []);
    }

    #[tokio::test]
    async fn what_root_writes_belongs_to_the_storages_owner() {
        use std::os::unix::fs::{MetadataExt, chown};
        let (_folder, storage) = open();
        // Only root can give anything away, so only root can see this.
        if chown(storage.root(), Some(12_345), Some(12_345)).is_err() {
            return;
        }
        let key = keys::certificate(&CertificateId::new("a"));
        storage.write(&key, b"x").await.expect("writes");
        drop(storage.lock("a").await.expect("locks"));
        let path = storage.root().join(key.as_str());
        let lock = storage.root().join(LOCKS).join("a");
        for path in [&path, path.parent().expect("a folder"), &lock] {
            assert_eq!(path.metadata().expect("there").uid(), 12_345, "{}", path.display());
        }
        assert_eq!(mode(&path), 0o600);
    }

    #[tokio::test]
    async fn foreign_files_are_not_listed() {
        let (_folder, storage) = open();
        storage.write(&keys::challenge("token"), b"x").await.expect("writes");
        for name in [".hidden", ".tmp-1-2", "with space"] {
            fs::write(storage.root().join("challenges").join(name), "x").expect("writes");
        }
        assert_eq!(storage.list(keys::CHALLENGES).await.expect("lists"), [keys::challenge("token")]);
    }

    #[tokio::test]
    async fn a_lock_has_one_holder() {
        let (_folder, storage) = open();
        let other = FileStorage::open(storage.root()).expect("opens");
        let lease = storage.lock("a/b").await.expect("locks");
        let waiting = tokio::spawn(async move { other.lock("a/b").await.map(drop) });
        let _beside = storage.lock("c").await.expect("another name is another lock");
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(lease);
        waiting.await.expect("runs").expect("locks");
    }

    #[tokio::test]
    async fn changes_by_other_processes_are_told() {
        let (_folder, storage) = open();
        let other = FileStorage::open(storage.root()).expect("opens");
        let mut events = storage.watch(keys::CERTIFICATES).await.expect("watches");
        other.write(&keys::challenge("elsewhere"), b"x").await.expect("writes");
        let key = keys::certificate(&CertificateId::new("new"));
        other.write(&key, b"x").await.expect("writes");
        assert_eq!(events.next().await, Some(Event::Written(key.clone())));
        other.delete(&key).await.expect("deletes");
        while events.next().await != Some(Event::Deleted(key.clone())) {}
    }

    #[tokio::test]
    async fn own_changes_are_told() {
        let (_folder, storage) = open();
        let mut events = storage.watch(keys::CHALLENGES).await.expect("watches");
        storage.write(&keys::challenge("t"), b"x").await.expect("writes");
        assert_eq!(events.next().await, Some(Event::Written(keys::challenge("t"))));
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let (_folder, storage) = open();
        let file = storage.root().join("file");
        fs::write(&file, "").expect("writes");
        let error = FileStorage::open(&file.join("state")).expect_err("a file is no folder").to_string();
        assert!(error.contains("file/state"), "{error}");
        assert!(FileStorage::check(&file.join("state")).is_err());
        FileStorage::check(&storage.root().join("not/yet")).expect("could be made");
        assert!(!storage.root().join("not").exists());
    }
}
