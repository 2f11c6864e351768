//! Listeners: accept loops, limits, and the whole trip of a connection. Floor 6.
//!
//! Each [`Worker`] is a thread with a runtime of its own, its own socket on every address, its own pools and
//! counters. Workers share nothing but what others publish, two counts of permits, and how many connections each has:
//! [`Peers`] sees that they come close.

mod connection;
mod context;
mod handshakes;
mod metrics;
mod peers;
mod tcp;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

pub use context::Shared;
pub use peers::Peers;
pub use worker::{Worker, WorkerError};

use crate::config::ListenerProtocol;
use crate::net::Room;
use crate::proxy::Entrance;
use crate::tls::Acceptor;

/// An address that is listened on, with what its connections are served by; a reload changes that in place.
#[derive(Debug)]
pub struct Listener {
    /// The address as configured; its port may be 0.
    pub configured: SocketAddr,
    /// The address that was bound.
    pub bound: SocketAddr,
    settings: ArcSwap<ListenerSettings>,
}

/// How the connections of a listener are served.
#[derive(Debug)]
pub struct ListenerSettings {
    /// What is spoken.
    pub door: Door,
    /// What its clients see of it, and how far they are believed.
    pub entrance: Arc<Entrance>,
    /// Whether each connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether the port that clients dial is configured, and so known better than by a PROXY protocol header.
    pub has_public_port: bool,
}

/// What a listener speaks.
#[derive(Clone, Debug)]
pub enum Door {
    /// TLS, then HTTP.
    Https(Arc<Acceptor>),
    /// HTTP/1.1 as it is.
    Http,
    /// TLS, then bytes.
    Tls(Arc<Acceptor>),
    /// Bytes as they are.
    Tcp,
}

/// What all workers together may have under way.
#[derive(Clone, Debug)]
pub struct Permits {
    /// Open connections.
    pub connections: Arc<Semaphore>,
    /// TLS handshakes.
    pub handshakes: Arc<Semaphore>,
    /// Requests over HTTP/2, of which one connection can have many.
    pub requests: Room,
}

impl Listener {
    /// A listener on a socket that was bound.
    #[must_use]
    pub fn new(configured: SocketAddr, bound: SocketAddr, settings: ListenerSettings) -> Self {
        Self { configured, bound, settings: ArcSwap::from_pointee(settings) }
    }

    /// Serves further connections so.
    pub fn set(&self, settings: ListenerSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// The port that clients dial.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.settings.load().entrance.port
    }

    /// The protocol in its config's words.
    #[must_use]
    pub fn protocol(&self) -> ListenerProtocol {
        match self.settings.load().door {
            Door::Https(_) => ListenerProtocol::Https,
            Door::Http => ListenerProtocol::Http,
            Door::Tls(_) => ListenerProtocol::Tls,
            Door::Tcp => ListenerProtocol::Tcp,
        }
    }
}

impl Permits {
    /// So many at once.
    #[must_use]
    pub fn new(connections: usize, handshakes: usize, requests: Room) -> Self {
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { connections: semaphore(connections), handshakes: semaphore(handshakes), requests }
    }
}
