//! [`Node`]: the rooms that get and hold certificates, wired as doorward wires them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use doorward::acme::{Clock, ClockHand, Manager, Pace, Services, State, Status, Wanted, certificate_id};
use doorward::certs::{Certificate, Challenges, LocalIssuer, Stored, Table};
use doorward::config::{self, CertificateId};
use doorward::dns::{Resolver, Solvers};
use doorward::drain::{self, Drain};
use doorward::names::HostPattern;
use doorward::storage::{FileStorage, Storage};
use tokio::task::JoinSet;

use super::net::Responder;
use super::until;

pub struct Node {
    pub table: Arc<Table>,
    pub manager: Arc<Manager>,
    pub registry: prometheus::Registry,
    pub hand: ClockHand,
    /// Nobody can change a zone until this is configured.
    pub dns: Arc<Solvers>,
    _drain: Drain,
    _followers: JoinSet<()>,
    _local: tempfile::TempDir,
}

/// A storage folder of its own.
pub fn folder() -> (tempfile::TempDir, Arc<dyn Storage>) {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(&folder);
    (folder, storage)
}

pub fn open(folder: &tempfile::TempDir) -> Arc<dyn Storage> {
    Arc::new(FileStorage::open(folder.path()).expect("opens"))
}

pub fn names(list: &[&str]) -> Vec<HostPattern> {
    list.iter().map(|name| name.parse().expect("a name")).collect()
}

pub fn wanted(list: &[&str]) -> Wanted {
    let names = names(list);
    Wanted { id: certificate_id(&names), names, self_signed_meanwhile: false, on_demand: false, asked: None }
}

impl Node {
    /// A node that wants nothing yet and answers on port 80 through `responder`.
    pub async fn new(storage: Arc<dyn Storage>, responder: &Responder) -> Self {
        let (table, challenges) = (Arc::new(Table::new()), Arc::new(Challenges::new()));
        responder.set(Some(Arc::clone(&challenges)));
        let (drain, watch) = drain::channel();
        let mut followers = JoinSet::new();
        let stored = Stored::load(Arc::clone(&storage), Arc::clone(&table)).await.expect("loads");
        followers.spawn(stored.follow(watch.clone()));
        let events = challenges.load(&*storage, SystemTime::now()).await.expect("loads");
        followers.spawn({
            let (challenges, storage, watch) = (Arc::clone(&challenges), Arc::clone(&storage), watch.clone());
            async move { challenges.follow(&*storage, events, watch).await }
        });
        let (clock, hand) = Clock::adjustable();
        let local = tempfile::tempdir().expect("a folder");
        let dns = Arc::new(Solvers::new(Arc::clone(&storage), Resolver::new(&[])));
        let services = Services {
            storage,
            table: Arc::clone(&table),
            challenges,
            dns: Arc::clone(&dns),
            local: Arc::new(LocalIssuer::new(local.path().join("local-ca"), Arc::clone(&table))),
            clock,
            pace: Pace { first: Duration::from_millis(200), longest: Duration::from_secs(2) },
        };
        let registry = prometheus::Registry::new();
        let manager = Arc::new(Manager::new(services, &registry, watch).expect("a manager"));
        Self { table, manager, registry, hand, dns, _drain: drain, _followers: followers, _local: local }
    }

    /// A node that wants a certificate for each list of names.
    pub async fn wanting(
        storage: Arc<dyn Storage>,
        responder: &Responder,
        acme: config::Acme,
        lists: &[&[&str]],
    ) -> Self {
        let node = Self::new(storage, responder).await;
        node.manager.update(Some(acme), lists.iter().map(|list| wanted(list)).collect(), &[]);
        node
    }

    /// What is served for these names, once it is.
    pub async fn serves(&self, list: &[&str]) -> Arc<Certificate> {
        let id = wanted(list).id;
        until(&format!("{list:?} is served; {:?}", self.manager.status()), || self.table.get(&id)).await
    }

    /// What is served for these names once it is another than `old`.
    pub async fn renews(&self, list: &[&str], old: &Certificate) -> Arc<Certificate> {
        let id = wanted(list).id;
        until("renewed", || self.table.get(&id).filter(|new| new.serial() != old.serial())).await
    }

    pub fn status(&self, list: &[&str]) -> Status {
        let id = wanted(list).id.to_string();
        self.manager.status().into_iter().find(|status| status.id == id).expect("it is wanted")
    }

    pub async fn reaches(&self, list: &[&str], state: State) -> Status {
        until(&format!("{list:?} is {state:?}"), || Some(self.status(list)).filter(|s| s.state == state)).await
    }

    pub fn counted(&self, outcome: &str) -> f64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|f| f.name() == "doorward_acme_orders_total").flat_map(|f| f.get_metric());
        let is = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == outcome);
        metrics.filter(is).map(|m| m.get_counter().get_value()).sum()
    }
}

pub fn id(list: &[&str]) -> CertificateId {
    wanted(list).id
}
