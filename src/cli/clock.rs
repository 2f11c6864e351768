//! Times as people say them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, unix seconds.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `1 route`, `2 routes`.
pub(super) fn count(number: impl std::fmt::Display, noun: &str) -> String {
    let number = number.to_string();
    if number == "1" { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The end of a certificate.
pub(super) fn expiry(at: i64, now: i64) -> String {
    if at <= now { format!("EXPIRED {}", ago(at, now)) } else { until(at, now) }
}

/// `in 3 days`.
pub(super) fn until(at: i64, now: i64) -> String {
    if at <= now { "now".to_owned() } else { format!("in {}", duration(at - now)) }
}

/// `3 days ago`.
pub(super) fn ago(at: i64, now: i64) -> String {
    if now - at < 1 { "just now".to_owned() } else { format!("{} ago", duration(now - at)) }
}

/// Seconds as people say them, in one unit.
pub(super) fn duration(seconds: i64) -> String {
    match seconds {
        ..=119 => count(seconds.max(0), "second"),
        120..=7_199 => count(seconds / 60, "minute"),
        7_200..=172_799 => count(seconds / 3_600, "hour"),
        _ => count(seconds / 86_400, "day"),
    }
}

/// A day and a time of it, UTC.
pub(super) fn date(unix: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let when = time::OffsetDateTime::from_unix_timestamp(unix).ok();
    when.and_then(|when| when.format(format).ok()).unwrap_or_else(|| format!("unix second {unix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_one_unit() {
        for (seconds, text) in
            [(0, "0 seconds"), (1, "1 second"), (150, "2 minutes"), (7_200, "2 hours"), (172_800, "2 days")]
        {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(expiry(62 * 86_400, 0), "in 62 days");
        assert_eq!(expiry(0, 200), "EXPIRED 3 minutes ago");
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
    }
}
