//! What the storage holds of an issued certificate: the bundle, and [`Meta`] beside it.

use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::clock::{from_unix, unix};
use super::renewal::{Validity, Window};
use super::{AcmeError, account, renewal};
use crate::certs::{Certificate, CertificateError, PemPart, PemParts};
use crate::config::{self, CertificateId};
use crate::storage::{Storage, StorageError, keys};

/// Who issued it, and when its issuer wants it renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) issuer: String,
    pub(super) directory: String,
    pub(super) profile: Option<String>,
    /// Unix seconds.
    pub(super) issued: u64,
    pub(super) ari: Option<Ari>,
    /// When it was revoked by command, unix seconds.
    #[serde(default)]
    pub(super) revoked: Option<u64>,
}

/// The CA's last word on the renewal (RFC 9773), and when to ask again; unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ari {
    /// Start and end; none where the CA has no renewal information.
    pub(super) window: Option<(u64, u64)>,
    pub(super) ask_again: u64,
}

/// An issued certificate.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) certificate: Certificate,
    pub(super) meta: Meta,
}

/// The bundle of a certificate, checked in full.
pub(super) fn parse(id: &CertificateId, bundle: &[u8], now: SystemTime) -> Result<Certificate, CertificateError> {
    let file = keys::certificate(id);
    let part = PemPart::new(file.as_str(), bundle);
    Certificate::from_pem(id.clone(), PemParts { certificate: part, key: part, chain: None }, seconds(now))
}

impl Issued {
    /// What is stored for `id`; none where nothing is, or nothing that could be served.
    pub(super) async fn load(
        storage: &dyn Storage,
        id: &CertificateId,
        now: SystemTime,
    ) -> Result<Option<Self>, StorageError> {
        let Some(bundle) = storage.read(&keys::certificate(id)).await? else { return Ok(None) };
        let certificate = match parse(id, &bundle, now) {
            Ok(certificate) => certificate,
            Err(error) => {
                tracing::warn!(certificate = %id, %error, "the stored certificate cannot be used; getting a new one");
                return Ok(None);
            }
        };
        let meta = storage.read(&keys::certificate_meta(id)).await?;
        let meta = meta.and_then(|meta| serde_json::from_slice(&meta).ok()).unwrap_or_default();
        Ok(Some(Self { certificate, meta }))
    }

    pub(super) fn validity(&self) -> Validity {
        let time = |seconds| from_unix(u64::try_from(seconds).unwrap_or(0));
        Validity { not_before: time(self.certificate.not_before()), not_after: time(self.certificate.not_after()) }
    }

    /// When it is to be renewed, by what is known.
    pub(super) fn due(&self) -> SystemTime {
        // It is worth nothing any more.
        if let Some(revoked) = self.meta.revoked {
            return from_unix(revoked);
        }
        let window = self.meta.ari.and_then(|ari| ari.window);
        let window = window.map(|(start, end)| Window { start: from_unix(start), end: from_unix(end) });
        // The serial number is as random as anything, and stays.
        let seed =
            self.certificate.serial().bytes().fold(0, |seed: u64, b| seed.wrapping_mul(31).wrapping_add(b.into()));
        self.validity().due(window, seed)
    }

    /// What the CA calls it; none where it has no authority key identifier.
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let leaf = CertificateDer::from(self.certificate.chain().next()?);
        CertificateIdentifier::try_from(&leaf).ok().map(CertificateIdentifier::into_owned)
    }

    /// Whether it is time to ask the CA for renewal information.
    pub(super) fn asks_at(&self) -> SystemTime {
        self.meta.ari.map_or(SystemTime::UNIX_EPOCH, |ari| from_unix(ari.ask_again))
    }

    /// Asks the CA for renewal information and keeps the answer. What goes wrong is not serious: the last
    /// answer stands, or the lifetime decides.
    pub(super) async fn ask_ari(
        &mut self,
        acme: &config::Acme,
        storage: &std::sync::Arc<dyn Storage>,
        now: SystemTime,
    ) -> Result<(), StorageError> {
        let (window, retry_after) = match self.renewal_info(acme, storage).await {
            Ok(Some((window, retry_after))) => (Some(window), Some(retry_after)),
            Ok(None) => (None, Some(Duration::from_secs(24 * 3600))),
            Err(error) => {
                tracing::debug!(certificate = %self.certificate.id(), %error, "no renewal information");
                (self.meta.ari.and_then(|ari| ari.window), Some(Duration::from_secs(3600)))
            }
        };
        let again = now + renewal::ask_again(retry_after, self.validity().lifetime());
        self.meta.ari = Some(Ari { window, ask_again: unix(again) });
        self.meta.save(&**storage, self.certificate.id()).await
    }

    async fn renewal_info(
        &self,
        acme: &config::Acme,
        storage: &std::sync::Arc<dyn Storage>,
    ) -> Result<Option<((u64, u64), Duration)>, AcmeError> {
        let Some(id) = self.identifier() else { return Ok(None) };
        let Some(session) = account::open_existing(acme, storage).await? else { return Ok(None) };
        match session.account.renewal_info(&id).await {
            Ok((info, again)) => {
                if let Some(url) = &info.explanation_url {
                    tracing::info!(certificate = %self.certificate.id(), url, "the CA explains its renewal window");
                }
                let time = |t: time::OffsetDateTime| u64::try_from(t.unix_timestamp()).unwrap_or(0);
                Ok(Some(((time(info.suggested_window.start), time(info.suggested_window.end)), again)))
            }
            Err(instant_acme::Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(session.seen.explain(error)),
        }
    }
}

impl Meta {
    pub(super) async fn save(&self, storage: &dyn Storage, id: &CertificateId) -> Result<(), StorageError> {
        // Plain fields: serialising them cannot fail.
        storage.write(&keys::certificate_meta(id), &serde_json::to_vec(self).unwrap_or_default()).await
    }
}

pub(super) fn seconds(time: SystemTime) -> i64 {
    i64::try_from(unix(time)).unwrap_or(i64::MAX)
}
