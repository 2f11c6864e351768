//! [`Manager`]: a task for each certificate that is wanted, so that one's failure never holds up another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use super::ask::{Asker, Verdict};
use super::backoff::Failure;
use super::budget::Budget;
use super::ca::Ca;
use super::certificate::Issued;
use super::clock::{from_unix, unix};
use super::issuer::Network;
use super::plan::{self, Plan, Step};
use super::turn::Turn;
use super::{AcmeError, Clock, Http01, Pace, Solver, State, Status, TlsAlpn01, lock_name};
use crate::certs::{Challenges, LocalIssuer, Table};
use crate::config::{self, CertificateId};
use crate::drain::Watch;
use crate::names::HostPattern;
use crate::storage::{Storage, StorageError, keys};

/// Orders that are under way at once.
const ORDERS: usize = 8;
/// Those of them for names without a certificate: renewals never wait behind these.
const FRESH: usize = 6;
/// Certificates that are looked at in the storage at once.
const LOOKS: usize = 16;
/// Questions for a renewal window at once: apart from the orders, which must never wait for them.
const ASKS: usize = 4;

/// A certificate that a route wants from ACME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is called in storage and in the table; [`super::certificate_id`] makes one.
    pub id: CertificateId,
    /// Its names: at least one. Wildcards need a solver of DNS-01 for their zone.
    pub names: Vec<HostPattern>,
    /// Whether one of the local CA is served until the first one is there.
    pub self_signed_meanwhile: bool,
    /// Whether a client asked for it, at a handshake.
    pub on_demand: bool,
}

impl Wanted {
    /// Its names sorted, so that another order in the config is no change.
    fn in_order(mut self) -> Self {
        self.names.sort();
        self.names.dedup();
        self
    }
}

/// What the manager works with.
#[derive(Clone, Debug)]
pub struct Services {
    /// Where all state is.
    pub storage: Arc<dyn Storage>,
    /// What is served. The manager only reads it; `certs::Stored` brings what it ordered there.
    pub table: Arc<Table>,
    /// What the data plane answers HTTP-01 from.
    pub challenges: Arc<Challenges>,
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

/// One wanted certificate.
struct Tended {
    wanted: Wanted,
    forced: AtomicBool,
    poke: Notify,
    status: Mutex<Status>,
}

struct Shared {
    services: Services,
    orders: Semaphore,
    looks: Semaphore,
    asks: Semaphore,
    /// Of the orders, those that are no renewals.
    fresh: Semaphore,
    /// Who says whether a name may keep what it got on demand.
    permit: ArcSwapOption<Asker>,
    ca: Arc<dyn Ca>,
    solvers: Vec<Arc<dyn Solver>>,
    budget: Budget,
    counter: IntCounterVec,
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
        let issuer = self.acme.borrow().as_ref().map(|acme| acme.issuer.name.clone());
        let status = |entry: &Entry| Status { issuer: issuer.clone(), ..entry.certificate.status().clone() };
        self.entries().values().map(status).collect()
    }

    /// Orders the certificate now, whatever its age and whatever failed before. Returns whether it is wanted.
    pub fn renew(&self, id: &CertificateId) -> bool {
        let entries = self.entries();
        let Some(entry) = entries.get(id) else { return false };
        entry.certificate.forced.store(true, Ordering::Release);
        entry.certificate.poke.notify_one();
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

/// Looks after one certificate for ever.
async fn tend(shared: &Shared, tended: &Tended, mut acme: watch::Receiver<Option<Arc<config::Acme>>>) {
    let id = &tended.wanted.id;
    loop {
        let current = acme.borrow_and_update().clone();
        let forced = tended.forced.swap(false, Ordering::AcqRel);
        let plan = shared.look(&current, tended, forced).await;
        tended.show(&plan, plan.state);
        shared.meanwhile(tended, &plan).await;
        let Step::Wait(until) = plan.step else {
            let Some(acme) = current else { return };
            if !forced && shared.is_given_up(tended, &plan).await {
                return;
            }
            if let Err(error) = shared.take_turn(&acme, tended, forced).await {
                tracing::error!(certificate = %id, %error, "what came of the order cannot be written down");
                // Not at once again: the storage is what failed.
                tokio::time::sleep(shared.services.pace.first).await;
            }
            continue;
        };
        tokio::select! {
            () = sleep(&shared.services.clock, until) => {}
            () = shared.ask_ca(current.as_deref(), id, plan.ask_at) => {}
            () = tended.poke.notified() => {}
            changed = acme.changed() => {
                if changed.is_err() {
                    return;
                }
                let new = acme.borrow().clone();
                shared.forgive(tended, current.as_deref(), new.as_deref()).await;
            }
        }
    }
}

async fn sleep(clock: &Clock, until: Option<SystemTime>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    async fn look(&self, acme: &Option<Arc<config::Acme>>, tended: &Tended, forced: bool) -> Plan {
        // The semaphore is never closed.
        let _permit = self.looks.acquire().await;
        plan::plan(&self.services, acme.as_ref(), &tended.wanted, forced).await
    }

    /// Forgets the failures with another issuer, or with other settings for it: what an operator mended is tried
    /// at once.
    async fn forgive(&self, tended: &Tended, before: Option<&config::Acme>, now: Option<&config::Acme>) {
        if before.map(|acme| &acme.issuer) == now.map(|acme| &acme.issuer) {
            return;
        }
        if let Err(error) = self.services.storage.delete(&keys::failure(tended.wanted.id.as_str())).await {
            tracing::error!(certificate = %tended.wanted.id, %error, "an earlier failure cannot be forgotten");
        }
    }

    /// Asks the CA for its renewal window when the time has come; the plan then follows from what is kept of it.
    async fn ask_ca(&self, acme: Option<&config::Acme>, id: &CertificateId, at: Option<SystemTime>) {
        let services = &self.services;
        sleep(&services.clock, at).await;
        let Some(acme) = acme else { return std::future::pending().await };
        let _permit = self.asks.acquire().await;
        let now = services.clock.now();
        let asked = match Issued::load(&*services.storage, id, now).await {
            Ok(Some(mut issued)) => match acme.issuer_at(&issued.meta.directory) {
                Some(issuer) => issued.ask_ari(&*self.ca, &acme.asking(issuer), &*services.storage, now).await,
                None => issued.ask_ari(&*self.ca, acme, &*services.storage, now).await,
            },
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = asked {
            tracing::error!(certificate = %id, %error, "the renewal window cannot be written down");
            tokio::time::sleep(services.pace.first).await;
        }
    }

    /// Asks whether a name that came on demand is still allowed before its certificate is renewed. If it is not,
    /// the certificate serves to its end and is forgotten then.
    async fn is_given_up(&self, tended: &Tended, plan: &Plan) -> bool {
        let (services, wanted) = (&self.services, &tended.wanted);
        let (Some(asker), Some(HostPattern::Exact(name))) = (self.permit.load_full(), wanted.names.first()) else {
            return false;
        };
        if !wanted.on_demand || plan.issued_by.is_none() {
            return false;
        }
        // Where nobody can say, what was allowed stays allowed.
        let Verdict::Refused(status) = asker.ask(name, None).await else { return false };
        tracing::info!(certificate = %wanted.id, %name, status, "the name is allowed no longer: it is not renewed");
        tended.show(plan, State::Disabled);
        sleep(&services.clock, plan.not_after.map(from_unix)).await;
        for key in [
            keys::on_demand(name.as_str()),
            keys::certificate(&wanted.id),
            keys::certificate_meta(&wanted.id),
            keys::failure(wanted.id.as_str()),
            keys::attempts(&wanted.id),
        ] {
            if let Err(error) = services.storage.delete(&key).await {
                tracing::warn!(certificate = %wanted.id, %error, "what is left of the certificate cannot be removed");
            }
        }
        true
    }

    /// Lock, look again, order, write down how it went.
    async fn take_turn(&self, acme: &Arc<config::Acme>, tended: &Tended, forced: bool) -> Result<(), StorageError> {
        let (services, id) = (&self.services, &tended.wanted.id);
        let _lease = services.storage.lock(&lock_name(id)).await?;
        // The semaphores are never closed.
        let fresh = tended.status().not_after.is_none();
        let _fresh = if fresh { self.fresh.acquire().await.ok() } else { None };
        let _permit = self.orders.acquire().await;
        // Another process may have had the lock before, and done it.
        let plan = plan::plan(services, Some(acme), &tended.wanted, forced).await;
        let Step::Order { .. } = &plan.step else { return Ok(()) };
        tended.show(&plan, State::Ordering);
        tracing::info!(certificate = %id, names = tended.names(), issuer = acme.issuer.name, "getting a certificate");
        let turn = Turn {
            services,
            ca: &*self.ca,
            budget: &self.budget,
            solvers: &self.solvers,
            acme,
            wanted: &tended.wanted,
            plan: &plan,
            forced,
        };
        match turn.take().await {
            Ok(issuer) => {
                self.counter.with_label_values(&[issuer.as_str(), "issued"]).inc();
                tracing::info!(certificate = %id, issuer, "got the certificate");
                services.storage.delete(&keys::failure(id.as_str())).await
            }
            Err(error) => self.failed(acme, tended, &plan, &error).await,
        }
    }

    async fn failed(
        &self,
        acme: &config::Acme,
        tended: &Tended,
        plan: &Plan,
        error: &AcmeError,
    ) -> Result<(), StorageError> {
        let (services, id, now) = (&self.services, &tended.wanted.id, self.services.clock.now());
        let outcome = if error.is_only_waiting() { "waits" } else { "failed" };
        self.counter.with_label_values(&[acme.issuer.name.as_str(), outcome]).inc();
        // What works sets the pace; without it the name is dark, and the usual pace is the CA's limit.
        let works = plan.not_after.is_some_and(|end| end > unix(now));
        let pace =
            plan.lifetime.filter(|_| works).map_or(services.pace, |lifetime| services.pace.for_lifetime(lifetime));
        let failure = Failure::after(plan.failure.as_ref(), error, pace, now);
        let next = humantime::format_rfc3339_seconds(failure.next());
        let what = if works { "the certificate was not renewed: the old one is served" } else { "no certificate yet" };
        tracing::warn!(
            certificate = %id, names = tended.names(), issuer = acme.issuer.name, %error,
            failures = failure.attempts, next_attempt = %next, "{what}"
        );
        failure.save(&*services.storage, id).await
    }

    /// Serves one of the local CA where the route allows it and there is none yet. It has the id of the one
    /// that is waited for, so that one takes its place in the table in one step.
    async fn meanwhile(&self, tended: &Tended, plan: &Plan) {
        let (services, wanted) = (&self.services, &tended.wanted);
        if plan.not_after.is_some() {
            return services.local.release(&wanted.id);
        }
        if plan.state == State::Covered || !wanted.self_signed_meanwhile {
            return services.local.withdraw(&wanted.id);
        }
        if services.local.keeps(&wanted.id) {
            return;
        }
        // Under the lock nobody writes the real one between the look and the deed.
        let Ok(_lease) = services.storage.lock(&lock_name(&wanted.id)).await else { return };
        if services.storage.read(&keys::certificate(&wanted.id)).await.is_ok_and(|stored| stored.is_none())
            && let Err(error) = services.local.keep(&wanted.id, &wanted.names)
        {
            tracing::error!(certificate = %wanted.id, %error, "a self-signed certificate cannot be made");
        }
    }
}

impl Tended {
    fn new(wanted: Wanted) -> Self {
        let status = Mutex::new(Status {
            id: wanted.id.to_string(),
            names: wanted.names.iter().map(ToString::to_string).collect(),
            issuer: None,
            state: State::Starting,
            not_after: None,
            renew_at: None,
            failures: 0,
            last_error: None,
            last_failure: None,
            next_attempt: None,
        });
        Self { wanted, forced: AtomicBool::new(false), poke: Notify::new(), status }
    }

    /// For a log line.
    fn names(&self) -> String {
        self.wanted.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn show(&self, plan: &Plan, state: State) {
        let mut status = self.status();
        status.state = state;
        status.not_after = plan.not_after;
        status.renew_at = plan.renew_at;
        status.failures = plan.failure.as_ref().map_or(0, |failure| failure.attempts);
        status.last_error = plan.failure.as_ref().map(|failure| failure.error.clone());
        status.last_failure = plan.failure.as_ref().map(|failure| failure.at);
        status.next_attempt = plan.failure.as_ref().map(|failure| failure.next);
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every way to prove a name; the config says in which order.
fn solvers(services: &Services) -> Vec<Arc<dyn Solver>> {
    let (challenges, storage) = (Arc::clone(&services.challenges), Arc::clone(&services.storage));
    let clock = || services.clock.clone();
    vec![
        Arc::new(Http01::new(Arc::clone(&challenges), Arc::clone(&storage), clock())),
        Arc::new(TlsAlpn01::new(challenges, storage, clock())),
    ]
}

/// Routes for the same names share a certificate, and what one of them allows is allowed.
fn by_id(wanted: Vec<Wanted>) -> BTreeMap<CertificateId, Wanted> {
    let mut all: BTreeMap<CertificateId, Wanted> = BTreeMap::new();
    for one in wanted.into_iter().map(Wanted::in_order) {
        let self_signed_meanwhile = one.self_signed_meanwhile;
        all.entry(one.id.clone()).or_insert(one).self_signed_meanwhile |= self_signed_meanwhile;
    }
    all
}

#[cfg(test)]
#[path = "tests/simulation.rs"]
mod simulation;
