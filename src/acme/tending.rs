//! Looks after one certificate: when something is due, does it, and writes down how it went.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::IntCounterVec;
use tokio::sync::{Semaphore, watch};

use super::ask::{Asker, Verdict};
use super::backoff::Failure;
use super::budget::Budget;
use super::ca::Ca;
use super::certificate::Issued;
use super::clock::{from_unix, unix};
use super::plan::{self, Plan, Step};
use super::tended::Tended;
use super::turn::Turn;
use super::wanted::Wildcards;
use super::{AcmeError, Clock, Services, Solver, State, lock_name};
use crate::config::{self, CertificateId};
use crate::names::HostPattern;
use crate::storage::{StorageError, keys};

/// What all certificates share.
pub(super) struct Shared {
    pub(super) services: Services,
    pub(super) orders: Semaphore,
    pub(super) looks: Semaphore,
    pub(super) asks: Semaphore,
    /// Of the orders, those that are no renewals.
    pub(super) fresh: Semaphore,
    /// Who says whether a name may keep what it got on demand.
    pub(super) permit: ArcSwapOption<Asker>,
    pub(super) ca: Arc<dyn Ca>,
    pub(super) solvers: Vec<Arc<dyn Solver>>,
    pub(super) budget: Budget,
    pub(super) counter: IntCounterVec,
    /// Those that are wanted and have a wildcard: they may cover what others want.
    pub(super) wildcards: ArcSwap<Wildcards>,
}

/// Looks after one certificate for ever.
pub(super) async fn tend(shared: &Shared, tended: &Tended, mut acme: watch::Receiver<Option<Arc<config::Acme>>>) {
    let id = &tended.wanted.id;
    let mut zones = shared.services.dns.changed();
    loop {
        zones.mark_unchanged();
        let current = tended.wanted.acme(acme.borrow_and_update().as_ref());
        let forced = tended.take_force();
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
            () = tended.poked() => {}
            // What failed for want of a solver need not wait its turn.
            Ok(()) = zones.changed(), if plan.state == State::Failing && tended.has_wildcard() => tended.force(),
            changed = acme.changed() => {
                if changed.is_err() {
                    return;
                }
                let new = tended.wanted.acme(acme.borrow().as_ref());
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
    pub(super) async fn look(&self, acme: &Option<Arc<config::Acme>>, tended: &Tended, forced: bool) -> Plan {
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
    pub(super) async fn take_turn(
        &self,
        acme: &Arc<config::Acme>,
        tended: &Tended,
        forced: bool,
    ) -> Result<(), StorageError> {
        let (services, id) = (&self.services, &tended.wanted.id);
        let _lease = services.storage.lock(&lock_name(id)).await?;
        // The semaphores are never closed.
        let fresh = tended.status().not_after.is_none();
        let _fresh = if fresh { self.fresh.acquire().await.ok() } else { None };
        let _permit = self.orders.acquire().await;
        // Another process may have had the lock before, and done it.
        let plan = plan::plan(services, Some(acme), &tended.wanted, forced, &self.wildcards.load()).await;
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
            progress: &tended.progress,
        };
        tended.progress.begin(tended.wanted.names.iter().map(ToString::to_string), "asking the CA");
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
