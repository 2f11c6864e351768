//! `[[listener]]`: where doorward listens, and what it speaks there.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::CertificateId;
use super::reader::{Item, Section};
use super::source::Place;

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
    /// `tls`: `[listener.tls]`; meaningless for `http`.
    pub tls: TlsOptions,
}

/// What a listener speaks with its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// TLS, and HTTP/1.1 or HTTP/2 in it.
    Https,
    /// HTTP/1.1 without TLS; answers HTTP-01 for any host.
    Http,
}

/// `[listener.tls]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// `min_version`: `"1.2"` (default) or `"1.3"`.
    pub min_version: TlsVersion,
    /// `http2`: whether ALPN offers h2; default true.
    pub http2: bool,
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
        Self { min_version: TlsVersion::Tls12, http2: true }
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
pub(super) const PROTOCOLS: [(&str, ListenerProtocol); 2] =
    [("https", ListenerProtocol::Https), ("http", ListenerProtocol::Http)];
/// The words of [`TlsVersion`].
pub(super) const TLS_VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

/// A listener, and where its address is written.
pub(super) struct Placed {
    pub(super) listener: Listener,
    pub(super) address: Place,
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
    if listener.protocol == ListenerProtocol::Http {
        for key in ["default_certificate", "tls"] {
            let message = format!("a listener with protocol http has no use for {key}");
            section.refuse(key, &message, &format!("remove {key}, or write protocol = \"https\""));
        }
    }
    let place = section.place_of("address");
    section.finish();
    address.map(|_| Placed { listener, address: place })
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
    section.finish();
    tls
}
