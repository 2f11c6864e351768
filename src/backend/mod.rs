//! Backends: where an app listens, the connections to it that are kept, and one exchange with it. Floor 3.
//!
//! A [`Registry`] in the control plane makes [`Backend`]s, which all workers read. Connections belong to one
//! worker: each has its own [`Pools`], and no two cores share one.

mod balance;
mod budget;
mod connect;
mod endpoint;
mod exchange;
mod files;
mod health;
mod known;
mod limit;
mod members;
mod names;
mod origin;
mod pick;
mod pool;
mod registry;
mod resolved;
mod standing;
mod sticky;
mod stream;
mod tally;
mod tls;
mod upload;

use std::time::Duration;

pub use balance::hash;
pub use connect::ConnectError;
pub use endpoint::{Duty, Endpoint};
pub use exchange::{Exchange, ExchangeError};
pub use limit::{Busy, Place};
pub use members::{Backend, Member};
pub use names::{LookUp, Target};
pub use origin::{Origin, OriginTls};
pub use pool::{Connection, InFlight, Link, Pools, Verdict};
pub use registry::{BackendUnusable, Registry};
pub use sticky::StickyKey;
pub use stream::{Socket, Stream};
pub use tally::EndpointReport;
pub use tls::{Transport, TransportError};
pub use upload::RequestBodyError;

pub use crate::config::BackendAddress;

/// What an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// Bytes of an answer's head.
    pub header_bytes: usize,
    /// Connections kept per endpoint.
    pub idle_connections: usize,
    /// How long an unused connection is kept.
    pub keep_alive: Duration,
}
