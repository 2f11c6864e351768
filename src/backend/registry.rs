//! [`Registry`]: which backends there are, over all reloads. It lives in the control plane.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::health::{self, Judge};
use super::known::Known;
use super::{Backend, Duty, Member, StickyKey, Transport, TransportError};
use crate::config;
use crate::drain::Watch;

/// Hands out backends. An endpoint is known by its backend's name and its address: what is known of it stays, whatever
/// else a reload changes, and so do its connections unless they would be made in another way.
#[derive(Debug)]
pub struct Registry {
    known: Mutex<Known>,
    sticky: StickyKey,
    /// Wakes who looks names up: there may be new ones.
    pub(super) names_wanted: Notify,
    /// Wakes who judges: there may be others.
    judge_wanted: Notify,
    /// Wakes who watches files: there may be others.
    pub(super) files_wanted: Notify,
    /// Wakes who hands the backends to the workers: a name leads to other endpoints.
    pub(super) endpoints_changed: Notify,
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
            judge_wanted: Notify::new(),
            files_wanted: Notify::new(),
            endpoints_changed: Notify::new(),
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
        known.forget_unused();
        let (mut made, mut backends) = (HashMap::new(), Vec::new());
        let mut making = known.making(&self.sticky);
        for config in configs {
            let backend = match made.get(&Arc::as_ptr(config)) {
                Some(backend) => Arc::clone(backend),
                None => {
                    let backend = making
                        .backend(config)
                        .map_err(|source| BackendUnusable { backend: config.label(), source: Box::new(source) })?;
                    made.insert(Arc::as_ptr(config), Arc::clone(&backend));
                    backend
                }
            };
            backends.push(backend);
        }
        known.made(&backends);
        drop(known);
        self.names_wanted.notify_one();
        self.judge_wanted.notify_one();
        self.files_wanted.notify_one();
        Ok(backends)
    }

    /// Waits until names lead to other endpoints than those of the backends that were handed out.
    pub async fn endpoints_changed(&self) {
        self.endpoints_changed.notified().await;
    }

    /// Whether every name that is in use was looked up, with success or without.
    #[must_use]
    pub fn knows_names(&self) -> bool {
        let known = self.known();
        known.subjects().iter().all(|subject| known.found.has(subject))
    }

    /// Gives endpoints of a backend something else to do, from now on and for those that a reload or DNS puts in their
    /// place. `endpoint` is as [`crate::config::BackendAddress::is_called`] has it; those that were told.
    pub fn set_duty<'b>(&self, backend: &'b Backend, endpoint: &str, duty: Duty) -> Vec<&'b Member> {
        let told: Vec<_> =
            backend.members.iter().filter(|member| member.endpoint.address.is_called(endpoint)).collect();
        let mut known = self.known();
        for member in &told {
            known.set_duty(&backend.name, &member.endpoint.address, endpoint, duty);
            member.endpoint.set_duty(duty);
        }
        told
    }

    /// Judges the health of all endpoints until the drain.
    pub async fn judge(&self, mut drain: Watch) {
        let mut judges: HashMap<u64, Judge> = HashMap::new();
        // Found anew where there are others, and now and then: of thousands, that takes longer than to judge them.
        let (mut endpoints, mut of, mut due) = (Vec::new(), None, Instant::now());
        loop {
            // From here on none is missed.
            let mut failure = pin!(health::failure());
            failure.as_mut().enable();
            let now = Instant::now();
            let made = self.known().times_made();
            if of != Some(made) || now >= due {
                (of, due) = (Some(made), now + health::LIST);
                let list = self.known().endpoints();
                let ids: HashSet<u64> = list.iter().map(|endpoint| endpoint.standing.id).collect();
                judges.retain(|id, _| ids.contains(id));
                endpoints = list.iter().map(Arc::downgrade).collect();
            }
            let mut pause = health::LIST;
            for endpoint in &endpoints {
                let Some(endpoint) = Weak::upgrade(endpoint) else { continue };
                endpoint.rule();
                if endpoint.needs_judge() {
                    pause = health::TICK;
                    judges.entry(endpoint.standing.id).or_insert_with(|| Judge::new(now)).tick(&endpoint, now).await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = failure, if pause > health::TICK => {}
                () = self.judge_wanted.notified() => {}
                _ = drain.signaled() => return,
            }
        }
    }

    /// All transports in use.
    pub(super) fn transports(&self) -> Vec<Arc<Transport>> {
        self.known().transports()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic left is whole: entries are put in one by one.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
