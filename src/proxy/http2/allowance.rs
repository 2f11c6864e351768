//! [`Allowance`]: how much a client may ask of a connection that leads to nothing.
//!
//! Floods of frames that cost the client little and us something (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA,
//! unknown types: CVE-2019-9511 to 9518), and of requests that are taken back as soon as the app has them, whoever
//! resets the streams (CVE-2023-44487 "Rapid Reset", CVE-2025-8671 "MadeYouReset"). A client that uses the connection
//! for what it is there for earns more than it spends.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use tokio::time::Instant;

/// Frames that may come at once, beyond those that are earned.
const FRAMES: f64 = 1000.0;
/// And so many more a second.
const FRAMES_A_SECOND: f64 = 50.0;
/// Requests that may be taken back a second, beyond those that are allowed at once.
const RESETS_A_SECOND: f64 = 20.0;

/// What is left to a connection's client.
#[derive(Debug)]
pub(super) struct Allowance {
    frames: Bucket,
    resets: Bucket,
    spent: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Bucket {
    left: Cell<f64>,
    most: f64,
    a_second: f64,
    at: Cell<Instant>,
}

impl Allowance {
    /// With so many requests that may be taken back at once.
    pub(super) fn new(resets: usize) -> Self {
        Self {
            frames: Bucket::new(FRAMES, FRAMES_A_SECOND),
            resets: Bucket::new(f64::from(u32::try_from(resets).unwrap_or(u32::MAX)), RESETS_A_SECOND),
            spent: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// A frame that asks for nothing came; false: there were too many.
    pub(super) fn spend(&self, cost: u32) -> bool {
        self.frames.spend(cost.into())
    }

    /// Something was done for which a client may well send so many of these.
    pub(super) fn earn(&self, frames: usize) {
        self.frames.earn(frames as f64);
    }

    /// A piece of this length, as the app gave it, goes to the client: it may be acknowledged frame by frame.
    pub(super) fn earn_by_piece(&self, length: usize) {
        self.earn(4 + length / 1024);
    }

    /// A request was answered to its end.
    pub(super) fn answered(&self) {
        self.resets.earn(1.0);
    }

    /// A request was reset after it was taken on.
    pub(super) fn reset(&self) {
        if !self.resets.spend(1.0) {
            self.spent.set(true);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Whether too many requests were reset; who asks is woken when that changes.
    pub(super) fn is_spent(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.spent.get()
    }
}

impl Bucket {
    fn new(most: f64, a_second: f64) -> Self {
        Self { left: Cell::new(most), most, a_second, at: Cell::new(Instant::now()) }
    }

    fn earn(&self, amount: f64) {
        self.left.set((self.left.get() + amount).min(self.most));
    }

    fn spend(&self, cost: f64) -> bool {
        if self.left.get() < cost {
            // The clock is asked only where it matters.
            let now = Instant::now();
            self.earn((now - self.at.get()).as_secs_f64() * self.a_second);
            self.at.set(now);
        }
        if self.left.get() < cost {
            return false;
        }
        self.left.set(self.left.get() - cost);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn floods_are_told_from_use() {
        let allowance = Allowance::new(10);
        assert_eq!((0..5000).filter(|_| allowance.spend(1)).count(), 1000);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((0..5000).filter(|_| allowance.spend(1)).count(), 100);
        for _ in 0..10_000 {
            allowance.earn_by_piece(16 * 1024);
            assert!(allowance.spend(1) && allowance.spend(1), "two updates of windows for each piece");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_taken_back_run_out() {
        let cx = Context::from_waker(Waker::noop());
        let allowance = Allowance::new(10);
        (0..10).for_each(|_| allowance.reset());
        assert!(!allowance.is_spent(&cx));
        allowance.answered();
        allowance.reset();
        assert!(!allowance.is_spent(&cx));
        allowance.reset();
        assert!(allowance.is_spent(&cx));
    }
}
