//! `[[listener]]`: where doorward listens, and what it speaks there.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::CertificateId;

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
    /// The port that an app hears of in `X-Forwarded-Port`, given the port that was bound.
    #[must_use]
    pub fn forwarded_port(&self, bound: u16) -> u16 {
        self.public_port.unwrap_or(bound)
    }
}
