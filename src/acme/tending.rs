//! Looks after one certificate: when something is due, does it, and writes down how it went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::sync::{Notify, watch};

use super::ask::{Asker, Verdict};
use super::backoff::Failure;
use super::budget::Budget;
use super::ca::Ca;
use super::certificate::Issued;
use super::clock::{from_unix, unix};
use super::desk::{Desk, Next};
use super::line::{Class, Waiting};
use super::outage::Outages;
use super::plan::{self, Plan, Step};
use super::tended::Tended;
use super::turn::Turn;
use super::wanted::Wildcards;
use super::{AcmeError, Services, Solver, State, Wanted, lock_name};
use crate::config::{self, CertificateId};
use crate::names::HostPattern;
use crate::storage::{StorageError, keys};

/// What all certificates share.
pub(super) struct Shared {
    pub(super) services: Services,
    /// The config's `[acme]`.
    pub(super) acme: watch::Sender<Option<Arc<config::Acme>>>,
    /// Every certificate that is looked after, and whose turn it is.
    desk: Mutex<Desk>,
    /// Wakes the keeper: something is due sooner than it knows.
    pub(super) wake: Notify,
    pub(super) outages: Outages,
    /// Who says whether a name may keep what it got on demand.
    pub(super) permit: ArcSwapOption<Asker>,
    pub(super) ca: Arc<dyn Ca>,
    pub(super) solvers: Vec<Arc<dyn Solver>>,
    pub(super) budget: Budget,
    pub(super) counter: IntCounterVec,
    /// How many wait for their order.
    pub(super) waiting: IntGauge,
    /// Those that are wanted and have a wildcard: they may cover what others want.
    pub(super) wildcards: ArcSwap<Wildcards>,
}

/// How a turn ended, apart from what was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// There is a certificate, or a failure to wait after.
    Done,
    /// Nobody could be asked, as every issuer is down: nothing is counted, and it stays in the line.
    Down,
}

impl Shared {
    /// Metrics go to the registry.
    pub(super) fn new(
        services: Services,
        ca: Arc<dyn Ca>,
        solvers: Vec<Arc<dyn Solver>>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let options = Opts::new("doorward_acme_orders_total", "Attempts to get a certificate, by issuer and outcome");
        let counter = IntCounterVec::new(options, &["issuer", "outcome"])?;
        registry.register(Box::new(counter.clone()))?;
        let waiting = IntGauge::new("doorward_acme_waiting", "Certificates whose turn to be ordered has not come yet")?;
        registry.register(Box::new(waiting.clone()))?;
        let storage = || Arc::clone(&services.storage);
        let outages = Outages::new(storage(), services.clock.clone(), services.pace, registry)?;
        Ok(Self {
            budget: Budget::new(storage()),
            acme: watch::Sender::new(None),
            desk: Mutex::default(),
            wake: Notify::new(),
            permit: ArcSwapOption::empty(),
            wildcards: ArcSwap::default(),
            services,
            outages,
            ca,
            solvers,
            counter,
            waiting,
        })
    }

    pub(super) fn now(&self) -> SystemTime {
        self.services.clock.now()
    }

    /// The config's `[acme]` as it is now.
    pub(super) fn acme(&self) -> Option<Arc<config::Acme>> {
        self.acme.borrow().clone()
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles what follows for a certificate; `forced`: what an operator asked for is not done yet.
    pub(super) fn settle(&self, tended: &Arc<Tended>, next: Next, forced: bool, now: SystemTime) {
        self.desk().settle(tended, next, forced, now);
        self.wake.notify_one();
    }

    pub(super) async fn look(&self, acme: Option<&Arc<config::Acme>>, wanted: &Wanted, forced: bool) -> Plan {
        plan::plan(&self.services, acme, wanted, forced, &self.wildcards.load()).await
    }

    /// Looks at a certificate and says what follows. `ordered`: its order has just ended.
    pub(super) async fn visit(
        &self,
        tended: &Arc<Tended>,
        acme: Option<&Arc<config::Acme>>,
        forced: bool,
        ordered: bool,
    ) -> Next {
        let current = tended.wanted.acme(acme);
        let plan = self.look(current.as_ref(), &tended.wanted, forced).await;
        tended.show(&plan, plan.state);
        self.meanwhile(tended, &plan).await;
        if let Step::Wait(until) = plan.step {
            if !ordered {
                // How far the last order was is of no interest any more.
                tended.forget_progress(plan.state);
            }
            return match (until, plan.ask_at) {
                (Some(until), Some(ask_at)) if ask_at <= self.now() => Next::Ask(until),
                (Some(until), ask_at) => Next::At(ask_at.map_or(until, |ask_at| ask_at.min(until))),
                (None, _) => Next::Idle,
            };
        }
        let Some(acme) = current else { return Next::Idle };
        if !forced && let Some(next) = self.given_up(tended, &plan).await {
            return next;
        }
        let class = match plan.not_after {
            Some(end) => Class::Renewal(end),
            None => Class::New,
        };
        Next::Line(class, Waiting { tended: Arc::clone(tended), acme, forced, done: None })
    }

    /// Asks the CA for its renewal window; the plan then follows from what is kept of it.
    pub(super) async fn ask_ca(&self, acme: Option<&config::Acme>, id: &CertificateId) {
        let (services, now) = (&self.services, self.now());
        let Some(acme) = acme else { return };
        let asked = match Issued::load(&*services.storage, id, now).await {
            Ok(Some(mut issued)) => {
                let issuer = acme.issuer_at(&issued.meta.directory).unwrap_or(&acme.issuer);
                let ca = (!self.outages.is_down(&issuer.directory)).then_some(&*self.ca);
                issued.ask_ari(ca, &acme.asking(issuer), &*services.storage, now).await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = asked {
            tracing::error!(certificate = %id, %error, "the renewal window cannot be written down");
            tokio::time::sleep(services.pace.first).await;
        }
    }

    /// Asks whether a name that came on demand is still allowed before its certificate is renewed. If it is not,
    /// the certificate serves to its end and is forgotten then; what follows is returned.
    async fn given_up(&self, tended: &Tended, plan: &Plan) -> Option<Next> {
        let (services, wanted) = (&self.services, &tended.wanted);
        let (Some(asker), Some(HostPattern::Exact(name))) = (self.permit.load_full(), wanted.names.first()) else {
            return None;
        };
        if !wanted.on_demand || plan.issued_by.is_none() {
            return None;
        }
        // Where nobody can say, what was allowed stays allowed.
        let Verdict::Refused(status) = asker.ask(name, None).await else { return None };
        let end = plan.not_after.map(from_unix).filter(|end| *end > self.now());
        if let Some(end) = end {
            tracing::info!(certificate = %wanted.id, %name, status, "the name is allowed no longer: it is not renewed");
            tended.show(plan, State::Disabled);
            return Some(Next::At(end));
        }
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
        Some(Next::Forget)
    }

    /// Lock, look again, order, write down how it went.
    pub(super) async fn take_turn(
        &self,
        acme: &Arc<config::Acme>,
        tended: &Tended,
        forced: bool,
    ) -> Result<Turned, StorageError> {
        let (services, id) = (&self.services, &tended.wanted.id);
        let _lease = services.storage.lock(&lock_name(id)).await?;
        // Another process may have had the lock before, and done it.
        let plan = self.look(Some(acme), &tended.wanted, forced).await;
        let Step::Order { .. } = &plan.step else { return Ok(Turned::Done) };
        tended.show(&plan, State::Ordering);
        tracing::info!(certificate = %id, names = tended.names(), issuer = acme.issuer.name, "getting a certificate");
        let progress = tended.begin_progress();
        let turn = Turn {
            services,
            ca: &*self.ca,
            budget: &self.budget,
            outages: &self.outages,
            solvers: &self.solvers,
            acme,
            wanted: &tended.wanted,
            plan: &plan,
            forced,
            progress: &progress,
        };
        progress.begin(tended.wanted.names.iter().map(ToString::to_string), "asking the CA");
        match turn.take().await {
            Ok(issuer) => {
                self.counter.with_label_values(&[issuer.as_str(), "issued"]).inc();
                tracing::info!(certificate = %id, issuer, "got the certificate");
                services.storage.delete(&keys::failure(id.as_str())).await?;
                Ok(Turned::Done)
            }
            // One line was written when the CA went down: none for each certificate.
            Err(error) if error.is_outage() => {
                tended.show(&plan, State::Waiting);
                tended.forget_progress(State::Waiting);
                Ok(Turned::Down)
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
    ) -> Result<Turned, StorageError> {
        let (services, id, now) = (&self.services, &tended.wanted.id, self.services.clock.now());
        let outcome = if error.is_only_waiting() { "waits" } else { "failed" };
        self.counter.with_label_values(&[acme.issuer.name.as_str(), outcome]).inc();
        // What works sets the pace; without it the name is dark, and the usual pace is the CA's limit.
        let works = plan.not_after.is_some_and(|end| end > unix(now));
        let left = plan.not_after.map(from_unix).and_then(|end| end.duration_since(now).ok());
        let pace = match (plan.lifetime.filter(|_| works), left) {
            (Some(lifetime), Some(left)) => services.pace.for_lifetime(lifetime).with_left(left),
            _ => services.pace,
        };
        let settings = plan::settings(services, acme, &tended.wanted);
        let failure = Failure::after(plan.failure.as_ref(), error, pace, now).by(settings);
        let next = humantime::format_rfc3339_seconds(failure.next());
        let what = if works { "the certificate was not renewed: the old one is served" } else { "no certificate yet" };
        tracing::warn!(
            certificate = %id, names = tended.names(), issuer = acme.issuer.name, %error,
            failures = failure.attempts, next_attempt = %next, "{what}"
        );
        failure.save(&*services.storage, id).await?;
        Ok(Turned::Done)
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
