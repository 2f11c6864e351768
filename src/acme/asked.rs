//! [`Asked`]: what an operator wants of one certificate that is not as `[acme]` has it.

use std::sync::Arc;

use super::AcmeError;
use super::account;
use super::certificate::Meta;
use crate::certs::Certificate;
use crate::config::{self, CertificateId, KeyType};
use crate::storage::{Storage, keys};

/// How a certificate that an operator had generated differs from those of routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The issuer's name.
    pub issuer: Option<String>,
    /// The key's kind.
    pub key: Option<KeyType>,
    /// The profile.
    pub profile: Option<String>,
}

impl Asked {
    /// The `[acme]` that this certificate is ordered by. An issuer that the config has no longer is the config's.
    #[must_use]
    pub fn tailor(&self, acme: &Arc<config::Acme>) -> Arc<config::Acme> {
        if *self == Self::default() {
            return Arc::clone(acme);
        }
        let mut own = config::Acme::clone(acme);
        if let Some(issuer) = self.issuer.as_deref().and_then(|name| find_issuer(acme, name)) {
            own = acme.asking(issuer);
        }
        own.key = self.key.unwrap_or(own.key);
        own.issuer.profile = self.profile.clone().or(own.issuer.profile);
        Arc::new(own)
    }
}

/// The issuer of this name, of all that are known.
#[must_use]
pub fn find_issuer<'a>(acme: &'a config::Acme, name: &str) -> Option<&'a config::Issuer> {
    acme.known_issuers().find(|issuer| issuer.name == name)
}

/// Revokes a certificate at the CA that issued it (RFC 8555 §7.6), and remembers that, so that it is renewed.
///
/// # Errors
/// [`AcmeError`]: the CA is none of the config's, or said no.
pub async fn revoke(
    acme: &config::Acme,
    storage: &Arc<dyn Storage>,
    certificate: &Certificate,
    reason: Reason,
    now: u64,
) -> Result<(), AcmeError> {
    let id = certificate.id();
    let mut meta = meta(storage, id).await?.ok_or_else(|| AcmeError::NotOurs(id.to_string()))?;
    // Two issuers at one directory have accounts of their own.
    let at = |issuer: &&config::Issuer| issuer.directory == meta.directory;
    let named = acme.known_issuers().filter(at).find(|issuer| issuer.name == meta.issuer);
    let issuer = named.or_else(|| acme.known_issuers().find(at));
    let issuer = issuer.ok_or_else(|| AcmeError::NotOurs(id.to_string()))?;
    let own = acme.asking(issuer);
    let session = account::open_existing(&own, storage).await?.ok_or_else(|| AcmeError::NotOurs(id.to_string()))?;
    let leaf = certificate.chain().next().unwrap_or_default().to_vec().into();
    let request = instant_acme::RevocationRequest { certificate: &leaf, reason: Some(reason.into()) };
    match super::session::ask!(session.seen, session.account.revoke(&request)) {
        Ok(()) => {}
        Err(AcmeError::Refused { kind, .. }) if kind == "alreadyRevoked" => {}
        Err(error) => return Err(error),
    }
    meta.revoked = Some(now);
    Ok(meta.save(&**storage, id).await?)
}

async fn meta(storage: &Arc<dyn Storage>, id: &CertificateId) -> Result<Option<Meta>, AcmeError> {
    let value = storage.read(&keys::certificate_meta(id)).await?;
    Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
}

/// Why a certificate is revoked (RFC 5280 §5.3.1): those that a subscriber may give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// No reason.
    #[default]
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Another one is in its place.
    Superseded,
    /// The names are not used any more.
    Cessation,
}

impl From<Reason> for instant_acme::RevocationReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::KeyCompromise => Self::KeyCompromise,
            Reason::Superseded => Self::Superseded,
            Reason::Cessation => Self::CessationOfOperation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_differs() {
        let acme = Arc::new(config::Acme::default());
        assert!(Arc::ptr_eq(&Asked::default().tailor(&acme), &acme));
        let asked = Asked { issuer: Some("gone".to_owned()), key: Some(KeyType::P384), profile: Some("x".to_owned()) };
        let own = asked.tailor(&acme);
        assert_eq!((own.key, own.issuer.profile.as_deref()), (KeyType::P384, Some("x")));
        assert_eq!(own.issuer.directory, acme.issuer.directory);
        let other = config::Issuer::new("other", "https://other.test/dir");
        let acme = Arc::new(config::Acme { others: vec![other.clone()], ..config::Acme::default() });
        let own = Asked { issuer: Some("other".to_owned()), ..Asked::default() }.tailor(&acme);
        assert_eq!(own.issuers().collect::<Vec<_>>(), [&other], "known, though it is not asked for all the rest");
    }
}
