//! [`Pace`]: how long a client is waited for that has to move something, and not too slowly.

use std::time::Duration;

use tokio::time::Instant;

/// A client's patience account. Waiting for it takes from the account; each byte that it moves adds to it, never
/// beyond the most. So a pause may last as long as the most, but a client that drips runs out, and one that has to wait
/// for the app is not charged.
#[derive(Debug)]
pub(super) struct Pace {
    most: Duration,
    /// Bytes a second; none: any byte fills the account.
    rate: Option<u64>,
    left: Duration,
    spent: bool,
    waiting_since: Option<Instant>,
    moved: u64,
}

impl Pace {
    /// With a pause of at most `most`, and `rate` bytes a second on average, 0 for any.
    pub(super) fn new(most: Duration, rate: u64) -> Self {
        Self { most, rate: (rate > 0).then_some(rate), left: most, spent: false, waiting_since: None, moved: 0 }
    }

    /// The client is waited for, and has moved so many bytes in all; how long it may still take, none once it has run
    /// out: a byte that comes too late buys nothing.
    pub(super) fn wait(&mut self, moved: u64) -> Option<Duration> {
        let now = Instant::now();
        if let Some(since) = self.waiting_since.replace(now) {
            self.spent |= now - since >= self.left;
            self.left = self.left.saturating_sub(now - since);
        }
        let more = moved.saturating_sub(self.moved);
        self.moved = moved;
        self.left = match self.rate {
            None if more > 0 => self.most,
            None => self.left,
            Some(rate) => {
                let earned = Duration::from_millis(more.saturating_mul(1000) / rate);
                self.left.saturating_add(earned).min(self.most)
            }
        };
        (!self.spent).then_some(self.left)
    }

    /// It is not the client that is waited for.
    pub(super) fn pause(&mut self, moved: u64) {
        if self.waiting_since.is_some() {
            self.wait(moved);
            self.waiting_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn who_drips_runs_out_and_who_pauses_does_not() {
        let mut pace = Pace::new(30 * SECOND, 100);
        let mut seconds = 0;
        while pace.wait(seconds).is_some() && seconds < 100 {
            tokio::time::advance(SECOND).await;
            seconds += 1;
        }
        assert!((30..=31).contains(&seconds), "a byte a second, and a hundred are asked for: {seconds}");
        let mut pace = Pace::new(30 * SECOND, 100);
        let mut bytes = 0;
        while pace.wait(bytes).is_some() && bytes < 10_000 {
            tokio::time::advance(SECOND / 20).await;
            bytes += 1;
        }
        assert!(bytes < 1000, "nor do bytes that come often enough to move a deadline: {bytes}");
        let mut pace = Pace::new(30 * SECOND, 100);
        for n in 0..10 {
            assert!(pace.wait(n * 3000).is_some(), "3,000 bytes every 29 s are enough");
            tokio::time::advance(29 * SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_app_is_free() {
        let mut pace = Pace::new(30 * SECOND, 100);
        for _ in 0..10 {
            assert_eq!(pace.wait(0), Some(30 * SECOND));
            pace.pause(0);
            tokio::time::advance(29 * SECOND).await;
        }
        let mut any = Pace::new(30 * SECOND, 0);
        for n in 0..10 {
            assert_eq!(any.wait(n), Some(30 * SECOND), "any byte will do");
            tokio::time::advance(SECOND).await;
        }
    }
}
