//! The config files, watched: a change becomes a reload once it has settled.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::Config;

/// A change is taken up when nothing has moved for so long.
const SETTLE: Duration = Duration::from_millis(250);
/// But no later than so long after the first.
const LATEST: Duration = Duration::from_secs(2);

/// The folders that the config's files are in. Folders, as a watch on a file follows no rename over it.
pub(super) struct Files {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
}

impl Files {
    /// Watches where `wanted`; a system that cannot watch is told of once, and HUP still reloads.
    pub(super) fn new(config: &Config, wanted: bool) -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = wanted.then(|| {
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                    // Full: there is one to be taken up already.
                    let _ = sender.try_send(());
                }
            })
        });
        let watcher = match watcher.transpose() {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(%error, "cannot watch the config files: send HUP or use `doorward reload`");
                None
            }
        };
        let mut this = Self { watcher, watched: BTreeSet::new(), events };
        this.watch(config);
        this
    }

    /// Watches the folders of this config from now on.
    pub(super) fn watch(&mut self, config: &Config) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = config.watched.iter().cloned().collect();
        for gone in self.watched.difference(&wanted) {
            // A folder that was deleted is not watched any more by itself.
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %new.display(), %error, "cannot watch for config changes here");
            }
        }
        self.watched = wanted;
    }

    /// Waits for a change that has settled.
    pub(super) async fn changed(&mut self) {
        if self.events.recv().await.is_none() {
            // No watcher.
            return std::future::pending().await;
        }
        let latest = Instant::now() + LATEST;
        while let Ok(Some(())) = tokio::time::timeout_at(latest.min(Instant::now() + SETTLE), self.events.recv()).await
        {
        }
    }
}
