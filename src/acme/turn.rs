//! [`Turn`]: one attempt to get a certificate, from issuer to issuer and from challenge to challenge.

use std::sync::Arc;

use super::budget::{Budget, Purpose};
use super::ca::{Ca, Job};
use super::memory::Memory;
use super::outage::Outages;
use super::plan::{self, Plan, Step};
use super::progress::Progress;
use super::solver::Solver;
use super::{AcmeError, Services, Wanted};
use crate::config::{self, Issuer};

/// How many challenges are tried for a name in one attempt, each with an order of its own.
const CHALLENGES: usize = 3;

/// One attempt. Whoever makes it holds the certificate's lock.
pub(super) struct Turn<'a> {
    pub(super) services: &'a Services,
    pub(super) ca: &'a dyn Ca,
    pub(super) budget: &'a Budget,
    /// Which CAs are down.
    pub(super) outages: &'a Outages,
    /// Every way to prove names.
    pub(super) solvers: &'a [Arc<dyn Solver>],
    pub(super) acme: &'a config::Acme,
    pub(super) wanted: &'a Wanted,
    pub(super) plan: &'a Plan,
    /// Whether issuers that rest are asked all the same.
    pub(super) forced: bool,
    /// Where it is shown how far it is.
    pub(super) progress: &'a Progress,
}

impl Turn<'_> {
    /// Asks the issuers in their order until one issues; returns which.
    ///
    /// # Errors
    /// [`AcmeError`]: of the one issuer, or of all.
    pub(super) async fn take(&self) -> Result<String, AcmeError> {
        let (storage, id) = (&*self.services.storage, &self.wanted.id);
        let settings = || plan::settings(self.services, self.acme, self.wanted);
        let mut memory = Memory::load(storage, id).await?;
        if memory.has_failures() {
            memory = memory.by(&settings());
        }
        let before = memory.clone();
        let done = self.ask_each(&mut memory).await;
        if memory != before {
            memory.tried_by(settings());
            memory.save(storage, id).await?;
        }
        done
    }

    async fn ask_each(&self, memory: &mut Memory) -> Result<String, AcmeError> {
        let several = !self.acme.fallback.is_empty();
        let mut errors = Vec::new();
        for issuer in self.acme.issuers() {
            let now = self.services.clock.now();
            if let Some(down) = self.outages.refusal(&issuer.directory) {
                errors.push((issuer.name.clone(), down));
                continue;
            }
            if let Some((until, error)) = memory.resting(&issuer.name, now).filter(|_| !self.forced) {
                errors.push((issuer.name.clone(), AcmeError::Resting { error: error.to_owned(), until }));
                continue;
            }
            match self.ask(issuer, memory).await {
                Ok(()) => {
                    memory.worked(&issuer.name);
                    return Ok(issuer.name.clone());
                }
                Err(error) if self.outages.is_why(self.ca, &self.acme.asking(issuer), &error).await => {
                    let down = self.outages.refusal(&issuer.directory);
                    errors.push((issuer.name.clone(), down.unwrap_or(error)));
                }
                Err(error) if !several || !error.is_the_issuers() => return Err(error),
                Err(error) => {
                    tracing::warn!(certificate = %self.wanted.id, issuer = issuer.name, %error, "the issuer does not issue");
                    if !error.is_only_waiting() {
                        memory.rest(&issuer.name, &error, self.services.pace, self.services.clock.now());
                    }
                    errors.push((issuer.name.clone(), error));
                }
            }
        }
        match errors.pop() {
            Some((_, only)) if !several => Err(only),
            last => Err(AcmeError::All(errors.into_iter().chain(last).collect())),
        }
    }

    async fn ask(&self, issuer: &Issuer, memory: &mut Memory) -> Result<(), AcmeError> {
        let acme = Arc::new(self.acme.asking(issuer));
        let first = self.plan.issued_by.is_none();
        if let Some(staging) = issuer.staging().filter(|_| acme.staging_first && first)
            && !memory.staged.contains(&issuer.name)
        {
            self.prove(&Arc::new(acme.asking(&staging)), memory, false).await?;
            memory.staged.insert(issuer.name.clone());
            tracing::info!(certificate = %self.wanted.id, issuer = staging.name, "the test CA has issued");
        }
        self.prove(&acme, memory, true).await
    }

    /// Makes orders until the names are proven or no challenge is left to try.
    async fn prove(&self, acme: &Arc<config::Acme>, memory: &mut Memory, keep: bool) -> Result<(), AcmeError> {
        for _ in 1..CHALLENGES {
            let Err(error) = self.order(acme, memory, keep).await else { return Ok(()) };
            let AcmeError::NotValidated { name, challenge, .. } = &error else { return Err(error) };
            let is_new = memory.failed.add(name, challenge);
            if !self.has_another(acme, name, memory).await {
                // The next attempt begins with the first again.
                memory.failed.start_again(name);
                return Err(error);
            }
            if !is_new {
                return Err(error);
            }
            tracing::info!(certificate = %self.wanted.id, name, ?challenge, "the challenge failed; trying another");
        }
        self.order(acme, memory, keep).await
    }

    /// One order, or the one that was left.
    async fn order(&self, acme: &Arc<config::Acme>, memory: &Memory, keep: bool) -> Result<(), AcmeError> {
        let (wanted, issuer) = (self.wanted, &acme.issuer);
        let same_ca = self.plan.issued_by.as_deref() == Some(issuer.directory.as_str());
        let replaces = match &self.plan.step {
            Step::Order { replaces } if same_ca => replaces.clone(),
            _ => None,
        };
        let by_ari = replaces.is_some();
        let job = Job {
            acme: Arc::clone(acme),
            id: &wanted.id,
            names: &wanted.names,
            replaces,
            failed: &memory.failed,
            keep,
            progress: self.progress,
        };
        if self.ca.resume(&job).await? {
            return Ok(());
        }
        let purpose = match &self.plan.issued_by {
            Some(_) if keep => Purpose::Renewal { same_ca, by_ari },
            _ if wanted.on_demand => Purpose::OnDemand,
            _ => Purpose::New,
        };
        let now = self.services.clock.now();
        let room = self.budget.take(issuer, &wanted.id, &wanted.names, purpose, now).await?;
        let done = self.ca.order(&job).await;
        if let Err(error) = &done {
            let now = self.services.clock.now();
            self.budget.give_back(issuer, &wanted.id, &wanted.names, &room, error, now).await?;
        }
        done
    }

    /// Whether a challenge is left by which the name was not tried yet.
    async fn has_another(&self, acme: &config::Acme, name: &str, memory: &Memory) -> bool {
        let Ok(pattern) = crate::names::HostPattern::parse(name) else { return false };
        let failed = memory.failed.of(name);
        for solver in super::solver::in_order(self.solvers.to_vec(), &acme.challenges) {
            if !failed.contains(&solver.challenge_type()) && solver.can_prove(&pattern).await {
                return true;
            }
        }
        false
    }
}
