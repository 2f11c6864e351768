//! The metrics registry. Floor 1: each room declares its own metrics and registers them here.
//!
//! Every data-plane worker counts in a registry of its own, so that no two cores share a counter's
//! cache line; [`Metrics::gather`] adds them up when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;

/// All registries of the process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registries: Arc<Mutex<Vec<Registry>>>,
}

impl Metrics {
    /// A further registry, whose metrics are added to those of the same name and labels in the others.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let registry = Registry::new();
        self.registries.lock().unwrap_or_else(PoisonError::into_inner).push(registry.clone());
        registry
    }
}
