//! [`Alone`]: certificates are ordered with no doorward running, by this process and for as long as it takes.
//!
//! The same manager orders as in a running doorward, under the same locks, for the one certificate that is meant. A
//! CA's questions are answered through the DNS solvers, and by the config's listeners where their ports are free.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::doors::Doors;
use super::{Desk, Live, now};
use crate::acme::{Clock, Dns01, Manager, Pace, Services, Solver as _, State};
use crate::admin::certs::{Refused, Reply, Request};
use crate::app::StartError;
use crate::app::certificates::{local_ca, wanted};
use crate::certs::{Challenges, LocalIssuer};
use crate::config::{CertificateId, Config};
use crate::dns::{Resolver, Solvers};
use crate::drain::{self, Drain};
use crate::metrics::Metrics;

/// How long the end of an order may take once its certificate is there: records and answers are taken back.
const TAKE_BACK: Duration = Duration::from_secs(30);
/// How often it is looked whether an order has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A process that orders by itself.
pub struct Alone {
    /// What there is, before anything is looked after.
    shelf: Desk,
    /// The same with a manager.
    desk: Desk,
    manager: Arc<Manager>,
    dns: Arc<Solvers>,
    drain: Drain,
    _doors: Doors,
    /// What was asked for.
    asked: Option<CertificateId>,
}

impl Alone {
    /// Opens the storage and those listeners that can be opened. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(mut config: Config) -> Result<Self, StartError> {
        let challenges = Arc::new(Challenges::new());
        let doors = Doors::open(&config, &challenges)?;
        config.acme = config.acme.map(|acme| acme.proving_by(|challenge| doors.can(challenge)));
        let (drain, watch) = drain::channel();
        let (shelf, stored) = Desk::on_storage(config).await?;
        tokio::spawn(stored.follow(watch.clone()));
        let (storage, table, config) = (shelf.vault.storage(), &shelf.table, &shelf.config);
        let dns = Arc::new(Solvers::new(Arc::clone(storage), Resolver::new(&config.resolvers)));
        dns.configure(&config.dns, Resolver::new(&config.resolvers));
        drop(dns.load().await?);
        let local = Arc::new(LocalIssuer::new(local_ca(config), Arc::clone(table)));
        let services = Services {
            storage: Arc::clone(storage),
            table: Arc::clone(table),
            challenges: Arc::clone(&challenges),
            dns: Arc::clone(&dns),
            local: Arc::clone(&local),
            clock: Clock::system(),
            pace: Pace::default(),
        };
        let manager = Arc::new(Manager::new(services, &Metrics::default().registry(), watch)?);
        let live = Live {
            manager: Arc::downgrade(&manager),
            local,
            challenges,
            refresh: Arc::new(Notify::new()),
            durable: true,
            shut: doors.shut.clone().into(),
        };
        // Its listeners serve nobody.
        let desk = Desk { live: Some(live), listeners: Vec::new(), ..shelf.clone() };
        Ok(Self { shelf, desk, manager, dns, drain, _doors: doors, asked: None })
    }

    /// Does what is asked. Orders go on until [`Alone::finish`].
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn serve(&mut self, request: Request) -> Result<Reply, Refused> {
        match request {
            Request::Generate(generate) => {
                let began = now();
                let done = self.desk.generate(generate).await?;
                let id = CertificateId::new(done.id.as_str());
                self.look_after(&id).await?;
                // Who asks again does not want to wait for the next attempt after a failure.
                let status = self.manager.status_one(&id).filter(|status| status.state == State::Failing);
                if status.and_then(|status| status.last_failure).is_some_and(|at| at < began) {
                    self.manager.renew(&id);
                }
                Ok(Reply::Done(done))
            }
            Request::Renew { id, force } => {
                let id = self.shelf.find(&id).await?;
                self.look_after(&id).await?;
                self.desk.renew(id.as_str(), force).await.map(Reply::Done)
            }
            // Nobody looks after anything yet: what is wanted tells the config.
            other if self.asked.is_none() => self.shelf.serve(other).await,
            other => self.desk.serve(other).await,
        }
    }

    /// Has the manager look after this one, and no other.
    async fn look_after(&mut self, id: &CertificateId) -> Result<(), Refused> {
        let (config, wishes) = (&self.shelf.config, self.shelf.vault.wishes().await?);
        let this = wanted(config, &wishes).into_iter().filter(|wanted| wanted.id == *id).collect();
        self.manager.update(config.acme.clone(), this, &[]);
        self.desk.settled(id).await;
        self.asked = Some(id.clone());
        Ok(())
    }

    /// Ends it: lets the order clear away after itself where it `is_done`, and cuts it where it was given up; the next
    /// command, or the next start of doorward, then goes on with it. DNS records are removed either way.
    pub async fn finish(self, is_done: bool) {
        let Self { manager, dns, drain, asked, .. } = self;
        let Some(id) = asked else { return };
        let until = Instant::now() + TAKE_BACK;
        // What it does not manage is tried once more below.
        while is_done
            && Instant::now() < until
            && manager.status_one(&id).is_some_and(|status| status.state == State::Ordering)
        {
            tokio::time::sleep(LOOK).await;
        }
        drop(manager);
        drain.drain(Duration::from_secs(1)).await;
        Dns01::new(dns).finish(&id).await;
    }
}
