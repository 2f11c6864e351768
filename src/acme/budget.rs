//! [`Budget`]: what a CA still issues by its limits, so that it is never asked for what it would refuse.
//!
//! Room is taken before an order and given back where it came to nothing. New names have three quarters of it
//! and names on demand a half: what is left over is for renewals, which so always come first.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::clock::unix;
use super::ledger::{self, Domain, FailedOnce, IssuedOnce, Orders};
use super::{AcmeError, short_hash};
use crate::config::{self, CertificateId, Issuer, Rate};
use crate::names::HostPattern;
use crate::storage::{Key, Storage, StorageError, keys};

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A name that a client made up, and somebody allowed.
    OnDemand,
    /// A name in the config.
    New,
    /// A certificate that there is, for the same names.
    Renewal {
        /// Whether this CA issued it.
        same_ca: bool,
        /// Whether the order says so (RFC 9773 §5).
        by_ari: bool,
    },
}

/// The ledger of all CAs.
#[derive(Debug)]
pub(super) struct Budget {
    storage: Arc<dyn Storage>,
    /// One writer at a time in this process; among processes the storage's lock decides.
    turn: tokio::sync::Mutex<()>,
    /// Who waits for orders, by issuer: whoever came first is sent to the next window with room.
    queues: Mutex<HashMap<String, BTreeSet<CertificateId>>>,
}

/// Room that was taken.
#[derive(Debug)]
pub(super) struct Room {
    at: u64,
    counted: bool,
}

impl Purpose {
    /// How much of a limit that is shared with renewals is for this purpose.
    fn share(self, rate: Rate) -> u32 {
        match self {
            Self::Renewal { .. } => rate.most,
            Self::New => rate.most - rate.most / 4,
            Self::OnDemand => rate.most - rate.most / 2,
        }
    }
}

impl Budget {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, turn: tokio::sync::Mutex::default(), queues: Mutex::default() }
    }

    /// Takes room for an order.
    ///
    /// # Errors
    /// [`AcmeError::Budget`], where there is none; nothing is taken then.
    pub(super) async fn take(
        &self,
        issuer: &Issuer,
        id: &CertificateId,
        names: &[HostPattern],
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<Room, AcmeError> {
        let limits = &issuer.limits;
        // By Let's Encrypt's words: a renewal is for the same names, and one by ARI is free of all limits.
        let (exempt, free) = match purpose {
            Purpose::Renewal { same_ca: true, by_ari } => (limits.renewals_exempt, limits.renewals_exempt && by_ari),
            _ => (false, false),
        };
        let counted = !exempt;
        let _turn = self.turn.lock().await;
        let _lease = self.lock(issuer).await?;
        let mut domains = self.domains(issuer, names, now).await?;

        if let Some(rate) = limits.duplicates.filter(|_| !free)
            && let Some((_, first)) = domains.first()
            && let Some(until) = ledger::room_at(first.duplicates(id.as_str()), rate, rate.most, now)
        {
            return Err(no_room(issuer, format!("certificates for exactly these names: {rate}"), until));
        }
        if let Some(rate) = limits.failures {
            let full = |name: &HostPattern| {
                let name = name.to_string();
                let found = domains
                    .iter()
                    .find_map(|(_, domain)| ledger::room_at(domain.failures(&name), rate, rate.most, now));
                found.map(|until| (name, until))
            };
            if let Some((name, until)) = names.iter().find_map(full) {
                return Err(no_room(issuer, format!("failed validations of {name}: {rate}"), until));
            }
        }
        if let Some(rate) = limits.per_domain.filter(|_| counted) {
            let full = |(_, domain): &(Key, Domain)| {
                let until = ledger::room_at(domain.counted(), rate, purpose.share(rate), now)?;
                Some((domain.domain.clone(), until))
            };
            if let Some((domain, until)) = domains.iter().find_map(full) {
                return Err(no_room(issuer, format!("new certificates for {domain}: {rate}"), until));
            }
        }
        if let Some(rate) = limits.orders.filter(|_| counted) {
            let orders_key = orders_key(issuer);
            let mut orders: Orders = ledger::load(&*self.storage, &orders_key).await?;
            orders.forget(limits, now);
            let share = purpose.share(rate);
            let until = ledger::room_at(orders.at.iter().copied(), rate, share, now);
            if let Some(until) = self.queue(issuer, id, until, share, rate) {
                return Err(no_room(issuer, format!("orders of the account: {rate}"), until));
            }
            orders.issuer.clone_from(&issuer.name);
            orders.at.push(unix(now));
            ledger::save(&*self.storage, &orders_key, &orders).await?;
        }
        let at = ledger::stamp(now);
        if limits.per_domain.is_some() || limits.duplicates.is_some() {
            for (key, domain) in &mut domains {
                domain.issued.push(IssuedOnce { at, set: id.to_string(), counts: counted });
                ledger::save(&*self.storage, key, domain).await?;
            }
        }
        Ok(Room { at, counted })
    }

    /// Gives back what a failed order took and did not use, and counts what failed.
    pub(super) async fn give_back(
        &self,
        issuer: &Issuer,
        id: &CertificateId,
        names: &[HostPattern],
        room: &Room,
        error: &AcmeError,
        now: SystemTime,
    ) -> Result<(), StorageError> {
        let limits = &issuer.limits;
        let _turn = self.turn.lock().await;
        let _lease = self.lock(issuer).await?;
        if error.is_no_answer() && room.counted && limits.orders.is_some() {
            let key = orders_key(issuer);
            let mut orders: Orders = ledger::load(&*self.storage, &key).await?;
            if let Some(at) = orders.at.iter().rposition(|at| *at == room.at) {
                orders.at.remove(at);
                ledger::save(&*self.storage, &key, &orders).await?;
            }
        }
        for (key, mut domain) in self.domains(issuer, names, now).await? {
            let before = domain.clone();
            let ours = |issued: &IssuedOnce| issued.at == room.at && issued.set == id.as_str();
            if let Some(at) = domain.issued.iter().rposition(ours) {
                domain.issued.remove(at);
            }
            if let AcmeError::NotValidated { name, .. } = error
                && limits.failures.is_some()
                && registered(name) == domain.domain
            {
                domain.failed.push(FailedOnce { at: unix(now), name: name.clone() });
            }
            if domain != before {
                ledger::save(&*self.storage, &key, &domain).await?;
            }
        }
        Ok(())
    }

    /// None where it is this one's turn; else when it may be.
    fn queue(
        &self,
        issuer: &Issuer,
        id: &CertificateId,
        full_until: Option<SystemTime>,
        share: u32,
        rate: Rate,
    ) -> Option<SystemTime> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(issuer.name.clone()).or_default();
        let Some(until) = full_until else {
            queue.remove(id);
            return None;
        };
        queue.insert(id.clone());
        // In each window as many as it takes, and within one not all at its first second.
        let windows = u32::try_from(queue.len() - 1).unwrap_or(u32::MAX) / share.max(1);
        Some(until + rate.within.saturating_mul(windows) + rate.within.mul_f64(0.1 * fastrand::f64()))
    }

    async fn lock(&self, issuer: &Issuer) -> Result<crate::storage::Lease, StorageError> {
        self.storage.lock(&format!("budget-{}", folder(issuer))).await
    }

    /// What is known of the registered domains of these names.
    async fn domains(
        &self,
        issuer: &Issuer,
        names: &[HostPattern],
        now: SystemTime,
    ) -> Result<Vec<(Key, Domain)>, StorageError> {
        let all: BTreeSet<_> = names.iter().map(|name| registered(name.base().as_str())).collect();
        let mut domains = Vec::with_capacity(all.len());
        for name in all {
            let key = keys::budget_domain(&folder(issuer), &name);
            let mut domain: Domain = ledger::load(&*self.storage, &key).await?;
            domain.forget(&issuer.limits, now);
            domain.issuer.clone_from(&issuer.name);
            domain.domain = name;
            domains.push((key, domain));
        }
        Ok(domains)
    }
}

/// The name that is registered, as `example.co.uk` for all below it (the public suffix list); an address is itself.
pub(super) fn registered(name: &str) -> String {
    let name = name.strip_prefix("*.").unwrap_or(name);
    if name.parse::<std::net::IpAddr>().is_ok() {
        return name.to_owned();
    }
    doorward_public_suffix::registered_domain(name).unwrap_or(name).to_owned()
}

fn orders_key(issuer: &Issuer) -> Key {
    keys::budget_orders(&folder(issuer))
}

fn folder(issuer: &Issuer) -> String {
    format!("{}-{}", issuer.name, short_hash([issuer.directory.as_str()]))
}

fn no_room(issuer: &Issuer, limit: String, until: SystemTime) -> AcmeError {
    AcmeError::Budget { issuer: issuer.name.clone(), limit, until }
}

/// What is left of each issuer's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    /// The issuer.
    pub issuer: String,
    /// Its limits and what is used of them: those that concern everything, then those of single domains and names.
    pub limits: Vec<LimitView>,
}

/// One limit. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitView {
    /// `orders`, `per_domain`, `duplicates` or `failures`.
    pub limit: String,
    /// The domain, certificate or name that it is about; none: the account.
    pub subject: Option<String>,
    /// How many are used.
    pub used: u32,
    /// How many there are; none: no limit.
    pub most: Option<u32>,
    /// Within how many seconds.
    pub within: Option<u64>,
    /// How many a new name may still have, when a quarter is kept for renewals.
    pub left_for_new: Option<u32>,
    /// When there is room again, where there is none for a new name.
    pub room_at: Option<u64>,
}

/// What is used and left at each issuer, from the storage alone.
///
/// # Errors
/// [`StorageError`].
pub async fn budget(
    acme: &config::Acme,
    storage: &dyn Storage,
    now: SystemTime,
) -> Result<Vec<BudgetView>, StorageError> {
    let mut views = Vec::new();
    let all = storage.list(keys::BUDGET).await?;
    for (at, issuer) in acme.known_issuers().enumerate() {
        let (limits, prefix) = (&issuer.limits, format!("{}{}/", keys::BUDGET, folder(issuer)));
        let orders: Orders = ledger::load(storage, &orders_key(issuer)).await?;
        let mut view = vec![limit("orders", None, limits.orders, orders.at.iter().copied(), now)];
        for key in all.iter().filter(|key| key.as_str().starts_with(&prefix) && **key != orders_key(issuer)) {
            let mut domain: Domain = ledger::load(storage, key).await?;
            domain.forget(limits, now);
            let counted: Vec<_> = domain.counted().collect();
            if !counted.is_empty() {
                let rate = limits.per_domain;
                view.push(limit("per_domain", Some(&domain.domain), rate, counted.into_iter(), now));
            }
            for set in domain.issued.iter().map(|issued| &issued.set).collect::<BTreeSet<_>>() {
                view.push(limit("duplicates", Some(set), limits.duplicates, domain.duplicates(set), now));
            }
            for name in domain.failed.iter().map(|failed| &failed.name).collect::<BTreeSet<_>>() {
                view.push(limit("failures", Some(name), limits.failures, domain.failures(name), now));
            }
        }
        // Of those that are asked by name alone, only what was used.
        if at <= acme.fallback.len() || view.iter().any(|limit| limit.used > 0) {
            views.push(BudgetView { issuer: issuer.name.clone(), limits: view });
        }
    }
    Ok(views)
}

fn limit(
    name: &str,
    subject: Option<&str>,
    rate: Option<Rate>,
    at: impl Iterator<Item = u64> + Clone,
    now: SystemTime,
) -> LimitView {
    let shared = matches!(name, "orders" | "per_domain");
    let share = |rate: Rate| if shared { Purpose::New.share(rate) } else { rate.most };
    let used = rate.map_or(0, |rate| ledger::within(at.clone(), rate, now));
    LimitView {
        limit: name.to_owned(),
        subject: subject.map(str::to_owned),
        used,
        most: rate.map(|rate| rate.most),
        within: rate.map(|rate: Rate| Duration::as_secs(&rate.within)),
        left_for_new: rate.map(|rate| share(rate).saturating_sub(used)),
        room_at: rate.and_then(|rate| ledger::room_at(at, rate, share(rate), now)).map(unix),
    }
}

#[cfg(test)]
#[path = "tests/budget.rs"]
mod tests;
