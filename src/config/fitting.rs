//! Whether backends fit the routes that lead to them: what each speaks, and what only requests have.

use std::net::SocketAddr;
use std::sync::Arc;

use super::load::Gathered;
use super::reader::Reading;
use super::source::Place;
use super::{Backend, BackendAddress, BackendProtocol, Balance, RouteMode};
use super::{backend, listener};

/// Gives each route its backend; returns those that have a name.
pub(super) fn resolve(reading: &Reading, gathered: &mut Gathered) -> Vec<Arc<Backend>> {
    let backends = std::mem::take(&mut gathered.backends);
    let says: Vec<bool> = backends.iter().map(|placed| placed.says_protocol).collect();
    let named: Vec<_> = backends.into_iter().map(|placed| Arc::new(placed.backend)).collect();
    // What other routes speak HTTP with may have what only they have a use for.
    let of_requests = |placed: &super::route::Placed| match (&placed.written, placed.route.mode) {
        (Some(backend::Written::Named(name, _)), RouteMode::Http) => Some(name.clone()),
        _ => None,
    };
    let shared: Vec<String> = gathered.routes.iter().filter_map(of_requests).collect();
    for placed in &mut gathered.routes {
        let Some(written) = placed.written.take() else { continue };
        let says_protocol = match &written {
            backend::Written::Whole(placed) => placed.says_protocol,
            backend::Written::Named(name, _) => {
                named.iter().zip(&says).any(|(backend, says)| backend.name == *name && *says)
            }
        };
        if let Some(backend) = backend::resolve(reading, written, &named) {
            let is_shared = shared.contains(&backend.name);
            protocol(reading, &placed.backend, placed.route.mode, &backend, says_protocol && !is_shared);
            if placed.route.mode != RouteMode::Http && !is_shared {
                no_requests(reading, &placed.backend, placed.route.mode, &backend);
            }
            placed.route.backend = backend;
        }
    }
    named
}

/// A backend that is one of our own listeners would be asked again and again.
pub(super) fn loops(reading: &Reading, listeners: &[listener::Placed], gathered: &Gathered) {
    let written = gathered.routes.iter().filter_map(|placed| match &placed.written {
        Some(backend::Written::Whole(placed)) => Some(&**placed),
        _ => None,
    });
    let all = gathered.backends.iter().chain(written);
    for (endpoint, place) in all.flat_map(|placed| placed.backend.endpoints.iter().zip(&placed.endpoints)) {
        let BackendAddress::Socket(address) = &endpoint.address else { continue };
        let same = |own: &SocketAddr| {
            own.port() == address.port()
                && (own.ip() == address.ip() || (own.ip().is_unspecified() && address.ip().is_loopback()))
        };
        if let Some(own) = listeners.iter().find(|placed| same(&placed.listener.address)) {
            let message = format!("{address} is doorward's own listener at {}", own.address.location());
            reading.fault(place, message, "name the address of the app");
        }
    }
}

/// Whether a route can be served by what its backend speaks. Where nobody says `http`, it means plain bytes to a route
/// that understands no requests: it is the default.
fn protocol(reading: &Reading, place: &Place, mode: RouteMode, backend: &Backend, says_http: bool) {
    let word = backend.protocol.word();
    let (message, remedy) = match (mode, backend.protocol) {
        (RouteMode::Tcp, BackendProtocol::Http) if says_http => (
            "the backend speaks http, and a route with mode tcp passes on bytes".to_owned(),
            "write tcp:// for it, or mode = \"http\"",
        ),
        (RouteMode::Passthrough, BackendProtocol::Http) if says_http => (
            "the backend speaks http, and the client's TLS passes through to it".to_owned(),
            "write tcp:// for it: the bytes are TLS already",
        ),
        (RouteMode::Http, BackendProtocol::Tcp) => (
            format!("the backend speaks {word}, and the route's requests are HTTP"),
            "write http:// for it, or mode = \"tcp\"",
        ),
        (RouteMode::Http, BackendProtocol::Tls) => (
            format!("the backend speaks {word}, and the route's requests are HTTP"),
            "write https:// for it, or mode = \"tcp\"",
        ),
        (RouteMode::Tcp, BackendProtocol::Https) => (
            "the backend speaks https, and a route with mode tcp passes on bytes".to_owned(),
            "write tls:// for it, or mode = \"http\"",
        ),
        (RouteMode::Passthrough, BackendProtocol::Https | BackendProtocol::Tls) => (
            format!("{word}:// is TLS of doorward's own, and the client's TLS passes through to the backend as it is"),
            "write tcp:// for it: the bytes are TLS already",
        ),
        _ => return,
    };
    reading.fault(place, message, remedy);
}

/// Reports what a backend has that only requests have a use for.
fn no_requests(reading: &Reading, place: &Place, mode: RouteMode, backend: &Backend) {
    let mode = if mode == RouteMode::Tcp { "tcp" } else { "passthrough" };
    let passes = format!("a route with mode {mode} passes on bytes");
    if backend.sticky.is_some() {
        let remedy = "remove sticky, and write balance = \"hash-client\" to keep clients together";
        reading.fault(place, format!("sticky goes by cookies, and {passes}"), remedy);
    }
    if matches!(backend.balance, Balance::HashHeader(_) | Balance::HashCookie(_)) {
        let message = format!("balance = \"{}\" goes by requests, and {passes}", backend.balance);
        reading.fault(place, message, "write balance = \"hash-client\"");
    }
    if backend.check.as_ref().is_some_and(|check| check.path.is_some()) {
        let remedy = "remove path from check: a connection is enough then";
        reading.fault(place, format!("check asks for a path, and {passes}"), remedy);
    }
}
