//! What the storage holds of an issued certificate: the bundle, and [`Meta`] beside it.

use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::AcmeError;
use super::ca::Ca;
use super::clock::{from_unix, unix};
use super::renewal;
use super::renewal::{Validity, Window};
use crate::certs::{Certificate, CertificateError, PemPart, PemParts};
use crate::config::{self, CertificateId};
use crate::names::HostPattern;
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<Summary>,
    /// When it was revoked by command, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<u64>,
}

/// The CA's last word on the renewal (RFC 9773), and when to ask again; unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ari {
    /// Start and end; none where the CA has no renewal information.
    pub(super) window: Option<(u64, u64)>,
    pub(super) ask_again: u64,
}

/// What has to be known of a bundle to look after it, so that it need not be parsed at each look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    /// SHA-256 of the bundle that this is about, hex.
    pub(super) bundle: String,
    pub(super) names: Vec<String>,
    /// Unix seconds, as is the next.
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    pub(super) serial: String,
    /// What the CA calls it (RFC 9773 §4.1); none where it has no authority key identifier.
    pub(super) ari: Option<(String, String)>,
}

/// An issued certificate.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) id: CertificateId,
    pub(super) summary: Summary,
    /// What is stored of it, but for the summary, which is beside it.
    pub(super) meta: Meta,
}

/// The bundle of a certificate, checked in full.
pub(super) fn parse(id: &CertificateId, bundle: &[u8], now: SystemTime) -> Result<Certificate, CertificateError> {
    let file = keys::certificate(id);
    let part = PemPart::new(file.as_str(), bundle);
    Certificate::from_pem(id.clone(), PemParts { certificate: part, key: part, chain: None }, seconds(now))
}

impl Summary {
    /// Of a bundle that was parsed.
    pub(super) fn of(certificate: &Certificate, bundle: &[u8]) -> Self {
        let time = |seconds| u64::try_from(seconds).unwrap_or(0);
        let leaf = certificate.chain().next().map(CertificateDer::from);
        let ari = leaf.and_then(|leaf| {
            let known = CertificateIdentifier::try_from(&leaf).ok()?;
            Some((known.authority_key_identifier.to_string(), known.serial.to_string()))
        });
        Self {
            bundle: digest(bundle),
            names: certificate.names().iter().map(ToString::to_string).collect(),
            not_before: time(certificate.not_before()),
            not_after: time(certificate.not_after()),
            serial: certificate.serial().to_owned(),
            ari,
        }
    }
}

/// SHA-256 in hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    crate::certs::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

impl Issued {
    /// What is stored for `id`; none where nothing is, or nothing that could be served.
    pub(super) async fn load(
        storage: &dyn Storage,
        id: &CertificateId,
        now: SystemTime,
    ) -> Result<Option<Self>, StorageError> {
        let Some(bundle) = storage.read(&keys::certificate(id)).await? else { return Ok(None) };
        let meta = storage.read(&keys::certificate_meta(id)).await?;
        let mut meta: Meta = meta.and_then(|meta| serde_json::from_slice(&meta).ok()).unwrap_or_default();
        if let Some(summary) = meta.summary.take().filter(|summary| summary.bundle == digest(&bundle)) {
            return Ok(Some(Self { id: id.clone(), summary, meta }));
        }
        match parse(id, &bundle, now) {
            Ok(certificate) => Ok(Some(Self { id: id.clone(), summary: Summary::of(&certificate, &bundle), meta })),
            Err(error) => {
                tracing::warn!(certificate = %id, %error, "the stored certificate cannot be used; getting a new one");
                Ok(None)
            }
        }
    }

    /// Whether it is valid for all of these names.
    pub(super) fn covers_all(&self, names: &[HostPattern]) -> bool {
        let own: Vec<_> = self.summary.names.iter().filter_map(|name| HostPattern::parse(name).ok()).collect();
        names.iter().all(|name| own.iter().any(|own| own.covers(name)))
    }

    pub(super) fn validity(&self) -> Validity {
        let Summary { not_before, not_after, .. } = self.summary;
        Validity { not_before: from_unix(not_before), not_after: from_unix(not_after) }
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
        let seed = self.summary.serial.bytes().fold(0, |seed: u64, b| seed.wrapping_mul(31).wrapping_add(b.into()));
        self.validity().due(window, seed)
    }

    /// What the CA calls it; none where it has no authority key identifier.
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let (authority, serial) = self.summary.ari.clone()?;
        Some(CertificateIdentifier { authority_key_identifier: authority.into(), serial: serial.into() })
    }

    /// Whether it is time to ask the CA for renewal information.
    pub(super) fn asks_at(&self) -> SystemTime {
        self.meta.ari.map_or(SystemTime::UNIX_EPOCH, |ari| from_unix(ari.ask_again))
    }

    /// Asks the CA for renewal information and keeps the answer. What goes wrong is not serious: the last
    /// answer stands, or the lifetime decides. No `ca`: it is down, and asked later.
    pub(super) async fn ask_ari(
        &mut self,
        ca: Option<&dyn Ca>,
        acme: &config::Acme,
        storage: &dyn Storage,
        now: SystemTime,
    ) -> Result<(), StorageError> {
        let answer = match ca {
            Some(ca) => ca.renewal_info(acme, self).await,
            None => Err(AcmeError::Ended("down")),
        };
        let (window, retry_after) = match answer {
            Ok(Some((window, retry_after))) => (Some(window), Some(retry_after)),
            // A CA that does not speak of renewals today is not asked again for this certificate.
            Ok(None) => {
                self.meta.ari = Some(Ari { window: None, ask_again: unix(now + self.validity().lifetime()) });
                return self.save(storage).await;
            }
            Err(error) => {
                tracing::debug!(certificate = %self.id, %error, "no renewal information");
                (self.meta.ari.and_then(|ari| ari.window), Some(Duration::from_secs(3600)))
            }
        };
        let again = now + renewal::ask_again(retry_after, self.validity().lifetime());
        self.meta.ari = Some(Ari { window, ask_again: unix(again) });
        self.save(storage).await
    }

    async fn save(&mut self, storage: &dyn Storage) -> Result<(), StorageError> {
        self.meta.summary = Some(self.summary.clone());
        self.meta.save(storage, &self.id).await
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
