//! Drain: the one signal that says "take nothing new, finish what is under way, by this deadline".
//!
//! [`Drain`] is held by who decides; every connection and request holds a [`Watch`]. The drain is done
//! when every watch was dropped. Floor 1.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The deciding end.
#[derive(Debug)]
pub struct Drain {
    signal: watch::Sender<Option<Instant>>,
}

/// What is under way holds this until it ends.
#[derive(Clone, Debug)]
pub struct Watch {
    signal: watch::Receiver<Option<Instant>>,
}

/// A new drain with its first watch.
#[must_use]
pub fn channel() -> (Drain, Watch) {
    let (sender, receiver) = watch::channel(None);
    (Drain { signal: sender }, Watch { signal: receiver })
}

impl Drain {
    /// Starts the drain (a later call only moves the deadline) and waits until every watch is gone.
    /// Returns whether all ended in time.
    pub async fn drain(&self, within: Duration) -> bool {
        self.signal.send_replace(Some(Instant::now() + within));
        tokio::time::timeout(within, self.signal.closed()).await.is_ok()
    }

    /// How many watches are held.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.signal.receiver_count()
    }

    /// One more watch.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { signal: self.signal.subscribe() }
    }
}

impl Watch {
    /// Waits for the drain to begin; returns its deadline. Never returns where the deciding end is gone.
    pub async fn signaled(&mut self) -> Instant {
        match self.signal.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline) {
            Some(deadline) => deadline,
            None => std::future::pending().await,
        }
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.signal.borrow().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_last_watch() {
        let (drain, mut watch) = channel();
        assert!(!watch.is_draining());
        let held = tokio::spawn(async move {
            watch.signaled().await;
            assert!(watch.is_draining());
        });
        assert!(drain.drain(Duration::from_secs(5)).await);
        held.await.expect("the watch saw the drain");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_gives_up_at_its_deadline() {
        let (drain, _held) = channel();
        assert!(!drain.drain(Duration::from_secs(5)).await);
        assert_eq!(drain.under_way(), 1);
    }
}
