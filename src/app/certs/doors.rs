//! [`Doors`]: the config's listeners, opened to answer a CA's challenges and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::IntCounter;

use crate::app::{Options, StartError, build};
use crate::certs::Challenges;
use crate::config::{self, Challenge, Config, ListenerProtocol};
use crate::listen::{Peers, Permits, Shared, Worker};
use crate::metrics::Metrics;
use crate::net;
use crate::proxy::{AccessLog, Settings};
use crate::tls::Tickets;

/// Connections at once: a CA asks with a few, and nobody else gets an answer.
const CONNECTIONS: usize = 256;

/// What answers challenges. Dropping it closes the listeners.
#[derive(Debug)]
pub(super) struct Doors {
    worker: Worker,
    /// The challenges that can be answered.
    open: Vec<Challenge>,
    /// Why others cannot be, a line each.
    pub(super) shut: Vec<String>,
}

impl Doors {
    /// Opens those listeners of `config` by which a CA asks, as far as no other program has their ports. They know no
    /// route and no certificate: whoever else comes is refused.
    ///
    /// # Errors
    /// [`StartError`], where there is no thread or no TLS to be had.
    pub(super) fn open(config: &Config, challenges: &Arc<Challenges>) -> Result<Self, StartError> {
        let (metrics, tickets) = (Metrics::default(), Tickets::new().map_err(|e| StartError::Tls(e.to_string()))?);
        let options = Options::default();
        let worker = Worker::spawn(0, shared(config, &options, challenges)?, &metrics.registry())?;
        let mut this = Self { worker, open: Vec::new(), shut: Vec::new() };
        let mut own: Vec<SocketAddr> = Vec::new();
        for listener in &config.listeners {
            let Some(challenge) = asked_at(listener.protocol) else { continue };
            let mut sockets = match net::bind_tcp(listener.address, 1, &own) {
                Ok(sockets) => sockets,
                Err(error) => {
                    this.shut.push(format!("{challenge}: {error}"));
                    continue;
                }
            };
            own.push(listener.address);
            if let Some(socket) = sockets.pop() {
                let listener = build::listener(listener, &socket, &options, &tickets, challenges)?;
                this.worker.open(Arc::new(listener), socket);
                this.open.push(challenge);
            }
        }
        for (challenge, protocol) in [(Challenge::Http01, "http"), (Challenge::TlsAlpn01, "https")] {
            let has = config.listeners.iter().any(|listener| asked_at(listener.protocol) == Some(challenge));
            if !has {
                this.shut.push(format!("{challenge}: the config has no listener with protocol = \"{protocol}\""));
            }
        }
        Ok(this)
    }

    /// Whether this challenge can be answered by a listener, or needs none.
    pub(super) fn can(&self, challenge: Challenge) -> bool {
        challenge == Challenge::Dns01 || self.open.contains(&challenge)
    }
}

/// The challenge for which a CA comes to a listener.
fn asked_at(protocol: ListenerProtocol) -> Option<Challenge> {
    match protocol {
        ListenerProtocol::Http => Some(Challenge::Http01),
        ListenerProtocol::Https | ListenerProtocol::Tls => Some(Challenge::TlsAlpn01),
        ListenerProtocol::Tcp => None,
    }
}

/// What a worker without routes is given.
fn shared(config: &Config, options: &Options, challenges: &Arc<Challenges>) -> Result<Shared, StartError> {
    let dropped = IntCounter::new("dropped", "Lines that nobody reads.")?;
    let (access, _unread) = AccessLog::new(false, dropped);
    let settings = Settings {
        timeouts: config.timeouts.clone(),
        limits: config.limits.clone(),
        access: config::AccessLog::Off,
        ..Settings::default()
    };
    Ok(Shared {
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        challenges: Arc::clone(challenges),
        disabled: Arc::clone(options.table.disabled()),
        access,
        permits: Permits::new(CONNECTIONS, CONNECTIONS, net::Room::new(CONNECTIONS, 1)),
        peers: Peers::default(),
        restarts: IntCounter::new("restarts", "Workers that panicked.")?,
    })
}
