//! [`DnsProvider`]: whoever can change a zone.

use async_trait::async_trait;

use super::DnsError;
use crate::names::Hostname;

/// A TXT record's name and one of its values.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TxtRecord {
    /// The name, in full.
    #[serde(with = "as_text")]
    pub name: Hostname,
    /// The value: at most 255 bytes of printable ASCII, no quotation mark and no backslash.
    pub value: String,
}

/// A change that a provider has taken and not yet put in force everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change(pub String);

/// Adds and removes single TXT values. The other values of the same name stay.
///
/// Whoever calls holds the lock of the record's name: providers may read, change and write.
#[async_trait]
pub trait DnsProvider: std::fmt::Debug + Send + Sync {
    /// Adds a value; that it is there already is no error.
    ///
    /// # Errors
    /// [`DnsError`].
    async fn add(&self, record: &TxtRecord, ttl: u32) -> Result<Option<Change>, DnsError>;

    /// Removes a value; that it is not there is no error.
    ///
    /// # Errors
    /// [`DnsError`].
    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError>;

    /// Returns once the provider says that the change is in force on all of its servers. Not bounded in time.
    ///
    /// # Errors
    /// [`DnsError`].
    async fn in_force(&self, change: &Change) -> Result<(), DnsError> {
        let _ = change;
        Ok(())
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::names::Hostname;

    pub(super) fn serialize<S: Serializer>(name: &Hostname, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hostname, D::Error> {
        Hostname::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The name and every name above it that has two labels at least, longest first: where its zone can be.
pub(super) fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest))
        .filter(|name| name.contains('.'))
}
