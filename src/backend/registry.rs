//! [`Registry`]: which backends there are, over all reloads. It lives in the control plane.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::health::{self, Judge};
use super::names::{Found, Subject, Target};
use super::{Backend, BackendAddress, Duty, Endpoint, Member, StickyKey, Transport, TransportError};
use crate::config::{self, BackendTls};
use crate::drain::Watch;
use crate::names::Hostname;

/// Hands out backends. What a reload does not change is handed out again: its connections and its health stay.
#[derive(Debug)]
pub struct Registry {
    known: Mutex<Known>,
    sticky: StickyKey,
    /// Wakes who looks names up: there may be new ones.
    pub(super) names_wanted: Notify,
    /// Wakes who watches files: there may be others.
    pub(super) files_wanted: Notify,
    /// Wakes who hands the backends to the workers: a service has other endpoints.
    services_changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<(config::Backend, BackendAddress), Weak<Endpoint>>,
    transports: HashMap<BackendTls, Weak<Transport>>,
    /// The services that some backend holds on to.
    services: HashMap<Hostname, Weak<Hostname>>,
    found: Found,
    /// What an operator has said, by the backend's name and the address: it holds for endpoints that are made anew.
    duties: HashMap<(String, BackendAddress), Duty>,
}

/// Why a backend cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("backend {backend}: {source}")]
pub struct BackendUnusable {
    /// Its name, or its first address.
    pub backend: String,
    /// Why not.
    pub source: Box<TransportError>,
}

impl Registry {
    /// No backends yet. `sticky` makes the cookies of clients that stay with their endpoints.
    #[must_use]
    pub fn new(sticky: StickyKey) -> Self {
        Self {
            known: Mutex::default(),
            sticky,
            names_wanted: Notify::new(),
            files_wanted: Notify::new(),
            services_changed: Notify::new(),
        }
    }

    /// A backend for each config, in their order. Nothing changes for those that are in force.
    ///
    /// # Errors
    /// [`BackendUnusable`]: the first that is.
    pub fn backends<'c>(
        &self,
        configs: impl IntoIterator<Item = &'c Arc<config::Backend>>,
    ) -> Result<Vec<Arc<Backend>>, BackendUnusable> {
        let mut known = self.known();
        known.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        known.transports.retain(|_, transport| transport.strong_count() > 0);
        known.services.retain(|_, name| name.strong_count() > 0);
        let mut made: HashMap<*const config::Backend, Arc<Backend>> = HashMap::new();
        let mut backends = Vec::new();
        for config in configs {
            let backend = match made.get(&Arc::as_ptr(config)) {
                Some(backend) => Arc::clone(backend),
                None => {
                    let backend = known
                        .backend(config, &self.sticky)
                        .map_err(|source| BackendUnusable { backend: config.label(), source: Box::new(source) })?;
                    made.insert(Arc::as_ptr(config), Arc::clone(&backend));
                    backend
                }
            };
            backends.push(backend);
        }
        drop(known);
        self.names_wanted.notify_one();
        self.files_wanted.notify_one();
        Ok(backends)
    }

    /// Waits until a service has other endpoints than the backends that were handed out.
    pub async fn services_changed(&self) {
        self.services_changed.notified().await;
    }

    /// Whether every service that is in use was looked up.
    #[must_use]
    pub fn knows_services(&self) -> bool {
        let known = self.known();
        let in_use = known.services.iter().filter(|(_, held)| held.strong_count() > 0);
        in_use.map(|(name, _)| name).all(|name| known.found.services.contains_key(name))
    }

    /// Gives an endpoint of the backend with this name something else to do, from now on and for those that a reload
    /// puts in its place.
    pub fn set_duty(&self, backend: &str, endpoint: &Endpoint, duty: Duty) {
        let key = (backend.to_owned(), endpoint.address.clone());
        let mut known = self.known();
        if duty == Duty::On {
            known.duties.remove(&key);
        } else {
            known.duties.insert(key, duty);
        }
        endpoint.set_duty(duty);
    }

    /// Judges the health of all endpoints until the drain.
    pub async fn judge(&self, mut drain: Watch) {
        let mut judges: HashMap<u64, Judge> = HashMap::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(health::TICK) => {}
                _ = drain.signaled() => return,
            }
            let endpoints: Vec<_> = self.known().endpoints.values().filter_map(Weak::upgrade).collect();
            let now = Instant::now();
            let ids: HashSet<u64> = endpoints.iter().map(|endpoint| endpoint.id()).collect();
            judges.retain(|id, _| ids.contains(id));
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.needs_judge()) {
                judges.entry(endpoint.id()).or_insert_with(|| Judge::new(now)).tick(endpoint, now).await;
            }
        }
    }

    /// All transports in use.
    pub(super) fn transports(&self) -> Vec<Arc<Transport>> {
        self.known().transports.values().filter_map(Weak::upgrade).collect()
    }

    /// All names in use.
    pub(super) fn subjects(&self) -> HashSet<Subject> {
        let known = self.known();
        let host = |((_, address), endpoint): (&(_, BackendAddress), &Weak<Endpoint>)| match address {
            BackendAddress::Name(name, _) if endpoint.strong_count() > 0 => Some(Subject::Host(name.clone())),
            _ => None,
        };
        let hosts = known.endpoints.iter().filter_map(host);
        let services = known.services.values().filter_map(Weak::upgrade);
        hosts.chain(services.map(|name| Subject::Service((*name).clone()))).collect()
    }

    /// Whether anything was found for the name before.
    pub(super) fn knows(&self, subject: &Subject) -> bool {
        let known = self.known();
        match subject {
            Subject::Host(name) => known.found.hosts.get(name).is_some_and(|addresses| addresses.is_ok()),
            Subject::Service(name) => known.found.services.get(name).is_some_and(|targets| !targets.is_empty()),
        }
    }

    pub(super) fn publish_host(&self, name: &Hostname, addresses: Result<Vec<IpAddr>, String>) {
        let mut known = self.known();
        if known.found.hosts.get(name).is_some_and(|before| **before == addresses) {
            return;
        }
        if let Ok(list) = &addresses {
            let list: Vec<_> = list.iter().map(ToString::to_string).collect();
            tracing::info!(%name, addresses = list.join(", "), "the backend's name leads here");
        }
        let addresses = Arc::new(addresses);
        known.found.hosts.insert(name.clone(), Arc::clone(&addresses));
        for ((_, address), endpoint) in &known.endpoints {
            if let (BackendAddress::Name(other, _), Some(endpoint)) = (address, endpoint.upgrade())
                && other == name
                && let Some(resolved) = &endpoint.resolved
            {
                resolved.publish(Arc::clone(&addresses));
            }
        }
    }

    /// Nobody has to wait for what is not there.
    pub(super) fn note_unknown_service(&self, name: &Hostname) {
        self.known().found.services.entry(name.clone()).or_default();
    }

    pub(super) fn publish_service(&self, name: &Hostname, targets: Vec<Target>) {
        let mut known = self.known();
        if known.found.services.get(name) == Some(&targets) {
            return;
        }
        let list: Vec<_> = targets.iter().map(|target| format!("{}:{}", target.host, target.port)).collect();
        tracing::info!(%name, endpoints = list.join(", "), "the service has these endpoints");
        known.found.services.insert(name.clone(), targets);
        drop(known);
        self.services_changed.notify_one();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic left is whole: entries are put in one by one.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn backend(&mut self, config: &config::Backend, key: &StickyKey) -> Result<Arc<Backend>, TransportError> {
        let transport = if config.protocol.is_tls() { Some(self.transport(&config.tls)?) } else { None };
        let mut settings = config.clone();
        settings.endpoints.clear();
        // How requests are shared out changes nothing about an endpoint.
        settings.balance = config::Balance::default();
        settings.sticky = None;
        settings.retry = config::Retry::default();
        let (mut members, mut services) = (Vec::new(), Vec::new());
        for written in &config.endpoints {
            let drain = written.drain || written.weight == 0;
            let mut add = |this: &mut Self, address: BackendAddress, weight: u16, backup: bool| {
                let endpoint = this.endpoint(&settings, address, transport.as_ref());
                members.push(Member { endpoint, weight, backup, drain });
            };
            match &written.address {
                BackendAddress::Service(name) => {
                    services.push(self.service(name));
                    let targets = self.found.services.get(name).cloned().unwrap_or_default();
                    let first = targets.iter().map(|target| target.priority).min();
                    for Target { priority, weight, host, port } in targets {
                        // A weight of 0 is the smallest there is (RFC 2782).
                        let weight = weight.max(1).saturating_mul(written.weight.max(1));
                        let backup = written.backup || Some(priority) != first;
                        add(self, BackendAddress::Name(host, port), weight, backup);
                    }
                }
                address => add(self, address.clone(), written.weight, written.backup),
            }
        }
        let backend = Backend::new(&config.name, members, config.balance.clone()).retrying(config.retry.clone());
        let backend = backend.following(services);
        Ok(Arc::new(match &config.sticky {
            Some(sticky) => backend.sticking(sticky, key),
            None => backend,
        }))
    }

    fn service(&mut self, name: &Hostname) -> Arc<Hostname> {
        let known = self.services.get(name).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let held = Arc::new(name.clone());
            self.services.insert(name.clone(), Arc::downgrade(&held));
            held
        })
    }

    fn endpoint(
        &mut self,
        settings: &config::Backend,
        address: BackendAddress,
        transport: Option<&Arc<Transport>>,
    ) -> Arc<Endpoint> {
        let key = (settings.clone(), address);
        if let Some(known) = self.endpoints.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let address = &key.1;
        let endpoint = Endpoint::new(address.clone(), transport.cloned(), settings.proxy_protocol)
            .judged_by(settings.check.clone(), settings.ejection.clone())
            .limited_to(settings.max_connections, &settings.queue)
            .starting_over(settings.slow_start);
        if let Some(duty) = self.duties.get(&(settings.name.clone(), address.clone())) {
            endpoint.set_duty(*duty);
        }
        if let (BackendAddress::Name(name, _), Some(resolved)) = (address, &endpoint.resolved)
            && let Some(addresses) = self.found.hosts.get(name)
        {
            resolved.publish(Arc::clone(addresses));
        }
        let endpoint = Arc::new(endpoint);
        self.endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }

    fn transport(&mut self, settings: &BackendTls) -> Result<Arc<Transport>, TransportError> {
        if let Some(transport) = self.transports.get(settings).and_then(Weak::upgrade) {
            return Ok(transport);
        }
        let transport = Arc::new(Transport::new(settings.clone())?);
        self.transports.insert(settings.clone(), Arc::downgrade(&transport));
        Ok(transport)
    }
}
