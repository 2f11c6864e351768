//! When a certificate is due: by the CA's renewal information (RFC 9773) where there is some, else by its
//! real lifetime. Pure: no clock, no network, no chance but the seed.

use std::time::{Duration, SystemTime};

/// Of its lifetime, how much of a certificate is used before it is renewed.
const SHARE: f64 = 2.0 / 3.0;
/// Over how much of the lifetime renewals are spread, so that what was issued together is not renewed together.
const JITTER: f64 = 0.02;
/// How often the CA is asked for its renewal information where it does not say (RFC 9773 §4.3.2).
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// The least and the most that a CA's Retry-After is taken for (RFC 9773 §4.3.2 suggests such bounds).
const ASK_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub not_before: SystemTime,
    /// Its last.
    pub not_after: SystemTime,
}

/// The window that a CA suggests for the renewal (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub start: SystemTime,
    /// Its end.
    pub end: SystemTime,
}

impl Validity {
    /// How long the certificate lasts; zero where it ends before it begins.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }

    /// When the certificate is to be renewed: a point in the CA's window, else two thirds into its lifetime
    /// and up to a fiftieth more. The same `seed` gives the same point, so a restart moves nothing.
    #[must_use]
    pub fn due(&self, window: Option<Window>, seed: u64) -> SystemTime {
        let chance = fastrand::Rng::with_seed(seed).f64();
        match window.and_then(|w| Some((w.start, w.end.duration_since(w.start).ok()?))) {
            // Not beyond the certificate's own end, whatever the CA says.
            Some((start, length)) if !length.is_zero() => (start + length.mul_f64(chance)).min(self.latest()),
            _ => self.not_before + self.lifetime().mul_f64(SHARE + JITTER * chance),
        }
    }

    /// After which waiting longer risks the end of the certificate: a twentieth of its lifetime before it.
    fn latest(&self) -> SystemTime {
        self.not_after - self.lifetime() / 20
    }
}

/// How long until the CA is asked again for renewal information, given what it said in Retry-After.
/// A certificate of hours or minutes is looked after more often than the CA's default of days.
#[must_use]
pub(super) fn ask_again(retry_after: Option<Duration>, lifetime: Duration) -> Duration {
    let (least, most) = ASK_BOUNDS;
    retry_after.unwrap_or(ASK_AGAIN).clamp(least, most).min((lifetime / 4).max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn lasting(lifetime: Duration) -> Validity {
        let not_before = UNIX_EPOCH + DAY * 20_000;
        Validity { not_before, not_after: not_before + lifetime }
    }

    #[test]
    fn two_thirds_of_any_real_lifetime() {
        for lifetime in [Duration::from_secs(90), Duration::from_secs(160 * 3600), DAY * 6, DAY * 90, DAY * 398] {
            for seed in 0..100 {
                let validity = lasting(lifetime);
                let used = validity.due(None, seed).duration_since(validity.not_before).expect("after its beginning");
                let share = used.as_secs_f64() / lifetime.as_secs_f64();
                assert!((2.0 / 3.0 - 1e-9..0.69).contains(&share), "{lifetime:?}: {share}");
            }
        }
    }

    #[test]
    fn renewals_are_spread_and_the_same_after_a_restart() {
        let validity = lasting(DAY * 90);
        let due: std::collections::BTreeSet<_> = (0..100).map(|seed| validity.due(None, seed)).collect();
        assert!(due.len() > 90);
        assert_eq!(validity.due(None, 7), validity.due(None, 7));
        let first = due.first().copied().expect("some");
        assert!(due.last().expect("some").duration_since(first).expect("later") > DAY);
    }

    #[test]
    fn the_window_of_the_ca_decides_where_it_makes_sense() {
        let validity = lasting(DAY * 90);
        let at = |days: u32| validity.not_before + DAY * days;
        for seed in 0..50 {
            let due = validity.due(Some(Window { start: at(10), end: at(12) }), seed);
            assert!((at(10)..at(12)).contains(&due));
            let late = validity.due(Some(Window { start: at(95), end: at(99) }), seed);
            assert!(late < validity.not_after);
        }
        let backwards = Window { start: at(12), end: at(10) };
        assert_eq!(validity.due(Some(backwards), 1), validity.due(None, 1));
    }

    #[test]
    fn broken_dates_do_not_break_the_arithmetic() {
        let now = UNIX_EPOCH + DAY;
        let validity = Validity { not_before: now, not_after: now - DAY / 2 };
        assert_eq!(validity.lifetime(), Duration::ZERO);
        assert_eq!(validity.due(None, 1), now);
    }

    #[test]
    fn the_ca_is_asked_neither_too_often_nor_too_seldom() {
        let hour = Duration::from_secs(3600);
        assert_eq!(ask_again(None, DAY * 90), 6 * hour);
        assert_eq!(ask_again(Some(Duration::ZERO), DAY * 90), Duration::from_secs(60));
        assert_eq!(ask_again(Some(DAY * 365), DAY * 90), DAY);
        assert_eq!(ask_again(None, hour * 4), hour);
        assert_eq!(ask_again(None, Duration::ZERO), Duration::from_secs(1));
    }
}
