//! [`Challenges`]: what HTTP-01 tokens (RFC 8555 §8.3) and TLS-ALPN-01 handshakes (RFC 8737) are answered with.
//!
//! The solver writes an answer to the storage and puts it in here; [`Challenges::follow`] brings what
//! other nodes wrote, and what was under way before a restart. The data plane only reads, without a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::ChallengeCertificate;
use super::changes::{Change, Changes};
use crate::drain::Watch;
use crate::names::Hostname;
use crate::storage::{Events, Key, Storage, StorageError, keys};

/// How long an answer is kept where nobody withdraws it, as after a crash.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The most answers that are held; a CA asks for one a name and order.
const MOST: usize = 20_000;

/// Tokens and their key authorisations, and the certificates that prove names.
#[derive(Debug, Default)]
pub struct Challenges {
    answers: ArcSwap<HashMap<Box<str>, Arc<str>>>,
    /// By the name that the CA sends as SNI.
    handshakes: ArcSwap<HashMap<Box<str>, Handshake>>,
}

/// What a name's `acme-tls/1` handshake is answered with. The newest token wins.
#[derive(Clone, Debug)]
struct Handshake {
    token: Arc<str>,
    certificate: Arc<ChallengeCertificate>,
}

/// An answer as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    key_authorization: String,
    /// The name that a TLS-ALPN-01 handshake proves; none: HTTP-01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Unix seconds after which nobody asks any more.
    until: u64,
}

impl Challenges {
    /// No answers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key authorisation for `token`, to be sent as the body of
    /// `/.well-known/acme-challenge/TOKEN` with `application/octet-stream`.
    #[must_use]
    pub fn answer(&self, token: &str) -> Option<Arc<str>> {
        self.answers.load().get(token).cloned()
    }

    /// What a handshake that offers `acme-tls/1` alone is answered with for this SNI (RFC 8737 §3), which for
    /// an address is its reverse name (RFC 8738 §6).
    #[must_use]
    pub fn certificate(&self, sni: &str) -> Option<Arc<ChallengeCertificate>> {
        self.handshakes.load().get(sni).map(|handshake| Arc::clone(&handshake.certificate))
    }

    /// Answers `token` over HTTP on this node and, through the storage, on every other; also after a restart.
    ///
    /// # Errors
    /// [`StorageError`]; this node answers all the same.
    pub async fn publish(
        &self,
        storage: &dyn Storage,
        token: &str,
        key_authorization: &str,
        now: SystemTime,
    ) -> Result<(), StorageError> {
        self.store(storage, token, key_authorization, None, now).await
    }

    /// Answers `acme-tls/1` handshakes for `name`, a DNS name or an address, on this node and on every other, each
    /// with a certificate of its own.
    ///
    /// # Errors
    /// [`StorageError`]; this node answers all the same.
    pub async fn publish_certificate(
        &self,
        storage: &dyn Storage,
        name: &Hostname,
        token: &str,
        key_authorization: &str,
        now: SystemTime,
    ) -> Result<(), StorageError> {
        self.store(storage, token, key_authorization, Some(name.to_string()), now).await
    }

    async fn store(
        &self,
        storage: &dyn Storage,
        token: &str,
        key_authorization: &str,
        name: Option<String>,
        now: SystemTime,
    ) -> Result<(), StorageError> {
        let stored = Stored { key_authorization: key_authorization.to_owned(), name, until: unix(now + LIFETIME) };
        self.take(token, &stored);
        // Serialising two plain fields cannot fail.
        storage.write(&keys::challenge(token), &serde_json::to_vec(&stored).unwrap_or_default()).await
    }

    /// Takes the answer back, everywhere.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn withdraw(&self, storage: &dyn Storage, token: &str) -> Result<(), StorageError> {
        self.remove(token);
        storage.delete(&keys::challenge(token)).await
    }

    /// Loads the stored answers and returns what [`Challenges::follow`] needs to keep up with them.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn load(&self, storage: &dyn Storage, now: SystemTime) -> Result<Events, StorageError> {
        let events = storage.watch(keys::CHALLENGES).await?;
        self.read_all(storage, now).await?;
        Ok(events)
    }

    /// Follows the storage until the drain begins.
    pub async fn follow(&self, storage: &dyn Storage, events: Events, mut drain: Watch) {
        let mut changes = Changes::new(events);
        while let Some(change) = changes.next(&mut drain).await {
            let done = match change {
                Change::Of(key) => self.read(storage, &key, SystemTime::now()).await,
                Change::All => self.read_all(storage, SystemTime::now()).await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a challenge answer could not be read from the storage");
                changes.retry();
            }
        }
    }

    async fn read_all(&self, storage: &dyn Storage, now: SystemTime) -> Result<(), StorageError> {
        for key in storage.list(keys::CHALLENGES).await? {
            self.read(storage, &key, now).await?;
        }
        Ok(())
    }

    async fn read(&self, storage: &dyn Storage, key: &Key, now: SystemTime) -> Result<(), StorageError> {
        let Some(token) = keys::challenge_token(key) else { return Ok(()) };
        let Some(value) = storage.read(key).await? else {
            self.remove(&token);
            return Ok(());
        };
        match serde_json::from_slice::<Stored>(&value) {
            Ok(stored) if stored.until > unix(now) => self.take(&token, &stored),
            // Out of date, or not ours to understand: of no use to anybody.
            _ => self.withdraw(storage, &token).await?,
        }
        Ok(())
    }

    fn take(&self, token: &str, stored: &Stored) {
        let answer = &stored.key_authorization;
        let Some(name) = &stored.name else {
            insert(&self.answers, token, || Some(answer.as_str().into()), |known| **known == **answer);
            return;
        };
        let made = || match Hostname::parse(name) {
            Ok(name) => match ChallengeCertificate::new(&name, answer) {
                Ok(certificate) => Some(Handshake { token: token.into(), certificate: Arc::new(certificate) }),
                Err(error) => {
                    tracing::error!(%name, %error, "the certificate that proves a name cannot be made");
                    None
                }
            },
            // Not ours to understand.
            Err(_) => None,
        };
        let sni = Hostname::parse(name).map(|name| ChallengeCertificate::sni(&name)).unwrap_or_default();
        insert(&self.handshakes, &sni, made, |known| *known.token == *token && known.certificate.answers(answer));
    }

    fn remove(&self, token: &str) {
        if self.answers.load().contains_key(token) {
            self.answers.rcu(|answers| {
                let mut answers = HashMap::clone(answers);
                answers.remove(token);
                answers
            });
        }
        if self.handshakes.load().values().any(|handshake| *handshake.token == *token) {
            self.handshakes.rcu(|handshakes| {
                let mut handshakes = HashMap::clone(handshakes);
                handshakes.retain(|_, handshake| *handshake.token != *token);
                handshakes
            });
        }
    }
}

/// Adds what `made` gives under `key`, where `same` does not say that it is there already.
fn insert<V: Clone>(
    map: &ArcSwap<HashMap<Box<str>, V>>,
    key: &str,
    made: impl FnOnce() -> Option<V>,
    same: impl Fn(&V) -> bool,
) {
    if map.load().get(key).is_some_and(same) {
        return;
    }
    let Some(value) = made() else { return };
    map.rcu(|map| {
        let mut map = HashMap::clone(map);
        if map.len() < MOST {
            map.insert(key.into(), value.clone());
        }
        map
    });
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn an_answer_outlives_a_restart_until_it_is_withdrawn() {
        let storage = MemoryStorage::new();
        let now = SystemTime::now();
        Challenges::new().publish(&storage, "token", "token.thumb", now).await.expect("publishes");

        let restarted = Challenges::new();
        assert_eq!(restarted.answer("token"), None);
        restarted.load(&storage, now).await.expect("loads");
        assert_eq!(restarted.answer("token").as_deref(), Some("token.thumb"));
        restarted.withdraw(&storage, "token").await.expect("withdraws");
        assert_eq!(restarted.answer("token"), None);
        assert_eq!(storage.list(keys::CHALLENGES).await.expect("lists"), []);
    }

    #[tokio::test]
    async fn forgotten_and_broken_answers_are_cleaned_up() {
        let storage = MemoryStorage::new();
        let challenges = Challenges::new();
        challenges.publish(&storage, "old", "x", SystemTime::now() - 2 * LIFETIME).await.expect("publishes");
        storage.write(&keys::challenge("broken"), b"{").await.expect("writes");
        let restarted = Challenges::new();
        restarted.load(&storage, SystemTime::now()).await.expect("loads");
        assert_eq!(restarted.answer("old"), None);
        assert_eq!(storage.list(keys::CHALLENGES).await.expect("lists"), []);
    }

    #[tokio::test]
    async fn another_node_answers_handshakes_too_with_a_certificate_of_its_own() {
        let storage = MemoryStorage::new();
        let (here, there) = (Challenges::new(), Challenges::new());
        let now = SystemTime::now();
        for (name, sni) in [("a.test", "a.test"), ("192.0.2.1", "1.2.0.192.in-addr.arpa")] {
            let name: Hostname = name.parse().expect("a name");
            here.publish_certificate(&storage, &name, sni, "t.x", now).await.expect("publishes");
            there.load(&storage, now).await.expect("loads");
            let (own, other) = (here.certificate(sni).expect("one"), there.certificate(sni).expect("one"));
            assert!(own.answers("t.x") && other.answers("t.x"));
            assert_eq!(here.answer(sni), None, "it is no answer over HTTP");
            // A new order's token takes the place of an old one's, whose end is no end of it.
            here.publish_certificate(&storage, &name, "new", "new.x", now).await.expect("publishes");
            here.withdraw(&storage, sni).await.expect("withdraws");
            assert!(here.certificate(sni).expect("the new one").answers("new.x"));
            here.withdraw(&storage, "new").await.expect("withdraws");
            assert!(here.certificate(sni).is_none());
        }
    }

    #[tokio::test]
    async fn another_nodes_answers_come_and_go() {
        let storage = Arc::new(MemoryStorage::new());
        let (here, there) = (Arc::new(Challenges::new()), Challenges::new());
        let (drain, watch) = crate::drain::channel();
        let events = here.load(&*storage, SystemTime::now()).await.expect("loads");
        let following = tokio::spawn({
            let (here, storage) = (Arc::clone(&here), Arc::clone(&storage));
            async move { here.follow(&*storage, events, watch).await }
        });
        there.publish(&*storage, "t", "t.x", SystemTime::now()).await.expect("publishes");
        while here.answer("t").is_none() {
            tokio::task::yield_now().await;
        }
        there.withdraw(&*storage, "t").await.expect("withdraws");
        while here.answer("t").is_some() {
            tokio::task::yield_now().await;
        }
        assert!(drain.drain(Duration::from_secs(5)).await);
        following.await.expect("ends");
    }
}
