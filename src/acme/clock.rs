//! [`Clock`]: what time it is, and waiting until a time, so that renewal can be tested without waiting months.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// The longest sleep: a wall clock may be set while it lasts.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// How far the clocks may be apart of who writes a time down and who reads it.
const SKEW: Duration = Duration::from_secs(3600);

/// A wall clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// What is added to the system's time.
    ahead: watch::Receiver<Duration>,
    /// What is read in place of the system's clock: this time, at that moment of tokio's.
    start: Option<(SystemTime, tokio::time::Instant)>,
}

/// Moves a [`Clock`] forward.
#[derive(Debug)]
pub struct ClockHand(watch::Sender<Duration>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::adjustable().0
    }

    /// A clock that runs as the system's, but is set ahead by hand.
    #[must_use]
    pub fn adjustable() -> (Self, ClockHand) {
        let (sender, ahead) = watch::channel(Duration::ZERO);
        (Self { ahead, start: None }, ClockHand(sender))
    }

    /// A clock that shows `start` now and goes by tokio's, which a test can let jump.
    #[cfg(test)]
    pub(super) fn of_tokio(start: SystemTime) -> Self {
        Self { start: Some((start, tokio::time::Instant::now())), ..Self::system() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let now = match self.start {
            Some((start, at)) => start + at.elapsed(),
            None => SystemTime::now(),
        };
        now + *self.ahead.borrow()
    }

    /// Returns when the time has come, at once where it is past.
    pub async fn sleep_until(&self, time: SystemTime) {
        let mut ahead = self.ahead.clone();
        loop {
            ahead.mark_unchanged();
            let Ok(left) = time.duration_since(self.now()) else { return };
            if left.is_zero() {
                return;
            }
            let set = async {
                if ahead.changed().await.is_err() {
                    // Nobody can set it any more.
                    std::future::pending::<()>().await;
                }
            };
            // Nobody sets tokio's clock.
            let longest = if self.start.is_some() { left } else { LONGEST_SLEEP };
            tokio::select! {
                () = tokio::time::sleep(left.min(longest)) => {}
                () = set => {}
            }
        }
    }
}

impl ClockHand {
    /// Sets the clock ahead of the system's by `ahead`; those who wait for a time before that wake up.
    pub fn set_ahead(&self, ahead: Duration) {
        self.0.send_replace(ahead);
    }
}

/// A time as it is stored and shown: unix seconds, nothing before 1970.
pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whether what was written down as past is still to come: the clock was ahead then, and was set right since. Nothing
/// waits for as long as it was wrong.
pub(super) fn is_to_come(past: u64, now: SystemTime) -> bool {
    from_unix(past) > now + SKEW
}

/// The time that was stored; one that no clock can show is in the far future.
pub(super) fn from_unix(seconds: u64) -> SystemTime {
    const FAR: u64 = 1 << 40;
    UNIX_EPOCH + Duration::from_secs(seconds.min(FAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn setting_the_clock_wakes_who_waits() {
        let (clock, hand) = Clock::adjustable();
        let day = Duration::from_secs(86_400);
        let time = clock.now() + day;
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(time).await }
        });
        tokio::task::yield_now().await;
        hand.set_ahead(day / 2);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        hand.set_ahead(day);
        waiting.await.expect("woke up");
        assert!(clock.now() >= time);
    }
}
