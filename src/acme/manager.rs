//! [`Manager`]: a task for each certificate that is wanted, so that one's failure never holds up another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::ask::Asker;
use super::budget::Budget;
use super::ca::Ca;
use super::network::Network;
use super::plan::Step;
use super::tended::Tended;
use super::tending::{Shared, tend};
use super::wanted::{Wanted, by_id, wildcards};
use super::{Clock, Dns01, Http01, Pace, Solver, State, Status, TlsAlpn01};
use crate::certs::{Challenges, LocalIssuer, Table};
use crate::config::{self, CertificateId};
use crate::dns;
use crate::drain::Watch;
use crate::names::HostPattern;
use crate::storage::Storage;

/// Orders that are under way at once.
const ORDERS: usize = 8;
/// Those of them for names without a certificate: renewals never wait behind these.
const FRESH: usize = 6;
/// Certificates that are looked at in the storage at once.
const LOOKS: usize = 16;
/// Questions for a renewal window at once: apart from the orders, which must never wait for them.
const ASKS: usize = 4;

/// What the manager works with.
#[derive(Clone, Debug)]
pub struct Services {
    /// Where all state is.
    pub storage: Arc<dyn Storage>,
    /// What is served. The manager only reads it; `certs::Stored` brings what it ordered there.
    pub table: Arc<Table>,
    /// What the data plane answers HTTP-01 from.
    pub challenges: Arc<Challenges>,
    /// Who can change DNS zones.
    pub dns: Arc<dns::Solvers>,
    /// Issues what is self-signed.
    pub local: Arc<LocalIssuer>,
    /// The time.
    pub clock: Clock,
    /// How failures are spaced.
    pub pace: Pace,
}

/// Sees to it that each wanted certificate is there and in date.
pub struct Manager {
    shared: Arc<Shared>,
    drain: Watch,
    acme: watch::Sender<Option<Arc<config::Acme>>>,
    entries: Mutex<BTreeMap<CertificateId, Entry>>,
}

struct Entry {
    certificate: Arc<Tended>,
    task: AbortHandle,
}

impl Manager {
    /// A manager that wants nothing yet. Its tasks end when `drain` fires; an order under way is left so that
    /// the next start goes on with it.
    ///
    /// # Errors
    /// [`prometheus::Error`], where the registry has metrics of these names already.
    pub fn new(services: Services, registry: &Registry, drain: Watch) -> Result<Self, prometheus::Error> {
        let solvers = solvers(&services);
        let (storage, clock) = (Arc::clone(&services.storage), services.clock.clone());
        let ca = Arc::new(Network { storage, solvers: solvers.clone(), clock });
        Self::with(services, ca, solvers, registry, drain)
    }

    /// A manager that asks `ca`.
    pub(super) fn with(
        services: Services,
        ca: Arc<dyn Ca>,
        solvers: Vec<Arc<dyn Solver>>,
        registry: &Registry,
        drain: Watch,
    ) -> Result<Self, prometheus::Error> {
        let options = Opts::new("doorward_acme_orders_total", "Attempts to get a certificate, by issuer and outcome");
        let counter = IntCounterVec::new(options, &["issuer", "outcome"])?;
        registry.register(Box::new(counter.clone()))?;
        let [orders, fresh, looks, asks] = [ORDERS, FRESH, LOOKS, ASKS].map(Semaphore::new);
        let budget = Budget::new(Arc::clone(&services.storage));
        let shared = Shared {
            services,
            orders,
            looks,
            asks,
            fresh,
            permit: ArcSwapOption::empty(),
            ca,
            solvers,
            budget,
            counter,
            wildcards: ArcSwap::default(),
        };
        let entries = Mutex::default();
        Ok(Self { shared: Arc::new(shared), drain, acme: watch::Sender::new(None), entries })
    }

    /// Sets what is wanted, at the start (after the directories were loaded, as what they cover is not ordered)
    /// and at each reload. What stays the same goes on undisturbed. Call it within the control plane's runtime.
    ///
    /// `self_signed` are certificates of the local CA, by id.
    pub fn update(
        &self,
        acme: Option<config::Acme>,
        wanted: Vec<Wanted>,
        self_signed: &[(CertificateId, Vec<HostPattern>)],
    ) {
        self.acme.send_if_modified(|current| {
            let changed = current.as_deref() != acme.as_ref();
            if changed {
                *current = acme.map(Arc::new);
            }
            changed
        });
        let wanted = by_id(wanted);
        self.shared.wildcards.store(Arc::new(wildcards(&wanted)));
        let mut entries = self.entries();
        entries.retain(|id, entry| {
            let stays = match wanted.get(id) {
                Some(wanted) => *wanted == entry.certificate.wanted,
                // What was got on demand is looked after as long as anything is.
                None => entry.certificate.wanted.on_demand && self.shared.permit.load().is_some(),
            };
            if !stays {
                entry.task.abort();
            }
            stays
        });
        self.update_self_signed(&wanted, self_signed);
        for (id, wanted) in wanted {
            entries.entry(id).or_insert_with(|| self.start(wanted));
        }
    }

    /// Who is asked before a certificate that was got on demand is renewed; none: none is.
    pub(super) fn permit(&self, asker: Option<Arc<Asker>>) {
        let none = asker.is_none();
        self.shared.permit.store(asker);
        if none {
            self.entries().retain(|_, entry| {
                let stays = !entry.certificate.wanted.on_demand;
                if !stays {
                    entry.task.abort();
                }
                stays
            });
        }
    }

    /// Looks after a certificate that was got on demand, from now on.
    pub(super) fn look_after(&self, wanted: Wanted) {
        self.entries().entry(wanted.id.clone()).or_insert_with(|| self.start(wanted));
    }

    /// Gets a certificate now, with one attempt, unless the last one failed a moment ago. It is not looked after.
    pub(super) async fn obtain(&self, wanted: Wanted) -> Result<(), String> {
        let acme = self.acme.borrow().clone();
        let Some(acme) = acme else { return Err("there is no issuer".to_owned()) };
        let (shared, tended) = (&self.shared, Tended::new(wanted));
        let some = Some(Arc::clone(&acme));
        let before = shared.look(&some, &tended, false).await;
        if matches!(before.step, Step::Order { .. }) {
            shared.take_turn(&acme, &tended, false).await.map_err(|error| error.to_string())?;
        }
        let after = shared.look(&some, &tended, false).await;
        match after.state {
            State::Valid | State::Covered => Ok(()),
            _ => Err(after.failure.map_or_else(|| "no certificate came of it".to_owned(), |failure| failure.error)),
        }
    }

    /// The time that renewals go by.
    pub(super) fn now(&self) -> SystemTime {
        self.shared.services.clock.now()
    }

    /// How each wanted certificate stands, by id.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let acme = self.acme.borrow().clone();
        let status = |entry: &Entry| {
            let tended = &entry.certificate;
            let issuer = tended.wanted.acme(acme.as_ref()).map(|acme| acme.issuer.name.clone());
            Status { issuer, progress: tended.progress.list(), ..tended.status().clone() }
        };
        self.entries().values().map(status).collect()
    }

    /// Whether there is a way to prove this name as things stand.
    pub async fn can_prove(&self, name: &HostPattern) -> bool {
        for solver in &self.shared.solvers {
            if solver.can_prove(name).await {
                return true;
            }
        }
        false
    }

    /// Orders the certificate now, whatever its age and whatever failed before. Returns whether it is wanted.
    pub fn renew(&self, id: &CertificateId) -> bool {
        let entries = self.entries();
        let Some(entry) = entries.get(id) else { return false };
        entry.certificate.force();
        true
    }

    fn start(&self, wanted: Wanted) -> Entry {
        let certificate = Arc::new(Tended::new(wanted));
        let (shared, tended, acme, mut drain) =
            (Arc::clone(&self.shared), Arc::clone(&certificate), self.acme.subscribe(), self.drain.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = tend(&shared, &tended, acme) => {}
                _ = drain.signaled() => {}
            }
        });
        Entry { certificate, task: task.abort_handle() }
    }

    fn update_self_signed(
        &self,
        wanted: &BTreeMap<CertificateId, Wanted>,
        self_signed: &[(CertificateId, Vec<HostPattern>)],
    ) {
        let services = &self.shared.services;
        let mut all = self_signed.to_vec();
        // Those that are kept only until ACME's are there: `tend` decides.
        let meanwhile =
            wanted.values().filter(|wanted| wanted.self_signed_meanwhile && services.local.keeps(&wanted.id));
        all.extend(meanwhile.map(|wanted| (wanted.id.clone(), wanted.names.clone())));
        if let Err(error) = services.local.keep_only(&all) {
            tracing::error!(%error, "a self-signed certificate cannot be made");
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<CertificateId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.entries().values().for_each(|entry| entry.task.abort());
    }
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("certificates", &self.entries().len()).finish_non_exhaustive()
    }
}

/// Every way to prove a name; the config says in which order.
fn solvers(services: &Services) -> Vec<Arc<dyn Solver>> {
    let (challenges, storage) = (Arc::clone(&services.challenges), Arc::clone(&services.storage));
    let clock = || services.clock.clone();
    vec![
        Arc::new(Http01::new(Arc::clone(&challenges), Arc::clone(&storage), clock())),
        Arc::new(TlsAlpn01::new(challenges, storage, clock())),
        Arc::new(Dns01::new(Arc::clone(&services.dns))),
    ]
}

#[cfg(test)]
#[path = "tests/simulation.rs"]
mod simulation;
