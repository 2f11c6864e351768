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
    /// When something moved first and last, where that is not taken up yet.
    moved: Option<(Instant, Instant)>,
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
        let mut this = Self { watcher, watched: BTreeSet::new(), events, moved: None };
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

    /// Waits for a change that has settled. Who breaks the wait off and waits again misses none.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some((first, last)) = self.moved else {
                if self.events.recv().await.is_none() {
                    // No watcher.
                    return std::future::pending().await;
                }
                self.moved = Some((Instant::now(), Instant::now()));
                continue;
            };
            let settled = (first + LATEST).min(last + SETTLE);
            match tokio::time::timeout_at(settled, self.events.recv()).await {
                Ok(Some(())) => self.moved = Some((first, Instant::now())),
                Ok(None) | Err(_) => {
                    self.moved = None;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_not_lost_where_something_else_comes_in_between() {
        let (sender, events) = mpsc::channel(1);
        let mut files = Files { watcher: None, watched: BTreeSet::new(), events, moved: None };
        let soon = Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, files.changed()).await.is_err(), "nothing has moved");
        let began = Instant::now();
        for _ in 0..3 {
            sender.try_send(()).expect("it is taken up");
            assert!(tokio::time::timeout(soon, files.changed()).await.is_err(), "it has not settled");
        }
        files.changed().await;
        assert!(began.elapsed() >= SETTLE + 2 * soon && began.elapsed() < LATEST, "{:?}", began.elapsed());
        // What never settles is taken up all the same.
        let began = Instant::now();
        tokio::select! {
            () = files.changed() => {}
            () = async { while sender.send(()).await.is_ok() { tokio::time::sleep(soon).await } } => {}
        }
        assert!(began.elapsed() <= LATEST + soon, "{:?}", began.elapsed());
    }
}
