//! [`Failure`]: how often an order failed, kept in the storage, so that neither time nor a restart loop
//! makes doorward hammer a CA.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::AcmeError;
use super::clock::{from_unix, is_to_come, unix};
use crate::config::{self, CertificateId};
use crate::storage::{Storage, StorageError, keys};

/// The most that a Retry-After is believed.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How the delay after a failure grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this, but for a Retry-After.
    pub longest: Duration,
}

/// What is kept of failed attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// How many in a row.
    pub(super) attempts: u32,
    /// The last one, in plain words.
    pub(super) error: String,
    /// Unix seconds of the last one.
    pub(super) at: u64,
    /// Unix seconds before which there is no other.
    pub(super) next: u64,
    /// By which settings it was tried, as [`settings_of`] has it: with others it is no reason to wait.
    #[serde(default)]
    pub(super) settings: String,
}

/// What stands for an `[acme]` as a whole: another text where anything of it changed, secrets included.
pub(super) fn settings_of(acme: &config::Acme) -> String {
    let secrets = acme.issuers().filter_map(|issuer| issuer.eab.as_ref()).map(|eab| eab.hmac_key.as_str());
    let text = format!("{acme:?}");
    super::short_hash(std::iter::once(text.as_str()).chain(secrets))
}

impl Default for Pace {
    /// A minute, doubling, up to six hours.
    fn default() -> Self {
        Self { first: Duration::from_secs(60), longest: Duration::from_secs(6 * 3600) }
    }
}

impl Pace {
    /// The pace for a certificate of this lifetime that works: the shorter it lasts, the sooner it is tried again.
    #[must_use]
    pub fn for_lifetime(self, lifetime: Duration) -> Self {
        let least = Duration::from_secs(1);
        let first = self.first.min((lifetime / 100).max(least));
        Self { first, longest: self.longest.min((lifetime / 20).max(first)) }
    }

    /// The pace for a certificate that has so long left: never more than a tenth of that between two attempts, so
    /// that there are many before its end, and one soon after whatever failed has been mended.
    #[must_use]
    pub fn with_left(self, left: Duration) -> Self {
        Self { first: self.first, longest: self.longest.min((left / 10).max(self.first)) }
    }

    /// The delay after `attempts` failures in a row; `chance` in 0..1 spreads it over a quarter more.
    #[must_use]
    pub fn delay(self, attempts: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        doubled.min(self.longest).mul_f64(1.0 + 0.25 * chance)
    }
}

impl Failure {
    /// One more failure after `before`.
    pub(super) fn after(before: Option<&Self>, error: &AcmeError, pace: Pace, now: SystemTime) -> Self {
        // Who only waits has not failed.
        let (more, waits) = if error.is_only_waiting() { (0, Duration::ZERO) } else { (1, pace.first) };
        let attempts = before.map_or(0, |f| f.attempts).saturating_add(more);
        let delay = if more == 0 { waits } else { pace.delay(attempts, fastrand::f64()) };
        let asked = error.retry_after().map(|at| at.min(now + LONGEST_RETRY_AFTER));
        // A full second later, as fractions are cut off: never before the CA's time.
        let next = unix(asked.map_or(now + delay, |at| at.max(now + delay)) + Duration::from_millis(999));
        Self { attempts, error: error.to_string(), at: unix(now), next, settings: String::new() }
    }

    /// The same, by these settings.
    pub(super) fn by(self, settings: String) -> Self {
        Self { settings, ..self }
    }

    pub(super) fn next(&self) -> SystemTime {
        from_unix(self.next)
    }

    /// Whether it is too early for another attempt.
    pub(super) fn holds(&self, now: SystemTime) -> bool {
        self.next() > now && !is_to_come(self.at, now)
    }

    /// The failure that is kept for `id`. One that cannot be understood is none.
    pub(super) async fn load(storage: &dyn Storage, id: &CertificateId) -> Result<Option<Self>, StorageError> {
        let value = storage.read(&keys::failure(id.as_str())).await?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    pub(super) async fn save(&self, storage: &dyn Storage, id: &CertificateId) -> Result<(), StorageError> {
        // Plain fields: serialising them cannot fail.
        storage.write(&keys::failure(id.as_str()), &serde_json::to_vec(self).unwrap_or_default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound() {
        let pace = Pace::default();
        let delays: Vec<_> = (1..=12).map(|n| pace.delay(n, 0.0).as_secs()).collect();
        assert_eq!(&delays[..4], [60, 120, 240, 480]);
        assert!(delays.is_sorted());
        assert_eq!(delays[11], 6 * 3600);
        assert_eq!(pace.delay(u32::MAX, 0.0), pace.longest);
        assert_eq!(pace.delay(1, 1.0), Duration::from_secs(75));
    }

    #[test]
    fn a_short_lived_certificate_is_tried_again_sooner() {
        let pace = Pace::default().for_lifetime(Duration::from_secs(90));
        assert!(pace.delay(1, 0.0) <= Duration::from_secs(1));
        assert!(pace.delay(30, 1.0) < Duration::from_secs(10));
        assert_eq!(Pace::default().for_lifetime(Duration::from_secs(90 * 86_400)), Pace::default());
    }

    #[test]
    fn retry_after_is_honoured_and_bounded() {
        let now = SystemTime::now();
        let wait = |seconds| AcmeError::Refused {
            kind: "rateLimited".to_owned(),
            detail: String::new(),
            status: 429,
            retry_after: Some(now + Duration::from_secs(seconds)),
        };
        let failure = Failure::after(None, &wait(3600), Pace::default(), now);
        assert!(failure.next() >= now + Duration::from_secs(3600));
        assert!(failure.next() < now + Duration::from_secs(3602));
        let second = Failure::after(Some(&failure), &wait(1), Pace::default(), now);
        assert_eq!(second.attempts, 2);
        assert!(second.next() >= now + Duration::from_secs(120), "the delay goes on growing");
        assert!(second.holds(now) && !second.holds(now + Duration::from_secs(3600)));
        // By a clock that was a year ahead, and was set right.
        assert!(!second.holds(now - Duration::from_secs(365 * 86_400)));
        let absurd = Failure::after(None, &wait(1 << 34), Pace::default(), now);
        assert!(absurd.next() < now + LONGEST_RETRY_AFTER + Duration::from_secs(2));
    }
}
