//! [`Network`]: certificate authorities as they are.

use std::sync::Arc;

use async_trait::async_trait;

use super::ca::{Ca, Job, RenewalInfo};
use super::certificate::Issued;
use super::issuer::Issuer;
use super::probe;
use super::record::Record;
use super::solver::{self, Solver};
use super::{AcmeError, Clock, account};
use crate::config;
use crate::storage::{Storage, keys};

/// Certificate authorities as they are, over the network.
pub(super) struct Network {
    pub(super) storage: Arc<dyn Storage>,
    /// Every way to prove names.
    pub(super) solvers: Vec<Arc<dyn Solver>>,
    pub(super) clock: Clock,
}

#[async_trait]
impl Ca for Network {
    async fn resume(&self, job: &Job<'_>) -> Result<bool, AcmeError> {
        let issuer = self.issuer(job);
        // Without a record nobody need be asked.
        if Record::load(&*self.storage, &job.acme, job.id, job.names).await?.is_none() {
            self.storage.delete(&keys::order(job.id)).await?;
            return Ok(false);
        }
        let session = account::open(&job.acme, &self.storage).await?;
        let resumed = issuer.resume_with(&session, job.id, job.names).await;
        issuer.finish(job.id).await;
        match resumed {
            Err(error) if error.is_account_unknown() => {
                self.storage.delete(&keys::order(job.id)).await?;
                account::forget(&job.acme, &self.storage, session.account.id()).await?;
                Ok(false)
            }
            resumed => resumed,
        }
    }

    async fn order(&self, job: &Job<'_>) -> Result<(), AcmeError> {
        let issuer = self.issuer(job);
        let session = account::open(&job.acme, &self.storage).await?;
        let mut ordered = issuer.order_with(&session, job.id, job.names, job.replaces.clone()).await;
        if ordered.as_ref().is_err_and(AcmeError::is_account_unknown) {
            self.storage.delete(&keys::order(job.id)).await?;
            account::forget(&job.acme, &self.storage, session.account.id()).await?;
            let session = account::open(&job.acme, &self.storage).await?;
            ordered = issuer.order_with(&session, job.id, job.names, job.replaces.clone()).await;
        }
        issuer.finish(job.id).await;
        ordered
    }

    async fn probe(&self, acme: &config::Acme) -> Result<(), AcmeError> {
        probe::probe(&acme.issuer).await
    }

    async fn renewal_info(&self, acme: &config::Acme, issued: &Issued) -> Result<Option<RenewalInfo>, AcmeError> {
        let Some(id) = issued.identifier() else { return Ok(None) };
        let Some(session) = account::open_existing(acme, &self.storage).await? else { return Ok(None) };
        match session.account.renewal_info(&id).await {
            Ok((info, again)) => {
                if let Some(url) = &info.explanation_url {
                    tracing::info!(certificate = %issued.id, url, "the CA explains its renewal window");
                }
                let time = |t: time::OffsetDateTime| u64::try_from(t.unix_timestamp()).unwrap_or(0);
                Ok(Some(((time(info.suggested_window.start), time(info.suggested_window.end)), again)))
            }
            Err(instant_acme::Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(session.seen.explain(error)),
        }
    }
}

impl Network {
    fn issuer<'a>(&'a self, job: &'a Job<'_>) -> Issuer<'a> {
        Issuer {
            acme: Arc::clone(&job.acme),
            storage: &self.storage,
            solvers: solver::in_order(self.solvers.clone(), &job.acme.challenges),
            failed: job.failed,
            clock: &self.clock,
            keep: job.keep,
            progress: job.progress,
        }
    }
}
