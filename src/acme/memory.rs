//! [`Memory`]: what was learnt of a certificate's issuers and challenges, kept in the storage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::backoff::LONGEST_RETRY_AFTER;
use super::clock::{from_unix, is_to_come, unix};
use super::solver::Failed;
use super::{AcmeError, Pace};
use crate::config::CertificateId;
use crate::storage::{Storage, StorageError, keys};

/// What is remembered of one certificate's attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// The issuers that failed, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    resting: BTreeMap<String, Resting>,
    /// The challenges that failed.
    #[serde(default)]
    pub(super) failed: Failed,
    /// The issuers whose test CA has issued for these names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) staged: BTreeSet<String>,
    /// By which settings issuers and challenges failed: with others they are asked again.
    #[serde(default)]
    settings: String,
}

/// An issuer that failed, and is not asked again for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Resting {
    failures: u32,
    /// Unix seconds.
    until: u64,
    error: String,
}

impl Memory {
    /// What is remembered for `id`; nothing where that cannot be understood.
    pub(super) async fn load(storage: &dyn Storage, id: &CertificateId) -> Result<Self, StorageError> {
        let value = storage.read(&keys::attempts(id)).await?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default())
    }

    pub(super) async fn save(&self, storage: &dyn Storage, id: &CertificateId) -> Result<(), StorageError> {
        if *self == (Self { settings: self.settings.clone(), ..Self::default() }) {
            return storage.delete(&keys::attempts(id)).await;
        }
        // Plain fields: serialising them cannot fail.
        storage.write(&keys::attempts(id), &serde_json::to_vec(self).unwrap_or_default()).await
    }

    /// The same, without the failures by other settings than these.
    pub(super) fn by(self, settings: &str) -> Self {
        if self.settings == settings {
            return self;
        }
        Self { staged: self.staged, ..Self::default() }
    }

    /// Whether any issuer or challenge has failed.
    pub(super) fn has_failures(&self) -> bool {
        !self.resting.is_empty() || self.failed != Failed::default()
    }

    /// What it is about was tried by these settings.
    pub(super) fn tried_by(&mut self, settings: String) {
        self.settings = settings;
    }

    /// Why the issuer is not asked now, and until when.
    pub(super) fn resting(&self, issuer: &str, now: SystemTime) -> Option<(SystemTime, &str)> {
        let resting = self.resting.get(issuer)?;
        let until = from_unix(resting.until);
        // Longer than any rest: the clock was ahead then.
        let believed = !is_to_come(resting.until, now + LONGEST_RETRY_AFTER);
        (until > now && believed).then_some((until, resting.error.as_str()))
    }

    /// The issuer failed: it rests, longer each time, and as long as it asked for.
    pub(super) fn rest(&mut self, issuer: &str, error: &AcmeError, pace: Pace, now: SystemTime) {
        let failures = self.resting.get(issuer).map_or(0, |resting| resting.failures).saturating_add(1);
        let delay = now + pace.delay(failures, fastrand::f64());
        let asked = error.retry_after().map(|asked| asked.min(now + LONGEST_RETRY_AFTER));
        let until = unix(asked.map_or(delay, |asked| asked.max(delay)));
        self.resting.insert(issuer.to_owned(), Resting { failures, until, error: error.to_string() });
    }

    /// The issuer issued.
    pub(super) fn worked(&mut self, issuer: &str) {
        self.resting.remove(issuer);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn an_issuer_rests_longer_each_time_and_is_forgiven() {
        let (storage, id, now) = (MemoryStorage::new(), CertificateId::new("x"), SystemTime::now());
        let mut memory = Memory::load(&storage, &id).await.expect("loads");
        let down = AcmeError::Ended("processing");
        memory.rest("one", &down, Pace::default(), now);
        let (first, error) = memory.resting("one", now).expect("rests");
        assert!(error.contains("processing"));
        memory.rest("one", &down, Pace::default(), first);
        let second = memory.resting("one", first).expect("rests").0;
        assert!(second.duration_since(first).expect("later") >= Duration::from_secs(119));
        assert_eq!(
            memory.resting("one", first - Duration::from_secs(365 * 86_400)),
            None,
            "the clock was a year ahead"
        );
        memory.failed.add("a.test", &instant_acme::ChallengeType::Http01);
        memory.save(&storage, &id).await.expect("saves");
        let mut again = Memory::load(&storage, &id).await.expect("loads");
        assert_eq!(again, memory);
        assert_eq!(again.resting("one", second), None);
        // By other settings it is asked at once.
        again.tried_by("these".to_owned());
        assert!(again.clone().by("these").has_failures());
        assert!(!again.clone().by("others").has_failures());
        again.worked("one");
        again.failed = Failed::default();
        again.save(&storage, &id).await.expect("saves");
        assert!(storage.list(keys::ATTEMPTS).await.expect("lists").is_empty(), "nothing worth keeping is not kept");
    }
}
