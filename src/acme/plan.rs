//! What to do about a wanted certificate: order, or wait until when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;

use super::backoff::{Failure, settings_of};
use super::certificate::{Issued, seconds};
use super::clock::{from_unix, unix};
use super::record::Record;
use super::status::State;
use super::wanted::Wildcards;
use super::{AcmeError, Services, Wanted};
use crate::certs::{Certificate, Origin, Vault};
use crate::config::{self, CertificateId};
use crate::dns;
use crate::names::HostPattern;
use crate::storage::keys;

/// How soon it is seen that a directory's certificate no longer covers the names.
const COVERED_LOOK: Duration = Duration::from_secs(60);
/// How soon it is seen that a wildcard that is waited for has failed.
const AWAITED_LOOK: Duration = Duration::from_secs(2);
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
    /// The directory of the CA that issued the certificate that there is for these names.
    pub(super) issued_by: Option<String>,
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
pub(super) async fn plan(
    services: &Services,
    acme: Option<&Arc<config::Acme>>,
    wanted: &Wanted,
    forced: bool,
    wildcards: &Wildcards,
) -> Plan {
    match look(services, acme, wanted, forced, wildcards).await {
        Ok(plan) => plan,
        Err(error) => {
            tracing::error!(certificate = %wanted.id, %error, "the storage cannot be used");
            let now = services.clock.now();
            let next = now + STORAGE_LOOK;
            let (at, next_at, settings) = (unix(now), unix(next), String::new());
            let failure = Failure { attempts: 1, error: error.to_string(), at, next: next_at, settings };
            let step = Step::Wait(Some(next));
            let state = State::Failing;
            Plan {
                step,
                state,
                failure: Some(failure),
                not_after: None,
                renew_at: None,
                ask_at: None,
                issued_by: None,
                lifetime: None,
            }
        }
    }
}

async fn look(
    services: &Services,
    acme: Option<&Arc<config::Acme>>,
    wanted: &Wanted,
    forced: bool,
    wildcards: &Wildcards,
) -> Result<Plan, AcmeError> {
    let (storage, now) = (&services.storage, services.clock.now());
    let issued = Issued::load(&**storage, &wanted.id, now).await?;
    let failure = Failure::load(&**storage, &wanted.id).await?;
    // What an operator mended is tried at once, also where doorward was stopped for it.
    let failure =
        failure.filter(|failure| acme.is_none_or(|acme| failure.settings == settings(services, acme, wanted)));
    let mut plan = Plan {
        step: Step::Wait(None),
        state: State::Disabled,
        failure,
        not_after: issued.as_ref().map(|i| unix(i.validity().not_after)),
        renew_at: None,
        ask_at: None,
        issued_by: None,
        lifetime: issued.as_ref().map(|i| i.validity().lifetime()),
    };
    let Some(acme) = acme else { return Ok(plan) };
    let cover =
        if forced || wanted.asked.is_some() { Cover::None } else { covered(services, wanted, now, wildcards).await? };
    if cover != Cover::None {
        plan.step = Step::Wait(Some(now + if cover == Cover::There { COVERED_LOOK } else { AWAITED_LOOK }));
        plan.state = State::Covered;
        plan.failure = None;
        return Ok(plan);
    }
    // One that another CA issued, or for other names, is not what is wanted, however valid.
    let ours = |issued: &Issued| {
        let known_ca = issued.meta.directory.is_empty() || acme.issuer_at(&issued.meta.directory).is_some();
        known_ca && issued.covers_all(&wanted.names)
    };
    let mut until = None;
    let mut replaces = None;
    if let Some(issued) = issued.as_ref().filter(|issued| ours(issued)) {
        plan.renew_at = Some(unix(issued.due()));
        plan.state = State::Valid;
        plan.issued_by = Some(issued.meta.directory.clone());
        replaces = issued.meta.ari.and_then(|ari| ari.window).and_then(|_| issued.identifier());
        if now < issued.due() && !forced {
            until = Some(issued.due());
            plan.ask_at = Some(issued.asks_at());
        }
    }
    let mut interrupted = false;
    // Nearly always there is none.
    if storage.read(&keys::order(&wanted.id)).await?.is_some() {
        for issuer in acme.issuers() {
            let acme = acme.asking(issuer);
            interrupted |= Record::load(&**storage, &acme, &wanted.id, &wanted.names).await?.is_some();
        }
    }
    if let Some(until) = until.filter(|_| !interrupted) {
        plan.step = Step::Wait(Some(until.max(now)));
        plan.failure = None;
        return Ok(plan);
    }
    match &plan.failure {
        Some(failure) if failure.holds(now) && !forced => {
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

/// What stands for all settings that decide whether these names can be had: the issuers', and those of whoever can
/// change their zones.
pub(super) fn settings(services: &Services, acme: &config::Acme, wanted: &Wanted) -> String {
    let zones = |solver: &Arc<dns::Solver>| format!("{:?} {:?}", solver.config, solver.config.settings);
    let mut all: Vec<String> = vec![settings_of(acme)];
    // A wildcard's answer may be in any zone, where a CNAME leads there.
    match wanted.names.iter().any(HostPattern::is_wildcard) {
        true => all.extend(services.dns.all().iter().map(zones)),
        false => {
            all.extend(wanted.names.iter().filter_map(|name| services.dns.covering(name.base())).map(|s| zones(&s)))
        }
    }
    super::short_hash(all.iter().map(String::as_str))
}

/// Whether another certificate makes an order needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    /// No.
    None,
    /// One that is wanted and has a wildcard will do, once it is there.
    Awaited,
    /// One is valid for all names, and will be for a while.
    There,
}

/// Looks for a certificate that an operator brought, or had generated with a wildcard, and that has all names.
async fn covered(
    services: &Services,
    wanted: &Wanted,
    now: SystemTime,
    wildcards: &Wildcards,
) -> Result<Cover, AcmeError> {
    let Some(first) = wanted.names.first() else { return Ok(Cover::There) };
    for certificate in services.table.all_for(&first.to_string()) {
        let id = certificate.id();
        if *id == wanted.id || !lasts(&certificate, now) || services.local.keeps(id) {
            continue;
        }
        let all = certificate.covers_all(&wanted.names);
        // Not one that ACME got for other routes: that one's renewal is not this one's business.
        if all && !is_generated(services, id).await? {
            return Ok(Cover::There);
        }
    }
    piggyback(services, wanted, now, wildcards).await
}

/// One wildcard serves the regular names of many apps, with no order for each. Names with a wildcard of their own
/// are ordered by themselves: so no two certificates ever wait for each other.
async fn piggyback(
    services: &Services,
    wanted: &Wanted,
    now: SystemTime,
    wildcards: &Wildcards,
) -> Result<Cover, AcmeError> {
    if wanted.names.iter().any(HostPattern::is_wildcard) {
        return Ok(Cover::None);
    }
    for (id, names) in wildcards.iter().filter(|(id, _)| *id != wanted.id) {
        if !wanted.names.iter().all(|name| names.iter().any(|other| other.covers(name))) {
            continue;
        }
        match services.table.get(id) {
            Some(certificate) if lasts(&certificate, now) && certificate.covers_all(&wanted.names) => {
                return Ok(Cover::There);
            }
            // It is on its way, unless it has failed: then the names are better off with a certificate of their own.
            None if Failure::load(&*services.storage, id).await?.is_none() => return Ok(Cover::Awaited),
            _ => {}
        }
    }
    Ok(Cover::None)
}

/// Whether ACME got it: what an operator brought has no word of a CA beside it.
async fn is_generated(services: &Services, id: &CertificateId) -> Result<bool, AcmeError> {
    let about = Vault::new(Arc::clone(&services.storage)).about(id).await?;
    Ok(about.is_some_and(|about| about.origin == Origin::Generated))
}

fn lasts(certificate: &Certificate, now: SystemTime) -> bool {
    let lifetime = from_unix(u64::try_from(certificate.not_after() - certificate.not_before()).unwrap_or(0));
    let lifetime = lifetime.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    certificate.is_valid_at(seconds(now)) && certificate.is_valid_at(seconds(now + COVERED_MARGIN.min(lifetime / 10)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::{Clock, Pace};
    use crate::certs::testing::{Order, TestCa};
    use crate::certs::{About, Bundle, Challenges, LocalIssuer, Table, unix_now};
    use crate::storage::MemoryStorage;

    fn services(folder: &std::path::Path) -> Services {
        let table = Arc::new(Table::new());
        let storage: Arc<dyn crate::storage::Storage> = Arc::new(MemoryStorage::new());
        let resolver = crate::dns::Resolver::new(&[]);
        Services {
            dns: Arc::new(crate::dns::Solvers::new(Arc::clone(&storage), resolver)),
            storage,
            local: Arc::new(LocalIssuer::new(folder.to_owned(), Arc::clone(&table))),
            table,
            challenges: Arc::new(Challenges::new()),
            clock: Clock::system(),
            pace: Pace::default(),
        }
    }

    fn wanted(id: &str, name: &str) -> Wanted {
        let names = vec![name.parse().expect("a name")];
        Wanted { id: CertificateId::new(id), names, self_signed_meanwhile: false, on_demand: false, asked: None }
    }

    /// Puts a certificate where it would be served from.
    async fn put(services: &Services, id: &str, name: &str, about: Option<Origin>) {
        let issued = TestCa::new("plan").issue(Order::new(&[name]));
        let text = format!("{}{}", issued.key, issued.certificate);
        let bundle = Bundle::from_text(CertificateId::new(id), id, text.as_bytes(), unix_now()).expect("sound");
        let vault = Vault::new(Arc::clone(&services.storage));
        let about = about.map(|origin| About { origin, since: 1, from: None });
        match about {
            Some(about) => vault.put(&bundle, &about).await.expect("stored"),
            None => {
                let key = crate::storage::keys::certificate(bundle.certificate.id());
                services.storage.write(&key, bundle.pem.as_bytes()).await.expect("stored");
            }
        }
        services.table.insert(bundle.certificate);
    }

    async fn state(services: &Services, wanted: &Wanted, wildcards: &Wildcards) -> State {
        let acme = Arc::new(config::Acme::default());
        plan(services, Some(&acme), wanted, false, wildcards).await.state
    }

    #[tokio::test]
    async fn one_wildcard_that_is_wanted_serves_the_names_below_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let services = services(folder.path());
        let (app, wild) = (wanted("app", "a.apps.test"), wanted("wild", "*.apps.test"));
        let wildcards = vec![(wild.id.clone(), wild.names.clone())];
        assert_eq!(state(&services, &app, &Vec::new()).await, State::Waiting, "nothing covers it");
        // Not there yet, but on its way; the wildcard itself waits for nobody.
        assert_eq!(state(&services, &app, &wildcards).await, State::Covered);
        assert_eq!(state(&services, &wild, &wildcards).await, State::Waiting);
        // It failed: the app is better off with its own.
        let error = AcmeError::Ended("invalid");
        let failure = Failure::after(None, &error, Pace::default(), services.clock.now());
        failure.save(&*services.storage, &wild.id).await.expect("stored");
        assert_eq!(state(&services, &app, &wildcards).await, State::Waiting);
        // There, though its last renewal failed.
        put(&services, "wild", "*.apps.test", None).await;
        assert_eq!(state(&services, &app, &wildcards).await, State::Covered);
        // Nobody wants it any more, so nobody renews it.
        assert_eq!(state(&services, &app, &Vec::new()).await, State::Waiting);
        // What an operator asked for is ordered whatever covers it.
        let asked = Wanted { asked: Some(crate::acme::Asked::default()), ..app };
        assert_eq!(state(&services, &asked, &wildcards).await, State::Waiting);
    }

    #[tokio::test]
    async fn what_failed_by_other_settings_is_tried_at_once_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let services = services(folder.path());
        let (one, acme) = (wanted("app", "a.apps.test"), Arc::new(config::Acme::default()));
        let eab = |key: &str| {
            let mut acme = config::Acme::default();
            acme.issuer.eab = Some(config::Eab { key_id: "id".to_owned(), hmac_key: key.to_owned() });
            Arc::new(acme)
        };
        let fail = async |acme: &Arc<config::Acme>| {
            let failure = Failure::after(None, &AcmeError::Ended("invalid"), Pace::default(), services.clock.now());
            let failure = failure.by(settings(&services, acme, &one));
            failure.save(&*services.storage, &one.id).await.expect("stored");
        };
        let step = async |acme: &Arc<config::Acme>| plan(&services, Some(acme), &one, false, &Vec::new()).await;
        fail(&acme).await;
        assert_eq!(step(&acme).await.state, State::Failing, "the same: it waits");
        let other = step(&eab("a")).await;
        assert!(other.state == State::Waiting && other.failure.is_none(), "another issuer: it begins anew");
        // A secret that was mended counts, though it is shown nowhere.
        fail(&eab("a")).await;
        assert_eq!(step(&eab("a")).await.state, State::Failing);
        assert_eq!(step(&eab("b")).await.state, State::Waiting);
        // So does whoever can change the name's zone.
        fail(&acme).await;
        let solver = |zone: &str, token: &str| {
            let provider = config::DnsProvider::find("cloudflare").expect("known");
            let token = [("api_token".to_owned(), token.to_owned())].into();
            config::DnsSolver::new("s".to_owned(), provider, vec![zone.parse().expect("a zone")], token).expect("sound")
        };
        services.dns.configure(&[solver("other.test", "x")], crate::dns::Resolver::new(&[]));
        assert_eq!(step(&acme).await.state, State::Failing, "another's zone");
        services.dns.configure(&[solver("apps.test", "x")], crate::dns::Resolver::new(&[]));
        assert_eq!(step(&acme).await.state, State::Waiting);
        fail(&acme).await;
        services.dns.configure(&[solver("apps.test", "y")], crate::dns::Resolver::new(&[]));
        assert_eq!(step(&acme).await.state, State::Waiting, "its token was mended");
    }

    #[tokio::test]
    async fn what_an_operator_brought_covers_and_what_a_ca_gave_for_others_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let services = services(folder.path());
        let app = wanted("app", "a.apps.test");
        put(&services, "other-route", "*.apps.test", None).await;
        assert_eq!(state(&services, &app, &Vec::new()).await, State::Waiting);
        put(&services, "brought", "*.apps.test", Some(Origin::Imported)).await;
        assert_eq!(state(&services, &app, &Vec::new()).await, State::Covered);
    }
}
