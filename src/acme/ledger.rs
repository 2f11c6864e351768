//! What was asked of a CA lately, as it is kept in the storage: times within a CA's windows, and no more.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock::{from_unix, is_to_come, unix};
use crate::config::{CaLimits, Rate};
use crate::storage::{Key, Storage, StorageError};

/// The orders of the account at one CA. Times are unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) issuer: String,
    pub(super) at: Vec<u64>,
}

/// What one CA issued for a registered domain, and could not validate in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Domain {
    pub(super) issuer: String,
    pub(super) domain: String,
    #[serde(default)]
    pub(super) issued: Vec<IssuedOnce>,
    #[serde(default)]
    pub(super) failed: Vec<FailedOnce>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IssuedOnce {
    pub(super) at: u64,
    /// The certificate's id, which is the same for the same names.
    pub(super) set: String,
    /// Whether it counts against the domain; one that is exempt counts as a duplicate only.
    pub(super) counts: bool,
}

/// One failed validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FailedOnce {
    pub(super) at: u64,
    pub(super) name: String,
}

impl Orders {
    pub(super) fn forget(&mut self, limits: &CaLimits, now: SystemTime) {
        forget(&mut self.at, limits.orders, now, |at| *at);
    }
}

impl Domain {
    pub(super) fn forget(&mut self, limits: &CaLimits, now: SystemTime) {
        let longest = [limits.per_domain, limits.duplicates].into_iter().flatten().max_by_key(|rate| rate.within);
        forget(&mut self.issued, longest, now, |issued| issued.at);
        forget(&mut self.failed, limits.failures, now, |failed| failed.at);
    }

    /// The times of certificates that count against the domain.
    pub(super) fn counted(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        self.issued.iter().filter(|issued| issued.counts).map(|issued| issued.at)
    }

    /// The times of certificates for exactly these names.
    pub(super) fn duplicates<'a>(&'a self, set: &'a str) -> impl Iterator<Item = u64> + Clone + 'a {
        self.issued.iter().filter(move |issued| issued.set == set).map(|issued| issued.at)
    }

    /// The times of failed validations of this name.
    pub(super) fn failures<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u64> + Clone + 'a {
        self.failed.iter().filter(move |failed| failed.name == name).map(|failed| failed.at)
    }
}

/// How many of these times are within the window that ends now.
pub(super) fn within(at: impl Iterator<Item = u64>, rate: Rate, now: SystemTime) -> u32 {
    let counted = at.filter(|at| is_within(*at, rate, now)).count();
    u32::try_from(counted).unwrap_or(u32::MAX)
}

/// When fewer than `most` of these times will be within the window; none: that is so now.
pub(super) fn room_at(at: impl Iterator<Item = u64>, rate: Rate, most: u32, now: SystemTime) -> Option<SystemTime> {
    let mut times: Vec<_> = at.filter(|at| is_within(*at, rate, now)).collect();
    let over = times.len().checked_sub(usize::try_from(most).unwrap_or(usize::MAX))?;
    times.sort_unstable();
    // Once this one has left the window there is room for one.
    Some(from_unix(*times.get(over)?) + rate.within + Duration::from_secs(1))
}

fn is_within(at: u64, rate: Rate, now: SystemTime) -> bool {
    from_unix(at) + rate.within >= now && !is_to_come(at, now)
}

fn forget<T>(list: &mut Vec<T>, rate: Option<Rate>, now: SystemTime, at: impl Fn(&T) -> u64) {
    match rate {
        // In the order of time but for clocks that differ: looked at one by one only where the first has to go.
        Some(rate) if list.first().is_some_and(|first| !is_within(at(first), rate, now)) => {
            list.retain(|one| is_within(at(one), rate, now));
        }
        Some(_) => {}
        None => list.clear(),
    }
}

/// Reads one; what cannot be understood is as good as nothing.
pub(super) async fn load<T: DeserializeOwned + Default>(storage: &dyn Storage, key: &Key) -> Result<T, StorageError> {
    let value = storage.read(key).await?;
    Ok(value.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default())
}

pub(super) async fn save<T: Serialize>(storage: &dyn Storage, key: &Key, value: &T) -> Result<(), StorageError> {
    // Plain fields: serialising them cannot fail.
    storage.write(key, &serde_json::to_vec(value).unwrap_or_default()).await
}

/// Now, as it is written down.
pub(super) fn stamp(now: SystemTime) -> u64 {
    unix(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_room_when_enough_has_left_it() {
        let rate = Rate { most: 3, within: Duration::from_secs(100) };
        let now = from_unix(1000);
        let at = [850, 910, 920, 930];
        assert_eq!(within(at.into_iter(), rate, now), 3);
        assert_eq!(room_at(at.into_iter(), rate, 4, now), None);
        assert_eq!(room_at(at.into_iter(), rate, 3, now), Some(from_unix(910 + 101)));
        assert_eq!(room_at(at.into_iter(), rate, 2, now), Some(from_unix(920 + 101)));
        assert_eq!(room_at([].into_iter(), rate, 1, now), None);
        let mut orders = Orders { issuer: String::new(), at: at.to_vec() };
        orders.forget(&CaLimits { orders: Some(rate), ..CaLimits::NONE }, now);
        assert_eq!(orders.at, [910, 920, 930]);
        // The clock was ahead for two orders, and was set right.
        let mut orders = Orders { issuer: String::new(), at: vec![900, 90_000, 91_000, 950] };
        assert_eq!(within(orders.at.iter().copied(), rate, now), 2);
        assert_eq!(room_at(orders.at.iter().copied(), rate, 3, now), None);
        orders.at.remove(0);
        orders.forget(&CaLimits { orders: Some(rate), ..CaLimits::NONE }, now);
        assert_eq!(orders.at, [950]);
    }
}
