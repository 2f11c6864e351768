//! `[[listener]]`: where doorward listens, and what it speaks there.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::CertificateId;
use super::reader::{Item, Section};
use super::source::Place;
use crate::names::Hostname;

/// One address that doorward listens on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// `address`: unique among the listeners. Port 0 takes any free port (for tests).
    pub address: SocketAddr,
    /// `protocol`, default `https`.
    pub protocol: ListenerProtocol,
    /// `public_port`: the port that clients dial, where a firewall or container maps it; none: the bound port.
    pub public_port: Option<u16>,
    /// `default_certificate`: for clients without SNI and for unknown names.
    pub default_certificate: Option<CertificateId>,
    /// `trusted_proxies`: peers whose forwarded headers are believed; none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// `default_route`: the name of the route for clients that send no name (SNI); the only one that `tcp` has.
    pub default_route: Option<String>,
    /// No key: without a `default_certificate`, the host of the `default_route` whose certificate stands in for it.
    pub default_host: Option<Hostname>,
    /// `proxy_protocol`: whether each connection begins with a PROXY protocol header, from `trusted_proxies` alone.
    pub proxy_protocol: bool,
    /// `tls`: `[listener.tls]`; meaningless without TLS.
    pub tls: TlsOptions,
}

/// What a listener speaks with its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// TLS, and HTTP/1.1 or HTTP/2 in it.
    Https,
    /// HTTP/1.1 without TLS; answers HTTP-01 for any host.
    Http,
    /// TLS, and whatever the route's app speaks in it.
    Tls,
    /// Whatever the app of the default route speaks.
    Tcp,
}

/// `[listener.tls]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// `min_version`: `"1.2"` (default) or `"1.3"`.
    pub min_version: TlsVersion,
    /// `http2`: whether ALPN offers h2; default true. For `https`.
    pub http2: bool,
    /// `alpn`: the protocols to agree on (RFC 7301), the first one liked best, in place of those of HTTP. For `tls`,
    /// where it is empty by default.
    pub alpn: Option<Vec<String>>,
}

/// A TLS version that doorward speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { min_version: TlsVersion::Tls12, http2: true, alpn: None }
    }
}

impl ListenerProtocol {
    /// Whether TLS is spoken.
    #[must_use]
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// The word for it in the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(self)
    }
}

impl Listener {
    /// A listener with every default.
    #[must_use]
    pub fn new(address: SocketAddr, protocol: ListenerProtocol) -> Self {
        Self {
            address,
            protocol,
            public_port: None,
            default_certificate: None,
            trusted_proxies: Vec::new(),
            default_route: None,
            default_host: None,
            proxy_protocol: false,
            tls: TlsOptions::default(),
        }
    }

    /// The port that an app hears of in `X-Forwarded-Port`, given the port that was bound.
    #[must_use]
    pub fn forwarded_port(&self, bound: u16) -> u16 {
        self.public_port.unwrap_or(bound)
    }
}

/// The words of [`ListenerProtocol`].
pub(super) const PROTOCOLS: [(&str, ListenerProtocol); 4] = [
    ("https", ListenerProtocol::Https),
    ("http", ListenerProtocol::Http),
    ("tls", ListenerProtocol::Tls),
    ("tcp", ListenerProtocol::Tcp),
];
/// The words of [`TlsVersion`].
pub(super) const TLS_VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

/// A listener, and where its address is written.
pub(super) struct Placed {
    pub(super) listener: Listener,
    pub(super) address: Place,
    pub(super) default_route: Place,
}

/// Reads one `[[listener]]`. `trusted` is what holds where it has no `trusted_proxies` of its own.
pub(super) fn read(mut section: Section<'_>, trusted: &[IpNet]) -> Option<Placed> {
    let address = section.required("address", "\"[::]:443\"", |item| item.listen_address());
    let protocol = match section.item("protocol") {
        None => Some(ListenerProtocol::Https),
        Some(item) => item.choice(&PROTOCOLS),
    };
    // A protocol that is wrong is reported; the other keys are read all the same.
    let mut listener =
        Listener::new(address.unwrap_or_else(|| ([0, 0, 0, 0], 0).into()), protocol.unwrap_or(ListenerProtocol::Https));
    listener.trusted_proxies = trusted.to_vec();
    listener.public_port = section.optional("public_port", |item| item.integer(1..=65_535));
    listener.default_certificate = section.optional("default_certificate", |item| item.words().map(CertificateId::new));
    section.set("trusted_proxies", &mut listener.trusted_proxies, read_networks);
    section.set("tls", &mut listener.tls, |item| item.section().map(read_tls));
    listener.default_route = section.optional("default_route", Item::words);
    section.set("proxy_protocol", &mut listener.proxy_protocol, Item::boolean);
    refuse_what_has_no_use(&mut section, &listener);
    if listener.protocol == ListenerProtocol::Tls {
        listener.tls.alpn.get_or_insert_default();
    }
    let [place, default_route] = ["address", "default_route"].map(|key| section.place_of(key));
    section.finish();
    address.map(|_| Placed { listener, address: place, default_route })
}

fn refuse_what_has_no_use(section: &mut Section<'_>, listener: &Listener) {
    let word = word_of(listener.protocol);
    if matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Tcp) {
        for key in ["default_certificate", "tls"] {
            let message = format!("a listener with protocol {word} has no use for {key}");
            section.refuse(key, &message, &format!("remove {key}, or write protocol = \"https\""));
        }
    }
    if listener.protocol == ListenerProtocol::Http {
        let message = "a listener with protocol http has no use for default_route: each request names its host";
        section.refuse("default_route", message, "give one route the host \"*\"");
    }
    if listener.protocol == ListenerProtocol::Tcp && listener.default_route.is_none() {
        let remedy = "write default_route = \"NAME\", and a [[route]] of that name with mode = \"tcp\"";
        section.reading.fault(
            &section.place_of("protocol"),
            "a listener with protocol tcp needs a default_route",
            remedy,
        );
    }
    if listener.proxy_protocol && listener.trusted_proxies.is_empty() {
        let message = "proxy_protocol is believed from trusted_proxies alone, and there are none";
        let remedy = "write trusted_proxies = [\"10.0.0.0/8\"] with the networks of the proxies in front";
        section.reading.fault(&section.place_of("proxy_protocol"), message, remedy);
    }
    if listener.protocol != ListenerProtocol::Tls && listener.tls.alpn.is_some() {
        let remedy = "remove alpn, or write protocol = \"tls\"; for https, http2 = false takes h2 out";
        section.reading.fault(&section.place_of("tls"), "alpn is for listeners with protocol tls", remedy);
    }
}

/// The word that stands in the config for a protocol.
pub(super) fn word_of(protocol: ListenerProtocol) -> &'static str {
    PROTOCOLS.iter().find(|(_, other)| *other == protocol).map_or("", |(word, _)| word)
}

/// Reads `trusted_proxies`, of a listener or of the top level.
pub(super) fn read_networks(item: &Item<'_>) -> Option<Vec<IpNet>> {
    item.list("\"10.0.0.0/8\"", |element| {
        let network = element.network()?;
        if network.prefix_len() == 0 {
            element.reading.warning(
                &element.place(),
                format!("{network} is everybody: any client can forge the address and the protocol that the app sees"),
                "name the networks of the proxies in front of doorward",
            );
        }
        Some(network)
    })
}

fn read_tls(mut section: Section<'_>) -> TlsOptions {
    let mut tls = TlsOptions::default();
    section.set("min_version", &mut tls.min_version, |item| item.choice(&TLS_VERSIONS)).set(
        "http2",
        &mut tls.http2,
        Item::boolean,
    );
    section.set("alpn", &mut tls.alpn, |item| item.list("\"imap\"", Item::words).map(Some));
    section.finish();
    tls
}
