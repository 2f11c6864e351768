//! [`Progress`]: how far an order is with each of its names, for who waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A few words for each name. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Mutex<BTreeMap<String, String>>>);

impl Progress {
    /// Begins anew, with the same words for all.
    pub(super) fn begin(&self, names: impl Iterator<Item = String>, words: &str) {
        *self.lock() = names.map(|name| (name, words.to_owned())).collect();
    }

    /// Says how far it is with one name.
    pub(super) fn set(&self, name: &str, words: impl Into<String>) {
        self.lock().insert(name.to_owned(), words.into());
    }

    /// Says the same of all names.
    pub(super) fn all(&self, words: &str) {
        self.lock().values_mut().for_each(|value| words.clone_into(value));
    }

    /// All names.
    pub(super) fn list(&self) -> Vec<(String, String)> {
        self.lock().iter().map(|(name, words)| (name.clone(), words.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
