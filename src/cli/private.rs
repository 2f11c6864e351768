//! Files that a command writes for an operator: a key is never readable by others, not even for a moment.

use std::path::Path;

use crate::storage::{StorageError, files};

/// Writes a file with mode 0600, whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    files::replace(path, text.as_bytes()).map_err(|error| plain(&error))
}

/// As [`write()`], with mode 0644: for what everybody may read.
pub(super) fn write_public(path: &Path, text: &str) -> Result<(), String> {
    files::replace_public(path, text.as_bytes()).map_err(|error| plain(&error))
}

/// The storage's errors name its own remedy, which is not this one's.
fn plain(error: &StorageError) -> String {
    match error {
        StorageError::Io { action, path, source } => format!("cannot {action} {}: {source}", path.display()),
    }
}
