//! [`Solver`]: makes a challenge's answer visible to the CA, and takes it back; [`choose`] picks one.

use std::sync::Arc;

use async_trait::async_trait;
use instant_acme::ChallengeType;

use super::AcmeError;
use crate::config::CertificateId;
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
    fn can_prove(&self, name: &HostPattern) -> bool {
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

/// The lock that is held while a certificate is ordered.
#[must_use]
pub fn lock_name(certificate: &CertificateId) -> String {
    keys::certificate_lock(certificate)
}

/// The solver for a name, of those whose challenge the CA offers: the first in order of preference, and after
/// `failures` attempts that failed the next ones in turn.
pub(super) fn choose<'s>(
    solvers: &'s [Arc<dyn Solver>],
    name: &HostPattern,
    offered: &[ChallengeType],
    failures: u32,
) -> Option<&'s Arc<dyn Solver>> {
    let fit: Vec<_> = solvers.iter().filter(|s| s.can_prove(name) && offered.contains(&s.challenge_type())).collect();
    let turn = usize::try_from(failures).unwrap_or(0) % fit.len().max(1);
    fit.get(turn).copied()
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
        fn can_prove(&self, name: &HostPattern) -> bool {
            self.1 || !name.is_wildcard()
        }
        async fn present(&self, _: &Challenge<'_>) -> Result<(), AcmeError> {
            Ok(())
        }
        async fn clean_up(&self, _: &str) {}
    }

    #[test]
    fn wildcards_go_by_dns_and_failures_go_round() {
        let solvers: [Arc<dyn Solver>; 2] =
            [Arc::new(Fixed(ChallengeType::Http01, false)), Arc::new(Fixed(ChallengeType::Dns01, true))];
        let chosen = |name: &str, offered: &[ChallengeType], failures| {
            let name = name.parse().expect("a name");
            choose(&solvers, &name, offered, failures).map(|solver| solver.challenge_type())
        };
        let both = [ChallengeType::Dns01, ChallengeType::Http01];
        assert_eq!(chosen("a.test", &both, 0), Some(ChallengeType::Http01));
        assert_eq!(chosen("a.test", &both, 1), Some(ChallengeType::Dns01));
        assert_eq!(chosen("a.test", &both, 2), Some(ChallengeType::Http01));
        assert_eq!(chosen("*.a.test", &both, 0), Some(ChallengeType::Dns01));
        assert_eq!(chosen("*.a.test", &both, 1), Some(ChallengeType::Dns01));
        assert_eq!(chosen("a.test", &[ChallengeType::Dns01], 0), Some(ChallengeType::Dns01));
        assert_eq!(chosen("*.a.test", &[ChallengeType::Http01], 0), None);
        assert_eq!(chosen("a.test", &[ChallengeType::TlsAlpn01], 0), None);
    }
}
