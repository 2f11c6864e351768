//! [`Pausing`]: stops a node dead at a chosen moment, as a crash there would.

use async_trait::async_trait;
use doorward::storage::{Key, StorageError};
use tokio::sync::Notify;

use super::hooked::Hook;

/// What the node is about to do, or has just done, when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    BeforeWrite(&'static str),
    AfterWrite(&'static str),
    BeforeDelete(&'static str),
}

/// At its moment it never comes back.
#[derive(Debug)]
pub struct Pausing {
    moment: Moment,
    reached: Notify,
}

impl Pausing {
    pub fn new(moment: Moment) -> Self {
        Self { moment, reached: Notify::new() }
    }

    /// Waits until the moment has come.
    pub async fn reached(&self) {
        tokio::time::timeout(super::PATIENCE, self.reached.notified()).await.expect("the moment comes");
    }

    async fn at(&self, is: impl Fn(Moment) -> bool) {
        if is(self.moment) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Hook for Pausing {
    async fn before_write(&self, key: &Key) -> Result<(), StorageError> {
        self.at(|m| matches!(m, Moment::BeforeWrite(p) if key.as_str().starts_with(p))).await;
        Ok(())
    }

    async fn after_write(&self, key: &Key) {
        self.at(|m| matches!(m, Moment::AfterWrite(p) if key.as_str().starts_with(p))).await;
    }

    async fn before_delete(&self, key: &Key) {
        self.at(|m| matches!(m, Moment::BeforeDelete(p) if key.as_str().starts_with(p))).await;
    }
}
