//! [`Budget`]: how many retries a backend is worth. Retries help where one endpoint fails, and bury the rest where
//! all do; so they may be a share of the requests, and a few a second besides.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::config::Retry;

/// What was not used is kept for so many seconds.
const WINDOW: f64 = 10.0;

/// One backend's, shared by all workers: they meet here only where something failed.
#[derive(Debug)]
pub(super) struct Budget {
    retry: Retry,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    tokens: f64,
    at: Instant,
    requests: u64,
}

impl Budget {
    /// A budget for a backend that has had so many requests.
    pub(super) fn new(retry: Retry, requests: u64) -> Self {
        let tokens = WINDOW * f64::from(retry.per_second);
        Self { retry, account: Mutex::new(Account { tokens, at: Instant::now(), requests }) }
    }

    /// The budget of a backend in the place of this one's. The one has had `before` requests, the other `now`.
    pub(super) fn handed_on(&self, before: u64, now: u64) -> Self {
        let account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        // What the requests since the last retry have earned is not lost.
        let requests = now.saturating_sub(before.saturating_sub(account.requests));
        Self { retry: self.retry.clone(), account: Mutex::new(Account { requests, ..*account }) }
    }

    pub(super) fn retry(&self) -> &Retry {
        &self.retry
    }

    /// Takes one retry, where there is one. `requests` is how many there were up to `now`, over all workers.
    pub(super) fn spend(&self, requests: u64, now: Instant) -> bool {
        // Numbers: what a panic left is whole.
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_duration_since(account.at).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let new = requests.saturating_sub(account.requests) as f64;
        let (per_second, by_share) = (f64::from(self.retry.per_second), self.retry.share() * new);
        let most = WINDOW * (per_second + by_share / seconds.max(1.0));
        let earned = account.tokens + per_second * seconds + by_share;
        // What a burst of requests earned is not lost by the next look, a moment later.
        *account = Account { tokens: earned.min(most.max(account.tokens)), at: now, requests };
        if account.tokens < 1.0 {
            return false;
        }
        account.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spent(budget: &Budget, tries: usize, requests: u64, now: Instant) -> usize {
        (0..tries).filter(|_| budget.spend(requests, now)).count()
    }

    #[test]
    fn retries_are_a_share_of_requests_and_some_a_second() {
        let retry = |share, per_second| Retry { attempts: 2, share, per_second };
        let start = Instant::now();
        let none = Budget::new(retry(0, 0), 0);
        assert_eq!(spent(&none, 10, 1000, start + Duration::from_secs(9)), 0);
        let share = Budget::new(retry(200, 0), 500);
        assert_eq!(spent(&share, 50, 600, start + Duration::from_secs(1)), 20);
        assert_eq!(spent(&share, 50, 600, start + Duration::from_secs(9)), 0);
        let seconds = Budget::new(retry(0, 3), 0);
        assert_eq!(spent(&seconds, 50, 0, start), 30, "a window's worth to begin with");
        assert_eq!(spent(&seconds, 50, 0, start + Duration::from_secs(2)), 6);
        assert_eq!(spent(&seconds, 99, 0, start + Duration::from_secs(3600)), 30, "only so much is kept");
    }
}
