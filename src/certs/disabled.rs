//! [`Disabled`]: names whose HTTPS an operator has switched off. Readers take no lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::changes::Changes;
use crate::drain::Watch;
use crate::names::{HostMap, HostPattern};
use crate::storage::{Events, Storage, StorageError, keys};

/// Names and wildcards, and since when (unix seconds).
#[derive(Debug, Default)]
pub struct Disabled {
    published: ArcSwap<Published>,
    /// Whether there is any: nearly never, so that a request costs no more than this look.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Published {
    hosts: HostMap<()>,
    list: BTreeMap<String, u64>,
}

impl Disabled {
    /// Whether the canonical `host`, or the wildcard one label up, is switched off.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        self.any.load(Ordering::Relaxed) && self.published.load().hosts.find_named(host).is_some()
    }

    /// All that is switched off, and since when (unix seconds).
    #[must_use]
    pub fn list(&self) -> BTreeMap<String, u64> {
        self.published.load().list.clone()
    }

    /// Publishes what the storage says.
    ///
    /// # Errors
    /// [`StorageError`]; what was published stays.
    pub async fn read(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        let mut published = Published::default();
        for key in storage.list(keys::DISABLED).await? {
            let Some(name) = keys::disabled_name(&key) else { continue };
            let Ok(pattern) = HostPattern::parse(&name) else { continue };
            let since = storage.read(&key).await?.and_then(|value| String::from_utf8(value).ok()?.trim().parse().ok());
            published.hosts.insert(pattern, ());
            published.list.insert(name, since.unwrap_or(0));
        }
        let any = !published.list.is_empty();
        self.published.store(Arc::new(published));
        self.any.store(any, Ordering::Release);
        Ok(())
    }

    /// Loads what is stored, and returns what [`Disabled::follow`] needs.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn load(&self, storage: &dyn Storage) -> Result<Events, StorageError> {
        let events = storage.watch(keys::DISABLED).await?;
        self.read(storage).await?;
        Ok(events)
    }

    /// Follows the storage until the drain begins.
    pub async fn follow(&self, storage: &dyn Storage, events: Events, mut drain: Watch) {
        let mut changes = Changes::new(events);
        while changes.next(&mut drain).await.is_some() {
            if let Err(error) = self.read(storage).await {
                tracing::error!(%error, "which names are disabled cannot be read; what was known stays");
                changes.retry();
            }
        }
    }

    /// Switches HTTPS off (`Some(unix seconds)`) or on for a name, in the storage and here.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn set(&self, storage: &dyn Storage, name: &HostPattern, since: Option<u64>) -> Result<(), StorageError> {
        let key = keys::disabled(&name.to_string());
        match since {
            Some(since) => storage.write(&key, since.to_string().as_bytes()).await?,
            None => storage.delete(&key).await?,
        }
        self.read(storage).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn a_switch_holds_for_its_name_and_outlives_the_process() {
        let storage = MemoryStorage::new();
        let disabled = Disabled::default();
        let names: Vec<HostPattern> = ["a.test", "*.b.test"].map(|name| name.parse().expect("a name")).into();
        for name in &names {
            disabled.set(&storage, name, Some(7)).await.expect("stored");
        }
        let again = Disabled::default();
        again.load(&storage).await.expect("loads");
        for (host, off) in [("a.test", true), ("x.a.test", false), ("x.b.test", true), ("b.test", false)] {
            assert_eq!(again.contains(host), off, "{host}");
        }
        assert_eq!(again.list().get("*.b.test"), Some(&7));
        again.set(&storage, &names[0], None).await.expect("stored");
        assert!(!again.contains("a.test"));
    }
}
