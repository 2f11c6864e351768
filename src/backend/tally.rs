//! [`Tally`]: what is counted of an endpoint, for metrics, `status` and the retry budget.
//!
//! What every request touches is counted by each worker in a cell of its own ([`Counts`]), and added up by whoever
//! asks. What happens seldom is counted in one place.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::resolved::Resolved;
use super::{Backend, BackendAddress, Duty, Endpoint, Member};

/// One endpoint's counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    workers: Mutex<Workers>,
    failures: AtomicU64,
    ejections: AtomicU64,
    tls_failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Workers {
    counts: Vec<Arc<Counts>>,
    /// Requests of workers that have forgotten the endpoint since.
    past: u64,
}

/// What one worker counts. Only that worker writes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    in_flight: AtomicU32,
    /// Those of them that have no place: there was no limit when they began.
    unplaced: AtomicU32,
    requests: AtomicU64,
}

/// How an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointReport {
    /// Where it listens.
    pub address: BackendAddress,
    /// Its share among the others.
    pub weight: u16,
    /// 0, or a higher number where it is used only as long as none of a lower one can be.
    pub tier: u16,
    /// Whether it gets no new requests: by the config, or by command.
    pub duty: Duty,
    /// Whether that is the config's word.
    pub by_config: bool,
    /// Whether it cannot serve: the checks say so, or its name leads nowhere.
    pub down: bool,
    /// Why it cannot, for people, where that is known.
    pub reason: Option<String>,
    /// Whether it fails requests and is left alone for a time.
    pub ejected: bool,
    /// Requests and raw connections under way.
    pub in_flight: u64,
    /// Those so far.
    pub requests: u64,
    /// Requests that failed there so far.
    pub failures: u64,
    /// How often it was left alone.
    pub ejections: u64,
    /// TLS handshakes that failed, those of checks too.
    pub tls_failures: u64,
    /// Requests that wait for a place.
    pub queued: u32,
    /// Requests that got none.
    pub refused: u64,
    /// How many it may have under way.
    pub max_connections: Option<u32>,
    /// Where its name leads.
    pub addresses: Vec<std::net::IpAddr>,
}

impl Tally {
    /// A cell for a worker, until [`Tally::leave`].
    pub(super) fn join(&self) -> Arc<Counts> {
        let counts = Arc::new(Counts::default());
        self.workers().counts.push(Arc::clone(&counts));
        counts
    }

    /// Keeps what a worker has counted.
    pub(super) fn leave(&self, counts: &Arc<Counts>) {
        let mut workers = self.workers();
        workers.past += counts.requests.load(Ordering::Relaxed);
        workers.counts.retain(|other| !Arc::ptr_eq(other, counts));
    }

    pub(super) fn requests(&self) -> u64 {
        let workers = self.workers();
        workers.past + workers.counts.iter().map(|counts| counts.requests.load(Ordering::Relaxed)).sum::<u64>()
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ejected(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn tls_failed(&self) {
        self.tls_failures.fetch_add(1, Ordering::Relaxed);
    }

    fn in_flight(&self) -> u64 {
        self.workers().counts.iter().map(|counts| u64::from(counts.in_flight())).sum()
    }

    /// What is under way without a place.
    pub(super) fn unplaced(&self) -> u32 {
        self.workers().counts.iter().map(|counts| counts.unplaced.load(Ordering::Relaxed)).sum()
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        // What a panic left is whole.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A request begins. Loads and stores, as nobody else writes: that needs no lock on the bus.
    pub(super) fn begin(&self, placed: bool) {
        self.in_flight.store(self.in_flight() + 1, Ordering::Relaxed);
        if !placed {
            self.unplaced.store(self.unplaced.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        self.requests.store(self.requests.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// It has ended.
    pub(super) fn end(&self, placed: bool) {
        self.in_flight.store(self.in_flight().saturating_sub(1), Ordering::Relaxed);
        if !placed {
            self.unplaced.store(self.unplaced.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        }
    }
}

impl Backend {
    /// How its endpoints are, in the config's order.
    #[must_use]
    pub fn report(&self) -> Vec<EndpointReport> {
        self.members.iter().map(report).collect()
    }
}

fn report(member: &Member) -> EndpointReport {
    let endpoint = &member.endpoint;
    let standing = &endpoint.standing;
    let (tally, limit) = (&standing.tally, &standing.limit);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    EndpointReport {
        address: endpoint.address.clone(),
        weight: member.weight,
        tier: member.tier,
        duty: if member.drain { endpoint.duty().max(Duty::Drain) } else { endpoint.duty() },
        by_config: member.drain,
        down: standing.health.is_down() || standing.leads_nowhere(),
        reason: reason(endpoint),
        ejected: standing.health.is_ejected(),
        in_flight: tally.in_flight(),
        requests: tally.requests(),
        failures: count(&tally.failures),
        ejections: count(&tally.ejections),
        tls_failures: count(&tally.tls_failures),
        queued: limit.waiting(),
        refused: limit.refused(),
        max_connections: endpoint.max_connections,
        addresses: match &endpoint.address {
            BackendAddress::At(_, socket) => vec![socket.ip()],
            _ => standing.resolved.as_ref().map(|resolved| resolved.addresses()).unwrap_or_default(),
        },
    }
}

/// Why an endpoint cannot serve.
fn reason(endpoint: &Endpoint) -> Option<String> {
    let standing = &endpoint.standing;
    let unknown = standing.resolved.as_ref().and_then(Resolved::error);
    match (&endpoint.address, unknown) {
        (BackendAddress::Name(name, _) | BackendAddress::Service(name), Some(error)) => {
            Some(format!("{name} cannot be looked up: {error}"))
        }
        _ => standing.health.why(),
    }
}
