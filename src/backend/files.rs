//! The files of transports, watched: CAs and client certificates are swapped as they change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{Registry, Transport};
use crate::drain::Watch;

/// A change is taken up when nothing has moved for so long: a pair is written one file after the other.
const SETTLE: Duration = Duration::from_millis(100);
/// How often the files are looked at all the same: what is behind a symlink may be in a folder that nobody watches.
const LOOK: Duration = Duration::from_secs(5);
/// As often where the system cannot watch.
const POLL: Duration = Duration::from_millis(500);

impl Registry {
    /// Keeps up with the files of all transports until the drain.
    pub async fn follow_files(&self, mut drain: Watch) {
        let (sender, mut events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                // Full: there is one to be taken up already.
                let _ = sender.try_send(());
            }
        });
        let mut watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "cannot watch the TLS files of backends; they are looked at"))
            .ok();
        let mut watched = BTreeSet::new();
        loop {
            let transports = self.transports();
            let all = watcher.as_mut().is_some_and(|watcher| watch(watcher, &transports, &mut watched));
            transports.iter().filter(|transport| transport.have_files_changed()).for_each(|it| take_up(it));
            tokio::select! {
                () = tokio::time::sleep(if all { LOOK } else { POLL }) => {}
                () = self.files_wanted.notified() => {}
                Some(()) = events.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    let _more = events.try_recv();
                }
                _ = drain.signaled() => return,
            }
        }
    }
}

/// Watches the folders of the transports' files, as a watch on a file follows no rename over it; whether all of them
/// can be.
fn watch(
    watcher: &mut RecommendedWatcher,
    transports: &[std::sync::Arc<Transport>],
    watched: &mut BTreeSet<PathBuf>,
) -> bool {
    let files = transports.iter().flat_map(|transport| transport.files());
    let wanted: BTreeSet<PathBuf> = files.filter_map(|file| file.parent().map(Path::to_owned)).collect();
    for gone in watched.difference(&wanted) {
        // A folder that was deleted is not watched any more by itself.
        let _ = watcher.unwatch(gone);
    }
    watched.retain(|folder| wanted.contains(folder));
    for new in &wanted {
        if !watched.contains(new) && watcher.watch(new, RecursiveMode::NonRecursive).is_ok() {
            watched.insert(new.clone());
        }
    }
    watched.len() == wanted.len()
}

fn take_up(transport: &Transport) {
    let files = transport.files().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    match transport.reload() {
        Ok(()) => tracing::info!(files, "the TLS files of a backend have changed and were taken up"),
        // Half of a pair, most likely; the other half is a change again.
        Err(error) => tracing::warn!(%error, "the TLS files of a backend have changed, and the old ones stay in use"),
    }
}
