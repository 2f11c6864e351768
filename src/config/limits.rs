//! `[issuer.limits]`: how much a CA issues, so that it is never asked for more.

use std::fmt;
use std::time::Duration;

use super::reader::{Item, Section};

/// A CA's limits; none: it has no such limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaLimits {
    /// `orders`: of one account.
    pub orders: Option<Rate>,
    /// `per_domain`: new certificates for one registered domain and all below it.
    pub per_domain: Option<Rate>,
    /// `duplicates`: certificates for exactly the same names.
    pub duplicates: Option<Rate>,
    /// `failures`: failed validations of one name.
    pub failures: Option<Rate>,
    /// `renewals_exempt`: whether renewals count only as duplicates, and those by ARI (RFC 9773) not at all.
    pub renewals_exempt: bool,
}

/// So many within so long, whenever that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: u32,
    /// Within how long.
    pub within: Duration,
}

impl CaLimits {
    /// No limits.
    pub const NONE: Self =
        Self { orders: None, per_domain: None, duplicates: None, failures: None, renewals_exempt: false };
}

impl Default for CaLimits {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.most, humantime::format_duration(self.within))
    }
}

/// Reads `[issuer.limits]`: what is not written has no limit.
pub(super) fn read(mut section: Section<'_>) -> CaLimits {
    let mut this = CaLimits::NONE;
    section
        .set("orders", &mut this.orders, |item| read_rate(item).map(Some))
        .set("per_domain", &mut this.per_domain, |item| read_rate(item).map(Some))
        .set("duplicates", &mut this.duplicates, |item| read_rate(item).map(Some))
        .set("failures", &mut this.failures, |item| read_rate(item).map(Some))
        .set("renewals_exempt", &mut this.renewals_exempt, Item::boolean);
    section.finish();
    this
}

/// `"50 in 7d"`.
pub(super) fn read_rate(item: &Item<'_>) -> Option<Rate> {
    let text = item.words()?;
    let parsed = text.split_once(" in ").and_then(|(most, within)| {
        let most: u32 = most.trim().parse().ok()?;
        let within = humantime::parse_duration(within.trim()).ok()?;
        (most > 0 && !within.is_zero() && within <= Duration::from_secs(366 * 86_400)).then_some(Rate { most, within })
    });
    match parsed {
        Some(rate) => Some(rate),
        None => item.fault(
            format!("{:?} is no number in a time", item.written()),
            "write how many in how long, at most a year, as in \"50 in 7d\"",
        ),
    }
}
