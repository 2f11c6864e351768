//! [`Look`]: what all lines of a list have in common, gathered once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::usage::Usage;
use super::{Desk, Live};
use crate::acme::{self, Wanted};
use crate::admin::certs::Refused;
use crate::app::certificates::{asked, wanted};
use crate::certs::{Origin, Wish, directory};
use crate::config::{Acme, CertificateChoice, CertificateId, Route};
use crate::storage::{Key, StorageError, keys};

/// What all rows are made of.
pub(super) struct Look {
    pub(super) usage: Usage,
    pub(super) statuses: HashMap<String, acme::Status>,
    pub(super) wishes: HashMap<String, Wish>,
    pub(super) disabled: BTreeMap<String, u64>,
    folders: HashMap<CertificateId, directory::Status>,
    /// What the storage has of certificates and their failures: nearly all have little, and need not be asked for more.
    keys: HashSet<Key>,
    /// The routes that name a certificate.
    naming: HashMap<CertificateId, Vec<Arc<Route>>>,
    /// What ACME keeps up, and its names.
    pub(super) kept_up: HashMap<CertificateId, Vec<String>>,
    acme: Option<Arc<Acme>>,
}

impl Desk {
    pub(super) async fn look(&self) -> Result<Look, Refused> {
        let (storage, wishes) = (self.vault.storage(), self.vault.wishes().await?);
        let mut keys: HashSet<Key> = storage.list(keys::CERTIFICATES).await?.into_iter().collect();
        keys.extend(storage.list(keys::FAILURES).await?);
        let statuses = self.manager().map(|manager| manager.status()).unwrap_or_default();
        let mut naming: HashMap<CertificateId, Vec<_>> = HashMap::new();
        for route in &self.config.routes {
            if let CertificateChoice::Id(id) = &route.certificate {
                naming.entry(id.clone()).or_default().push(Arc::clone(route));
            }
        }
        let covered = |status: &&acme::Status| status.state != acme::State::Covered;
        let kept_up = match &self.live {
            Some(_) => {
                let named = |status: &acme::Status| (CertificateId::new(status.id.as_str()), status.names.clone());
                statuses.iter().filter(covered).map(named).collect()
            }
            None => {
                let names = |wanted: &Wanted| wanted.names.iter().map(ToString::to_string).collect();
                wanted(&self.config, &wishes).into_iter().map(|wanted| (wanted.id.clone(), names(&wanted))).collect()
            }
        };
        Ok(Look {
            usage: self.usage(),
            statuses: statuses.into_iter().map(|status| (status.id.clone(), status)).collect(),
            wishes: wishes.into_iter().map(|wish| (wish.id.clone(), wish)).collect(),
            disabled: self.table.disabled().list(),
            folders: self.directories.iter().map(|status| (status.id.clone(), status.clone())).collect(),
            keys,
            naming,
            kept_up,
            acme: self.config.acme.clone().map(Arc::new),
        })
    }

    /// Who made the certificate, where it is in the storage.
    pub(super) async fn origin(&self, id: &CertificateId, look: &Look) -> Result<Option<Origin>, StorageError> {
        let has = |key: Key| look.keys.contains(&key);
        Ok(match has(keys::certificate(id)) {
            true if has(keys::certificate_about(id)) => Some(self.vault.about_stored(id).await?.origin),
            true => Some(Origin::Generated),
            false => None,
        })
    }

    /// How its orders went.
    pub(super) async fn kept(&self, id: &CertificateId, look: &Look) -> Result<acme::Kept, StorageError> {
        let storage = &**self.vault.storage();
        let has = |key: Key| look.keys.contains(&key);
        let status = look.statuses.get(id.as_str());
        let failed = has(keys::failure(id.as_str()));
        match status.filter(|status| status.state != acme::State::Starting) {
            Some(status) => acme::Kept::of(storage, id, Some(status)).await,
            None if failed || (has(keys::certificate_meta(id)) && look.kept_up.contains_key(id)) => {
                acme::Kept::load(storage, id, SystemTime::now()).await
            }
            None if has(keys::certificate_meta(id)) => acme::Kept::of(storage, id, None).await,
            None => Ok(acme::Kept::default()),
        }
    }
}

impl Look {
    /// The folder or file of a certificate that comes from one.
    pub(super) fn folder(&self, id: &CertificateId) -> Option<&directory::Status> {
        self.folders.get(id)
    }

    /// The ids of all certificates in the storage.
    pub(super) fn stored(&self) -> impl Iterator<Item = CertificateId> + '_ {
        self.keys.iter().filter_map(keys::certificate_id)
    }

    /// The routes that name it.
    pub(super) fn naming(&self, id: &CertificateId) -> &[Arc<Route>] {
        self.naming.get(id).map_or(&[], Vec::as_slice)
    }

    /// What this certificate is ordered by, where doorward keeps it up.
    pub(super) fn ordered_by(&self, id: &CertificateId) -> Option<Arc<Acme>> {
        let acme = self.acme.as_ref().filter(|_| self.kept_up.contains_key(id))?;
        Some(self.wishes.get(id.as_str()).map_or_else(|| Arc::clone(acme), |wish| asked(wish).tailor(acme)))
    }

    /// Who has a new one made in time: `acme` or `own-ca`; `folder`, whoever changes its files; nobody.
    pub(super) fn renewed_by(&self, id: &CertificateId, live: Option<&Live>) -> Option<&'static str> {
        if self.folders.contains_key(id) {
            return Some("folder");
        }
        if live.is_some_and(|live| live.local.renews_at(id).is_some()) {
            return Some("own-ca");
        }
        self.kept_up.contains_key(id).then_some("acme")
    }
}
