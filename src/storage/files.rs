//! Files that are private, whole and durable: what [`super::FileStorage`] and the local CA are made of.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::StorageError;
use crate::read;

/// How the names of temporary files begin.
pub(super) const TEMPORARY: &str = ".tmp-";
/// After which a temporary file is what a crash left, not what a neighbour is writing.
const STALE: Duration = Duration::from_secs(3600);

/// Creates the folder and those above it with mode 0700; leaves one that is there as it is.
///
/// # Errors
/// [`StorageError::Io`].
pub(crate) fn create_folder(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| failed("create the folder", path, e))?;
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// The content, none where the file is not there.
///
/// # Errors
/// [`StorageError::Io`].
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match read::file(path, read::SMALL) {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path, e)),
    }
}

/// Puts `value` at `path`, atomically and durably, with mode 0600 from the first byte on.
///
/// # Errors
/// [`StorageError::Io`].
pub(crate) fn replace(path: &Path, value: &[u8]) -> Result<(), StorageError> {
    replace_with_mode(path, value, 0o600)
}

/// As [`replace`], with mode 0644: for what others are meant to read.
///
/// # Errors
/// [`StorageError::Io`].
pub(crate) fn replace_public(path: &Path, value: &[u8]) -> Result<(), StorageError> {
    replace_with_mode(path, value, 0o644)
}

fn replace_with_mode(path: &Path, value: &[u8], mode: u32) -> Result<(), StorageError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folder(folder)?;
    let temporary = folder.join(format!("{TEMPORARY}{}-{:016x}", std::process::id(), fastrand::u64(..)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(e) = written {
        // Nothing to do where even that fails: `remove_stale` gets it later.
        let _ = fs::remove_file(&temporary);
        return Err(failed("write", path, e));
    }
    sync_folder(folder)
}

/// Gives `path`, and the folders above it below `root`, to the owner of `root`: what root writes by a command has to
/// be readable by the user that doorward runs as. Does what it can; others than root can give nothing away.
pub(crate) fn adopt(root: &Path, path: &Path) {
    let Ok(owner) = fs::metadata(root).map(|meta| (meta.uid(), meta.gid())) else { return };
    for path in path.ancestors().take_while(|path| *path != root && path.starts_with(root)) {
        if fs::metadata(path).is_ok_and(|meta| (meta.uid(), meta.gid()) != owner) {
            let _ = chown(path, Some(owner.0), Some(owner.1));
        }
    }
}

/// Removes the file, durably. That it is not there is no error.
///
/// # Errors
/// [`StorageError::Io`].
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed("delete", path, e)),
    }
}

/// Opens the file that a lock is taken on, and makes it where it is missing.
///
/// # Errors
/// [`StorageError::Io`].
pub(super) fn open_lock(path: &Path) -> Result<File, StorageError> {
    create_folder(path.parent().unwrap_or(Path::new(".")))?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path).map_err(|e| failed("open the lock", path, e))
}

/// Waits for the lock on the file `path`, held until what this returns is dropped. Blocks the thread.
///
/// # Errors
/// [`StorageError::Io`].
pub(crate) fn lock(path: &Path) -> Result<File, StorageError> {
    let file = open_lock(path)?;
    file.lock().map_err(|e| failed("lock", path, e))?;
    Ok(file)
}

/// Removes temporary files that a crash left behind. What cannot be removed does no harm.
pub(super) fn remove_stale(folder: &Path) {
    let old = |path: &Path| {
        let modified = path.symlink_metadata().and_then(|m| m.modified()).ok();
        modified.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > STALE)
    };
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            remove_stale(&path);
        } else if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(TEMPORARY)) && old(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { action, path: path.to_path_buf(), source }
}

fn sync_folder(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| failed("sync the folder", path, e))
}
