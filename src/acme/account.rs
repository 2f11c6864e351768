//! The account at a CA: made once and kept (RFC 8555 §7.3).

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{AccountBuilder, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};

use super::session::{Seen, Session, ask};
use super::{AcmeError, short_hash};
use crate::config;
use crate::net::{ClientTimeouts, HttpsClient, Roots};
use crate::storage::{Key, Storage, keys};

/// The account as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    directory: String,
    contact: Vec<String>,
    credentials: AccountCredentials,
}

/// Opens the account with the CA of `acme`, and makes it where there is none yet. Asks for the directory each time.
///
/// # Errors
/// [`AcmeError`].
pub(super) async fn open(acme: &config::Acme, storage: &Arc<dyn Storage>) -> Result<Session, AcmeError> {
    let key = key(acme);
    if let Some(stored) = load(&**storage, &key).await? {
        return restore(acme, storage, &key, stored).await;
    }
    // One account, however many certificates are wanted at once, here and in other processes.
    let _lease = storage.lock(&format!("account-{}", acme.issuer.name)).await?;
    match load(&**storage, &key).await? {
        Some(stored) => restore(acme, storage, &key, stored).await,
        None => create(acme, storage, &key).await,
    }
}

/// Opens the account where there is one; makes none.
///
/// # Errors
/// [`AcmeError`].
pub(super) async fn open_existing(
    acme: &config::Acme,
    storage: &Arc<dyn Storage>,
) -> Result<Option<Session>, AcmeError> {
    let key = key(acme);
    match load(&**storage, &key).await? {
        Some(stored) => restore(acme, storage, &key, stored).await.map(Some),
        None => Ok(None),
    }
}

/// Forgets the account that the CA has forgotten: a test CA that was reset, most of all.
///
/// # Errors
/// [`AcmeError`].
pub(super) async fn forget(acme: &config::Acme, storage: &Arc<dyn Storage>, id: &str) -> Result<(), AcmeError> {
    let _lease = storage.lock(&format!("account-{}", acme.issuer.name)).await?;
    let key = key(acme);
    // Another task may have made a new one by now.
    if let Some(stored) = storage.read(&key).await?
        && serde_json::from_slice::<serde_json::Value>(&stored).is_ok_and(|v| v["credentials"]["id"] == id)
    {
        tracing::warn!(
            issuer = acme.issuer.name,
            account = id,
            "the CA does not know the account any more; making a new one"
        );
        storage.delete(&key).await?;
    }
    Ok(())
}

async fn create(acme: &config::Acme, storage: &Arc<dyn Storage>, key: &Key) -> Result<Session, AcmeError> {
    let eab = acme.issuer.eab.as_ref().map(external_account_key).transpose()?;
    let contact = contact_urls(&acme.contact);
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let seen = Seen::new(&acme.issuer.directory);
    let (account, credentials) =
        ask!(seen, builder(acme, &seen)?.create(&new, acme.issuer.directory.clone(), eab.as_ref()))?;
    save(
        &**storage,
        key,
        &Stored { directory: acme.issuer.directory.clone(), contact: acme.contact.clone(), credentials },
    )
    .await?;
    tracing::info!(issuer = acme.issuer.name, account = account.id(), "made an account with the CA");
    Ok(Session { account, seen })
}

async fn restore(
    acme: &config::Acme,
    storage: &Arc<dyn Storage>,
    key: &Key,
    mut stored: Stored,
) -> Result<Session, AcmeError> {
    let seen = Seen::new(&acme.issuer.directory);
    let credentials = copy(&stored.credentials)?;
    let account = builder(acme, &seen)?.from_credentials(credentials).await.map_err(|e| seen.explain(e))?;
    if stored.contact != acme.contact {
        let contact = contact_urls(&acme.contact);
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        // An account works without: certificates do not wait for it.
        match ask!(seen, account.update_contacts(&contact)) {
            Ok(()) => {
                stored.contact.clone_from(&acme.contact);
                save(&**storage, key, &stored).await?;
            }
            Err(error) if error.is_account_unknown() => {}
            Err(error) => {
                tracing::warn!(issuer = acme.issuer.name, %error, "the account's contact could not be changed")
            }
        }
    }
    Ok(Session { account, seen })
}

fn builder(acme: &config::Acme, seen: &Seen) -> Result<AccountBuilder, AcmeError> {
    let roots = acme.issuer.trust.clone().map_or(Roots::System, Roots::File);
    let client = HttpsClient::new(&roots, ClientTimeouts::default()).map_err(AcmeError::Unreachable)?;
    Ok(instant_acme::Account::builder_with_http(seen.recorder(client)))
}

fn key(acme: &config::Acme) -> Key {
    keys::account(&acme.issuer.name, &short_hash([acme.issuer.directory.as_str()]))
}

async fn load(storage: &dyn Storage, key: &Key) -> Result<Option<Stored>, AcmeError> {
    let Some(value) = storage.read(key).await? else { return Ok(None) };
    // Never replaced by itself: the account may hold rate limits and authorisations that matter.
    let unusable =
        |e| AcmeError::Protocol(format!("the account in storage ({key}) cannot be read ({e}); restore or delete it"));
    serde_json::from_slice(&value).map(Some).map_err(unusable)
}

async fn save(storage: &dyn Storage, key: &Key, stored: &Stored) -> Result<(), AcmeError> {
    let value = serde_json::to_vec(stored).map_err(|e| AcmeError::Protocol(e.to_string()))?;
    Ok(storage.write(key, &value).await?)
}

/// The credentials once more: instant-acme takes them and gives no copy.
fn copy(credentials: &AccountCredentials) -> Result<AccountCredentials, AcmeError> {
    let copied = serde_json::to_value(credentials).and_then(serde_json::from_value);
    copied.map_err(|e| AcmeError::Protocol(e.to_string()))
}

fn external_account_key(eab: &config::Eab) -> Result<ExternalAccountKey, AcmeError> {
    // CAs print it as base64url, some with padding.
    let key = BASE64_URL_SAFE_NO_PAD.decode(eab.hmac_key.trim().trim_end_matches('=')).map_err(AcmeError::Eab)?;
    Ok(ExternalAccountKey::new(eab.key_id.clone(), &key))
}

fn contact_urls(contact: &[String]) -> Vec<String> {
    contact.iter().map(|address| format!("mailto:{address}")).collect()
}

/// The URL of the account with the CA of `acme` (RFC 8657 §3, `accounturi`), where one was made.
///
/// # Errors
/// [`AcmeError`].
pub async fn account_uri(acme: &config::Acme, storage: &dyn Storage) -> Result<Option<String>, AcmeError> {
    let Some(stored) = load(storage, &key(acme)).await? else { return Ok(None) };
    let credentials = serde_json::to_value(&stored.credentials).unwrap_or_default();
    Ok(credentials["id"].as_str().map(str::to_owned))
}
