//! Routes: which host and path goes to which backend. Floor 4; no I/O.
//!
//! A [`Table`] is made whole from a config and never changes; a reload publishes another one.

mod paths;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;

pub use table::{AmbiguousPath, Conflict, Table};

use crate::backend::Backend;
use crate::config::{self, CertificateChoice, CertificateId};
pub use crate::config::{HttpsPolicy, RouteMode};

/// Where requests for some hosts and paths go.
#[derive(Debug)]
pub struct Route {
    /// Its number in the table, from zero: an index for what each worker keeps per route.
    pub index: usize,
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// What of a connection is understood.
    pub mode: RouteMode,
    /// The listeners that have it, by their configured addresses; empty: all.
    pub listeners: Vec<SocketAddr>,
    /// The prefix of the path, `/` for all.
    pub path: String,
    /// The app.
    pub backend: Arc<Backend>,
    /// What is done with requests that come without TLS, or with it.
    pub https: HttpsPolicy,
    /// The one certificate that its hosts are served with, where the config says which.
    pub certificate: Option<CertificateId>,
    /// The `Host` that the app sees in place of the client's.
    pub rewrite_host: Option<String>,
    /// Whether RFC 7239's `Forwarded` is sent.
    pub forwarded: bool,
    /// Whether the app is told about TLS.
    pub tls_headers: bool,
}

impl Route {
    fn new(index: usize, config: &config::Route, backend: &Arc<Backend>) -> Self {
        Self {
            index,
            name: Arc::from(config.name.as_str()),
            mode: config.mode,
            listeners: config.listeners.clone(),
            path: config.path.clone(),
            backend: Arc::clone(backend),
            https: config.https,
            certificate: match &config.certificate {
                CertificateChoice::Id(id) => Some(id.clone()),
                _ => None,
            },
            rewrite_host: config.rewrite_host.clone(),
            forwarded: config.forwarded,
            tls_headers: config.tls_headers,
        }
    }

    /// Whether connections to this listener can come here.
    #[must_use]
    pub fn is_on(&self, listener: SocketAddr) -> bool {
        self.listeners.is_empty() || self.listeners.contains(&listener)
    }

    fn shares_a_listener(&self, other: &Self) -> bool {
        self.listeners.is_empty() || other.listeners.is_empty() || self.listeners.iter().any(|l| other.is_on(*l))
    }

    /// Whether `path` is this route's prefix or lies below it: `/api` has `/api` and `/api/x`, not `/apix`.
    #[must_use]
    pub fn has_path(&self, path: &[u8]) -> bool {
        match path.strip_prefix(self.path.as_bytes()) {
            None => false,
            Some(rest) => self.path.ends_with('/') || matches!(rest, [] | [b'/' | b'?', ..]),
        }
    }
}
