//! [`Manager`]: a task for each certificate that is wanted, so that one's failure never holds up another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::backoff::Failure;
use super::certificate::Issued;
use super::clock::unix;
use super::issuer::Issuer;
use super::plan::{self, Plan, Step};
use super::tended::Tended;
use super::wanted::{Wanted, Wildcards, by_id, wildcards};
use super::{AcmeError, Clock, Http01, Pace, Solver, State, Status, lock_name};
use crate::certs::{Challenges, LocalIssuer, Table};
use crate::config::{self, CertificateId};
use crate::drain::Watch;
use crate::names::HostPattern;
use crate::storage::{Storage, StorageError, keys};

/// Orders that are under way at once.
const ORDERS: usize = 8;
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

struct Shared {
    services: Services,
    orders: Semaphore,
    looks: Semaphore,
    asks: Semaphore,
    counter: IntCounterVec,
    /// Those that are wanted and have a wildcard: they may cover what others want.
    wildcards: ArcSwap<Wildcards>,
}

impl Manager {
    /// A manager that wants nothing yet. Its tasks end when `drain` fires; an order under way is left so that
    /// the next start goes on with it.
    ///
    /// # Errors
    /// [`prometheus::Error`], where the registry has metrics of these names already.
    pub fn new(services: Services, registry: &Registry, drain: Watch) -> Result<Self, prometheus::Error> {
        let options = Opts::new("doorward_acme_orders_total", "Attempts to get a certificate, by issuer and outcome");
        let counter = IntCounterVec::new(options, &["issuer", "outcome"])?;
        registry.register(Box::new(counter.clone()))?;
        let [orders, looks, asks] = [ORDERS, LOOKS, ASKS].map(Semaphore::new);
        let shared = Shared { services, orders, looks, asks, counter, wildcards: ArcSwap::default() };
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
            let stays = wanted.get(id) == Some(&entry.certificate.wanted);
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
    #[must_use]
    pub fn can_prove(&self, name: &HostPattern) -> bool {
        self.shared.solvers().iter().any(|solver| solver.can_prove(name))
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

/// Looks after one certificate for ever.
async fn tend(shared: &Shared, tended: &Tended, mut acme: watch::Receiver<Option<Arc<config::Acme>>>) {
    let id = &tended.wanted.id;
    loop {
        let current = tended.wanted.acme(acme.borrow_and_update().as_ref());
        let forced = tended.take_force();
        let plan = shared.look(&current, tended, forced).await;
        tended.show(&plan, plan.state);
        shared.meanwhile(tended, &plan).await;
        let Step::Wait(until) = plan.step else {
            let Some(acme) = current else { return };
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
            () = tended.poked() => {}
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
        plan::plan(&self.services, acme.as_ref(), &tended.wanted, forced, &self.wildcards.load()).await
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
            Ok(Some(mut issued)) => issued.ask_ari(acme, &services.storage, now).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = asked {
            tracing::error!(certificate = %id, %error, "the renewal window cannot be written down");
            tokio::time::sleep(services.pace.first).await;
        }
    }

    /// Lock, look again, order, write down how it went.
    async fn take_turn(&self, acme: &Arc<config::Acme>, tended: &Tended, forced: bool) -> Result<(), StorageError> {
        let (services, id) = (&self.services, &tended.wanted.id);
        let _lease = services.storage.lock(&lock_name(id)).await?;
        let _permit = self.orders.acquire().await;
        // Another process may have had the lock before, and done it.
        let plan = plan::plan(services, Some(acme), &tended.wanted, forced, &self.wildcards.load()).await;
        let Step::Order { replaces } = &plan.step else { return Ok(()) };
        tended.show(&plan, State::Ordering);
        tracing::info!(certificate = %id, names = tended.names(), issuer = acme.issuer.name, "getting a certificate");
        let issuer = Issuer {
            acme: Arc::clone(acme),
            storage: Arc::clone(&services.storage),
            solvers: self.solvers(),
            failures: plan.failure.as_ref().map_or(0, |failure| failure.attempts),
            clock: services.clock.clone(),
            progress: tended.progress.clone(),
        };
        tended.progress.begin(tended.wanted.names.iter().map(ToString::to_string), "asking the CA");
        let issued = issuer.issue(id, &tended.wanted.names, replaces.clone()).await;
        for solver in &issuer.solvers {
            solver.finish(id).await;
        }
        match issued {
            Ok(()) => {
                self.counter.with_label_values(&[acme.issuer.name.as_str(), "issued"]).inc();
                tracing::info!(certificate = %id, issuer = acme.issuer.name, "got the certificate");
                services.storage.delete(&keys::failure(id.as_str())).await
            }
            Err(error) => self.failed(acme, tended, &plan, &error).await,
        }
    }

    /// Every way to prove a name, the preferred one first.
    fn solvers(&self) -> Vec<Arc<dyn Solver>> {
        let services = &self.services;
        let (challenges, storage) = (Arc::clone(&services.challenges), Arc::clone(&services.storage));
        vec![Arc::new(Http01::new(challenges, storage, services.clock.clone()))]
    }

    async fn failed(
        &self,
        acme: &config::Acme,
        tended: &Tended,
        plan: &Plan,
        error: &AcmeError,
    ) -> Result<(), StorageError> {
        let (services, id, now) = (&self.services, &tended.wanted.id, self.services.clock.now());
        self.counter.with_label_values(&[acme.issuer.name.as_str(), "failed"]).inc();
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
