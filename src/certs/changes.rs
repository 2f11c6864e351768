//! [`Changes`]: what everything in here that follows the storage waits for.

use std::time::Duration;

use tokio::time::{Instant, Interval};

use crate::drain::Watch;
use crate::storage::{Event, Events, Key};

/// How often everything is looked at, whatever the watch told: no watch is perfect.
const RESCAN: Duration = Duration::from_secs(3600);
/// How soon everything is looked at again after a look failed.
const RETRY: Duration = Duration::from_secs(30);

/// Changes of a part of the storage.
pub(super) struct Changes {
    events: Events,
    rescan: Interval,
}

/// What is to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// What is under this key, if there still is something.
    Of(Key),
    /// Everything.
    All,
}

impl Changes {
    /// Of what `events` tells.
    pub(super) fn new(events: Events) -> Self {
        Self { events, rescan: tokio::time::interval_at(Instant::now() + RESCAN, RESCAN) }
    }

    /// The next one; none once the drain begins or the storage is closed.
    pub(super) async fn next(&mut self, drain: &mut Watch) -> Option<Change> {
        tokio::select! {
            event = self.events.next() => event.map(|event| match event {
                Event::Written(key) | Event::Deleted(key) => Change::Of(key),
                Event::Resync => Change::All,
            }),
            _ = self.rescan.tick() => Some(Change::All),
            _ = drain.signaled() => None,
        }
    }

    /// The last one could not be read: everything is looked at again before long.
    pub(super) fn retry(&mut self) {
        self.rescan.reset_after(RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, Storage as _, keys};

    #[tokio::test(start_paused = true)]
    async fn events_come_at_once_a_failure_is_made_up_for_soon_and_the_drain_ends_it() {
        let storage = MemoryStorage::new();
        let (drain, mut watch) = crate::drain::channel();
        let mut changes = Changes::new(storage.watch(keys::DISABLED).await.expect("watches"));
        storage.write(&keys::disabled("a.test"), b"1").await.expect("writes");
        storage.delete(&keys::disabled("a.test")).await.expect("deletes");
        for _ in 0..2 {
            assert_eq!(changes.next(&mut watch).await, Some(Change::Of(keys::disabled("a.test"))));
        }
        let begin = Instant::now();
        assert_eq!(changes.next(&mut watch).await, Some(Change::All));
        assert_eq!(begin.elapsed(), RESCAN);
        changes.retry();
        assert_eq!(changes.next(&mut watch).await, Some(Change::All));
        assert_eq!(begin.elapsed(), RESCAN + RETRY);
        let ended = tokio::spawn(async move { changes.next(&mut watch).await });
        drain.drain(Duration::from_secs(1)).await;
        assert_eq!(ended.await.expect("ends"), None);
    }
}
