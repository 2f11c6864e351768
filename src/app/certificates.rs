//! Where certificates come from: watched folders, the storage, ACME, the local CA. All lead into one table.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use prometheus::Registry;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::{Options, StartError};
use crate::acme::{self, Asked, Clock, Manager, OnDemandIssuer, Pace, Services, Wanted};
use crate::certs::{Challenges, Directory, DirectoryHandle, LocalIssuer, OnDemand, Stored, Table, Vault, Wish};
use crate::config::{
    CertificateChoice, CertificateId, Config, HttpsPolicy, KeyType, Route, RouteHost, Storage as StorageConfig,
};
use crate::dns::{Resolver, Solvers};
use crate::drain::Watch;
use crate::names::{HostMap, HostPattern};
use crate::storage::{Events, FileStorage, MemoryStorage, Storage, StorageError, keys};

/// What the certificates share with the rest of the app.
pub(super) struct Given {
    /// What HTTP-01 is answered with.
    pub(super) challenges: Arc<Challenges>,
    /// Told when an operator wants something else than before.
    pub(super) refresh: Arc<Notify>,
}

/// All sources of one process.
pub(super) struct Sources {
    table: Arc<Table>,
    vault: Vault,
    challenges: Arc<Challenges>,
    local: Arc<LocalIssuer>,
    directory: DirectoryHandle,
    /// None once stopped.
    manager: Option<Arc<Manager>>,
    on_demand: Arc<OnDemandIssuer>,
    dns: Arc<Solvers>,
    /// Whether what is written to the storage is still there after a restart.
    durable: bool,
}

/// Why a config cannot be put in force while running.
#[derive(Debug, thiserror::Error)]
#[error(
    "a route has `certificate = \"auto\"` or \"self-signed\", but the storage could not be opened at the start; \
     see [storage] and restart doorward"
)]
pub struct NotDurable;

impl Sources {
    /// Loads everything that is there, then keeps up with it until the drain.
    pub(super) fn start(
        runtime: &Runtime,
        config: &Config,
        options: &Options,
        given: Given,
        registry: &Registry,
        drain: &Watch,
    ) -> Result<Self, StartError> {
        let table = Arc::clone(&options.table);
        let (storage, durable) = match &options.storage {
            Some(storage) => (Arc::clone(storage), true),
            None => open(config)?,
        };
        let Given { challenges, refresh } = given;
        let vault = Vault::new(Arc::clone(&storage));
        let _runtime = runtime.enter();
        let directory = Directory::start(config.certificates.directories.clone(), Arc::clone(&table));
        table.set_pins(pins(config));
        let events = runtime.block_on(challenges.load(&*storage, SystemTime::now()))?;
        let stored = runtime.block_on(Stored::load(Arc::clone(&storage), Arc::clone(&table)))?;
        runtime.spawn(stored.follow(drain.clone()));
        runtime.spawn({
            let (challenges, storage, drain) = (Arc::clone(&challenges), Arc::clone(&storage), drain.clone());
            async move { challenges.follow(&*storage, events, drain).await }
        });
        let disabled = Arc::clone(table.disabled());
        let events = runtime.block_on(disabled.load(&*storage))?;
        runtime.spawn({
            let (storage, drain) = (Arc::clone(&storage), drain.clone());
            async move { disabled.follow(&*storage, events, drain).await }
        });
        let events = runtime.block_on(storage.watch(keys::WANTED))?;
        runtime.spawn(tell(events, refresh, drain.clone()));
        let dns = Arc::new(Solvers::new(Arc::clone(&storage), Resolver::new(&config.resolvers)));
        dns.configure(&config.dns, Resolver::new(&config.resolvers));
        let dns_events = runtime.block_on(dns.load())?;
        runtime.spawn({
            let (dns, drain) = (Arc::clone(&dns), drain.clone());
            async move { dns.follow(dns_events, drain).await }
        });
        let own = || Arc::new(LocalIssuer::new(local_ca(config), Arc::clone(&table)));
        let local = options.local.clone().unwrap_or_else(own);
        runtime.spawn({
            let (local, drain) = (Arc::clone(&local), drain.clone());
            async move { local.run(drain).await }
        });
        let (clock, pace) = (Clock::system(), Pace::default());
        let on_storage = Arc::clone(&storage);
        let (answers, own, by_dns) = (Arc::clone(&challenges), Arc::clone(&local), Arc::clone(&dns));
        let services =
            Services { storage, table: Arc::clone(&table), challenges: answers, dns: by_dns, local: own, clock, pace };
        let manager = Arc::new(Manager::new(services, registry, drain.clone())?);
        let on_demand = Arc::new(OnDemandIssuer::new(&manager, Arc::clone(&table), on_storage));
        let wishes = runtime.block_on(vault.wishes())?;
        manager.update(config.acme.clone(), wanted(config, &wishes), &self_signed(config));
        runtime.block_on(on_demand.update(config.on_demand.as_ref(), on_demand_hosts(config)))?;
        Ok(Self { table, vault, challenges, local, directory, manager: Some(manager), on_demand, dns, durable })
    }

    /// Whether a new config can be put in force.
    pub(super) fn check(&self, config: &Config) -> Result<(), NotDurable> {
        if self.durable || !needs_storage(config) { Ok(()) } else { Err(NotDurable) }
    }

    /// Takes up what a new config says.
    pub(super) async fn update(&self, config: &Config) {
        self.directory.update(config.certificates.directories.clone()).await;
        self.table.set_pins(pins(config));
        self.dns.configure(&config.dns, Resolver::new(&config.resolvers));
        let Some(manager) = &self.manager else { return };
        match self.vault.wishes().await {
            Ok(wishes) => manager.update(config.acme.clone(), wanted(config, &wishes), &self_signed(config)),
            // Without them they would no longer be renewed.
            Err(error) => tracing::error!(%error, "what is wanted cannot be read; the next reload tries again"),
        }
        let hosts = on_demand_hosts(config);
        if let Err(error) = self.on_demand.update(config.on_demand.as_ref(), hosts).await {
            tracing::error!(%error, "the names that are served on demand cannot be read");
        }
    }

    /// Who gets certificates at handshakes.
    pub(super) fn on_demand(&self) -> Arc<dyn OnDemand> {
        Arc::clone(&self.on_demand) as Arc<dyn OnDemand>
    }

    pub(super) fn directory(&self) -> &DirectoryHandle {
        &self.directory
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(super) fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    pub(super) fn local(&self) -> &Arc<LocalIssuer> {
        &self.local
    }

    pub(super) fn manager(&self) -> Weak<Manager> {
        self.manager.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether ACME keeps this certificate up; if so, it is ordered now.
    pub(super) fn order_now(&self, id: &CertificateId) -> bool {
        self.manager.as_ref().is_some_and(|manager| manager.renew(id))
    }

    pub(super) fn acme(&self) -> Vec<acme::Status> {
        self.manager.as_ref().map(|manager| manager.status()).unwrap_or_default()
    }

    pub(super) fn issuers(&self) -> Vec<acme::IssuerStatus> {
        self.manager.as_ref().map(|manager| manager.issuers()).unwrap_or_default()
    }

    /// Orders nothing any more. What is under way goes on at the next start.
    pub(super) fn stop(&mut self) {
        self.manager = None;
    }
}

/// The storage that the config names, and whether it lasts. Where nothing needs one, none has to be there:
/// who brings all certificates need not give doorward a folder to write to.
fn open(config: &Config) -> Result<(Arc<dyn Storage>, bool), StorageError> {
    let StorageConfig::File { path } = &config.storage;
    match FileStorage::open(path) {
        Ok(storage) => Ok((Arc::new(storage), true)),
        Err(error) if needs_storage(config) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "goes on without storage: nothing needs it");
            Ok((Arc::new(MemoryStorage::new()), false))
        }
    }
}

fn needs_storage(config: &Config) -> bool {
    let made = |route: &Route| {
        use CertificateChoice::{Auto, OnDemand, SelfSigned};
        matches!(route.certificate, Auto | SelfSigned | OnDemand)
    };
    config.routes.iter().any(|route| made(route))
}

/// Where the local CA of a config is.
#[must_use]
pub fn local_ca(config: &Config) -> PathBuf {
    let StorageConfig::File { path } = &config.storage;
    path.join("local-ca")
}

/// The certificates that routes name, by host; none for a host whose own route names none, whatever a route for a
/// wildcard above it does.
pub(super) fn pins(config: &Config) -> HostMap<Option<CertificateId>> {
    let mut pins: HostMap<Option<CertificateId>> = HostMap::new();
    let named = |route: &Route| match &route.certificate {
        CertificateChoice::Id(id) => Some(id.clone()),
        _ => None,
    };
    if config.routes.iter().all(|route| named(route).is_none()) {
        return pins;
    }
    for route in &config.routes {
        for host in &route.hosts {
            let pin = match host {
                RouteHost::Pattern(pattern) => pins.entry(pattern.clone()),
                RouteHost::Any => pins.default_mut(),
            };
            // A host can be on several routes, by path.
            *pin = named(route).or(pin.take());
        }
    }
    pins
}

/// Has what operators want looked at again whenever it changes, on this node or another.
async fn tell(mut events: Events, refresh: Arc<Notify>, mut drain: Watch) {
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(_) => refresh.notify_one(),
                None => return,
            },
            _ = drain.signaled() => return,
        }
    }
}

/// One certificate for each route that has it from ACME, and for each that an operator had generated.
pub(super) fn wanted(config: &Config, wishes: &[Wish]) -> Vec<Wanted> {
    let of_acme = |route: &&Arc<Route>| route.certificate == CertificateChoice::Auto && route.https != HttpsPolicy::Off;
    let wanted = |route: &Arc<Route>| {
        let names: Vec<HostPattern> = patterns(route).collect();
        let id = acme::certificate_id(&names);
        (!names.is_empty()).then_some(Wanted {
            id,
            names,
            self_signed_meanwhile: route.self_signed_until_issued,
            on_demand: false,
            asked: None,
        })
    };
    config.routes.iter().filter(of_acme).filter_map(wanted).chain(wishes.iter().filter_map(wish)).collect()
}

fn wish(wish: &Wish) -> Option<Wanted> {
    let names: Vec<HostPattern> = wish.names.iter().filter_map(|name| HostPattern::parse(name).ok()).collect();
    let id = CertificateId::new(wish.id.as_str());
    (!names.is_empty()).then_some(Wanted {
        id,
        names,
        self_signed_meanwhile: false,
        on_demand: false,
        asked: Some(asked(wish)),
    })
}

/// What an operator wants otherwise than `[acme]` has it.
pub(super) fn asked(wish: &Wish) -> Asked {
    let key = wish.key.as_deref().and_then(key_type);
    Asked { issuer: wish.issuer.clone(), key, profile: wish.profile.clone() }
}

/// The kind of key by its word in the config.
pub(super) fn key_type(word: &str) -> Option<KeyType> {
    match word {
        "p256" => Some(KeyType::P256),
        "p384" => Some(KeyType::P384),
        "rsa2048" => Some(KeyType::Rsa2048),
        _ => None,
    }
}

/// For which hosts certificates are got at handshakes (true), and for which they are not.
fn on_demand_hosts(config: &Config) -> HostMap<bool> {
    let mut hosts = HostMap::new();
    for route in &config.routes {
        let wanted = route.certificate == CertificateChoice::OnDemand && route.https != HttpsPolicy::Off;
        for host in &route.hosts {
            // A host can be on several routes, by path.
            match host {
                RouteHost::Pattern(pattern) => *hosts.entry(pattern.clone()) |= wanted,
                RouteHost::Any => *hosts.default_mut() |= wanted,
            }
        }
    }
    hosts
}

/// One certificate for each route that has it from the local CA.
fn self_signed(config: &Config) -> Vec<(CertificateId, Vec<HostPattern>)> {
    let routes = config.routes.iter().filter(|route| route.certificate == CertificateChoice::SelfSigned);
    routes.map(|route| (CertificateId::new(format!("self-signed-{}", route.name)), patterns(route).collect())).collect()
}

fn patterns(route: &Route) -> impl Iterator<Item = HostPattern> + '_ {
    route.hosts.iter().filter_map(|host| match host {
        RouteHost::Pattern(pattern) => Some(pattern.clone()),
        RouteHost::Any => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_its_own_has_no_pin_of_the_wildcard_above_it() {
        let route = |hosts: &str, rest: &str| format!("[[route]]\nhosts = [{hosts}]\nbackend = 1\n{rest}\n");
        let pinned = "certificate = \"one\"";
        let text = format!(
            "[[listener]]\naddress = \":443\"\n{}{}{}",
            route("\"*.a.test\", \"b.test\"", pinned),
            route("\"own.a.test\"", "certificate = \"auto\""),
            route("\"b.test\"", "path = \"/x\""),
        );
        let pins = pins(&crate::config::parse(&text).expect("a config").config);
        let of = |host: &str| pins.find(host).cloned().flatten().map(|id| id.to_string());
        assert_eq!(of("any.a.test").as_deref(), Some("one"));
        assert_eq!(of("own.a.test"), None);
        assert_eq!(of("b.test").as_deref(), Some("one"), "one of its routes names it");
        assert_eq!(of("c.test"), None);
    }
}
