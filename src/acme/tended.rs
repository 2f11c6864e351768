//! [`Tended`]: one wanted certificate, as the keeper and whoever asks share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::backoff::Failure;
use super::plan::Plan;
use super::progress::Progress;
use super::{State, Status, Wanted};

/// One wanted certificate. There may be a million: it holds nothing that can be told from something else.
pub(super) struct Tended {
    /// What is wanted.
    pub(super) wanted: Wanted,
    forced: AtomicBool,
    standing: Mutex<Standing>,
}

/// How it stands. Times are unix seconds; 0: there is none.
struct Standing {
    state: State,
    not_after: u64,
    renew_at: u64,
    failure: Option<Box<Failure>>,
    /// How far the order under way is, or the last one that failed.
    progress: Option<Progress>,
}

impl Tended {
    /// Nothing is known of it yet.
    pub(super) fn new(wanted: Wanted) -> Self {
        let standing = Standing { state: State::Starting, not_after: 0, renew_at: 0, failure: None, progress: None };
        Self { wanted, forced: AtomicBool::new(false), standing: Mutex::new(standing) }
    }

    /// Has it ordered at the next look, whatever its age and whatever failed before.
    pub(super) fn force(&self) {
        self.forced.store(true, Ordering::Release);
    }

    /// Whether it is to be ordered now; says so once.
    pub(super) fn take_force(&self) -> bool {
        self.forced.swap(false, Ordering::AcqRel)
    }

    /// Its names, for a log line.
    pub(super) fn names(&self) -> String {
        self.wanted.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Shows what was planned for it.
    pub(super) fn show(&self, plan: &Plan, state: State) {
        let mut standing = self.standing();
        standing.state = state;
        standing.not_after = plan.not_after.unwrap_or(0);
        standing.renew_at = plan.renew_at.unwrap_or(0);
        standing.failure = plan.failure.clone().map(Box::new);
    }

    /// What is going on.
    pub(super) fn state(&self) -> State {
        self.standing().state
    }

    /// An order begins: what it tells is shown.
    pub(super) fn begin_progress(&self) -> Progress {
        let progress = Progress::default();
        self.standing().progress = Some(progress.clone());
        progress
    }

    /// No order is under way: what the last one told is of interest where it failed.
    pub(super) fn forget_progress(&self, state: State) {
        if state != State::Failing {
            self.standing().progress = None;
        }
    }

    /// How it stands.
    pub(super) fn status(&self) -> Status {
        let standing = self.standing();
        let time = |seconds: u64| (seconds > 0).then_some(seconds);
        let failure = standing.failure.as_deref();
        Status {
            id: self.wanted.id.to_string(),
            names: self.wanted.names.iter().map(ToString::to_string).collect(),
            issuer: None,
            state: standing.state,
            not_after: time(standing.not_after),
            renew_at: time(standing.renew_at),
            failures: failure.map_or(0, |failure| failure.attempts),
            last_error: failure.map(|failure| failure.error.clone()),
            last_failure: failure.map(|failure| failure.at),
            next_attempt: failure.map(|failure| failure.next),
            progress: standing.progress.as_ref().map(Progress::list).unwrap_or_default(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
