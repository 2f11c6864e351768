//! Whether listeners and routes fit each other: what each speaks, and what they call each other by.

use super::listener::Placed;
use super::reader::Reading;
use super::{ListenerProtocol, RouteMode, route};

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

/// Whether some listener speaks what a route needs.
pub(super) fn listeners(reading: &Reading, listeners: &[Placed], routes: &[route::Placed]) {
    for placed in routes {
        let route = &placed.route;
        let some_speaks = |protocols: &[ListenerProtocol]| {
            listeners.iter().map(|placed| &placed.listener).any(|listener| {
                protocols.contains(&listener.protocol)
                    && (route.listeners.is_empty() || route.listeners.contains(&listener.address))
            })
        };
        let is_default = listeners.iter().any(|other| other.listener.default_route.as_ref() == Some(&route.name));
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
        if !reached {
            reading.fault(&placed.mode, format!("no listener leads to the route {:?}", route.name), remedy);
        }
    }
}
