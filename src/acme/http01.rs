//! HTTP-01 (RFC 8555 §8.3): the answer is a file under `/.well-known/acme-challenge/` on port 80.

use std::sync::Arc;

use async_trait::async_trait;
use instant_acme::ChallengeType;

use super::{AcmeError, Challenge, Clock, Solver};
use crate::certs::Challenges;
use crate::storage::Storage;

/// Solves HTTP-01 on all nodes that share the storage.
#[derive(Debug)]
pub struct Http01 {
    challenges: Arc<Challenges>,
    storage: Arc<dyn Storage>,
    clock: Clock,
}

impl Http01 {
    /// Answers through `challenges`, and through `storage` on other nodes.
    #[must_use]
    pub fn new(challenges: Arc<Challenges>, storage: Arc<dyn Storage>, clock: Clock) -> Self {
        Self { challenges, storage, clock }
    }
}

#[async_trait]
impl Solver for Http01 {
    fn challenge_type(&self) -> ChallengeType {
        ChallengeType::Http01
    }

    async fn present(&self, challenge: &Challenge<'_>) -> Result<(), AcmeError> {
        let (token, answer) = (challenge.token, challenge.key_authorization);
        Ok(self.challenges.publish(&*self.storage, token, answer, self.clock.now()).await?)
    }

    async fn clean_up(&self, token: &str) {
        if let Err(error) = self.challenges.withdraw(&*self.storage, token).await {
            // It is cleaned up at a later start.
            tracing::warn!(%error, "a challenge answer could not be removed from the storage");
        }
    }
}
