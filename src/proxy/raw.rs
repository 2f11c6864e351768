//! Connections that are passed on as bytes: out of TLS, with TLS and all, or without any.

use std::rc::Rc;

use super::access_log::Record;
use super::client::{Client, Entrance};
use super::forward::connect;
use super::tunnel::{End, Patience, relay};
use super::{Proxy, Snapshot};
use crate::drain::Watch;
use crate::net::{Inbox, Outbox, Transport};
use crate::route::{Route, RouteMode};

/// The route of a whole connection.
#[derive(Clone, Debug)]
pub struct RawRoute {
    settings: Rc<Snapshot>,
    index: usize,
}

impl RawRoute {
    /// What of the connection is understood: [`RouteMode::Tcp`] or [`RouteMode::Passthrough`].
    #[must_use]
    pub fn mode(&self) -> RouteMode {
        self.route().mode
    }

    fn route(&self) -> &Route {
        &self.settings.routes.routes()[self.index]
    }
}

impl Proxy {
    /// The route for a connection whose client asks for this name, or for none. None: it has no route of its own,
    /// and what comes over it are requests, if anything.
    #[must_use]
    pub fn raw_route(&self, entrance: &Entrance, sni: Option<&str>) -> Option<RawRoute> {
        let settings = self.settings();
        let route = match sni {
            Some(sni) => settings.routes.find_raw(sni, entrance.listener),
            None => entrance.default_route.as_deref().and_then(|name| settings.routes.named(name)),
        };
        let index = route.filter(|route| route.mode != RouteMode::Http)?.index;
        Some(RawRoute { settings, index })
    }

    /// Passes a connection on, both ways, until it ends. `first` is what was read of it already. It is let finish
    /// as requests are: a reload or a new certificate does not touch it, and a drain waits for it.
    pub async fn serve_raw<IO: Transport>(&self, client: &Client, route: RawRoute, io: IO, first: &[u8], drain: Watch) {
        let mut record = Record::begin(self);
        let RawRoute { settings, index } = &route;
        record.route = Some((Rc::clone(settings), *index));
        let deadline = self.timer.deadline();
        let (endpoint, other) = self.pools.pick(&route.route().backend);
        let connected = connect(self, settings, endpoint, other, &deadline, &mut record).await;
        match connected {
            Ok(connection) => {
                let mut inbox = Inbox::new();
                inbox.extend_from_slice(first);
                let mut from = End { io, inbox, outbox: Outbox::default() };
                let mut to = End { io: connection.io, inbox: connection.inbox, outbox: connection.outbox };
                let patience = Patience::from(&settings.timeouts);
                self.metrics.tunnels.inc();
                let moved = Box::pin(relay(&mut from, &mut to, &deadline, patience)).await;
                self.metrics.tunnels.dec();
                (record.bytes_in, record.bytes_out) = moved;
            }
            Err(failure) => {
                let mut io = io;
                // The client is to see that this is no regular end.
                io.reset_on_drop();
                record.error = Some((failure.code, failure.detail));
            }
        }
        record.end_raw(self, client, if route.mode() == RouteMode::Tcp { "tcp" } else { "passthrough" });
        drop(drain);
    }
}
