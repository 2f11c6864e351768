//! Where certificates come from: watched folders and the storage.

use std::sync::Arc;

use prometheus::Registry;
use tokio::runtime::Runtime;

use super::{Options, StartError};
use crate::certs::{Challenges, Directory, DirectoryHandle, Table};
use crate::config::{CertificateChoice, CertificateId, Config, RouteHost, Storage as StorageConfig};
use crate::drain::Watch;
use crate::names::HostMap;
use crate::storage::{FileStorage, Storage};

/// All sources of one process.
pub(super) struct Sources {
    table: Arc<Table>,
    directory: DirectoryHandle,
}

impl Sources {
    /// Loads everything that is there, then keeps up with it until the drain.
    pub(super) fn start(
        _runtime: &Runtime,
        config: &Config,
        options: &Options,
        _challenges: Arc<Challenges>,
        _registry: &Registry,
        _drain: &Watch,
    ) -> Result<Self, StartError> {
        let table = Arc::clone(&options.table);
        let directory = Directory::start(config.certificates.directories.clone(), Arc::clone(&table));
        table.set_pins(pins(config));
        Ok(Self { table, directory })
    }

    /// Takes up what a new config says.
    pub(super) async fn update(&self, config: &Config, _options: &Options) {
        self.directory.update(config.certificates.directories.clone()).await;
        self.table.set_pins(pins(config));
    }

    pub(super) fn directory(&self) -> &DirectoryHandle {
        &self.directory
    }
}

/// The storage that the config names.
pub(super) fn open(config: &StorageConfig) -> Result<Arc<dyn Storage>, StartError> {
    match config {
        StorageConfig::File { path } => Ok(Arc::new(FileStorage::open(path)?)),
    }
}

/// The certificates that routes name, by host.
fn pins(config: &Config) -> HostMap<CertificateId> {
    let mut pins = HostMap::new();
    for route in &config.routes {
        if let CertificateChoice::Id(id) = &route.certificate {
            for host in &route.hosts {
                match host {
                    RouteHost::Pattern(pattern) => drop(pins.insert(pattern.clone(), id.clone())),
                    RouteHost::Any => drop(pins.set_default(id.clone())),
                }
            }
        }
    }
    pins
}
