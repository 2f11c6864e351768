//! [`Challenges`]: what HTTP-01 tokens are answered with (RFC 8555 §8.3).
//!
//! The solver writes an answer to the storage and puts it in here; [`Challenges::follow`] brings what
//! other nodes wrote, and what was under way before a restart. The data plane only reads, without a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::drain::Watch;
use crate::storage::{Event, Events, Key, Storage, StorageError, keys};

/// How long an answer is kept where nobody withdraws it, as after a crash.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The most answers that are held; a CA asks for one a name and order.
const MOST: usize = 20_000;

/// Tokens and their key authorisations.
#[derive(Debug, Default)]
pub struct Challenges {
    answers: ArcSwap<HashMap<Box<str>, Arc<str>>>,
}

/// An answer as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    key_authorization: String,
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

    /// Answers `token` on this node and, through the storage, on every other; also after a restart.
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
        self.insert(token, key_authorization);
        let stored = Stored { key_authorization: key_authorization.to_owned(), until: unix(now + LIFETIME) };
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
    pub async fn follow(&self, storage: &dyn Storage, mut events: Events, mut drain: Watch) {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = drain.signaled() => return,
            };
            let done = match event {
                None => return,
                Some(Event::Written(key)) => self.read(storage, &key, SystemTime::now()).await,
                Some(Event::Deleted(key)) => {
                    keys::challenge_token(&key).iter().for_each(|token| self.remove(token));
                    Ok(())
                }
                Some(Event::Resync) => self.read_all(storage, SystemTime::now()).await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a challenge answer could not be read from the storage");
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
            Ok(stored) if stored.until > unix(now) => self.insert(&token, &stored.key_authorization),
            // Out of date, or not ours to understand: of no use to anybody.
            _ => self.withdraw(storage, &token).await?,
        }
        Ok(())
    }

    fn insert(&self, token: &str, key_authorization: &str) {
        if self.answer(token).is_some_and(|known| &*known == key_authorization) {
            return;
        }
        self.answers.rcu(|answers| {
            let mut answers = HashMap::clone(answers);
            if answers.len() < MOST {
                answers.insert(token.into(), key_authorization.into());
            }
            answers
        });
    }

    fn remove(&self, token: &str) {
        if self.answer(token).is_some() {
            self.answers.rcu(|answers| {
                let mut answers = HashMap::clone(answers);
                answers.remove(token);
                answers
            });
        }
    }
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
