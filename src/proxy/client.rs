//! [`Client`]: who is at the other end of a connection, and what of that the app is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::backend::{Origin, OriginTls};
use crate::certs::Certificate;
use crate::names::Hostname;

/// A listener as its clients see it.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// Its address as configured: what routes know it by.
    pub listener: SocketAddr,
    /// The port that clients dial.
    pub port: u16,
    /// Peers whose word about their client is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The route of clients that ask for no name.
    pub default_route: Option<Arc<str>>,
}

/// A client's connection: what is true for each request on it.
#[derive(Debug)]
pub struct Client {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Where it connected to; without an address where that is not known.
    pub local: SocketAddr,
    /// The port that the client dialled.
    pub port: u16,
    /// Whether the peer's own word about its client is believed.
    pub trusted: bool,
    /// Where it came in.
    pub entrance: Arc<Entrance>,
    /// TLS, where the connection came over it.
    pub tls: Option<Tls>,
    /// The fields that an app is told of this client, written out once for all its requests.
    pub(super) told: Vec<u8>,
}

/// The TLS of a client's connection.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name that the client asked for.
    pub sni: Option<Hostname>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: &'static str,
    /// What was agreed on by ALPN, as `h2`; none: nothing.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificate that was chosen for the name.
    pub certificate: Option<Arc<Certificate>>,
}

impl Client {
    /// A client at `peer` that dialled `port`.
    #[must_use]
    pub fn new(peer: SocketAddr, port: u16, entrance: Arc<Entrance>, tls: Option<Tls>) -> Self {
        // An IPv4 client of a `[::]` listener is an IPv4 client.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let trusted = entrance.trusted_proxies.iter().any(|net| net.contains(&peer.ip()));
        let local = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let mut this = Self { peer, local, port, trusted, entrance, tls, told: Vec::new() };
        this.told = format!(
            "X-Forwarded-For: {ip}\r\nX-Real-IP: {ip}\r\nX-Forwarded-Proto: {proto}\r\nX-Forwarded-Port: {port}\r\n",
            ip = peer.ip(),
            proto = this.proto(),
        )
        .into_bytes();
        this
    }

    /// The same, with the address that it connected to.
    #[must_use]
    pub fn with_local(mut self, local: SocketAddr) -> Self {
        self.local = SocketAddr::new(local.ip().to_canonical(), local.port());
        self
    }

    /// The connection as a backend hears of it by the PROXY protocol.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let tls = self.tls.as_ref().map(|tls| OriginTls {
            version: tls.version,
            cipher: tls.cipher,
            sni: tls.sni.as_ref().map(|sni| sni.as_str().to_owned()),
            alpn: tls.alpn.clone().unwrap_or_default(),
        });
        Origin { source: self.peer, destination: self.local, tls }
    }

    /// `https` when the client came over TLS, else `http`.
    #[must_use]
    pub fn proto(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The route for a client that asked for no name, by where it came in.
    pub(super) fn default_route(&self) -> Option<&str> {
        let asked = self.tls.as_ref().is_some_and(|tls| tls.sni.is_some());
        self.entrance.default_route.as_deref().filter(|_| !asked)
    }

    /// Whether an address is one whose word is believed.
    #[must_use]
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.entrance.trusted_proxies.iter().any(|net| net.contains(&ip.to_canonical()))
    }
}
