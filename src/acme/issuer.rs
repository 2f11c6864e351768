//! One order, from the first request to the certificate in storage (RFC 8555 §7.4), resumed wherever an
//! earlier attempt or process left it.
//!
//! The record `orders/ID.json` holds the order's URL and the certificate's key. It is written before the order is made
//! (without a URL) and after, and deleted once the certificate is stored; while it is there no second order is made.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, NewOrder, Order, OrderStatus,
};
use rcgen::KeyPair;

use super::certificate::{self, Meta, Summary};
use super::clock::unix;
use super::progress::Progress;
use super::record::Record;
use super::request::{identifier, new_key, profile, signing_request};
use super::session::{self, Session, ask, fetch_authorizations};
use super::solver::{self, Challenge, Failed, Solver};
use super::{AcmeError, Clock};
use crate::certs::Vault;
use crate::config::{self, CertificateId};
use crate::names::HostPattern;
use crate::storage::{Storage, keys};

/// How long one attempt waits for the CA to validate, and then to issue.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first and the longest pause between two looks at the order, where the CA names none.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Gets one certificate from one CA.
pub(super) struct Issuer<'a> {
    pub(super) acme: Arc<config::Acme>,
    pub(super) storage: &'a Arc<dyn Storage>,
    /// Ways to prove names, the preferred one first.
    pub(super) solvers: Vec<Arc<dyn Solver>>,
    /// The challenges by which a name could not be proven lately.
    pub(super) failed: &'a Failed,
    pub(super) clock: &'a Clock,
    /// Whether the certificate is written to the storage.
    pub(super) keep: bool,
    pub(super) progress: &'a Progress,
}

/// How an order ended for now.
enum Step {
    /// The chain, PEM.
    Issued(String),
    /// It can't be continued; a new one is needed.
    Dead(AcmeError),
}

impl Issuer<'_> {
    /// Goes on with the order that an earlier attempt left. Returns whether it gave the certificate.
    pub(super) async fn resume_with(
        &self,
        session: &Session,
        id: &CertificateId,
        names: &[HostPattern],
    ) -> Result<bool, AcmeError> {
        let Some((order, record)) = self.resume(session, id, names).await? else { return Ok(false) };
        tracing::info!(certificate = %id, order = record.order, "going on with the order");
        match self.complete(session, id, order, &record, names).await? {
            Step::Issued(chain) => self.keep(id, &chain, &record, names).await.map(|()| true),
            // What happened before this attempt is no reason for it to fail.
            Step::Dead(error) => {
                tracing::info!(certificate = %id, %error, "the earlier order came to nothing; making a new one");
                self.storage.delete(&keys::order(id)).await?;
                Ok(false)
            }
        }
    }

    pub(super) async fn order_with(
        &self,
        session: &Session,
        id: &CertificateId,
        names: &[HostPattern],
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<(), AcmeError> {
        let (order, record) = self.begin(session, id, names, replaces).await?;
        match self.complete(session, id, order, &record, names).await? {
            Step::Issued(chain) => self.keep(id, &chain, &record, names).await,
            Step::Dead(error) => {
                self.storage.delete(&keys::order(id)).await?;
                Err(error)
            }
        }
    }

    /// Whatever came of the attempt, nothing of it is left with the solvers.
    pub(super) async fn finish(&self, id: &CertificateId) {
        for solver in &self.solvers {
            solver.finish(id).await;
        }
    }

    /// The order that an earlier attempt left, where it is for the same thing and the CA still knows it.
    async fn resume(
        &self,
        session: &Session,
        id: &CertificateId,
        names: &[HostPattern],
    ) -> Result<Option<(Order, Record)>, AcmeError> {
        let Some(record) = Record::load(&**self.storage, &self.acme, id, names).await? else {
            self.storage.delete(&keys::order(id)).await?;
            return Ok(None);
        };
        match ask!(session.seen, session.account.order(record.order.clone())) {
            Ok(order) => Ok(Some((order, record))),
            Err(error) if error.is_gone() => {
                self.storage.delete(&keys::order(id)).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn begin(
        &self,
        session: &Session,
        id: &CertificateId,
        names: &[HostPattern],
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<(Order, Record), AcmeError> {
        let profile = profile(&self.acme, session)?;
        let key = new_key(self.acme.key).await?;
        let identifiers: Vec<_> = names.iter().map(identifier).collect();
        let new = |replaces: Option<CertificateIdentifier<'static>>| {
            let mut order = NewOrder::new(&identifiers);
            if let Some(profile) = profile {
                order = order.profile(profile);
            }
            if let Some(replaces) = replaces {
                order = order.replaces(replaces);
            }
            order
        };
        // What cannot be written down is not asked for: on a full disk each attempt would make an order of its own.
        let mut record = Record::new(&self.acme, names, &key);
        record.save(&**self.storage, id).await?;
        let with = new(replaces.clone());
        let order = match ask!(session.seen, session.account.new_order(&with)) {
            // A certificate matters more than what it replaces.
            Err(error) if replaces.is_some() && error.may_be_about_replaces() => {
                tracing::info!(certificate = %id, %error, "the CA did not take the order with `replaces`; asking without");
                let without = new(None);
                ask!(session.seen, session.account.new_order(&without))?
            }
            order => order?,
        };
        record.order = order.url().to_owned();
        record.save(&**self.storage, id).await?;
        Ok((order, record))
    }

    /// Takes the order from wherever it stands to its end.
    async fn complete(
        &self,
        session: &Session,
        id: &CertificateId,
        mut order: Order,
        record: &Record,
        names: &[HostPattern],
    ) -> Result<Step, AcmeError> {
        if order.state().status == OrderStatus::Pending {
            let tokens = self.authorize(session, id, &mut order).await?;
            let pending = |status| status == OrderStatus::Pending;
            let left_pending = self.poll(session, &mut order, pending, "validated the names").await;
            // Pebble validates three times, and others may look again: the answers stay until the order moved on.
            if left_pending.is_ok() {
                for (solver, token) in &tokens {
                    solver.clean_up(token).await;
                }
            }
            left_pending?;
            self.progress.all("proven; the CA issues");
        }
        if order.state().status == OrderStatus::Ready {
            let key = KeyPair::from_pem(&record.key)?;
            let csr = signing_request(names, &key)?;
            match ask!(session.seen, order.finalize_csr(&csr)) {
                Err(error) if error.is_final() => return Ok(Step::Dead(error)),
                done => done?,
            }
        }
        if order.state().status == OrderStatus::Processing {
            let processing = |status| status == OrderStatus::Processing;
            self.poll(session, &mut order, processing, "issued the certificate").await?;
        }
        match order.state().status {
            OrderStatus::Valid => match ask!(session.seen, order.certificate())? {
                Some(chain) => Ok(Step::Issued(chain)),
                None => Err(AcmeError::Ended("processing")),
            },
            OrderStatus::Invalid => Ok(Step::Dead(self.why_invalid(session, &mut order).await)),
            // Ready once more: finalizing was not taken; the next attempt does it again.
            OrderStatus::Ready => Err(AcmeError::Ended("ready")),
            OrderStatus::Processing => Err(AcmeError::Ended("processing")),
            OrderStatus::Pending => Err(AcmeError::Ended("pending")),
        }
    }

    /// Presents an answer for each name that is not proven yet, and tells the CA to look once all can be seen.
    async fn authorize(
        &self,
        session: &Session,
        id: &CertificateId,
        order: &mut Order,
    ) -> Result<Vec<(&dyn Solver, String)>, AcmeError> {
        fetch_authorizations(session, order).await?;
        let (mut presented, mut chosen) = (Vec::new(), Vec::new());
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| session.seen.explain(e))?;
            let name = authorization.identifier().to_string();
            if authorization.status != AuthorizationStatus::Pending {
                self.progress.set(&name, "proven already");
                continue;
            }
            let offered: Vec<_> = authorization.challenges.iter().map(|challenge| challenge.r#type.clone()).collect();
            let (pattern, solver) = self.choose(&name, &offered).await?;
            let challenge = authorization
                .challenge(solver.challenge_type())
                .ok_or_else(|| AcmeError::no_challenge(&name, &offered))?;
            let (token, answer) = (challenge.token.as_str(), challenge.key_authorization());
            let asked = Challenge { certificate: id, name: &pattern, token, key_authorization: answer.as_str() };
            solver.present(&asked).await?;
            self.progress.placed(&name, &solver.challenge_type());
            presented.push((solver, challenge.token.clone()));
            // One that is being looked at already, by an earlier process's word, needs no further word.
            chosen.push((name, solver, challenge.status == ChallengeStatus::Pending));
        }
        for (at, (_, solver, _)) in chosen.iter().enumerate() {
            if chosen[..at].iter().all(|(_, other, _)| other.challenge_type() != solver.challenge_type()) {
                solver.settle(id).await?;
            }
        }
        chosen.retain(|(_, _, waits)| *waits);
        let mut refused = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| session.seen.explain(e))?;
            let name = authorization.identifier().to_string();
            let Some((_, solver, _)) = chosen.iter().find(|(chosen, _, _)| *chosen == name) else { continue };
            self.progress.validated(&name, &solver.challenge_type());
            if let Some(mut challenge) = authorization.challenge(solver.challenge_type())
                && let Err(error) = ask!(session.seen, challenge.set_ready())
            {
                refused.push((name, *solver, error));
            }
        }
        for (name, solver, error) in refused {
            // It may have been settled meanwhile, by the earlier process's word.
            if self.is_untouched(session, order, &name, solver).await? {
                return Err(error);
            }
        }
        Ok(presented)
    }

    /// The name as a pattern, and who proves it.
    async fn choose(&self, name: &str, offered: &[ChallengeType]) -> Result<(HostPattern, &dyn Solver), AcmeError> {
        let pattern =
            HostPattern::parse(name).map_err(|e| AcmeError::Protocol(format!("the CA's name {name}: {e}")))?;
        let solver = solver::choose(&self.solvers, &pattern, offered, self.failed.of(name)).await;
        let solver = solver.ok_or_else(|| AcmeError::no_challenge(name, offered))?;
        Ok((pattern, &**solver))
    }

    /// Whether nobody has told the CA yet to validate this name.
    async fn is_untouched(
        &self,
        session: &Session,
        order: &mut Order,
        name: &str,
        solver: &dyn Solver,
    ) -> Result<bool, AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.identifier().to_string() == name {
                ask!(session.seen, async { authorization.refresh().await.map(drop) })?;
                let ours = solver.challenge_type();
                let mut challenges = authorization.challenges.iter().filter(|challenge| challenge.r#type == ours);
                return Ok(authorization.status == AuthorizationStatus::Pending
                    && challenges.all(|challenge| challenge.status == ChallengeStatus::Pending));
            }
        }
        Ok(false)
    }

    /// Looks at the order until it has left the status that `waiting` names.
    async fn poll(
        &self,
        session: &Session,
        order: &mut Order,
        waiting: impl Fn(OrderStatus) -> bool,
        what: &'static str,
    ) -> Result<(), AcmeError> {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let (mut pause, longest) = LOOK;
        while waiting(order.state().status) {
            let asked = session.seen.retry_after().and_then(|at| at.duration_since(SystemTime::now()).ok());
            let next = tokio::time::Instant::now() + asked.map_or(pause, |asked| asked.max(LOOK.0));
            if next > give_up {
                return Err(AcmeError::TooSlow(what, PATIENCE.as_secs()));
            }
            tokio::time::sleep_until(next).await;
            pause = (pause * 2).min(longest);
            ask!(session.seen, async { order.refresh().await.map(drop) })?;
        }
        Ok(())
    }

    /// Why the order is invalid: the challenge that failed says it best.
    async fn why_invalid(&self, session: &Session, order: &mut Order) -> AcmeError {
        if fetch_authorizations(session, order).await.is_ok() {
            let mut authorizations = order.authorizations();
            while let Some(Ok(mut authorization)) = authorizations.next().await {
                // What is cached is from before the validation.
                if ask!(session.seen, async { authorization.refresh().await.map(drop) }).is_err() {
                    continue;
                }
                let failed = authorization.challenges.iter().find_map(|c| c.error.as_ref().map(|error| (c, error)));
                if let Some((challenge, problem)) = failed {
                    return AcmeError::NotValidated {
                        remedy: match challenge.r#type {
                            ChallengeType::Http01 => "the name has to lead to this doorward on port 80",
                            ChallengeType::Dns01 => "its _acme-challenge record has to be seen all over the internet",
                            ChallengeType::TlsAlpn01 => {
                                "the name has to lead to this doorward on port 443, with TLS passed through"
                            }
                            _ => "the name has to lead to this doorward",
                        },
                        challenge: challenge.r#type.clone(),
                        name: authorization.identifier().to_string(),
                        kind: session::kind(problem),
                        detail: session::detail(problem),
                    };
                }
            }
        }
        match &order.state().error {
            Some(problem) => session.seen.explain(instant_acme::Error::Api(problem.clone())),
            None => AcmeError::Ended("invalid"),
        }
    }

    /// Writes the certificate to the storage, once it is known to be good: from there the watch serves it.
    async fn keep(
        &self,
        id: &CertificateId,
        chain: &str,
        record: &Record,
        names: &[HostPattern],
    ) -> Result<(), AcmeError> {
        let bundle = format!("{}\n{}\n", record.key.trim_end(), chain.trim_end());
        let now = self.clock.now();
        let usable = certificate::parse(id, bundle.as_bytes(), now).map_err(AcmeError::from).and_then(|issued| {
            match names.iter().find(|name| !issued.covers_all(std::slice::from_ref(*name))) {
                Some(name) => Err(AcmeError::Unusable(format!("it is not valid for {name}"))),
                None => Ok(Summary::of(&issued, bundle.as_bytes())),
            }
        });
        let summary = match usable {
            Ok(summary) => summary,
            Err(error) => {
                self.storage.delete(&keys::order(id)).await?;
                return Err(error);
            }
        };
        if !self.keep {
            return Ok(self.storage.delete(&keys::order(id)).await?);
        }
        // The bundle last but for the record: a crash in between resumes the order and writes both again.
        Vault::new(Arc::clone(self.storage)).archive(id, unix(now)).await?;
        let meta = Meta {
            issuer: self.acme.issuer.name.clone(),
            directory: self.acme.issuer.directory.clone(),
            profile: self.acme.issuer.profile.clone(),
            issued: unix(now),
            summary: Some(summary),
            ..Meta::default()
        };
        meta.save(&**self.storage, id).await?;
        self.storage.write(&keys::certificate(id), bundle.as_bytes()).await?;
        self.storage.delete(&keys::order(id)).await?;
        Ok(())
    }
}
