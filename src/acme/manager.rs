//! [`Manager`]: what the rest of doorward asks of ACME. The work is done by the keeper ([`keep`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::Registry;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::ask::Asker;
use super::ca::Ca;
use super::keeper::keep;
use super::line::{Class, Waiting};
use super::network::Network;
use super::outage::IssuerStatus;
use super::plan::Step;
use super::solver::in_order;
use super::tended::Tended;
use super::tending::Shared;
use super::wanted::{Wanted, by_id, wildcards};
use super::{Clock, Dns01, Http01, Pace, Solver, State, Status, TlsAlpn01};
use crate::certs::{Challenges, LocalIssuer, Table};
use crate::config::{self, CertificateId};
use crate::dns;
use crate::drain::Watch;
use crate::names::HostPattern;
use crate::storage::Storage;

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
    /// The keeper, from the first update on.
    keeper: Mutex<Option<AbortHandle>>,
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
        let shared = Arc::new(Shared::new(services, ca, solvers, registry)?);
        Ok(Self { shared, drain, keeper: Mutex::default() })
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
        self.shared.acme.send_if_modified(|current| {
            let changed = current.as_deref() != acme.as_ref();
            if changed {
                say_what_waits(current.as_deref(), acme.as_ref());
                *current = acme.map(Arc::new);
            }
            changed
        });
        let wanted = by_id(wanted);
        self.shared.wildcards.store(Arc::new(wildcards(&wanted)));
        // What was got on demand is looked after as long as anything is.
        let on_demand = self.shared.permit.load().is_some();
        self.shared.desk().retain(|one| match wanted.get(&one.id) {
            Some(wanted) => wanted == one,
            None => one.on_demand && on_demand,
        });
        self.update_self_signed(&wanted, self_signed);
        let now = self.now();
        let mut desk = self.shared.desk();
        let mut hurried = false;
        for wanted in wanted.into_values() {
            let asked = wanted.asked.is_some();
            hurried |= desk.add(wanted, now) && asked;
        }
        drop(desk);
        // An operator waits for it.
        if let Some(acme) = self.shared.acme().filter(|_| hurried) {
            self.shared.outages.hurry(&acme);
        }
        self.wake();
    }

    /// Who is asked before a certificate that was got on demand is renewed; none: none is.
    pub(super) fn permit(&self, asker: Option<Arc<Asker>>) {
        let none = asker.is_none();
        self.shared.permit.store(asker);
        if none {
            self.shared.desk().retain(|wanted| !wanted.on_demand);
        }
    }

    /// Looks after a certificate that was got on demand, from now on.
    pub(super) fn look_after(&self, wanted: Wanted) {
        let now = self.now();
        self.shared.desk().add(wanted, now);
        self.wake();
    }

    /// Gets a certificate now, with one attempt, unless the last one failed a moment ago. It is not looked after.
    pub(super) async fn obtain(&self, wanted: Wanted) -> Result<(), String> {
        let Some(acme) = self.shared.acme() else { return Err("there is no issuer".to_owned()) };
        let shared = &self.shared;
        let before = shared.look(Some(&acme), &wanted, false).await;
        if matches!(before.step, Step::Order { .. }) {
            if let Some((error, ..)) = shared.outages.all_down(&acme) {
                return Err(error);
            }
            let (done, outcome) = oneshot::channel();
            let tended = Arc::new(Tended::new(wanted.clone()));
            let waiting = Waiting { tended, acme: Arc::clone(&acme), forced: false, done: Some(done) };
            shared.desk().line.push(Class::OnDemand, waiting);
            self.wake();
            outcome.await.map_err(|_| "doorward is stopping".to_owned())??;
        }
        let after = shared.look(Some(&acme), &wanted, false).await;
        match after.state {
            State::Valid | State::Covered => Ok(()),
            _ => Err(after.failure.map_or_else(|| "no certificate came of it".to_owned(), |failure| failure.error)),
        }
    }

    /// The time that renewals go by.
    pub(super) fn now(&self) -> SystemTime {
        self.shared.now()
    }

    /// How each wanted certificate stands, by id.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let acme = self.shared.acme();
        let all: Vec<_> = self.shared.desk().all().cloned().collect();
        let mut all: Vec<_> = all.iter().map(|tended| self.status_of(tended, acme.as_ref())).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// How one certificate stands; none where nobody wants it.
    #[must_use]
    pub fn status_one(&self, id: &CertificateId) -> Option<Status> {
        let acme = self.shared.acme();
        let tended = self.shared.desk().get(id).cloned()?;
        Some(self.status_of(&tended, acme.as_ref()))
    }

    fn status_of(&self, tended: &Tended, acme: Option<&Arc<config::Acme>>) -> Status {
        let own = tended.wanted.acme(acme);
        let mut status = tended.status();
        status.issuer = own.as_ref().map(|acme| acme.issuer.name.clone());
        match own.as_ref().and_then(|acme| self.shared.outages.all_down(acme)) {
            Some((why, asked, next)) if status.state == State::Waiting => {
                status.state = State::Failing;
                status.last_error = Some(format!("{why} (the CA is down, and asked again later)"));
                status.last_failure = Some(asked);
                status.next_attempt = Some(next);
            }
            // Whatever its own failure says, nothing is asked before.
            Some((_, _, next)) if status.state == State::Failing => {
                status.next_attempt = status.next_attempt.max(Some(next));
            }
            _ => {}
        }
        status
    }

    /// Looks at one again that waits: while its CA is down its turn may be days away, and much can have changed.
    pub async fn refresh(&self, id: &CertificateId) {
        let Some(tended) = self.shared.desk().get(id).cloned() else { return };
        if !matches!(tended.state(), State::Waiting | State::Failing) {
            return;
        }
        let acme = tended.wanted.acme(self.shared.acme().as_ref());
        let plan = self.shared.look(acme.as_ref(), &tended.wanted, false).await;
        if matches!(plan.step, Step::Wait(_)) && plan.state != tended.state() {
            tended.show(&plan, plan.state);
            // It leaves the line.
            let now = self.now();
            self.shared.desk().poke(id, now);
            self.wake();
        }
    }

    /// How each issuer of the config fares.
    #[must_use]
    pub fn issuers(&self) -> Vec<IssuerStatus> {
        self.shared.acme().map(|acme| self.shared.outages.status(&acme)).unwrap_or_default()
    }

    /// Whether there is a way to prove this name as things stand, of the challenges that `acme` lists.
    pub async fn can_prove(&self, acme: &config::Acme, name: &HostPattern) -> bool {
        for issuer in acme.issuers() {
            for solver in in_order(self.shared.solvers.clone(), &acme.asking(issuer).challenges) {
                if solver.can_prove(name).await {
                    return true;
                }
            }
        }
        false
    }

    /// Orders the certificate now, whatever its age and whatever failed before. Returns whether it is wanted.
    pub fn renew(&self, id: &CertificateId) -> bool {
        let now = self.now();
        let mut desk = self.shared.desk();
        let Some(tended) = desk.get(id) else { return false };
        tended.force();
        let acme = tended.wanted.acme(self.shared.acme().as_ref());
        desk.poke(id, now);
        drop(desk);
        if let Some(acme) = acme {
            self.shared.outages.hurry(&acme);
        }
        self.wake();
        true
    }

    /// Wakes the keeper, and starts it the first time.
    fn wake(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.get_or_insert_with(|| {
            let (shared, acme, drain) = (Arc::clone(&self.shared), self.shared.acme.subscribe(), self.drain.clone());
            tokio::spawn(keep(shared, acme, drain)).abort_handle()
        });
        self.shared.wake.notify_one();
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
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner) {
            keeper.abort();
        }
    }
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("certificates", &self.shared.desk().len()).finish_non_exhaustive()
    }
}

/// Says which changes certificates that there are take up only when they are renewed.
fn say_what_waits(before: Option<&config::Acme>, now: Option<&config::Acme>) {
    let (Some(before), Some(now)) = (before, now) else { return };
    for (what, changed) in [
        ("key", before.key != now.key),
        ("profile", before.issuer.profile != now.issuer.profile && before.issuer.directory == now.issuer.directory),
    ] {
        if changed {
            tracing::info!(
                "the new {what} of [acme] is for certificates that are ordered from now on; those that there are take \
                 it up when they are renewed: `doorward certs renew ID --force` does it at once"
            );
        }
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
