//! [`Machine`]: what the loader asks of the machine besides the config files themselves.

use std::io;
use std::path::Path;

use crate::read;

/// The environment and the file system as the loader sees them, so that a config for one machine can be
/// checked on another.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The value of an environment variable, for `${NAME}`.
    pub variable: fn(&str) -> Option<String>,
    /// What is at a path that the config names.
    pub look: fn(&Path) -> Found,
    /// The text of a secret's file, for `file:/path`.
    pub secret: fn(&Path) -> io::Result<String>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or nothing that may be looked at.
    Nothing,
    /// A file, or what a program reads like one.
    File,
    /// A folder.
    Folder,
    /// Not looked: taken for what is needed.
    Assumed,
}

impl Machine {
    /// The machine that doorward runs on.
    #[must_use]
    pub fn this() -> Self {
        Self { variable: |name| std::env::var(name).ok(), look, secret: |path| read::text(path, read::SMALL) }
    }

    /// A machine where every file is there and every variable is set (to `0`): the config alone is judged.
    #[must_use]
    pub fn assumed() -> Self {
        Self { variable: |_| Some("0".to_owned()), look: |_| Found::Assumed, secret: |_| Ok("assumed".to_owned()) }
    }
}

fn look(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Found::Folder,
        Ok(_) => Found::File,
        Err(_) => Found::Nothing,
    }
}
