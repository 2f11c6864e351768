//! [`Registry`]: which backends there are, over all reloads. It lives in the control plane.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::health::{self, Judge};
use super::{Backend, BackendAddress, Endpoint, Member, Transport, TransportError};
use crate::config::{self, BackendTls};
use crate::drain::Watch;

/// How often the files of transports are looked at: a change reaches the next handshake within a second.
const LOOK: Duration = Duration::from_millis(500);

/// Hands out backends. What a reload does not change is handed out again: its connections and its health stay.
#[derive(Debug, Default)]
pub struct Registry {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<(config::Backend, BackendAddress), Weak<Endpoint>>,
    transports: HashMap<BackendTls, Weak<Transport>>,
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
        let mut made: HashMap<*const config::Backend, Arc<Backend>> = HashMap::new();
        let mut backends = Vec::new();
        for config in configs {
            let backend = match made.get(&Arc::as_ptr(config)) {
                Some(backend) => Arc::clone(backend),
                None => {
                    let backend = known
                        .backend(config)
                        .map_err(|source| BackendUnusable { backend: config.label(), source: Box::new(source) })?;
                    made.insert(Arc::as_ptr(config), Arc::clone(&backend));
                    backend
                }
            };
            backends.push(backend);
        }
        Ok(backends)
    }

    /// Keeps up with the files of all transports until the drain.
    pub async fn follow_files(&self, mut drain: Watch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = drain.signaled() => return,
            }
            let transports: Vec<_> = self.known().transports.values().filter_map(Weak::upgrade).collect();
            transports.iter().filter(|transport| transport.have_files_changed()).for_each(|it| take_up(it));
        }
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

    fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic left is whole: entries are put in one by one.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn backend(&mut self, config: &config::Backend) -> Result<Arc<Backend>, TransportError> {
        let transport = if config.protocol.is_tls() { Some(self.transport(&config.tls)?) } else { None };
        let mut settings = config.clone();
        settings.endpoints.clear();
        // How requests are shared out changes nothing about an endpoint.
        settings.balance = config::Balance::default();
        let mut members = Vec::new();
        for config::Endpoint { address, weight, backup, drain } in &config.endpoints {
            let key = (settings.clone(), address.clone());
            let known = self.endpoints.get(&key).and_then(Weak::upgrade);
            let endpoint = known.unwrap_or_else(|| {
                let endpoint = Endpoint::new(address.clone(), transport.clone(), config.proxy_protocol);
                let endpoint = endpoint.judged_by(config.check.clone(), config.ejection.clone());
                let endpoint = Arc::new(endpoint);
                self.endpoints.insert(key, Arc::downgrade(&endpoint));
                endpoint
            });
            members.push(Member { endpoint, weight: *weight, backup: *backup, drain: *drain });
        }
        Ok(Arc::new(Backend::new(&config.name, members, config.balance.clone())))
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

fn take_up(transport: &Transport) {
    let files = transport.files().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    match transport.reload() {
        Ok(()) => tracing::info!(files, "the TLS files of a backend have changed and were taken up"),
        // Half of a pair, most likely; the other half is a change again.
        Err(error) => tracing::warn!(%error, "the TLS files of a backend have changed, and the old ones stay in use"),
    }
}
