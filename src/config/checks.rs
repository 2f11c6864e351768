//! What no section can see alone: duplicates, and combinations that cannot work.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::reader::Reading;
use super::source::Place;
use super::{
    Acme, CertificateChoice, Challenge, HttpsPolicy, ListenerProtocol, MetricsListener, Route, RouteHost, RouteMode,
};
use super::{acme, issuer, listener, modes, route};

/// The port that every public CA dials for HTTP-01 (RFC 8555 §8.3), and for TLS-ALPN-01 (RFC 8737 §3).
const PORTS: [(Challenge, ListenerProtocol, u16); 2] =
    [(Challenge::Http01, ListenerProtocol::Http, 80), (Challenge::TlsAlpn01, ListenerProtocol::Https, 443)];
/// The most names that a certificate of Let's Encrypt can have.
const MAX_NAMES: usize = 100;

/// Whether the route asks for a certificate by ACME.
pub(super) fn is_auto(route: &Route) -> bool {
    route.certificate == CertificateChoice::Auto
}

/// Whether its certificates come from ACME, now or at a handshake.
pub(super) fn is_from_acme(route: &Route) -> bool {
    is_auto(route) || route.certificate == CertificateChoice::OnDemand
}

/// How names can be proven at these listeners, in the order of attempts: first what is at the port that CAs dial,
/// then what may be mapped to it. DNS-01 needs no listener.
pub(super) fn challenges(listeners: &[listener::Placed]) -> Vec<Challenge> {
    let rank = |challenge: &Challenge| match PORTS.iter().find(|(known, ..)| known == challenge) {
        Some((_, protocol, port)) => {
            let ports = ports(listeners, *protocol);
            if ports.contains(port) { Some(0) } else { (!ports.is_empty()).then_some(1) }
        }
        None => Some(2),
    };
    let mut possible: Vec<_> = acme::ORDER.into_iter().filter(|challenge| rank(challenge).is_some()).collect();
    possible.sort_by_key(rank);
    possible
}

/// The ports that clients dial for this protocol.
fn ports(listeners: &[listener::Placed], protocol: ListenerProtocol) -> Vec<u16> {
    let speaks = |placed: &&listener::Placed| placed.listener.protocol == protocol;
    listeners
        .iter()
        .filter(speaks)
        .map(|placed| placed.listener.forwarded_port(placed.listener.address.port()))
        .collect()
}

/// What can be said of the routes alone.
pub(super) fn routes(reading: &Reading, routes: &[route::Placed], on_demand: bool) {
    let mut by_host: HashMap<(&RouteHost, &str), Vec<(&Route, &Place)>> = HashMap::new();
    let mut by_name: HashMap<&str, &Place> = HashMap::new();
    for placed in routes {
        let route = &placed.route;
        let mut twice = false;
        for (host, place) in route.hosts.iter().zip(&placed.hosts) {
            let others = by_host.entry((host, &route.path)).or_default();
            if let Some((_, first)) = others.iter().find(|(other, _)| share_a_listener(other, route)) {
                twice = true;
                let path = if route.path == "/" { String::new() } else { format!(" with the path {}", route.path) };
                let message = format!("{host}{path} is on two routes; the other is at {}", first.location());
                reading.fault(place, message, "remove one of them, or give one another path or other listeners");
            }
            others.push((route, place));
        }
        match by_name.get(route.name.as_str()) {
            Some(first) if !twice => {
                let message = format!("two routes are called {:?}; the other is at {}", route.name, first.location());
                reading.fault(&placed.name, message, "give one of them another name");
            }
            Some(_) => {}
            None => drop(by_name.insert(&route.name, &placed.name)),
        }
        certificate(reading, placed);
        if placed.route.certificate == CertificateChoice::OnDemand && !on_demand {
            let remedy = "add [on_demand] with ask = \"http://…\", which says for what names";
            reading.fault(
                &placed.certificate,
                "certificate = \"on-demand\" needs [on_demand], and there is none",
                remedy,
            );
        }
    }
}

/// Whether a connection could belong to both.
fn share_a_listener(one: &Route, other: &Route) -> bool {
    let both = one.listeners.iter().any(|address| other.listeners.contains(address));
    both || one.listeners.is_empty() || other.listeners.is_empty()
}

/// Whether the route's hosts can have the certificate that it asks for.
fn certificate(reading: &Reading, placed: &route::Placed) {
    let route = &placed.route;
    if route.https == HttpsPolicy::Off && route.certificate != CertificateChoice::Directory {
        let remedy = "remove certificate, or write https = \"redirect\" or https = \"both\"";
        reading.fault(&placed.certificate, "a route with https = \"off\" has no use for a certificate", remedy);
    }
    if !is_auto(route) {
        return;
    }
    for (host, place) in route.hosts.iter().zip(&placed.hosts) {
        match host {
            RouteHost::Any => reading.fault(
                place,
                "certificate = \"auto\" needs names to ask for, and \"*\" is none",
                "list the hosts by name, or leave out certificate = \"auto\" for this route",
            ),
            // A wildcard needs a DNS solver; those that were added by command are not in the config.
            RouteHost::Pattern(_) => {}
        }
    }
}

/// That no listener is written. `missing` is where they would be.
pub(super) fn no_listener(reading: &Reading, missing: &Place) {
    let remedy = "add a [[listener]] with address = \":443\", and one with address = \":80\" and protocol = \"http\"";
    reading.fault(missing, "there is no listener", remedy);
}

/// What can be said of the listeners alone, that for metrics included.
pub(super) fn listeners(reading: &Reading, listeners: &[listener::Placed], metrics: Option<&(MetricsListener, Place)>) {
    let mut by_address: HashMap<SocketAddr, &Place> = HashMap::new();
    let metrics = metrics.map(|(metrics, place)| (metrics.address, place));
    let all = listeners.iter().map(|placed| (placed.listener.address, &placed.address));
    // Port 0 is another port each time.
    for (address, place) in all.chain(metrics).filter(|(address, _)| address.port() != 0) {
        if let Some(first) = by_address.get(&address) {
            let message = format!("{address} is listened on twice; the other is at {}", first.location());
            reading.fault(place, message, "remove one of them, or choose another address or port");
        } else {
            by_address.insert(address, place);
        }
    }
}

/// What routes need of listeners and of the issuer.
pub(super) fn together(
    reading: &Reading,
    listeners: &[listener::Placed],
    routes: &[route::Placed],
    acme: Option<&Acme>,
) {
    if listeners.is_empty() {
        return;
    }
    let speaks = |protocol| listeners.iter().any(|placed| placed.listener.protocol == protocol);
    modes::policies(reading, listeners, routes);
    if !speaks(ListenerProtocol::Https) {
        let needy = |placed: &&route::Placed| {
            placed.route.https == HttpsPolicy::Redirect && placed.route.mode == RouteMode::Http
        };
        let remedy = "add a [[listener]] with protocol = \"https\", or write https = \"off\"";
        first_of(routes, needy, |placed, more| {
            let message = format!(
                "https = \"redirect\" (the default) leads to a listener with protocol https, and there is none{more}"
            );
            reading.fault(&placed.https, message, remedy);
        });
    }
    if !speaks(ListenerProtocol::Http) {
        let needy = |placed: &&route::Placed| placed.route.https == HttpsPolicy::Off;
        let remedy = "add a [[listener]] with protocol = \"http\", or write https = \"both\"";
        first_of(routes, needy, |placed, more| {
            let message = format!("https = \"off\" needs a listener with protocol http, and there is none{more}");
            reading.fault(&placed.https, message, remedy);
        });
    }
    modes::redirects(reading, listeners, routes);
    modes::lookups(reading, listeners, routes);
    modes::listeners(reading, listeners, routes);
    if let Some(acme) = acme {
        issuing(reading, listeners, routes, acme);
    }
}

/// One report for all routes that have the same trouble.
fn first_of<'r>(
    routes: &'r [route::Placed],
    needy: impl FnMut(&&'r route::Placed) -> bool,
    report: impl FnOnce(&route::Placed, String),
) {
    let mut needy = routes.iter().filter(needy);
    let Some(first) = needy.next() else { return };
    let more = match needy.count() {
        0 => String::new(),
        1 => " (so it is with 1 more route)".to_owned(),
        count => format!(" (so it is with {count} more routes)"),
    };
    report(first, more);
}

/// What the challenges and the CAs need, as far as it shows here. All of it is a warning: a firewall may do the
/// rest, and an account may be there already.
fn issuing(reading: &Reading, listeners: &[listener::Placed], routes: &[route::Placed], acme: &Acme) {
    let public: Vec<_> =
        acme.issuers().filter_map(|issuer| Some((issuer, issuer::known(&issuer.directory)?))).collect();
    let from_acme = |placed: &&route::Placed| is_from_acme(&placed.route);
    let works = acme.challenges.iter().any(|challenge| match PORTS.iter().find(|(known, ..)| known == challenge) {
        Some((_, protocol, port)) => {
            let ports = ports(listeners, *protocol);
            !ports.is_empty() && (public.is_empty() || ports.contains(port))
        }
        // Whether a DNS solver covers the name shows when it is looked for.
        None => false,
    });
    if !works && !acme.challenges.contains(&Challenge::Dns01) {
        first_of(routes, from_acme, |placed, more| {
            let message = format!(
                "the CA proves a name by a request to port 80 (HTTP-01) or 443 (TLS-ALPN-01), and no listener has them{more}"
            );
            let remedy = "add a [[listener]] with address = \":80\" and protocol = \"http\" or one with address = \":443\", or public_port where a port is mapped to it";
            reading.warning(&placed.certificate, message, remedy);
        });
    }
    for (issuer, _) in public.iter().filter(|(issuer, _)| issuer.lacks_eab()) {
        first_of(routes, from_acme, |placed, _| {
            let message =
                format!("{} opens an account only by external account binding, and has no eab here", issuer.name);
            let remedy =
                format!("add an [[issuer]] with name = {:?} and eab = {{ key_id, hmac_key }} from the CA", issuer.name);
            reading.warning(&placed.certificate, message, remedy);
        });
    }
    let auto = |placed: &&route::Placed| is_auto(&placed.route);
    for placed in routes.iter().filter(auto) {
        let Some((first, _)) = public.first() else { continue };
        if placed.route.hosts.len() > MAX_NAMES {
            let message = format!(
                "{} hosts, and {} issues at most {MAX_NAMES} a certificate",
                placed.route.hosts.len(),
                first.name
            );
            reading.warning(&placed.certificate, message, "split the route: each route has a certificate of its own");
        }
        for (host, place) in placed.route.hosts.iter().zip(&placed.hosts) {
            let RouteHost::Pattern(pattern) = host else { continue };
            let others = acme.issuers().count() > public.len();
            if is_private(pattern.base().as_str()) && !others {
                let message = format!("{} issues no certificate for {host}: the name is not public", first.name);
                let remedy = "write certificate = \"self-signed\", or name a CA of your own in [acme]";
                reading.warning(place, message, remedy);
            } else if pattern.base().ip().is_some() && !others {
                addresses(reading, place, &public);
            }
        }
    }
}

/// Whether one of the CAs issues for IP addresses, as it is asked here.
fn addresses(reading: &Reading, place: &Place, public: &[(&super::Issuer, &issuer::BuiltIn)]) {
    let issues = |(issuer, known): &&(&super::Issuer, &issuer::BuiltIn)| {
        known.ip_profile.is_some() && issuer.profile.as_deref() == known.ip_profile
    };
    if public.iter().any(|pair| issues(&pair)) {
        return;
    }
    match public.iter().find_map(|(issuer, known)| Some((issuer, known.ip_profile?))) {
        Some((issuer, profile)) => reading.warning(
            place,
            format!("{} issues for an IP address in the profile {profile} only", issuer.name),
            format!("write profile = {profile:?} in [acme], or in an [[issuer]] with name = {:?}", issuer.name),
        ),
        None => {
            let names: Vec<_> = public.iter().map(|(issuer, _)| issuer.name.as_str()).collect();
            let message = format!("{} issues for no IP address", names.join(", "));
            reading.warning(place, message, "write issuer = \"letsencrypt\" and profile = \"shortlived\" in [acme]");
        }
    }
}

/// Names that no public CA issues for: one label, or a top label that is kept for private use (RFC 6761, RFC 6762,
/// and ICANN's `internal`).
fn is_private(host: &str) -> bool {
    let top = host.rsplit('.').next().unwrap_or(host);
    let address = host.contains(':') || top.bytes().all(|b| b.is_ascii_digit());
    !address && (top == host || ["localhost", "local", "internal", "test", "invalid", "example"].contains(&top))
}
