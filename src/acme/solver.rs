//! [`Solver`]: makes a challenge's answer visible to the CA, and takes it back; [`choose`] picks one.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use instant_acme::ChallengeType;
use serde::{Deserialize, Serialize};

use super::AcmeError;
use crate::config::{self, CertificateId};
use crate::names::HostPattern;
use crate::storage::keys;

/// What a CA asks for, for one name.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// The certificate that it is for. Whoever solves holds its lock, [`lock_name`].
    pub certificate: &'a CertificateId,
    /// The name to prove, as it will be in the certificate.
    pub name: &'a HostPattern,
    /// The CA's token (RFC 8555 §8.1).
    pub token: &'a str,
    /// The token, a dot and the account key's thumbprint (RFC 8555 §8.1).
    pub key_authorization: &'a str,
}

/// One way to prove that a name is ours (RFC 8555 §8).
#[async_trait]
pub trait Solver: Send + Sync + 'static {
    /// The type of challenge that this solves.
    fn challenge_type(&self) -> ChallengeType;

    /// Whether it can prove this name as things stand.
    async fn can_prove(&self, name: &HostPattern) -> bool {
        !name.is_wildcard()
    }

    /// Gives the answer. Again for the same token is no error.
    ///
    /// # Errors
    /// [`AcmeError`].
    async fn present(&self, challenge: &Challenge<'_>) -> Result<(), AcmeError>;

    /// Returns once all that was presented for the certificate can be seen: then the CA may look.
    ///
    /// # Errors
    /// [`AcmeError`].
    async fn settle(&self, certificate: &CertificateId) -> Result<(), AcmeError> {
        let _ = certificate;
        Ok(())
    }

    /// Takes the answer back, also one of an earlier process.
    async fn clean_up(&self, token: &str);

    /// An attempt has ended, in whatever way: takes back what would be left of it.
    async fn finish(&self, certificate: &CertificateId) {
        let _ = certificate;
    }
}

/// By which challenges names could not be proven lately, by name as it is in the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Vec<String>>", into = "BTreeMap<String, Vec<String>>")]
pub(super) struct Failed(BTreeMap<String, Vec<ChallengeType>>);

impl From<BTreeMap<String, Vec<String>>> for Failed {
    fn from(words: BTreeMap<String, Vec<String>>) -> Self {
        let known = |word: String| ALL.into_iter().find(|c| c.as_str() == word).map(type_of);
        Self(words.into_iter().map(|(name, all)| (name, all.into_iter().filter_map(known).collect())).collect())
    }
}

impl From<Failed> for BTreeMap<String, Vec<String>> {
    fn from(failed: Failed) -> Self {
        let word = |kind: ChallengeType| ALL.into_iter().find(|c| type_of(*c) == kind).map(|c| c.to_string());
        failed.0.into_iter().map(|(name, all)| (name, all.into_iter().filter_map(word).collect())).collect()
    }
}

/// Every challenge that there is a word for.
const ALL: [config::Challenge; 3] = [config::Challenge::Http01, config::Challenge::TlsAlpn01, config::Challenge::Dns01];

impl Failed {
    /// Those of one name.
    pub(super) fn of(&self, name: &str) -> &[ChallengeType] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Adds one; returns whether it is new.
    pub(super) fn add(&mut self, name: &str, challenge: &ChallengeType) -> bool {
        let of_name = self.0.entry(name.to_owned()).or_default();
        let new = !of_name.contains(challenge);
        if new {
            of_name.push(challenge.clone());
        }
        new
    }

    /// Forgets a name of which nothing is left to try.
    pub(super) fn start_again(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// The lock that is held while a certificate is ordered.
#[must_use]
pub fn lock_name(certificate: &CertificateId) -> String {
    keys::certificate_lock(certificate)
}

/// The solver for a name, of those whose challenge the CA offers: the first in order of preference. Those of
/// `failed`, by which this name could not be proven lately, come last.
pub(super) async fn choose<'s>(
    solvers: &'s [Arc<dyn Solver>],
    name: &HostPattern,
    offered: &[ChallengeType],
    failed: &[ChallengeType],
) -> Option<&'s Arc<dyn Solver>> {
    let (lately, fresh): (Vec<_>, Vec<_>) = solvers
        .iter()
        .filter(|solver| offered.contains(&solver.challenge_type()))
        .partition(|solver| failed.contains(&solver.challenge_type()));
    // One by one: whether a solver could prove a name may cost a look-up.
    for solver in fresh.into_iter().chain(lately) {
        if solver.can_prove(name).await {
            return Some(solver);
        }
    }
    None
}

/// The challenge that this is the type of.
pub(super) fn type_of(challenge: config::Challenge) -> ChallengeType {
    match challenge {
        config::Challenge::Http01 => ChallengeType::Http01,
        config::Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        config::Challenge::Dns01 => ChallengeType::Dns01,
    }
}

/// The solvers in the order of the config, without those that it does not list.
pub(super) fn in_order(all: Vec<Arc<dyn Solver>>, order: &[config::Challenge]) -> Vec<Arc<dyn Solver>> {
    let of = |challenge: &config::Challenge| {
        let kind = type_of(*challenge);
        all.iter().filter(move |solver| solver.challenge_type() == kind).cloned().collect::<Vec<_>>()
    };
    order.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(ChallengeType, bool);

    #[async_trait]
    impl Solver for Fixed {
        fn challenge_type(&self) -> ChallengeType {
            self.0.clone()
        }
        async fn can_prove(&self, name: &HostPattern) -> bool {
            self.1 || !name.is_wildcard()
        }
        async fn present(&self, _: &Challenge<'_>) -> Result<(), AcmeError> {
            Ok(())
        }
        async fn clean_up(&self, _: &str) {}
    }

    #[tokio::test]
    async fn wildcards_go_by_dns_and_what_failed_comes_last() {
        let solvers: [Arc<dyn Solver>; 2] =
            [Arc::new(Fixed(ChallengeType::Http01, false)), Arc::new(Fixed(ChallengeType::Dns01, true))];
        let chosen = async |name: &str, offered: &[ChallengeType], failed: &[ChallengeType]| {
            let name = name.parse().expect("a name");
            choose(&solvers, &name, offered, failed).await.map(|solver| solver.challenge_type())
        };
        let both = [ChallengeType::Dns01, ChallengeType::Http01];
        assert_eq!(chosen("a.test", &both, &[]).await, Some(ChallengeType::Http01));
        assert_eq!(chosen("a.test", &both, &[ChallengeType::Http01]).await, Some(ChallengeType::Dns01));
        assert_eq!(chosen("a.test", &both, &both).await, Some(ChallengeType::Http01));
        assert_eq!(chosen("*.a.test", &both, &[]).await, Some(ChallengeType::Dns01));
        assert_eq!(chosen("*.a.test", &both, &[ChallengeType::Dns01]).await, Some(ChallengeType::Dns01));
        assert_eq!(chosen("a.test", &[ChallengeType::Dns01], &[]).await, Some(ChallengeType::Dns01));
        assert_eq!(chosen("*.a.test", &[ChallengeType::Http01], &[]).await, None);
        let ordered = in_order(solvers.to_vec(), &[config::Challenge::Dns01, config::Challenge::TlsAlpn01]);
        assert_eq!(ordered.iter().map(|s| s.challenge_type()).collect::<Vec<_>>(), [ChallengeType::Dns01]);
        assert_eq!(chosen("a.test", &[ChallengeType::TlsAlpn01], &[]).await, None);
    }
}
