//! [`Endpoint`]: one place where an app listens, as all workers share it. Made in the control plane, by
//! [`super::Registry`].

use std::sync::Arc;
use std::time::Duration;

use super::limit::{Limit, Place, Room};
use super::standing::{Standing, next_id};
use super::{BackendAddress, Busy, Transport, balance};
use crate::config::{Check, Ejection, ProxyVersion, Queue};

/// The least share of its weight that an endpoint has while it starts slowly.
const FIRST_SHARE: f64 = 0.1;

/// One place where an app listens, and how it is used. A reload that changes nothing about it leaves it as it is; one
/// that does makes another with the same [`Standing`].
#[derive(Debug)]
pub struct Endpoint {
    /// Where.
    pub address: BackendAddress,
    /// TLS, where it is spoken.
    pub transport: Option<Arc<Transport>>,
    /// Which version of the PROXY protocol tells it of the client, if any. A connection belongs to one client then.
    pub proxy_protocol: Option<ProxyVersion>,
    /// The same for all that connections are made to alike, as long as the process lives.
    pub(super) id: u64,
    pub(super) standing: Arc<Standing>,
    /// What hashes of requests go by.
    pub(super) hash: u64,
    pub(super) check: Option<Check>,
    pub(super) ejection: Ejection,
    pub(super) max_connections: Option<u32>,
    queue: Queue,
    slow_start: Duration,
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

impl Endpoint {
    /// An endpoint, with TLS and the PROXY protocol or without.
    #[must_use]
    pub fn new(
        address: BackendAddress,
        transport: Option<Arc<Transport>>,
        proxy_protocol: Option<ProxyVersion>,
    ) -> Self {
        Self {
            id: next_id(),
            standing: Arc::new(Standing::new(&address)),
            hash: balance::hash(&address),
            address,
            transport,
            proxy_protocol,
            check: None,
            ejection: Ejection::default(),
            max_connections: None,
            queue: Queue::default(),
            slow_start: Duration::ZERO,
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
        self.max_connections = most;
        self.queue = queue.clone();
        self
    }

    /// The same, which gets to its full share over this time.
    #[must_use]
    pub fn starting_over(mut self, slow_start: Duration) -> Self {
        self.slow_start = slow_start;
        self
    }

    /// The same, in the place of one that was used in another way; connections to that one stay in use where they
    /// would be made alike.
    pub(super) fn in_place_of(mut self, before: &Self) -> Self {
        let transport = |endpoint: &Self| endpoint.transport.as_ref().map(|transport| transport.id());
        if transport(&self) == transport(before) && self.proxy_protocol == before.proxy_protocol {
            self.id = before.id;
        }
        self.standing = Arc::clone(&before.standing);
        self
    }

    /// Puts in force what of its settings the standing depends on: of several endpoints with the same one, the latest
    /// has its way.
    pub(super) fn rule(&self) {
        self.standing.limit.resize(self.max_connections);
        if self.max_connections.is_some() {
            self.standing.limit.withhold(self.standing.tally.unplaced());
        } else {
            self.standing.limit.withhold(0);
        }
        if self.check.is_none() {
            // Nobody is left to say that it is up.
            self.standing.health.judged(None);
        }
    }

    /// Counts a request that failed there, before any answer came.
    pub fn failed(&self) {
        self.standing.health.failed();
        self.standing.tally.failed();
    }

    /// Counts a request that was answered.
    pub fn succeeded(&self) {
        self.standing.health.succeeded();
    }

    /// Gives it something else to do, as an operator says.
    pub fn set_duty(&self, duty: Duty) {
        self.standing.set_duty(duty);
    }

    /// What an operator has said that it is to do.
    #[must_use]
    pub fn duty(&self) -> Duty {
        self.standing.duty()
    }

    /// A place among what it has under way, waited for where it has no more; at once where there is no limit.
    ///
    /// # Errors
    /// [`Busy`]: its queue is full too.
    pub async fn admit(&self) -> Result<Place, Busy> {
        match self.limit() {
            None => Ok(Place::default()),
            Some(limit) => limit.wait(self.queue.length).await,
        }
    }

    /// How long [`Endpoint::admit`] may be waited for.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.max_connections.map(|_| self.queue.wait)
    }

    /// A place that is free now; none where there is none.
    pub(super) fn place(&self) -> Option<Place> {
        self.limit().map_or_else(|| Some(Place::default()), Limit::now)
    }

    /// Whether it takes requests of anybody.
    pub(super) fn takes_anybody(&self) -> bool {
        self.duty() == Duty::On && !self.standing.health.is_down()
    }

    /// Whether it takes requests of clients that it has.
    pub(super) fn keeps_clients(&self) -> bool {
        let is_well = !self.standing.health.is_down() && !self.is_ejected() && !self.leads_nowhere();
        is_well && self.duty() != Duty::Off
    }

    /// Whether it failed too many requests and is left alone.
    pub(super) fn is_ejected(&self) -> bool {
        self.standing.health.is_ejected()
    }

    /// Whether it is left alone, and one request may find out whether it has recovered.
    pub(super) fn has_trial(&self) -> bool {
        self.standing.health.has_trial()
    }

    /// A request goes there: it is that one, where there is to be one.
    pub(super) fn take_trial(&self) {
        self.standing.health.take_trial();
    }

    /// Whether its name is known to lead nowhere.
    pub(super) fn leads_nowhere(&self) -> bool {
        self.standing.leads_nowhere()
    }

    pub(super) fn room(&self) -> Room {
        self.limit().map_or(Room::Free, |limit| limit.room(self.queue.length))
    }

    pub(super) fn limit(&self) -> Option<&Arc<Limit>> {
        self.max_connections.map(|_| &self.standing.limit)
    }

    /// Which part of its weight counts now: all but in a slow start.
    pub(super) fn share(&self) -> f64 {
        if self.slow_start.is_zero() {
            return 1.0;
        }
        self.standing.up_for().div_duration_f64(self.slow_start).clamp(FIRST_SHARE, 1.0)
    }

    /// Whether there is something to decide: a check, a failure, or an ejection that ends.
    pub(super) fn needs_judge(&self) -> bool {
        self.check.is_some() || self.standing.health.has_failures() || self.is_ejected()
    }

    /// What tells it from every other.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}
