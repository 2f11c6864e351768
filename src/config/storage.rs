//! `[storage]`: where doorward keeps what it made: accounts, orders, certificates, keys.

use std::path::PathBuf;

use super::reader::Section;

/// `[storage]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// `kind = "file"`, the default, with `path`.
    File {
        /// Default `/var/lib/doorward`.
        path: PathBuf,
    },
}

impl Default for Storage {
    fn default() -> Self {
        Self::File { path: PathBuf::from("/var/lib/doorward") }
    }
}

/// Reads `[storage]`.
pub(super) fn read(mut section: Section<'_>) -> Storage {
    let Storage::File { mut path } = Storage::default();
    let mut kind = ();
    section.set("kind", &mut kind, |item| item.choice(&[("file", ())])).set("path", &mut path, |item| item.path());
    section.finish();
    Storage::File { path }
}
