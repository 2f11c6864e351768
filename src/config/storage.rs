//! `[storage]`: where doorward keeps what it made: accounts, orders, certificates, keys.

use std::path::PathBuf;

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
