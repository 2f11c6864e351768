//! [`Tended`]: one wanted certificate, as its task and whoever asks share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::plan::Plan;
use super::progress::Progress;
use super::{State, Status, Wanted};
use crate::names::HostPattern;

/// One wanted certificate.
pub(super) struct Tended {
    /// What is wanted.
    pub(super) wanted: Wanted,
    forced: AtomicBool,
    poke: Notify,
    status: Mutex<Status>,
    /// How far the order under way is.
    pub(super) progress: Progress,
}

impl Tended {
    /// Nothing is known of it yet.
    pub(super) fn new(wanted: Wanted) -> Self {
        let status = Mutex::new(Status::starting(&wanted));
        let (forced, poke, progress) = (AtomicBool::new(false), Notify::new(), Progress::default());
        Self { wanted, forced, poke, status, progress }
    }

    /// Has it ordered now, whatever its age and whatever failed before.
    pub(super) fn force(&self) {
        self.forced.store(true, Ordering::Release);
        self.poke.notify_one();
    }

    /// Whether it is to be ordered now; says so once.
    pub(super) fn take_force(&self) -> bool {
        self.forced.swap(false, Ordering::AcqRel)
    }

    /// Waits for [`Tended::force`].
    pub(super) async fn poked(&self) {
        self.poke.notified().await;
    }

    /// Whether only DNS-01 can prove all of its names.
    pub(super) fn has_wildcard(&self) -> bool {
        self.wanted.names.iter().any(HostPattern::is_wildcard)
    }

    /// Its names, for a log line.
    pub(super) fn names(&self) -> String {
        self.wanted.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Shows what was planned for it.
    pub(super) fn show(&self, plan: &Plan, state: State) {
        let mut status = self.status();
        status.state = state;
        status.not_after = plan.not_after;
        status.renew_at = plan.renew_at;
        status.failures = plan.failure.as_ref().map_or(0, |failure| failure.attempts);
        status.last_error = plan.failure.as_ref().map(|failure| failure.error.clone());
        status.last_failure = plan.failure.as_ref().map(|failure| failure.at);
        status.next_attempt = plan.failure.as_ref().map(|failure| failure.next);
    }

    /// How it stands.
    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
