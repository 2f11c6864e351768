//! Where solvers are: the config and the storage that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::config::{Config, Found, Machine, Storage as StorageConfig, load_on};
use crate::dns::{Resolver, Solvers};
use crate::storage::{FileStorage, Storage};

/// Which doorward it is about.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    /// The config file, which names the storage
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The storage folder, in place of the config's
    #[arg(long, value_name = "PATH")]
    storage: Option<PathBuf>,
}

/// The ids of all solvers and their zones, for completion: nothing is made where it is missing.
pub(in crate::cli) async fn known(config: Option<PathBuf>, storage: Option<PathBuf>) -> Option<Vec<(String, String)>> {
    let place = Place { config, storage };
    let StorageConfig::File { path } = place.config().ok()?.storage;
    if !place.storage.as_ref().unwrap_or(&path).exists() {
        return None;
    }
    let (_, _, solvers) = place.solvers().await.ok()?;
    let zones = |zones: &[_]| zones.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ");
    let one = |solver: &Arc<crate::dns::Solver>| (solver.config.id.clone(), zones(&solver.config.zones));
    Some(solvers.all().iter().map(one).collect())
}

impl Place {
    /// What the config says; the defaults where there is none at the usual place.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let usual = Path::new(super::super::CONFIG_FILE);
        let file = match &self.config {
            Some(file) => file.as_path(),
            None if self.storage.is_none() && usual.exists() => usual,
            None => return Ok(Config::default()),
        };
        // Files that other sections name need not be there.
        let machine = Machine { look: |_| Found::Assumed, ..Machine::this() };
        let loaded = load_on(file, machine).map_err(|faults| Failure::Wrong(faults.to_string()))?;
        Ok(loaded.config)
    }

    /// The storage, made where it is missing.
    pub(super) fn storage(&self, config: &Config) -> Result<Arc<dyn Storage>, Failure> {
        Ok(Arc::new(FileStorage::open(self.folder(config))?))
    }

    /// Where that is.
    pub(super) fn folder<'a>(&'a self, config: &'a Config) -> &'a Path {
        let StorageConfig::File { path } = &config.storage;
        self.storage.as_ref().unwrap_or(path)
    }

    /// Every solver, of the config and of the storage.
    pub(super) async fn solvers(&self) -> Result<(Config, Arc<dyn Storage>, Solvers), Failure> {
        let config = self.config()?;
        let storage = self.storage(&config)?;
        let resolver = Resolver::new(&config.resolvers);
        let solvers = Solvers::new(Arc::clone(&storage), resolver.clone());
        solvers.configure(&config.dns, resolver);
        let _watched = solvers.load().await?;
        Ok((config, storage, solvers))
    }
}
