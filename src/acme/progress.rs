//! [`Progress`]: how far an order is with each of its names, for who waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use instant_acme::ChallengeType;

/// A few words for each name. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Mutex<BTreeMap<String, String>>>);

impl Progress {
    /// Begins anew, with the same words for all.
    pub(super) fn begin(&self, names: impl Iterator<Item = String>, words: &str) {
        *self.lock() = names.map(|name| (name, words.to_owned())).collect();
    }

    /// Says how far it is with one name.
    pub(super) fn set(&self, name: &str, words: impl Into<String>) {
        self.lock().insert(name.to_owned(), words.into());
    }

    /// The answer to this challenge can be seen.
    pub(super) fn placed(&self, name: &str, challenge: &ChallengeType) {
        self.set(name, format!("{} answer is in place", challenge_word(challenge)));
    }

    /// The CA has been told to look.
    pub(super) fn validated(&self, name: &str, challenge: &ChallengeType) {
        self.set(name, format!("the CA validates by {}", challenge_word(challenge)));
    }

    /// Says the same of all names.
    pub(super) fn all(&self, words: &str) {
        self.lock().values_mut().for_each(|value| words.clone_into(value));
    }

    /// All names.
    pub(super) fn list(&self) -> Vec<(String, String)> {
        self.lock().iter().map(|(name, words)| (name.clone(), words.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A challenge as RFC 8555 calls it.
fn challenge_word(kind: &ChallengeType) -> &'static str {
    match kind {
        ChallengeType::Http01 => "http-01",
        ChallengeType::Dns01 => "dns-01",
        ChallengeType::TlsAlpn01 => "tls-alpn-01",
        _ => "another challenge",
    }
}
