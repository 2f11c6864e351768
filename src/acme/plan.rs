//! What to do about a wanted certificate: order, or wait until when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;

use super::backoff::Failure;
use super::certificate::{Issued, seconds};
use super::clock::{from_unix, unix};
use super::record::Record;
use super::status::State;
use super::{AcmeError, Services, Wanted};
use crate::certs::Certificate;
use crate::config;
use crate::storage::keys;

/// How soon it is seen that a directory's certificate no longer covers the names.
const COVERED_LOOK: Duration = Duration::from_secs(60);
/// How soon it is looked again where the storage failed.
const STORAGE_LOOK: Duration = Duration::from_secs(30);
/// An order for names that a directory's certificate covers begins this long before that one's end.
const COVERED_MARGIN: Duration = Duration::from_secs(24 * 3600);

/// What there is, and what follows from it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) step: Step,
    pub(super) state: State,
    pub(super) failure: Option<Failure>,
    pub(super) not_after: Option<u64>,
    pub(super) renew_at: Option<u64>,
    /// When the CA is to be asked for its renewal window; never where none.
    pub(super) ask_at: Option<SystemTime>,
    /// The lifetime of the certificate that there is.
    pub(super) lifetime: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Nothing until then; never where none.
    Wait(Option<SystemTime>),
    /// Order now.
    Order { replaces: Option<CertificateIdentifier<'static>> },
}

/// Looks at the storage, the table and the clock, and asks nobody else.
pub(super) async fn plan(services: &Services, acme: Option<&Arc<config::Acme>>, wanted: &Wanted, forced: bool) -> Plan {
    match look(services, acme, wanted, forced).await {
        Ok(plan) => plan,
        Err(error) => {
            tracing::error!(certificate = %wanted.id, %error, "the storage cannot be used");
            let now = services.clock.now();
            let next = now + STORAGE_LOOK;
            let failure = Failure { attempts: 1, error: error.to_string(), at: unix(now), next: unix(next) };
            let step = Step::Wait(Some(next));
            let state = State::Failing;
            Plan { step, state, failure: Some(failure), not_after: None, renew_at: None, ask_at: None, lifetime: None }
        }
    }
}

async fn look(
    services: &Services,
    acme: Option<&Arc<config::Acme>>,
    wanted: &Wanted,
    forced: bool,
) -> Result<Plan, AcmeError> {
    let (storage, now) = (&services.storage, services.clock.now());
    let issued = Issued::load(&**storage, &wanted.id, now).await?;
    let failure = Failure::load(&**storage, &wanted.id).await?;
    let mut plan = Plan {
        step: Step::Wait(None),
        state: State::Disabled,
        failure,
        not_after: issued.as_ref().map(|i| unix(i.validity().not_after)),
        renew_at: None,
        ask_at: None,
        lifetime: issued.as_ref().map(|i| i.validity().lifetime()),
    };
    let Some(acme) = acme else { return Ok(plan) };
    if !forced && covered(services, wanted, now).await? {
        plan.step = Step::Wait(Some(now + COVERED_LOOK));
        plan.state = State::Covered;
        plan.failure = None;
        return Ok(plan);
    }
    // One that another CA issued, or for other names, is not what is wanted, however valid.
    let ours = |issued: &Issued| {
        let same_ca = issued.meta.directory.is_empty() || issued.meta.directory == acme.issuer.directory;
        same_ca && issued.certificate.covers_all(&wanted.names)
    };
    let mut until = None;
    let mut replaces = None;
    if let Some(issued) = issued.as_ref().filter(|issued| ours(issued)) {
        plan.renew_at = Some(unix(issued.due()));
        plan.state = State::Valid;
        replaces = issued.meta.ari.and_then(|ari| ari.window).and_then(|_| issued.identifier());
        if now < issued.due() && !forced {
            until = Some(issued.due());
            plan.ask_at = Some(issued.asks_at());
        }
    }
    let interrupted = Record::load(&**storage, acme, &wanted.id, &wanted.names).await?.is_some();
    if let Some(until) = until.filter(|_| !interrupted) {
        plan.step = Step::Wait(Some(until.max(now)));
        plan.failure = None;
        return Ok(plan);
    }
    match &plan.failure {
        Some(failure) if failure.next() > now && !forced => {
            plan.step = Step::Wait(Some(failure.next()));
            plan.state = State::Failing;
        }
        _ => {
            plan.step = Step::Order { replaces };
            plan.state = State::Waiting;
        }
    }
    Ok(plan)
}

/// Whether a certificate that an operator put there is valid for all names, and will be for a while.
async fn covered(services: &Services, wanted: &Wanted, now: SystemTime) -> Result<bool, AcmeError> {
    let Some(first) = wanted.names.first() else { return Ok(true) };
    for certificate in services.table.all_for(&first.to_string()) {
        let id = certificate.id();
        if *id == wanted.id || !lasts(&certificate, now) || services.local.keeps(id) {
            continue;
        }
        let all = certificate.covers_all(&wanted.names);
        // Not one that ACME got for other routes: that one's renewal is not this one's business.
        if all && services.storage.read(&keys::certificate(id)).await?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lasts(certificate: &Certificate, now: SystemTime) -> bool {
    let lifetime = from_unix(u64::try_from(certificate.not_after() - certificate.not_before()).unwrap_or(0));
    let lifetime = lifetime.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    certificate.is_valid_at(seconds(now)) && certificate.is_valid_at(seconds(now + COVERED_MARGIN.min(lifetime / 10)))
}
