//! Backends: where an app listens, the connections to it that are kept, and one exchange with it. Floor 3.
//!
//! Everything here belongs to one worker: each has its own [`Pools`], and no two cores share a connection.

mod connect;
mod exchange;
mod pool;
mod upload;

use std::time::Duration;

pub use connect::ConnectError;
pub use exchange::{Exchange, ExchangeError};
pub use pool::{Connection, Pools};
pub use upload::RequestBodyError;

pub use crate::config::BackendAddress;

/// An app: one or more endpoints that answer alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// At least one; used in turn.
    pub endpoints: Vec<BackendAddress>,
}

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
