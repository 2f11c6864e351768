//! [`Backend`] and its [`Endpoint`]s: what all workers share of them. Made in the control plane, by [`super::Registry`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::health::Health;
use super::{BackendAddress, Transport};
use crate::config::{Balance, Check, Ejection, ProxyVersion};

/// An app: one or more endpoints that answer alike.
#[derive(Debug)]
pub struct Backend {
    /// Its name in the config; empty where it has none.
    pub name: Arc<str>,
    /// At least one.
    pub members: Vec<Member>,
    /// Which of them takes the next request.
    pub balance: Balance,
    /// Told from every other by this, for as long as the process lives.
    pub(super) id: u64,
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
    /// Whether it takes no new requests.
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
}

impl Backend {
    /// A backend of these endpoints.
    #[must_use]
    pub fn new(name: &str, members: Vec<Member>, balance: Balance) -> Self {
        Self { name: Arc::from(name), members, balance, id: next_id() }
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
        let (check, ejection, health) = (None, Ejection::default(), Health::default());
        Self { address, transport, proxy_protocol, id: next_id(), check, ejection, health }
    }

    /// The same, judged by these.
    #[must_use]
    pub fn judged_by(mut self, check: Option<Check>, ejection: Ejection) -> Self {
        self.check = check;
        self.ejection = ejection;
        self
    }

    /// Counts a request that failed there, before any answer came.
    pub fn failed(&self) {
        self.health.failed();
    }

    /// Counts a request that was answered.
    pub fn succeeded(&self) {
        self.health.succeeded();
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

fn next_id() -> u64 {
    static IDS: AtomicU64 = AtomicU64::new(0);
    IDS.fetch_add(1, Ordering::Relaxed)
}
