//! Solvers that were added by command, as they are in the storage: `dns/ID.json`, with their secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{DnsProvider, DnsSolver, parse_server};
use crate::names::Hostname;
use crate::storage::{Storage, StorageError, keys};

#[derive(Serialize, Deserialize)]
struct Stored {
    provider: String,
    zones: Vec<String>,
    settings: BTreeMap<String, String>,
    ttl: u32,
    /// Seconds.
    propagation_timeout: u64,
    #[serde(default)]
    nameservers: Vec<String>,
}

/// Writes a solver; one with the same id is replaced.
///
/// # Errors
/// [`StorageError`].
pub async fn save(storage: &dyn Storage, solver: &DnsSolver) -> Result<(), StorageError> {
    let stored = Stored {
        provider: solver.provider.name.to_owned(),
        zones: solver.zones.iter().map(ToString::to_string).collect(),
        settings: solver.settings.clone(),
        ttl: solver.ttl,
        propagation_timeout: solver.propagation_timeout.as_secs(),
        nameservers: solver.nameservers.iter().map(ToString::to_string).collect(),
    };
    // Plain fields: serialising them cannot fail.
    storage.write(&keys::dns_solver(&solver.id), &serde_json::to_vec(&stored).unwrap_or_default()).await
}

/// Removes a solver.
///
/// # Errors
/// [`StorageError`].
pub async fn remove(storage: &dyn Storage, id: &str) -> Result<(), StorageError> {
    storage.delete(&keys::dns_solver(id)).await
}

/// The solver with this id, where there is one that can be understood.
///
/// # Errors
/// [`StorageError`].
pub async fn load(storage: &dyn Storage, id: &str) -> Result<Option<DnsSolver>, StorageError> {
    let Some(value) = storage.read(&keys::dns_solver(id)).await? else { return Ok(None) };
    match parse(id, &value) {
        Ok(solver) => Ok(Some(solver)),
        Err(reason) => {
            tracing::warn!(solver = id, reason, "a stored DNS solver cannot be used; add it again");
            Ok(None)
        }
    }
}

/// Every stored solver, by id.
///
/// # Errors
/// [`StorageError`].
pub async fn load_all(storage: &dyn Storage) -> Result<Vec<DnsSolver>, StorageError> {
    let mut solvers = Vec::new();
    for key in storage.list(keys::DNS).await? {
        if let Some(id) = keys::dns_solver_id(&key) {
            solvers.extend(load(storage, &id).await?);
        }
    }
    Ok(solvers)
}

fn parse(id: &str, value: &[u8]) -> Result<DnsSolver, String> {
    let stored: Stored = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let provider = DnsProvider::find(&stored.provider);
    let provider = provider.ok_or_else(|| format!("no provider is called {:?}", stored.provider))?;
    let zones: Result<_, _> = stored.zones.iter().map(|zone| Hostname::parse(zone)).collect();
    let zones = zones.map_err(|error| error.to_string())?;
    let mut solver =
        DnsSolver::new(id.to_owned(), provider, zones, stored.settings).map_err(|error| error.to_string())?;
    solver.ttl = stored.ttl;
    solver.propagation_timeout = Duration::from_secs(stored.propagation_timeout);
    solver.nameservers = stored.nameservers.iter().filter_map(|server| parse_server(server)).collect();
    Ok(solver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn a_solver_comes_back_as_it_was() {
        let storage = MemoryStorage::new();
        let settings = [("api_token".to_owned(), "s3cret".to_owned())].into();
        let provider = DnsProvider::find("cloudflare").expect("known");
        let mut solver =
            DnsSolver::new("a.b".to_owned(), provider, vec!["example.org".parse().expect("a zone")], settings)
                .expect("sound");
        solver.nameservers = vec!["192.0.2.1:5353".parse().expect("an address")];
        save(&storage, &solver).await.expect("saves");
        storage.write(&keys::dns_solver("broken"), b"{").await.expect("writes");
        assert_eq!(load_all(&storage).await.expect("loads"), std::slice::from_ref(&solver));
        assert!(!format!("{solver:?}").contains("s3cret"));
        remove(&storage, "a.b").await.expect("removes");
        assert_eq!(load(&storage, "a.b").await.expect("loads"), None);
    }
}
