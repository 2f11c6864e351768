//! [`Solver`]: makes a challenge's answer visible to the CA, and takes it back.

use async_trait::async_trait;
use instant_acme::ChallengeType;

use super::AcmeError;

/// One way to prove that a name is ours (RFC 8555 §8).
#[async_trait]
pub trait Solver: Send + Sync + 'static {
    /// The type of challenge that this solves.
    fn challenge_type(&self) -> ChallengeType;

    /// Makes the answer visible; once this returns the CA may look. Again for the same token is no error.
    ///
    /// # Errors
    /// [`AcmeError`].
    async fn present(&self, token: &str, key_authorization: &str) -> Result<(), AcmeError>;

    /// Takes the answer back, also one of an earlier process.
    async fn clean_up(&self, token: &str);
}
