//! TLS-ALPN-01 (RFC 8737): the answer is a certificate on port 443, for clients that speak `acme-tls/1` only.

use std::sync::Arc;

use async_trait::async_trait;
use instant_acme::ChallengeType;

use super::{AcmeError, Challenge, Clock, Solver};
use crate::certs::Challenges;
use crate::names::HostPattern;
use crate::storage::Storage;

/// Solves TLS-ALPN-01 on all nodes that share the storage.
#[derive(Debug)]
pub struct TlsAlpn01 {
    challenges: Arc<Challenges>,
    storage: Arc<dyn Storage>,
    clock: Clock,
}

impl TlsAlpn01 {
    /// Answers through `challenges`, and through `storage` on other nodes.
    #[must_use]
    pub fn new(challenges: Arc<Challenges>, storage: Arc<dyn Storage>, clock: Clock) -> Self {
        Self { challenges, storage, clock }
    }
}

#[async_trait]
impl Solver for TlsAlpn01 {
    fn challenge_type(&self) -> ChallengeType {
        ChallengeType::TlsAlpn01
    }

    async fn present(&self, challenge: &Challenge<'_>) -> Result<(), AcmeError> {
        let HostPattern::Exact(name) = challenge.name else {
            return Err(AcmeError::no_challenge(&challenge.name.to_string(), &[ChallengeType::TlsAlpn01]));
        };
        let (token, answer) = (challenge.token, challenge.key_authorization);
        Ok(self.challenges.publish_certificate(&*self.storage, name, token, answer, self.clock.now()).await?)
    }

    async fn clean_up(&self, token: &str) {
        if let Err(error) = self.challenges.withdraw(&*self.storage, token).await {
            // It is cleaned up at a later start.
            tracing::warn!(%error, "a challenge answer could not be removed from the storage");
        }
    }
}
