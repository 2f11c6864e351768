//! Connections that are passed on as bytes: out of TLS, with TLS and all, or without any.

use std::rc::Rc;

use prometheus::IntCounter;

use super::access_log::Record;
use super::client::{Client, Entrance};
use super::forward::connect;
use super::tunnel::{End, Ended, Moved, Patience, Side, relay};
use super::{Proxy, Snapshot};
use crate::drain::Watch;
use crate::names::Hostname;
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

    /// Passes a connection on, both ways, until it ends. `first` is what was read of it already, `sni` the name that
    /// its client asked for. It is let finish as requests are: a reload or a new certificate does not touch it, and a
    /// drain waits for it.
    pub async fn serve_raw<IO: Transport>(
        &self,
        client: Rc<Client>,
        route: RawRoute,
        io: IO,
        (sni, first): (Option<Hostname>, Vec<u8>),
        drain: Watch,
    ) {
        let mut passage = Passage::begin(self, &client, &route, sni.as_ref());
        let RawRoute { settings, .. } = &route;
        let deadline = self.timer.deadline();
        let backend = &route.route().backend;
        // On the heap, as it is large and soon over.
        let connecting = Box::pin(connect(self, settings, backend, &client, &deadline, &mut passage.record));
        let connected = connecting.await;
        match connected {
            Ok(connection) => {
                connection.verdict().succeeded();
                let inbox = Inbox::with(first);
                let from = End { io, inbox, outbox: Outbox::default() };
                let (io, inbox, outbox, _in_flight) = connection.into_parts();
                let to = End { io, inbox, outbox };
                let mut ends = Ends { client: from, backend: to, are_done: false };
                let patience = Patience::from(&settings.timeouts);
                let moved = |moved| passage.moved(moved);
                let ended = relay(&mut ends.client, &mut ends.backend, &deadline, patience, moved).await;
                ends.are_done = true;
                passage.ended(&ended);
            }
            Err(failure) => {
                let mut io = io;
                // The client is to see that this is no regular end.
                io.reset_on_drop();
                passage.record.error = Some((failure.code, failure.detail));
                passage.outcome = failure.code;
            }
        }
        drop(passage);
        drop(drain);
    }
}

/// Both ends, which are broken off where they are dropped before they are done.
struct Ends<A: Transport, B: Transport> {
    client: End<A>,
    backend: End<B>,
    are_done: bool,
}

impl<A: Transport, B: Transport> Drop for Ends<A, B> {
    fn drop(&mut self) {
        if !self.are_done {
            self.client.io.reset_on_drop();
            self.backend.io.reset_on_drop();
        }
    }
}

/// A connection that is passed on, counted and logged when it is dropped: at its end, or where it is cut by the end
/// of a drain.
struct Passage<'a> {
    proxy: &'a Proxy,
    client: &'a Client,
    protocol: &'static str,
    record: Record,
    bytes: [IntCounter; 2],
    outcome: &'static str,
}

impl<'a> Passage<'a> {
    fn begin(proxy: &'a Proxy, client: &'a Client, route: &RawRoute, sni: Option<&Hostname>) -> Self {
        let mut record = Record::begin_raw(proxy, (Rc::clone(&route.settings), route.index));
        let sni = sni.or_else(|| client.tls.as_ref()?.sni.as_ref());
        record.host = sni.map(|sni| sni.as_str().to_owned());
        let protocol = if route.mode() == RouteMode::Tcp { "tcp" } else { "passthrough" };
        let bytes = proxy.metrics.raw_bytes(route.route());
        record.error = Some(("cut", None));
        Self { proxy, client, protocol, record, bytes, outcome: "cut" }
    }

    fn moved(&mut self, moved: Moved) {
        let [bytes_in, bytes_out] = &self.bytes;
        bytes_in.inc_by(moved.up - self.record.bytes_in);
        bytes_out.inc_by(moved.down - self.record.bytes_out);
        (self.record.bytes_in, self.record.bytes_out) = (moved.up, moved.down);
    }

    fn ended(&mut self, ended: &Ended) {
        self.record.ended_by = ended.by().map(Side::word);
        self.record.error = ended.failure();
        self.outcome = match (ended, &self.record.error) {
            (_, Some((code, _))) => code,
            (Ended::Truncated(Side::Client), _) => "client_truncated",
            (Ended::Truncated(Side::Backend), _) => "backend_truncated",
            _ => "ok",
        };
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        self.record.end_raw(self.proxy, self.client, self.protocol, self.outcome);
    }
}
