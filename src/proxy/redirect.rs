//! Where a request goes that came without TLS, to come again with it.

use std::net::IpAddr;

use super::asked::Asked;
use super::client::Client;
use super::failure::Failure;
use super::page::Page;
use super::{SecureDoor, Settings};
use crate::route::{Route, RouteMode};

/// The usual port of HTTPS, which a URL need not name.
const HTTPS: u16 = 443;

/// The redirect to `https://`, on the port where the route is.
pub(super) fn to_https(
    settings: &Settings,
    route: &Route,
    asked: &Asked<'_>,
    client: &Client,
) -> Result<Page, Failure> {
    let port = port(&settings.secure, route, client.local.ip()).ok_or_else(Failure::unknown_host)?;
    let host = asked.host.as_str();
    let mut location = b"https://".to_vec();
    let bracketed = host.contains(':');
    location.extend_from_slice(if bracketed { b"[" } else { b"" });
    location.extend_from_slice(host.as_bytes());
    location.extend_from_slice(if bracketed { b"]" } else { b"" });
    if port != HTTPS {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    location.extend_from_slice(if *asked.target == *b"*" { b"/" } else { &asked.target });
    Ok(Page::redirect(&location))
}

/// The port of a listener that has the route: of those that the client can reach under the address that it dialled,
/// if there are any; of these the usual one, or else the first. None: no listener has it.
fn port(doors: &[SecureDoor], route: &Route, dialled: IpAddr) -> Option<u16> {
    let has_route = |door: &&SecureDoor| {
        let serves = match route.mode {
            RouteMode::Http => door.https,
            RouteMode::Passthrough => true,
            // There are no requests to come again.
            RouteMode::Tcp => false,
        };
        serves && route.is_on(door.listener)
    };
    let listens_there = |door: &&SecureDoor| {
        let ip = door.listener.ip();
        ip.is_unspecified() || ip.to_canonical() == dialled.to_canonical()
    };
    let best = |doors: &mut dyn Iterator<Item = &SecureDoor>| {
        let ports: Vec<u16> = doors.map(|door| door.port).collect();
        ports.iter().find(|port| **port == HTTPS).or(ports.first()).copied()
    };
    best(&mut doors.iter().filter(has_route).filter(listens_there))
        .or_else(|| best(&mut doors.iter().filter(has_route)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::Backend;
    use crate::config;
    use crate::route::Table;

    #[test]
    fn the_port_is_that_of_a_listener_that_has_the_route() {
        let door = |listener: &str, port: u16, https: bool| SecureDoor {
            listener: listener.parse().expect("an address"),
            port,
            https,
        };
        let doors = [
            door("192.0.2.1:8443", 8443, true),
            door("192.0.2.2:9443", 9443, true),
            door("192.0.2.2:443", 443, true),
            door("192.0.2.3:7443", 7443, false),
        ];
        let route = |listeners: &[&str], mode| {
            let listeners = listeners.iter().map(|text| text.parse().expect("an address")).collect();
            let config = config::Route { listeners, mode, ..config::Route::new(Vec::new(), []) };
            let backend = Arc::new(Backend::new("", Vec::new(), config::Balance::default()));
            let table = Table::new(&[Arc::new(config)], &[backend]).expect("no conflict");
            Arc::clone(&table.routes()[0])
        };
        for (listeners, mode, dialled, expected) in [
            (&[][..], RouteMode::Http, "192.0.2.1", Some(8443)),
            (&[], RouteMode::Http, "192.0.2.2", Some(443)),
            (&[], RouteMode::Http, "::ffff:192.0.2.1", Some(8443)),
            // Behind a firewall no listener has that address.
            (&[], RouteMode::Http, "198.51.100.9", Some(443)),
            (&["192.0.2.1:8443", "192.0.2.2:9443"], RouteMode::Http, "198.51.100.9", Some(8443)),
            (&["192.0.2.2:9443"], RouteMode::Http, "192.0.2.2", Some(9443)),
            (&["192.0.2.2:9443"], RouteMode::Http, "192.0.2.1", Some(9443)),
            (&["192.0.2.3:7443"], RouteMode::Http, "192.0.2.3", None),
            (&["192.0.2.3:7443"], RouteMode::Passthrough, "192.0.2.3", Some(7443)),
            (&[], RouteMode::Tcp, "192.0.2.2", None),
        ] {
            let found = port(&doors, &route(listeners, mode), dialled.parse().expect("an address"));
            assert_eq!(found, expected, "{listeners:?} {dialled}");
        }
        let everywhere = [door("[::]:8443", 8443, true), door("192.0.2.1:443", 443, true)];
        let all = route(&[], RouteMode::Http);
        assert_eq!(port(&everywhere, &all, "192.0.2.1".parse().expect("an address")), Some(443));
        assert_eq!(port(&everywhere, &all, "192.0.2.9".parse().expect("an address")), Some(8443));
    }
}
