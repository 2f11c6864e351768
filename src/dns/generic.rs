//! Every provider of the `dns-update` crate, by one adapter.

use async_trait::async_trait;
use doorward_dns_providers::Updater;

use super::provider::{Change, DnsProvider};
use super::{DnsError, Resolver, TxtRecord};
use crate::config::DnsSolver;
use crate::names::Hostname;

/// A provider of `dns-update`. It reads a set of values, changes it and writes it back: the lock of the record's
/// name keeps changes apart.
pub(super) struct Generic {
    provider: &'static str,
    updater: Updater,
    resolver: Resolver,
    zones: Vec<Hostname>,
}

impl Generic {
    /// The provider that a solver names.
    ///
    /// # Errors
    /// What the crate has against the settings.
    pub(super) fn new(solver: &DnsSolver, resolver: Resolver) -> Result<Self, String> {
        let updater = Updater::new(solver.provider.name, &|name| solver.setting(name).map(str::to_owned))?;
        Ok(Self { provider: solver.provider.name, updater, resolver, zones: solver.zones.clone() })
    }

    /// The zone's name, as DNS has it; as the solver has it where DNS cannot be asked.
    async fn origin(&self, name: &Hostname) -> String {
        match self.resolver.authority(name).await {
            Ok(authority) => authority.zone,
            Err(_) => {
                let is_in = |zone: &&Hostname| name.as_str().ends_with(zone.as_str());
                let zone = self.zones.iter().filter(is_in).max_by_key(|zone| zone.as_str().len());
                zone.unwrap_or(name).to_string()
            }
        }
    }

    fn refused(&self, action: &str, record: &TxtRecord, error: String) -> DnsError {
        DnsError::refused(self.provider, format!("{action} {}", record.name), error)
    }
}

#[async_trait]
impl DnsProvider for Generic {
    async fn add(&self, record: &TxtRecord, ttl: u32) -> Result<Option<Change>, DnsError> {
        let origin = self.origin(&record.name).await;
        let added = self.updater.add(record.name.as_str(), ttl, &record.value, origin).await;
        added.map(|()| None).map_err(|error| self.refused("add a value to", record, error))
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let origin = self.origin(&record.name).await;
        let removed = self.updater.remove(record.name.as_str(), &record.value, origin).await;
        removed.map_err(|error| self.refused("remove a value from", record, error))
    }
}

impl std::fmt::Debug for Generic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generic").field("provider", &self.provider).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DnsProvider as Known;

    #[tokio::test]
    async fn every_provider_of_the_catalogue_is_one_that_the_adapter_knows() {
        for provider in Known::all().iter().skip(3) {
            let settings = provider.settings.iter().filter(|s| s.required).map(|s| {
                let value = match s.name {
                    // Those that are looked into at once have to be sound.
                    "api_secret" | "consumer_key" | "secret_key" => "c2VjcmV0",
                    _ => "x",
                };
                (s.name.to_owned(), value.to_owned())
            });
            let mut settings: std::collections::BTreeMap<_, _> = settings.collect();
            settings.extend(
                provider.either.iter().take(1).flat_map(|g| g.iter()).map(|n| ((*n).to_owned(), "x".to_owned())),
            );
            let zones = vec!["example.org".parse().expect("a zone")];
            let solver = DnsSolver::new("1".to_owned(), provider, zones, settings).unwrap_or_else(|e| panic!("{e}"));
            if let Err(error) = Generic::new(&solver, Resolver::new(&[])) {
                assert!(!error.contains("cannot change zones"), "{}: {error}", provider.name);
            }
        }
    }
}
