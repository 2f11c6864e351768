//! [`Backend`] and its [`Endpoint`]s: what all workers share of them. Made in the control plane, by [`super::Registry`].

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::health::Health;
use super::limit::{Limit, Place, Room};
use super::names::Resolved;
use super::sticky::{Sticking, StickyKey};
use super::tally::Tally;
use super::{BackendAddress, Busy, Transport};
use crate::config::{Balance, Check, Ejection, ProxyVersion, Queue, Retry, Sticky};
use crate::names::Hostname;

/// The least share of its weight that an endpoint has while it starts slowly.
const FIRST_SHARE: f64 = 0.1;

/// An app: one or more endpoints that answer alike.
#[derive(Debug)]
pub struct Backend {
    /// Its name in the config; empty where it has none.
    pub name: Arc<str>,
    /// None only where a service has no endpoint that is known.
    pub members: Vec<Member>,
    /// Which of them takes the next request.
    pub balance: Balance,
    /// Told from every other by this, for as long as the process lives.
    pub(super) id: u64,
    pub(super) sticking: Option<Sticking>,
    pub(super) budget: Budget,
    /// Whose records its endpoints are; they are followed for as long as somebody holds their names here.
    _services: Vec<Arc<Hostname>>,
}

/// An endpoint, and its part in a backend.
#[derive(Clone, Debug)]
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its share among the others.
    pub weight: u16,
    /// Whether it is used only where no other can be.
    pub backup: bool,
    /// Whether it takes no new requests, by the config.
    pub drain: bool,
}

/// One place where an app listens. A reload that changes nothing about it leaves it as it is.
#[derive(Debug)]
pub struct Endpoint {
    /// Where.
    pub address: BackendAddress,
    /// TLS, where it is spoken.
    pub transport: Option<Arc<Transport>>,
    /// Which version of the PROXY protocol tells it of the client, if any. A connection belongs to one client then.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Told from every other by this, for as long as the process lives.
    pub(super) id: u64,
    pub(super) check: Option<Check>,
    pub(super) ejection: Ejection,
    pub(super) health: Health,
    pub(super) limit: Option<Limit>,
    /// The addresses of its name, where it has one.
    pub(super) resolved: Option<Resolved>,
    pub(super) tally: Tally,
    duty: AtomicU8,
    slow_start: Duration,
    /// When it came up, in milliseconds of [`clock`].
    up_since: AtomicU64,
}

/// What an operator has said that an endpoint is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Duty {
    /// Take requests.
    #[default]
    On,
    /// Take none but of clients that stick to it, and finish what it has.
    Drain,
    /// Take none at all, and finish what it has.
    Off,
}

impl Backend {
    /// A backend of these endpoints.
    #[must_use]
    pub fn new(name: &str, members: Vec<Member>, balance: Balance) -> Self {
        let budget = Budget::new(Retry::default(), 0);
        Self { name: Arc::from(name), members, balance, id: next_id(), sticking: None, budget, _services: Vec::new() }
    }

    /// The same, whose clients stay with their endpoints.
    #[must_use]
    pub fn sticking(mut self, sticky: &Sticky, key: &StickyKey) -> Self {
        self.sticking = Some(Sticking::new(sticky, &self.name, &self.members, key));
        self
    }

    /// The same, with endpoints of these services.
    pub(super) fn following(mut self, services: Vec<Arc<Hostname>>) -> Self {
        self._services = services;
        self
    }

    /// The same, with another measure for retries.
    #[must_use]
    pub fn retrying(mut self, retry: Retry) -> Self {
        self.budget = Budget::new(retry, self.requests());
        self
    }

    /// How often one request may be tried again.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.budget.retry().attempts
    }

    /// Takes a retry from the budget, where there is one.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.budget.spend(self.requests(), tokio::time::Instant::now())
    }

    /// The label of its endpoints, as in the config: the name, or else the first address.
    #[must_use]
    pub fn label(&self) -> String {
        match self.members.first() {
            Some(member) if self.name.is_empty() => member.endpoint.address.to_string(),
            _ => self.name.to_string(),
        }
    }

    /// Requests of all its endpoints so far.
    fn requests(&self) -> u64 {
        self.members.iter().map(|member| member.endpoint.tally.requests()).sum()
    }
}

impl Endpoint {
    /// An endpoint, with TLS and the PROXY protocol or without.
    #[must_use]
    pub fn new(
        address: BackendAddress,
        transport: Option<Arc<Transport>>,
        proxy_protocol: Option<ProxyVersion>,
    ) -> Self {
        let resolved = matches!(address, BackendAddress::Name(..)).then(Resolved::default);
        Self {
            address,
            transport,
            proxy_protocol,
            id: next_id(),
            check: None,
            ejection: Ejection::default(),
            health: Health::default(),
            limit: None,
            resolved,
            tally: Tally::default(),
            duty: AtomicU8::default(),
            slow_start: Duration::ZERO,
            up_since: AtomicU64::default(),
        }
    }

    /// The same, judged by these.
    #[must_use]
    pub fn judged_by(mut self, check: Option<Check>, ejection: Ejection) -> Self {
        self.check = check;
        self.ejection = ejection;
        self
    }

    /// The same, with at most so many requests at once, the others in a queue.
    #[must_use]
    pub fn limited_to(mut self, most: Option<u32>, queue: &Queue) -> Self {
        self.limit = most.map(|most| Limit::new(most, queue.clone()));
        self
    }

    /// The same, which gets to its full share over this time.
    #[must_use]
    pub fn starting_over(mut self, slow_start: Duration) -> Self {
        self.slow_start = slow_start;
        self.came_up();
        self
    }

    /// Counts a request that failed there, before any answer came.
    pub fn failed(&self) {
        self.health.failed();
        self.tally.failed();
    }

    /// Counts a request that was answered.
    pub fn succeeded(&self) {
        self.health.succeeded();
    }

    /// Gives it something else to do, as an operator says.
    pub fn set_duty(&self, duty: Duty) {
        let before = self.duty.swap(duty as u8, Ordering::Relaxed);
        if before != Duty::On as u8 && duty == Duty::On {
            self.came_up();
        }
    }

    /// What an operator has said that it is to do.
    #[must_use]
    pub fn duty(&self) -> Duty {
        match self.duty.load(Ordering::Relaxed) {
            0 => Duty::On,
            1 => Duty::Drain,
            _ => Duty::Off,
        }
    }

    /// A place among what it has under way, waited for where it has no more; at once where there is no limit.
    ///
    /// # Errors
    /// [`Busy`]: its queue is full too.
    pub async fn admit(&self) -> Result<Place, Busy> {
        match &self.limit {
            None => Ok(Place::default()),
            Some(limit) => limit.wait().await,
        }
    }

    /// How long [`Endpoint::admit`] may be waited for.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.limit.as_ref().map(|limit| limit.queue.wait)
    }

    /// Whether it takes requests of anybody.
    pub(super) fn takes_anybody(&self) -> bool {
        self.duty() == Duty::On && !self.health.is_down()
    }

    /// Whether it takes requests of clients that it has.
    pub(super) fn keeps_clients(&self) -> bool {
        self.duty() != Duty::Off && !self.health.is_down() && !self.health.is_ejected()
    }

    pub(super) fn room(&self) -> Room {
        self.limit.as_ref().map_or(Room::Free, Limit::room)
    }

    /// Begins its slow start, where it has one.
    pub(super) fn came_up(&self) {
        if !self.slow_start.is_zero() {
            self.up_since.store(clock(), Ordering::Relaxed);
        }
    }

    /// Which part of its weight counts now: all but in a slow start.
    pub(super) fn share(&self) -> f64 {
        if self.slow_start.is_zero() {
            return 1.0;
        }
        let up = Duration::from_millis(clock().saturating_sub(self.up_since.load(Ordering::Relaxed)));
        up.div_duration_f64(self.slow_start).clamp(FIRST_SHARE, 1.0)
    }

    /// Whether there is something to decide: a check, a failure, or an ejection that ends.
    pub(super) fn needs_judge(&self) -> bool {
        self.check.is_some() || self.health.has_failures() || self.health.is_ejected()
    }

    /// What tells it from every other.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// Milliseconds since something early in the process's life.
fn clock() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn next_id() -> u64 {
    static IDS: AtomicU64 = AtomicU64::new(0);
    IDS.fetch_add(1, Ordering::Relaxed)
}
