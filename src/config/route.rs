//! `[[route]]`: which host and path goes to which backend.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::CertificateId;
use super::backend::{self, Backend};
use super::backend_address::{BackendAddress, parse_port};
use super::backend_endpoint;
use super::reader::{Item, Section};
use super::source::Place;
use crate::names::{HostPattern, Hostname};

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `name`: for logs and metrics; the first host (and the path, where one is written) if absent. Unique.
    pub name: String,
    /// `hosts`: at least one, but for `tcp` behind a listener's `default_route`.
    pub hosts: Vec<RouteHost>,
    /// `mode`, default `http`.
    pub mode: RouteMode,
    /// `listeners`: the addresses of the listeners that have this route; empty: all.
    pub listeners: Vec<SocketAddr>,
    /// `path`: the prefix that the request's path has to have, at a segment's edge; default `/`.
    pub path: String,
    /// `backend`: where its requests go.
    pub backend: Arc<Backend>,
    /// `https`, default `redirect`.
    pub https: HttpsPolicy,
    /// `certificate`: default `directory`.
    pub certificate: CertificateChoice,
    /// `self_signed_until_issued`: with `auto`, answer with a self-signed one while the first is under way; default false.
    pub self_signed_until_issued: bool,
    /// `host`: rewrites the `Host` that the app sees.
    pub rewrite_host: Option<String>,
    /// `forwarded`: also send RFC 7239's `Forwarded`; default false.
    pub forwarded: bool,
    /// `tls_headers`: also send `X-Tls-Version`, `X-Tls-Cipher`, `X-Tls-Sni`, `X-Tls-Alpn`, `X-Tls-Certificate`; default false.
    pub tls_headers: bool,
}

/// One of a route's hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteHost {
    /// A host or a wildcard one label up.
    Pattern(HostPattern),
    /// `"*"`: every host that no other route has.
    Any,
}

/// What of a connection is understood before it is passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteMode {
    /// Requests, each by itself.
    #[default]
    Http,
    /// Bytes, out of TLS where the listener speaks it.
    Tcp,
    /// Bytes, TLS and all: the app has the certificate.
    Passthrough,
}

/// What a route does with requests that come without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpsPolicy {
    /// Sends them to `https://` with 308.
    #[default]
    Redirect,
    /// Forwards them as those with TLS.
    Both,
    /// Forwards them; requests with TLS are refused (404), and no certificate is asked for.
    Off,
}

/// Which certificate a route's hosts are served with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CertificateChoice {
    /// Whatever the directories and the storage hold for the name.
    #[default]
    Directory,
    /// `"auto"`: one from ACME for the route's hosts; a valid one from a directory that covers them all makes it needless.
    Auto,
    /// `"self-signed"`: one from doorward's own CA.
    SelfSigned,
    /// `"on-demand"`: one from ACME at a name's first handshake, where `[on_demand]` allows it.
    OnDemand,
    /// Any other text: the certificate with this id.
    Id(CertificateId),
}

impl fmt::Display for RouteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => write!(f, "{pattern}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// The words of [`RouteMode`].
pub(super) const MODES: [(&str, RouteMode); 3] =
    [("http", RouteMode::Http), ("tcp", RouteMode::Tcp), ("passthrough", RouteMode::Passthrough)];

/// The words of [`HttpsPolicy`].
pub(super) const HTTPS: [(&str, HttpsPolicy); 3] =
    [("redirect", HttpsPolicy::Redirect), ("both", HttpsPolicy::Both), ("off", HttpsPolicy::Off)];

impl Route {
    /// A route for all paths of `hosts`, with every default.
    #[must_use]
    pub fn new(hosts: Vec<RouteHost>, backend: impl IntoIterator<Item = BackendAddress>) -> Self {
        Self {
            name: hosts.first().map(ToString::to_string).unwrap_or_default(),
            hosts,
            mode: RouteMode::default(),
            listeners: Vec::new(),
            path: "/".to_owned(),
            backend: Arc::new(Backend::new(backend)),
            https: HttpsPolicy::default(),
            certificate: CertificateChoice::default(),
            self_signed_until_issued: false,
            rewrite_host: None,
            forwarded: false,
            tls_headers: false,
        }
    }
}

/// A route, and where what other sections have a say in is written.
pub(super) struct Placed {
    pub(super) route: Route,
    pub(super) name: Place,
    /// One for each host.
    pub(super) hosts: Vec<Place>,
    pub(super) mode: Place,
    pub(super) listeners: Vec<Place>,
    pub(super) https: Place,
    pub(super) certificate: Place,
    /// What stands there; it is put into `route` when all backends are known. None where it was wrong.
    pub(super) written: Option<backend::Written>,
    pub(super) backend: Place,
}

/// Reads one `[[route]]`.
pub(super) fn read(mut section: Section<'_>) -> Option<Placed> {
    let name = section.optional("name", read_name);
    let mut mode = RouteMode::default();
    section.set("mode", &mut mode, |item| item.choice(&MODES));
    let read_hosts = |item: &Item<'_>| {
        let read = |element: &Item<'_>| Some((read_host(element)?, element.place()));
        item.some("host", "\"app.example.com\"", "or \"*\" for every host", read)
    };
    let hosts = match (mode, &name) {
        // Behind a listener's default_route no name is asked for.
        (RouteMode::Tcp, Some(_)) => section.optional("hosts", read_hosts),
        _ => section.required("hosts", "[\"app.example.com\"]", read_hosts),
    };
    let listeners = section.optional("listeners", |item| {
        let read = |element: &Item<'_>| Some((element.listen_address()?, element.place()));
        item.some("listener", "\"[::]:443\"", "by its address", read)
    });
    let path = section.optional("path", read_path);
    let written = section.required("backend", backend_endpoint::EXAMPLE, backend::read);
    let (hosts, host_places): (Vec<_>, _) = hosts.unwrap_or_default().into_iter().unzip();
    let (listeners, listener_places): (Vec<_>, _) = listeners.unwrap_or_default().into_iter().unzip();
    let mut route = Route { mode, listeners, ..Route::new(hosts, []) };
    if let Some(path) = path {
        if path != "/" {
            route.name.push_str(&path);
        }
        route.path = path;
    }
    section
        .set("https", &mut route.https, |item| item.choice(&HTTPS))
        .set("certificate", &mut route.certificate, read_certificate)
        .set("self_signed_until_issued", &mut route.self_signed_until_issued, Item::boolean)
        .set("host", &mut route.rewrite_host, |item| read_host_header(item).map(Some))
        .set("forwarded", &mut route.forwarded, Item::boolean)
        .set("tls_headers", &mut route.tls_headers, Item::boolean);
    route.name = name.unwrap_or(route.name);
    refuse_what_has_no_use(&mut section, &route);
    if route.self_signed_until_issued && route.certificate != CertificateChoice::Auto {
        let place = section.place_of("self_signed_until_issued");
        let remedy = "write certificate = \"auto\", or remove self_signed_until_issued";
        section.reading.fault(&place, "only a certificate from ACME can be waited for", remedy);
    }
    let places = ["name", "mode", "https", "certificate", "backend"].map(|key| section.place_of(key));
    section.finish();
    let [name, mode, https, certificate, backend] = places;
    let (hosts, listeners) = (host_places, listener_places);
    Some(Placed { route, name, hosts, mode, listeners, https, certificate, written, backend })
}

/// What only HTTP has a use for, or only who ends TLS.
fn refuse_what_has_no_use(section: &mut Section<'_>, route: &Route) {
    let word = MODES.iter().find(|(_, mode)| *mode == route.mode).map_or("", |(word, _)| word);
    const OF_REQUESTS: [(&str, &str); 4] =
        [("path", NO_REQUESTS), ("host", NO_REQUESTS), ("forwarded", NO_REQUESTS), ("tls_headers", NO_REQUESTS)];
    const OF_TLS: [(&str, &str); 2] = [("certificate", NO_TLS), ("self_signed_until_issued", NO_TLS)];
    const NO_REQUESTS: &str = "it looks at no requests";
    const NO_TLS: &str = "the app has the certificate";
    let of_requests = if route.mode == RouteMode::Http { &[][..] } else { &OF_REQUESTS[..] };
    let of_tls = if route.mode == RouteMode::Passthrough { &OF_TLS[..] } else { &[][..] };
    for (key, why) in of_requests.iter().chain(of_tls) {
        let message = format!("a route with mode {word} has no use for {key}: {why}");
        section.refuse(key, &message, &format!("remove {key}, or write mode = \"http\""));
    }
}

fn read_name(item: &Item<'_>) -> Option<String> {
    let name = item.words()?;
    if name.len() > 128 {
        return item.fault("the name is longer than 128 bytes", "choose a shorter one: it stands in logs and metrics");
    }
    Some(name)
}

fn read_host(item: &Item<'_>) -> Option<RouteHost> {
    let text = item.text()?;
    if text == "*" {
        return Some(RouteHost::Any);
    }
    match HostPattern::parse(&text) {
        Ok(pattern) => Some(RouteHost::Pattern(pattern)),
        Err(error) => {
            let remedy = if text.contains("://") || text.contains('/') {
                "write the host alone; a path goes into path = \"/…\""
            } else if text.contains(':') {
                "write the host without a port; the port is a listener's"
            } else {
                "write a host as in \"app.example.com\", \"*.example.com\" or \"192.0.2.1\", or \"*\" for every host"
            };
            item.fault(format!("{:?} is not a host: {error}", item.written()), remedy)
        }
    }
}

/// The prefix, without a slash at its end: `/api/` is `/api`, as prefixes match at a segment's edge.
fn read_path(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    let bad = |c: char| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '\\');
    let path = text.trim_end_matches('/');
    let odd_segment = |segment: &str| matches!(segment, "" | "." | "..");
    if !text.starts_with('/') || text.contains(bad) || path.split('/').skip(1).any(odd_segment) {
        return item.fault(
            format!("{:?} is not a path prefix", item.written()),
            "start with /, leave out ?, #, //, . and .. segments, and percent-encode what is not ASCII",
        );
    }
    Some(if path.is_empty() { "/" } else { path }.to_owned())
}

fn read_certificate(item: &Item<'_>) -> Option<CertificateChoice> {
    Some(match item.words()?.as_str() {
        "directory" => CertificateChoice::Directory,
        "auto" => CertificateChoice::Auto,
        "self-signed" => CertificateChoice::SelfSigned,
        "on-demand" => CertificateChoice::OnDemand,
        id => CertificateChoice::Id(CertificateId::new(id)),
    })
}

/// A value for the `Host` header: a host, and a port if it is written (RFC 9110 §7.2).
pub(super) fn read_host_header(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, parse_port(port).is_ok()),
        _ => (text.as_str(), true),
    };
    if !port || Hostname::parse(host).is_err() || (host.contains(':') && !host.starts_with('[')) {
        return item.fault(
            format!("{:?} cannot stand in a Host header", item.written()),
            "write a host, or a host and a port, as in \"app.internal\" or \"app.internal:8080\"",
        );
    }
    Some(text)
}
