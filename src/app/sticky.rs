//! The key that makes cookies of endpoints: in the storage, so that clients stay where they are over a restart, and
//! on each node that has the same storage.

use std::time::Duration;

use aws_lc_rs::rand;

use crate::backend::StickyKey;
use crate::storage::{Storage, StorageError, keys};

/// Its length in bytes: that of the hash behind the cookies.
const LENGTH: usize = 32;
/// How long a start waits for the storage: a lock there may be held by a process that stands still.
const PATIENCE: Duration = Duration::from_secs(5);

/// The key in the storage, made where there is none; one for this process alone where the storage fails or takes long.
pub(super) async fn key(storage: &dyn Storage) -> StickyKey {
    let why = match tokio::time::timeout(PATIENCE, kept(storage)).await {
        Ok(Ok(key)) => return StickyKey::new(&key),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the storage did not answer within {PATIENCE:?}, or its lock `sticky` is held"),
    };
    tracing::warn!(error = why, "sticky sessions will not outlast a restart: their key cannot be kept");
    StickyKey::new(&made())
}

async fn kept(storage: &dyn Storage) -> Result<Vec<u8>, StorageError> {
    let key = keys::sticky_key();
    if let Some(found) = storage.read(&key).await?.filter(|found| found.len() == LENGTH) {
        return Ok(found);
    }
    // Two nodes that start together must not each make one.
    let _lease = storage.lock("sticky").await?;
    if let Some(found) = storage.read(&key).await?.filter(|found| found.len() == LENGTH) {
        return Ok(found);
    }
    let new = made();
    storage.write(&key, &new).await?;
    Ok(new.to_vec())
}

fn made() -> [u8; LENGTH] {
    let mut key = [0; LENGTH];
    // Without randomness TLS would not have started either; a known key tells addresses to who tries them, no more.
    let _ = rand::fill(&mut key);
    key
}
