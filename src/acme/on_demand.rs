//! [`OnDemandIssuer`]: a certificate by ACME at a name's first handshake, where `[on_demand]` allows it.
//!
//! A handshake runs on the data plane and may be cut at any time; what it began goes on on the control plane. A
//! name that nobody may have is turned away by the [`Guard`] and then by the `ask` URL, before a CA hears of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::ask::{Asker, Verdict};
use super::guard::{Guard, Place};
use super::{Manager, Wanted, certificate_id};
use crate::certs::{BoxFuture, OnDemand, OnDemandError, Table};
use crate::config;
use crate::names::{HostMap, HostPattern, Hostname};
use crate::storage::{Storage, StorageError, keys};

/// How long it is remembered that the `ask` URL could not say: it may be back soon.
const NO_VERDICT: Duration = Duration::from_secs(5);
const STOPPING: &str = "doorward is stopping";
/// How long after an order its certificate may take from the storage to the table.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Issues at handshakes.
#[derive(Debug)]
pub struct OnDemandIssuer {
    inner: Arc<Inner>,
    control: Handle,
}

#[derive(Debug)]
struct Inner {
    /// Not held: a manager that has to end is not kept by who would ask it.
    manager: Weak<Manager>,
    table: Arc<Table>,
    storage: Arc<dyn Storage>,
    settings: ArcSwapOption<Settings>,
    guard: Mutex<Guard>,
    under_way: Mutex<HashMap<Hostname, Waiting>>,
}

/// What the config says.
#[derive(Debug)]
struct Settings {
    config: config::OnDemand,
    /// Which hosts have their certificates on demand; false: they have routes that do not.
    hosts: HostMap<bool>,
    asker: Arc<Asker>,
    /// Turns for questions, and for orders: names that are refused hold up no order.
    questions: Semaphore,
    orders: Semaphore,
}

type Outcome = Result<(), OnDemandError>;
type Waiting = watch::Receiver<Option<Outcome>>;

impl OnDemandIssuer {
    /// One that issues nothing until [`OnDemandIssuer::update`]. Call it within the control plane's runtime.
    #[must_use]
    pub fn new(manager: &Arc<Manager>, table: Arc<Table>, storage: Arc<dyn Storage>) -> Self {
        let (settings, guard, under_way) = (ArcSwapOption::empty(), Mutex::default(), Mutex::default());
        let manager = Arc::downgrade(manager);
        let inner = Arc::new(Inner { manager, table, storage, settings, guard, under_way });
        Self { inner, control: Handle::current() }
    }

    /// Takes up what the config says: the section, and for which hosts routes want it (true) or do not (false).
    /// Names that got their certificates before are looked after from then on, or no longer.
    ///
    /// # Errors
    /// [`StorageError`], where those names cannot be listed.
    pub async fn update(&self, config: Option<&config::OnDemand>, hosts: HostMap<bool>) -> Result<(), StorageError> {
        let asker = config.map(|config| (config, Asker::new(config)));
        let settings = match asker {
            Some((config, Ok(asker))) => {
                let turns = || Semaphore::new(config.under_way);
                let asker = Arc::new(asker);
                Some(Settings { config: config.clone(), hosts, asker, questions: turns(), orders: turns() })
            }
            Some((_, Err(error))) => {
                tracing::error!(%error, "no certificates on demand: the ask URL cannot be asked");
                None
            }
            None => None,
        };
        let Some(manager) = self.inner.manager.upgrade() else { return Ok(()) };
        manager.permit(settings.as_ref().map(|settings| Arc::clone(&settings.asker)));
        let wanted = settings.is_some();
        self.inner.settings.store(settings.map(Arc::new));
        if wanted {
            for key in self.inner.storage.list(keys::ON_DEMAND).await? {
                let name = keys::on_demand_name(&key).and_then(|name| Hostname::parse(&name).ok());
                name.iter().for_each(|name| manager.look_after(wanted_for(name)));
            }
        }
        Ok(())
    }
}

impl OnDemand for OnDemandIssuer {
    fn obtain(&self, name: Hostname, client: IpAddr) -> BoxFuture<'_, Outcome> {
        let Some(settings) = self.inner.settings.load_full() else {
            return Box::pin(std::future::ready(Err(OnDemandError::NotAllowed)));
        };
        let started = self.inner.start(&settings, &name, client, &self.control);
        Box::pin(async move {
            let mut waiting = started?;
            let wait = settings.config.wait;
            match tokio::time::timeout(wait, waiting.wait_for(Option::is_some)).await {
                Ok(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
                Ok(Err(_)) => Err(OnDemandError::Failed(STOPPING.to_owned())),
                Err(_) => {
                    let message = format!("it takes longer than {}; it goes on", humantime::format_duration(wait));
                    Err(OnDemandError::Failed(message))
                }
            }
        })
    }
}

impl Inner {
    /// Begins, or joins who began.
    fn start(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        name: &Hostname,
        client: IpAddr,
        control: &Handle,
    ) -> Result<Waiting, OnDemandError> {
        if settings.hosts.find(name.as_str()) != Some(&true) {
            return Err(OnDemandError::NotAllowed);
        }
        let now = self.now()?;
        self.guard().look(&settings.config, name, now)?;
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.entry(name.clone()) {
            Entry::Occupied(there) => Ok(there.get().clone()),
            Entry::Vacant(free) => {
                let place = self.guard().enter(&settings.config, name, client, now)?;
                let (done, waiting) = watch::channel(None);
                free.insert(waiting.clone());
                let visit = Visit { inner: Arc::clone(self), name: name.clone(), place };
                let settings = Arc::clone(settings);
                control.spawn(async move {
                    let outcome = visit.inner.get(&settings, &visit.name, client).await;
                    if let Err(error) = &outcome {
                        tracing::debug!(name = %visit.name, %client, %error, "no certificate on demand");
                    }
                    drop(visit);
                    done.send_replace(Some(outcome));
                });
                Ok(waiting)
            }
        }
    }

    /// Asks, and then orders.
    async fn get(&self, settings: &Settings, name: &Hostname, client: IpAddr) -> Outcome {
        let config = &settings.config;
        let now = self.now()?;
        let known = self.guard().is_allowed(name, now);
        let verdict = if known {
            Verdict::Allowed
        } else {
            // The semaphores are never closed.
            let _turn = settings.questions.acquire().await;
            settings.asker.ask(name, Some(client)).await
        };
        let now = self.now()?;
        match verdict {
            Verdict::Allowed => self.guard().allow(config, name, now),
            Verdict::Refused(_) => {
                self.guard().refuse(name, OnDemandError::NotAllowed, config.refused_for, now);
                return Err(OnDemandError::NotAllowed);
            }
            Verdict::Unknown(why) => {
                tracing::warn!(%name, why, "it cannot be said whether the name may have a certificate");
                let error = OnDemandError::Failed(why);
                self.guard().refuse(name, error.clone(), NO_VERDICT.min(config.refused_for), now);
                return Err(error);
            }
        }
        let room = self.guard().take_order(config, name, now);
        let ordered = match room {
            Ok(()) => {
                let _turn = settings.orders.acquire().await;
                self.order(name).await.map_err(OnDemandError::Failed)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &ordered {
            let now = self.now()?;
            self.guard().refuse(name, error.clone(), config.refused_for, now);
        }
        ordered
    }

    async fn order(&self, name: &Hostname) -> Result<(), String> {
        let mut changed = self.table.changed();
        let manager = self.manager.upgrade().ok_or(STOPPING)?;
        let wanted = wanted_for(name);
        manager.obtain(wanted.clone()).await?;
        let kept = self.storage.write(&keys::on_demand(name.as_str()), b"{}").await;
        kept.map_err(|error| error.to_string())?;
        manager.look_after(wanted);
        let arrived = async { while !self.table.has(name.as_str()) && changed.changed().await.is_ok() {} };
        match tokio::time::timeout(ARRIVAL, arrived).await {
            Ok(()) => Ok(()),
            Err(_) => Err("the certificate was issued, and does not arrive from the storage".to_owned()),
        }
    }

    fn now(&self) -> Result<SystemTime, OnDemandError> {
        let manager = self.manager.upgrade().ok_or_else(|| OnDemandError::Failed(STOPPING.to_owned()))?;
        Ok(manager.now())
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name under way. However it ends, its place is free again.
struct Visit {
    inner: Arc<Inner>,
    name: Hostname,
    place: Place,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        self.inner.guard().leave(&self.place);
    }
}

/// The certificate for one name.
fn wanted_for(name: &Hostname) -> Wanted {
    let names = vec![HostPattern::Exact(name.clone())];
    Wanted { id: certificate_id(&names), names, self_signed_meanwhile: false, on_demand: true, asked: None }
}
