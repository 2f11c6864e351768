//! [`Standing`]: what is known of an endpoint, and kept by reloads that change how it is used.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::health::Health;
use super::limit::Limit;
use super::resolved::{Addresses, Resolved};
use super::tally::Tally;
use super::{BackendAddress, Duty};

/// How an endpoint is: its health, what it has under way, what it has been told to do. It belongs to the backend's name
/// and the address, whatever else the config says of them.
#[derive(Debug)]
pub(super) struct Standing {
    /// Told from every other by this, for as long as the process lives.
    pub(super) id: u64,
    pub(super) health: Health,
    pub(super) limit: Arc<Limit>,
    pub(super) tally: Tally,
    /// Connections that are open, those that wait to be used again too.
    open: AtomicU32,
    /// Wakes the workers where an unused connection has to give way to a new one.
    pub(super) too_many: Notify,
    /// The addresses of its name, where it has one that is looked up for it.
    pub(super) resolved: Option<Resolved>,
    duty: AtomicU8,
    /// When it came up, in milliseconds of [`clock`].
    up_since: AtomicU64,
}

impl Standing {
    /// Of an endpoint that nothing is known of: it counts as one that has just come up.
    pub(super) fn new(address: &BackendAddress) -> Self {
        let named = matches!(address, BackendAddress::Name(..) | BackendAddress::Service(_));
        let new = Self {
            id: next_id(),
            health: Health::default(),
            limit: Arc::default(),
            tally: Tally::default(),
            open: AtomicU32::default(),
            too_many: Notify::new(),
            resolved: named.then(Resolved::default),
            duty: AtomicU8::default(),
            up_since: AtomicU64::default(),
        };
        new.came_up();
        new
    }

    pub(super) fn set_duty(&self, duty: Duty) {
        let before = self.duty.swap(duty as u8, Ordering::Relaxed);
        if before != Duty::On as u8 && duty == Duty::On {
            self.came_up();
        }
    }

    pub(super) fn duty(&self) -> Duty {
        match self.duty.load(Ordering::Relaxed) {
            0 => Duty::On,
            1 => Duty::Drain,
            _ => Duty::Off,
        }
    }

    /// Its name leads here from now on, or nowhere.
    pub(super) fn lead(&self, addresses: &Arc<Addresses>) {
        let Some(resolved) = &self.resolved else { return };
        let was_nowhere = resolved.leads_nowhere();
        resolved.publish(Arc::clone(addresses));
        if was_nowhere && addresses.is_ok() {
            // What failed while nobody could get there says nothing of the app.
            self.health.succeeded();
            self.came_up();
        }
    }

    /// Whether its name is known to lead nowhere.
    pub(super) fn leads_nowhere(&self) -> bool {
        self.resolved.as_ref().is_some_and(Resolved::leads_nowhere)
    }

    /// A slow start begins here.
    pub(super) fn came_up(&self) {
        self.up_since.store(clock(), Ordering::Relaxed);
    }

    /// For how long it has been up.
    pub(super) fn up_for(&self) -> Duration {
        Duration::from_millis(clock().saturating_sub(self.up_since.load(Ordering::Relaxed)))
    }
}

/// A connection that is open, as long as this lives.
#[derive(Debug)]
pub(super) struct Open(Arc<Standing>);

impl Open {
    /// One more, to an endpoint that takes so `most` at once. Where there are as many, each worker closes one that it
    /// does not use: an app that serves so many connections and no more would never come to the new one.
    pub(super) fn one_more(standing: &Arc<Standing>, most: Option<u32>) -> Self {
        let before = standing.open.fetch_add(1, Ordering::Relaxed);
        if most.is_some_and(|most| before >= most) {
            standing.too_many.notify_waiters();
        }
        Self(Arc::clone(standing))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number that nothing else has, for as long as the process lives.
pub(super) fn next_id() -> u64 {
    static IDS: AtomicU64 = AtomicU64::new(0);
    IDS.fetch_add(1, Ordering::Relaxed)
}

/// Milliseconds since something early in the process's life.
fn clock() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}
