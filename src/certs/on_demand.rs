//! [`OnDemand`]: a certificate for a name that is asked for the first time.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use crate::names::Hostname;

/// A future on the heap, which may travel between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Gets certificates while a handshake waits. The handshake's deadline bounds the wait: the future may be
/// dropped at any await, and what it began has to go on or be left in order.
pub trait OnDemand: Send + Sync {
    /// Sees to it that the table has a certificate for `name`, which `client` asks for, or refuses. It is called
    /// for whatever name a client makes up, so a refusal has to be cheap. After `Ok` the table is asked again.
    fn obtain(&self, name: Hostname, client: IpAddr) -> BoxFuture<'_, Result<(), OnDemandError>>;
}

/// Why there will be no certificate for this handshake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnDemandError {
    /// Nobody may have a certificate for this name.
    #[error("no certificate is issued for this name on demand")]
    NotAllowed,
    /// It was tried, and failed, or takes too long: later there may be one.
    #[error("{0}")]
    Failed(String),
}

impl fmt::Debug for dyn OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnDemand")
    }
}
