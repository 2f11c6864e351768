//! `[[backend]]`: an app, where it listens, and what is spoken with it. A route's `backend` is one of these by its
//! name, or an address, or a list of addresses, or a table with the same keys.

use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::backend_address::BackendAddress;
use super::backend_endpoint::{self, Endpoint, ReadEndpoint};
use super::backend_health::{self, Check, Ejection};
use super::backend_load::{self, Queue, Retry};
use super::backend_tls::{self, BackendTls};
use super::balance::{self, Balance};
use super::reader::{Item, Reading, Section, nearest};
use super::source::Place;
use super::sticky::{self, Sticky};

/// An app: one or more endpoints that answer alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// `name`: what routes refer to; empty where the backend is written in the route itself.
    pub name: String,
    /// `endpoints`: at least one.
    pub endpoints: Vec<Endpoint>,
    /// `protocol`, default `http`, or what the endpoints' scheme says.
    pub protocol: BackendProtocol,
    /// `tls`: how its certificate is checked; meaningless without TLS.
    pub tls: BackendTls,
    /// `balance`, default `round-robin`.
    pub balance: Balance,
    /// `proxy_protocol`: which version of it tells the endpoints of the client; none by default.
    pub proxy_protocol: Option<ProxyVersion>,
    /// `check`: how the endpoints are asked whether they can serve; none by default.
    pub check: Option<Check>,
    /// `ejection`: when an endpoint that fails requests is left alone.
    pub ejection: Ejection,
    /// `sticky`: whether clients stay with their endpoint; none by default.
    pub sticky: Option<Sticky>,
    /// `slow_start`: over so long an endpoint that comes up gets to its full share; 0, the default: at once.
    pub slow_start: Duration,
    /// `max_connections`: so many requests or connections at once for each endpoint; no bound by default.
    pub max_connections: Option<u32>,
    /// `queue`: what becomes of those that are too many.
    pub queue: Queue,
    /// `retry`: whether what one endpoint failed is taken to another.
    pub retry: Retry,
}

/// What doorward speaks with a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// Bytes.
    Tcp,
    /// Bytes over TLS.
    Tls,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text: the addresses.
    V1,
    /// Binary: the addresses, and what is known of the client's TLS.
    V2,
}

/// The words of [`ProxyVersion`].
pub(super) const PROXY_VERSIONS: [(&str, ProxyVersion); 2] = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];

/// The words of [`BackendProtocol`], which are its schemes too.
pub(super) const PROTOCOLS: [(&str, BackendProtocol); 4] = [
    ("http", BackendProtocol::Http),
    ("https", BackendProtocol::Https),
    ("tcp", BackendProtocol::Tcp),
    ("tls", BackendProtocol::Tls),
];

impl BackendProtocol {
    /// Whether it is inside TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether it is HTTP.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Its word in the config.
    #[must_use]
    pub fn word(self) -> &'static str {
        PROTOCOLS.iter().find(|(_, protocol)| *protocol == self).map_or("", |(word, _)| word)
    }

    pub(super) fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp | Self::Tls => None,
        }
    }
}

impl Backend {
    /// A backend of these addresses that speaks HTTP, with every default.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = BackendAddress>) -> Self {
        Self {
            name: String::new(),
            endpoints: addresses.into_iter().map(Endpoint::new).collect(),
            protocol: BackendProtocol::Http,
            tls: BackendTls::default(),
            balance: Balance::default(),
            proxy_protocol: None,
            check: None,
            ejection: Ejection::default(),
            sticky: None,
            slow_start: Duration::ZERO,
            max_connections: None,
            queue: Queue::default(),
            retry: Retry::default(),
        }
    }

    /// Whether anybody could stand in for it.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.protocol.is_tls() && self.tls.insecure
    }

    /// What it is called in messages: its name, or else its first address.
    #[must_use]
    pub fn label(&self) -> String {
        match self.endpoints.first() {
            Some(endpoint) if self.name.is_empty() => endpoint.address.to_string(),
            _ => self.name.clone(),
        }
    }

    /// Whether a list of addresses with a scheme says all that there is to it.
    pub(super) fn is_short(&self) -> bool {
        let addresses = self.endpoints.iter().map(|endpoint| endpoint.address.clone());
        let plain = self.endpoints.iter().all(|endpoint| endpoint.address.host().is_some());
        let short = Self { protocol: self.protocol, ..Self::new(addresses) };
        *self == short && (self.protocol == BackendProtocol::Http || plain)
    }
}

/// A backend, and where its endpoints and name are written.
pub(super) struct Placed {
    pub(super) backend: Backend,
    /// Whether its protocol is written, as a key or as a scheme.
    pub(super) says_protocol: bool,
    pub(super) endpoints: Vec<Place>,
    pub(super) name: Place,
}

/// What a route says of its backend.
pub(super) enum Written {
    /// All of it.
    Whole(Box<Placed>),
    /// A name, and where it stands.
    Named(String, Place),
}

/// Reads one `[[backend]]`.
pub(super) fn read_named(mut section: Section<'_>) -> Option<Placed> {
    let name = section.required("name", "\"app\"", read_name);
    let mut placed = read_section(section)?;
    placed.backend.name = name?;
    sticky::name_cookie(&mut placed.backend.sticky, &placed.backend.name);
    Some(placed)
}

/// Reads a route's `backend`.
pub(super) fn read(item: &Item<'_>) -> Option<Written> {
    match item.value.get_ref() {
        DeValue::Table(_) => {
            let mut placed = read_section(item.section()?)?;
            sticky::name_cookie(&mut placed.backend.sticky, "");
            Some(Written::Whole(Box::new(placed)))
        }
        DeValue::String(_) if is_name(item.written()) => Some(Written::Named(item.words()?, item.place())),
        _ => {
            let endpoints = backend_endpoint::read(item)?;
            let mut backend = Backend::new([]);
            let protocol = backend_endpoint::shared_protocol(item, &endpoints)?;
            backend.protocol = protocol.unwrap_or_default();
            Some(Written::Whole(Box::new(placed(backend, protocol.is_some(), endpoints, item.place()))))
        }
    }
}

/// A text that can be no address: it has neither a port nor a scheme.
fn is_name(text: &str) -> bool {
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(name) && !text.bytes().all(|b| b.is_ascii_digit())
}

fn read_name(item: &Item<'_>) -> Option<String> {
    let name = item.words()?;
    if name.len() > 64 || !is_name(&name) {
        let remedy = "use letters, digits, -, _ and . only, at most 64, and not digits alone, as in \"app\"";
        return item.fault(format!("{:?} cannot be a backend's name", item.written()), remedy);
    }
    Some(name)
}

fn read_section(mut section: Section<'_>) -> Option<Placed> {
    let reading = section.reading;
    let mut backend = Backend::new([]);
    let mut of_scheme = None;
    let endpoints = section.required("endpoints", "[\"127.0.0.1:3000\"]", |item| {
        let endpoints = backend_endpoint::read(item)?;
        of_scheme = backend_endpoint::shared_protocol(item, &endpoints)?;
        Some(endpoints)
    });
    let protocol = section.optional("protocol", |item| {
        let protocol = item.choice(&PROTOCOLS)?;
        match of_scheme.filter(|of_scheme| *of_scheme != protocol) {
            Some(other) => {
                let remedy = format!("write protocol = \"{}\", or leave it out", other.word());
                item.fault(format!("the endpoints are {}:// ones", other.word()), remedy)
            }
            None => Some(protocol),
        }
    });
    let said = protocol.or(of_scheme);
    backend.protocol = said.unwrap_or_default();
    section.set("tls", &mut backend.tls, |item| item.section().and_then(backend_tls::read));
    let http = backend.protocol.is_http();
    backend.check =
        section.optional("check", |item| item.section().map(|section| backend_health::read_check(section, http)));
    section.set("ejection", &mut backend.ejection, |item| item.section().map(backend_health::read_ejection));
    section.set("balance", &mut backend.balance, balance::read);
    backend.proxy_protocol = section.optional("proxy_protocol", |item| item.choice(&PROXY_VERSIONS));
    backend_load::read(&mut section, &mut backend);
    if !backend.protocol.is_tls() {
        let remedy = format!("write protocol = \"{}\", or remove tls", secure(backend.protocol).word());
        section.refuse("tls", &format!("a backend that speaks {} has no TLS", backend.protocol.word()), &remedy);
    }
    let place = section.place();
    let nameless = |read: &&ReadEndpoint| read.endpoint.address.host().is_none();
    if backend.protocol.is_tls()
        && backend.tls.name().is_none()
        && let Some(read) = endpoints.iter().flatten().find(nameless)
    {
        let remedy = "add tls = { server_name = \"app.internal\" }";
        section.reading.fault(
            &read.place,
            "a unix socket or a service has no name that its certificate could be for",
            remedy,
        );
    }
    backend_tls::warn(section.reading, &place, &backend);
    section.finish();
    let placed = placed(backend, said.is_some(), endpoints?, place);
    backend_endpoint::warn(reading, &placed.name, &placed.backend.endpoints);
    Some(placed)
}

fn placed(mut backend: Backend, says_protocol: bool, endpoints: Vec<ReadEndpoint>, name: Place) -> Placed {
    let (list, places) = endpoints.into_iter().map(|read| (read.endpoint, read.place)).unzip();
    backend.endpoints = list;
    Placed { backend, says_protocol, endpoints: places, name }
}

/// The protocol with TLS around it.
fn secure(protocol: BackendProtocol) -> BackendProtocol {
    if protocol.is_http() { BackendProtocol::Https } else { BackendProtocol::Tls }
}

/// The backend that a route means; none where there is no such, which is reported.
pub(super) fn resolve(reading: &Reading, written: Written, named: &[Arc<Backend>]) -> Option<Arc<Backend>> {
    let (name, place) = match written {
        Written::Whole(placed) => return Some(Arc::new(placed.backend)),
        Written::Named(name, place) => (name, place),
    };
    if let Some(backend) = named.iter().find(|backend| backend.name == name) {
        return Some(Arc::clone(backend));
    }
    let names: Vec<&str> = named.iter().map(|backend| backend.name.as_str()).collect();
    let message = format!("no [[backend]] is called {name:?}, and as an address it has no port");
    let remedy = match nearest(&name, &names) {
        Some(near) => format!("did you mean \"{near}\"? an address has a port, as in \"{name}:3000\""),
        None => format!("add a port, as in \"{name}:3000\", or a [[backend]] with that name"),
    };
    reading.fault(&place, message, remedy);
    None
}

/// Reports names that two backends have.
pub(super) fn check_names(reading: &Reading, named: &[Placed]) {
    for (index, placed) in named.iter().enumerate() {
        let same = |other: &&Placed| other.backend.name == placed.backend.name;
        if let Some(first) = named[..index].iter().find(same) {
            let message =
                format!("two backends are called {:?}; the other is at {}", placed.backend.name, first.name.location());
            reading.fault(&placed.name, message, "give one of them another name");
        }
    }
}
