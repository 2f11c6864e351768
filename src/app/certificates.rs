//! Where certificates come from: watched folders, the storage, ACME, the local CA. All lead into one table.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus::Registry;
use tokio::runtime::Runtime;

use super::{Options, StartError};
use crate::acme::{self, Clock, Manager, Pace, Services, Wanted};
use crate::certs::{Challenges, Directory, DirectoryHandle, LocalIssuer, Stored, Table};
use crate::config::{
    CertificateChoice, CertificateId, Config, HttpsPolicy, Route, RouteHost, Storage as StorageConfig,
};
use crate::drain::Watch;
use crate::names::{HostMap, HostPattern};
use crate::storage::{FileStorage, MemoryStorage, Storage, StorageError};

/// All sources of one process.
pub(super) struct Sources {
    table: Arc<Table>,
    directory: DirectoryHandle,
    /// None once stopped.
    manager: Option<Manager>,
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
        challenges: Arc<Challenges>,
        registry: &Registry,
        drain: &Watch,
    ) -> Result<Self, StartError> {
        let table = Arc::clone(&options.table);
        let (storage, durable) = match &options.storage {
            Some(storage) => (Arc::clone(storage), true),
            None => open(config)?,
        };
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
        let own = || Arc::new(LocalIssuer::new(local_ca(config), Arc::clone(&table)));
        let local = options.local.clone().unwrap_or_else(own);
        runtime.spawn({
            let (local, drain) = (Arc::clone(&local), drain.clone());
            async move { local.run(drain).await }
        });
        let (clock, pace) = (Clock::system(), Pace::default());
        let services = Services { storage, table: Arc::clone(&table), challenges, local, clock, pace };
        let manager = Manager::new(services, registry, drain.clone())?;
        manager.update(config.acme.clone(), wanted(config), &self_signed(config));
        Ok(Self { table, directory, manager: Some(manager), durable })
    }

    /// Whether a new config can be put in force.
    pub(super) fn check(&self, config: &Config) -> Result<(), NotDurable> {
        if self.durable || !needs_storage(config) { Ok(()) } else { Err(NotDurable) }
    }

    /// Takes up what a new config says.
    pub(super) async fn update(&self, config: &Config) {
        self.directory.update(config.certificates.directories.clone()).await;
        self.table.set_pins(pins(config));
        if let Some(manager) = &self.manager {
            manager.update(config.acme.clone(), wanted(config), &self_signed(config));
        }
    }

    pub(super) fn directory(&self) -> &DirectoryHandle {
        &self.directory
    }

    pub(super) fn acme(&self) -> Vec<acme::Status> {
        self.manager.as_ref().map(Manager::status).unwrap_or_default()
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
    let made = |route: &Route| matches!(route.certificate, CertificateChoice::Auto | CertificateChoice::SelfSigned);
    config.routes.iter().any(|route| made(route))
}

/// Where the local CA is.
fn local_ca(config: &Config) -> PathBuf {
    let StorageConfig::File { path } = &config.storage;
    path.join("local-ca")
}

/// The certificates that routes name, by host.
fn pins(config: &Config) -> HostMap<CertificateId> {
    let mut pins = HostMap::new();
    for route in &config.routes {
        let CertificateChoice::Id(id) = &route.certificate else { continue };
        for host in &route.hosts {
            match host {
                RouteHost::Pattern(pattern) => drop(pins.insert(pattern.clone(), id.clone())),
                RouteHost::Any => drop(pins.set_default(id.clone())),
            }
        }
    }
    pins
}

/// One certificate for each route that has it from ACME.
fn wanted(config: &Config) -> Vec<Wanted> {
    let of_acme = |route: &&Arc<Route>| route.certificate == CertificateChoice::Auto && route.https != HttpsPolicy::Off;
    let wanted = |route: &Arc<Route>| {
        let names: Vec<HostPattern> = patterns(route).collect();
        let id = acme::certificate_id(&names);
        (!names.is_empty()).then_some(Wanted { id, names, self_signed_meanwhile: route.self_signed_until_issued, asked: None })
    };
    config.routes.iter().filter(of_acme).filter_map(wanted).collect()
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
