//! [`Ca`]: what the manager asks of certificate authorities, so that two years of it can be tried in seconds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use instant_acme::CertificateIdentifier;

use super::AcmeError;
use super::certificate::Issued;
use super::progress::Progress;
use super::solver::Failed;
use crate::config::{self, CertificateId};
use crate::names::HostPattern;

/// An order for one certificate from one issuer.
pub(super) struct Job<'a> {
    /// The issuer, and as whom it is asked: there is no other in it.
    pub(super) acme: Arc<config::Acme>,
    pub(super) id: &'a CertificateId,
    pub(super) names: &'a [HostPattern],
    /// The certificate that this one takes the place of (RFC 9773 §5).
    pub(super) replaces: Option<CertificateIdentifier<'static>>,
    /// The challenges by which a name could not be proven lately.
    pub(super) failed: &'a Failed,
    /// Whether the certificate is written to the storage; one of a test CA is not.
    pub(super) keep: bool,
    /// Where it is shown how far it is with each name.
    pub(super) progress: &'a Progress,
}

/// Start and end of a renewal window in unix seconds, and when to ask again.
pub(super) type RenewalInfo = ((u64, u64), Duration);

/// Certificate authorities. What they issue goes to the storage.
#[async_trait]
pub(super) trait Ca: Send + Sync + 'static {
    /// Goes on with the order that an earlier attempt left, if it left one that can be continued. Returns whether
    /// that gave the certificate. Makes no new order.
    async fn resume(&self, job: &Job<'_>) -> Result<bool, AcmeError>;

    /// Makes an order and gets the certificate.
    async fn order(&self, job: &Job<'_>) -> Result<(), AcmeError>;

    /// Asks the CA a small question that costs it next to nothing, to see whether it is up.
    async fn probe(&self, acme: &config::Acme) -> Result<(), AcmeError>;

    /// When the CA wants the certificate renewed; none where it does not say.
    async fn renewal_info(&self, acme: &config::Acme, issued: &Issued) -> Result<Option<RenewalInfo>, AcmeError>;
}
