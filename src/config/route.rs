//! `[[route]]`: which host and path goes to which backend.

use std::fmt;
use std::net::SocketAddr;

use super::CertificateId;
use crate::names::{HostPattern, Hostname};

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `name`: for logs and metrics; the first host (and the path, where one is written) if absent. Unique.
    pub name: String,
    /// `hosts`: at least one.
    pub hosts: Vec<RouteHost>,
    /// `path`: the prefix that the request's path has to have, at a segment's edge; default `/`.
    pub path: String,
    /// `backend`: one address or several, used in turn.
    pub backend: Vec<BackendAddress>,
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

/// Where a backend's endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendAddress {
    /// An address and port.
    Socket(SocketAddr),
    /// A name that is looked up at each connect, and a port.
    Name(Hostname, u16),
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

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}
