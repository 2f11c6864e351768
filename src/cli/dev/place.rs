//! Where `dev` keeps its CA: the user's data directory (XDG Base Directory Specification).

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Why there is no folder to keep things in.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// Neither `HOME` nor `XDG_DATA_HOME`.
    #[error("there is no home directory to keep the local CA in (HOME is not set); name a folder with --data-dir")]
    NoHome,
    /// It cannot be made or written to.
    #[error("cannot write to {}: {source}; name a folder that is yours with --data-dir", folder.display())]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The folder: `chosen`, else `$XDG_DATA_HOME/doorward`, else `$HOME/.local/share/doorward`. A relative
/// `XDG_DATA_HOME` counts as not set, as the specification wants it.
///
/// # Errors
/// [`PlaceError::NoHome`].
pub(super) fn find(chosen: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, PlaceError> {
    if let Some(chosen) = chosen {
        return Ok(chosen.to_owned());
    }
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("doorward"))
        .ok_or(PlaceError::NoHome)
}

/// Makes the folder (0700) where it is not there yet, and tries whether it can be written to. Returns it as an
/// absolute path.
///
/// # Errors
/// [`PlaceError::NotWritable`].
pub(super) fn prepare(folder: &Path) -> Result<PathBuf, PlaceError> {
    let failed = |source| PlaceError::NotWritable { folder: folder.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::path::absolute(folder).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_users_data_directory_is_found() {
        let variables = |data: Option<&'static str>, home: Option<&'static str>| {
            move |name: &str| if name == "HOME" { home } else { data }.map(OsString::from)
        };
        let found = |chosen: Option<&str>, data, home| find(chosen.map(Path::new), variables(data, home)).ok();
        assert_eq!(found(Some("x"), Some("/d"), Some("/h")), Some("x".into()));
        assert_eq!(found(None, Some("/d"), Some("/h")), Some("/d/doorward".into()));
        assert_eq!(found(None, Some("relative"), Some("/h")), Some("/h/.local/share/doorward".into()));
        assert_eq!(found(None, Some(""), Some("/h")), Some("/h/.local/share/doorward".into()));
        assert_eq!(found(None, None, None), None);
    }

    #[test]
    fn it_is_made_for_the_user_alone() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("a/b");
        assert_eq!(prepare(&folder).expect("made"), folder);
        assert_eq!(std::fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);
        std::fs::write(parent.path().join("file"), "").expect("written");
        let error = prepare(&parent.path().join("file/x")).expect_err("a file is in the way").to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }
}
