//! DNS-01 (RFC 8555 §8.4): the answer is a TXT record at `_acme-challenge`. The only way for wildcards.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::ChallengeType;
use tokio::task::JoinSet;

use super::{AcmeError, Challenge, Solver, lock_name};
use crate::config::CertificateId;
use crate::dns::{Presented, Solvers, TxtRecord};
use crate::names::HostPattern;

/// Solves DNS-01, for several certificates at once too.
#[derive(Debug)]
pub struct Dns01 {
    solvers: Arc<Solvers>,
    /// What was written and is not known to be seen yet.
    presented: tokio::sync::Mutex<HashMap<CertificateId, Vec<Presented>>>,
}

impl Dns01 {
    /// Answers through whoever of `solvers` can change the zone.
    #[must_use]
    pub fn new(solvers: Arc<Solvers>) -> Self {
        Self { solvers, presented: tokio::sync::Mutex::default() }
    }
}

#[async_trait]
impl Solver for Dns01 {
    fn challenge_type(&self) -> ChallengeType {
        ChallengeType::Dns01
    }

    async fn can_prove(&self, name: &HostPattern) -> bool {
        self.solvers.can_answer(name.base()).await
    }

    async fn present(&self, challenge: &Challenge<'_>) -> Result<(), AcmeError> {
        let (solver, name) = self.solvers.place(challenge.name.base()).await?;
        let record = TxtRecord { name, value: answer(challenge.key_authorization) };
        let lock = lock_name(challenge.certificate);
        let presented = self.solvers.present(solver, record, challenge.token, &lock).await?;
        self.presented.lock().await.entry(challenge.certificate.clone()).or_default().push(presented);
        Ok(())
    }

    async fn settle(&self, certificate: &CertificateId) -> Result<(), AcmeError> {
        let mut waits = JoinSet::new();
        let presented = self.presented.lock().await.remove(certificate).unwrap_or_default();
        for presented in presented {
            let solvers = Arc::clone(&self.solvers);
            waits.spawn(async move { solvers.wait_for(&presented).await });
        }
        while let Some(waited) = waits.join_next().await {
            waited.map_err(|error| AcmeError::Protocol(error.to_string()))??;
        }
        Ok(())
    }

    async fn clean_up(&self, token: &str) {
        if let Err(error) = self.solvers.withdraw(token).await {
            tracing::warn!(%error, "a DNS record cannot be removed; it is tried again");
        }
    }

    async fn finish(&self, certificate: &CertificateId) {
        self.presented.lock().await.remove(certificate);
        self.solvers.withdraw_all(&lock_name(certificate)).await;
    }
}

/// The record's value: the hash of the key authorisation, base64url.
fn answer(key_authorization: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorization.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_the_hash() {
        // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
        assert_eq!(answer("abc"), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }
}
