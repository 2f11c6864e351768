//! The key that makes cookies of endpoints: in the storage, so that clients stay where they are over a restart, and
//! on each node that has the same storage.

use aws_lc_rs::rand;

use crate::backend::StickyKey;
use crate::storage::{Storage, StorageError, keys};

/// Its length in bytes: that of the hash behind the cookies.
const LENGTH: usize = 32;

/// The key in the storage, made where there is none; one for this process alone where the storage fails.
pub(super) async fn key(storage: &dyn Storage) -> StickyKey {
    match kept(storage).await {
        Ok(key) => StickyKey::new(&key),
        Err(error) => {
            tracing::warn!(%error, "sticky sessions will not outlast a restart: their key cannot be kept");
            StickyKey::new(&made())
        }
    }
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
