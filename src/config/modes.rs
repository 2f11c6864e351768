//! Whether listeners and routes fit each other: what each speaks, and what they call each other by.

use std::net::SocketAddr;

use super::listener::{Listener, Placed};
use super::reader::Reading;
use super::{CertificateChoice, HttpsPolicy, ListenerProtocol, Route, RouteHost, RouteMode, route};
use crate::names::HostPattern;

/// What listeners and routes call each other by.
pub(super) fn lookups(reading: &Reading, listeners: &[Placed], routes: &[route::Placed]) {
    for placed in routes {
        for (address, place) in placed.route.listeners.iter().zip(&placed.listeners) {
            if !listeners.iter().any(|other| other.listener.address == *address) {
                let there: Vec<_> = listeners.iter().map(|other| other.listener.address.to_string()).collect();
                let remedy = format!("write the address of a [[listener]]: {}", there.join(", "));
                reading.fault(place, format!("there is no listener {address}"), &remedy);
            }
        }
    }
    for Placed { listener, default_route: place, .. } in listeners {
        let Some(name) = &listener.default_route else { continue };
        let protocol = listener.protocol.as_str();
        let Some(found) = routes.iter().find(|placed| placed.route.name == *name) else {
            let names = routes.iter().map(|placed| placed.route.name.as_str());
            let nearest = names.min_by_key(|other| strsim::damerau_levenshtein(other, name));
            let remedy = nearest.map_or("add a [[route]] of that name".to_owned(), |n| format!("did you mean {n:?}?"));
            reading.fault(place, format!("there is no route {name:?}"), &remedy);
            continue;
        };
        let mode = found.route.mode;
        let (fits, wanted) = match listener.protocol {
            ListenerProtocol::Https => (mode != RouteMode::Tcp, "mode = \"http\" or mode = \"passthrough\""),
            ListenerProtocol::Tls => (mode != RouteMode::Http, "mode = \"tcp\" or mode = \"passthrough\""),
            ListenerProtocol::Tcp => (mode == RouteMode::Tcp, "mode = \"tcp\""),
            // Reported where the listener is read.
            ListenerProtocol::Http => (true, ""),
        };
        if !fits {
            let message = format!("{name:?} cannot be the default_route of a listener with protocol {protocol}");
            reading.fault(place, message, format!("give the route {wanted}"));
        }
    }
}

/// Finds the certificates of listeners that have a `default_route` and no `default_certificate`.
pub(super) fn default_hosts(reading: &Reading, listeners: &mut [Placed], routes: &[route::Placed]) {
    for Placed { listener, default_route: place, .. } in listeners {
        let Some(name) = listener.default_route.as_ref().filter(|_| listener.default_certificate.is_none()) else {
            continue;
        };
        let found = routes.iter().map(|placed| &placed.route).find(|route| route.name == *name);
        let Some(route) = found.filter(|route| listener.protocol.has_tls() && route.mode != RouteMode::Passthrough)
        else {
            continue;
        };
        listener.default_host = route.hosts.iter().find_map(|host| match host {
            RouteHost::Pattern(HostPattern::Exact(host)) if host.ip().is_none() => Some(host.clone()),
            _ => None,
        });
        if listener.default_host.is_none() {
            let message =
                format!("clients that send no name (SNI) are for the route {name:?}, but have no certificate");
            reading.warning(place, message, "write default_certificate = \"ID\" as well");
        }
    }
}

/// Whether the listeners that a route lists have what its `https` needs.
pub(super) fn policies(reading: &Reading, listeners: &[Placed], routes: &[route::Placed]) {
    for placed in routes.iter().filter(|placed| placed.route.mode == RouteMode::Http) {
        let route = &placed.route;
        let has = |protocol| {
            let speaks = |listener: &Listener| listener.protocol == protocol;
            listeners.iter().any(|other| speaks(&other.listener) && route.listeners.contains(&other.listener.address))
        };
        let (https, http) = (has(ListenerProtocol::Https), has(ListenerProtocol::Http));
        let (message, remedy) = match route.https {
            HttpsPolicy::Redirect if http && !https => (
                "https = \"redirect\" (the default) leads to a listener with protocol https, and the route lists none",
                "add one to its listeners, or write https = \"off\"",
            ),
            HttpsPolicy::Off if https && !http => (
                "https = \"off\" needs a listener with protocol http, and the route lists none",
                "add one to its listeners, or write https = \"both\"",
            ),
            _ => continue,
        };
        reading.fault(&placed.https, message, remedy);
    }
}

/// Warns of redirects to a port that clients may not know: they come to it by way of a proxy.
pub(super) fn redirects(reading: &Reading, listeners: &[Placed], routes: &[route::Placed]) {
    let of = |protocol| listeners.iter().filter(move |other| other.listener.protocol == protocol);
    let usual = |listener: &Listener| listener.forwarded_port(listener.address.port()) == 443;
    let redirected = |listener: &Listener| {
        let here = routes.iter().map(|placed| &placed.route).filter(|route| is_on(route, listener));
        let mut here = here.filter(|route| route.mode != RouteMode::Tcp && route.https == HttpsPolicy::Redirect);
        here.any(|route| {
            let others = of(ListenerProtocol::Https).map(|other| &other.listener).filter(|other| is_on(route, other));
            of(ListenerProtocol::Http).any(|http| is_on(route, &http.listener)) && !others.into_iter().any(usual)
        })
    };
    for Placed { listener, address: place, .. } in of(ListenerProtocol::Https) {
        let port = listener.address.port();
        let mapped = listener.proxy_protocol && listener.public_port.is_none() && !matches!(port, 0 | 443);
        if mapped && redirected(listener) {
            let message = format!(
                "redirects to https lead clients to port {port}, and they come here by way of a proxy (proxy_protocol)"
            );
            reading.warning(place, message, "write public_port = 443, or whatever port they dial there");
        }
    }
}

/// Whether some listener speaks what a route needs, and every one that it lists.
pub(super) fn listeners(reading: &Reading, listeners: &[Placed], routes: &[route::Placed]) {
    for placed in routes {
        if listed(reading, listeners, placed) {
            reached(reading, listeners, placed);
        }
    }
    for Placed { listener, address: place, .. } in listeners {
        let has_route = |placed: &route::Placed| {
            let route = &placed.route;
            route.mode != RouteMode::Http && !route.hosts.is_empty() && is_on(route, listener)
        };
        if listener.protocol == ListenerProtocol::Tls
            && listener.default_route.is_none()
            && !routes.iter().any(has_route)
        {
            let message =
                format!("the listener {} speaks tls, and no route takes what comes over it", listener.address);
            let remedy = "add a [[route]] with mode = \"tcp\" or \"passthrough\", or write protocol = \"https\"";
            reading.fault(place, message, remedy);
        }
    }
}

fn is_default_of(listener: &Listener, route: &Route) -> bool {
    listener.default_route.as_ref() == Some(&route.name)
}

/// Reports what a route that is reached by plain TCP alone has no use for.
fn no_tls(reading: &Reading, placed: &route::Placed) {
    let name = &placed.route.name;
    if let Some(place) = placed.hosts.first() {
        let message = format!("the route {name:?} is reached through protocol tcp alone, which tells no names");
        reading.fault(place, message, "remove hosts, or write protocol = \"tls\" at the listener");
    }
    if placed.route.certificate != CertificateChoice::Directory {
        let message = format!("the route {name:?} is reached through protocol tcp alone, and no TLS ends there");
        reading.fault(&placed.certificate, message, "remove certificate, or write protocol = \"tls\" at the listener");
    }
}

fn is_on(route: &Route, listener: &Listener) -> bool {
    route.listeners.is_empty() || route.listeners.contains(&listener.address)
}

/// Whether each listener that the route lists can serve it; what is wrong is reported.
fn listed(reading: &Reading, listeners: &[Placed], placed: &route::Placed) -> bool {
    let route = &placed.route;
    let known = |address: &SocketAddr| listeners.iter().map(|other| &other.listener).find(|l| l.address == *address);
    let has_tls = route.listeners.iter().filter_map(known).any(|listener| listener.protocol.has_tls());
    let mut fine = true;
    for (listener, place) in route.listeners.iter().map(known).zip(&placed.listeners) {
        let Some(listener) = listener else { continue };
        let word = listener.protocol.as_str();
        let (why, remedy) = match (route.mode, listener.protocol) {
            (RouteMode::Http, ListenerProtocol::Tls | ListenerProtocol::Tcp) => (
                "and a route with mode http takes requests",
                "write mode = \"tcp\" to pass on the bytes, or protocol = \"https\" at the listener",
            ),
            (RouteMode::Tcp, ListenerProtocol::Https) => (
                "and a route with mode tcp passes on bytes",
                "write mode = \"http\", or protocol = \"tls\" at the listener",
            ),
            (RouteMode::Tcp, ListenerProtocol::Http) => (
                "and a route with mode tcp passes on bytes",
                "write mode = \"http\", or protocol = \"tcp\" and this route as the default_route at the listener",
            ),
            (RouteMode::Tcp, ListenerProtocol::Tcp) if listener.default_route.as_ref() != Some(&route.name) => (
                "which tells no names: it has one route, its default_route",
                "name this route as the default_route of that listener, or leave the listener out here",
            ),
            (RouteMode::Passthrough, ListenerProtocol::Tcp) => (
                "which tells no names for a route with mode passthrough to go by",
                "write protocol = \"tls\" at the listener, or mode = \"tcp\" and this route as its default_route",
            ),
            // Plain requests are led to the listener with TLS from there.
            (RouteMode::Passthrough, ListenerProtocol::Http) if !has_tls => (
                "and a route with mode passthrough is for TLS",
                "add a listener with protocol https or tls, or write mode = \"http\"",
            ),
            _ => continue,
        };
        fine = false;
        reading.fault(place, format!("the listener {} speaks {word}, {why}", listener.address), remedy);
    }
    fine
}

fn reached(reading: &Reading, listeners: &[Placed], placed: &route::Placed) {
    let route = &placed.route;
    let some_speaks = |protocols: &[ListenerProtocol]| {
        let listeners = listeners.iter().map(|placed| &placed.listener);
        listeners.into_iter().any(|listener| protocols.contains(&listener.protocol) && is_on(route, listener))
    };
    let is_default = listeners.iter().any(|other| is_default_of(&other.listener, route));
    let (reached, remedy) = match route.mode {
        RouteMode::Http => (
            some_speaks(&[ListenerProtocol::Https, ListenerProtocol::Http]),
            "add a [[listener]] with protocol = \"https\", or write mode = \"tcp\"",
        ),
        RouteMode::Passthrough => (
            some_speaks(&[ListenerProtocol::Https, ListenerProtocol::Tls]),
            "add a [[listener]] with protocol = \"https\" or \"tls\"",
        ),
        RouteMode::Tcp => (
            is_default || (!route.hosts.is_empty() && some_speaks(&[ListenerProtocol::Tls])),
            "add a [[listener]] with protocol = \"tls\", or one with protocol = \"tcp\" and this route as its default_route",
        ),
    };
    let by_name = some_speaks(&[ListenerProtocol::Tls])
        || listeners.iter().any(|other| other.listener.protocol.has_tls() && is_default_of(&other.listener, route));
    if reached && route.mode == RouteMode::Tcp && !by_name {
        no_tls(reading, placed);
    }
    if !reached {
        reading.fault(&placed.mode, format!("no listener leads to the route {:?}", route.name), remedy);
    }
}
