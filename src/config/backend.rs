//! `backend`: where an app listens.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use toml::de::DeValue;

use super::reader::Item;
use crate::names::{Hostname, NameError};

/// What a backend looks like in the config.
pub(super) const EXAMPLE: &str = "\"127.0.0.1:3000\"";

/// Where a backend's endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendAddress {
    /// An address and port.
    Socket(SocketAddr),
    /// A name that is looked up at each connect, and a port.
    Name(Hostname, u16),
}

/// Why a text is no address of a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Another scheme than `http://`.
    #[error("{0} backends are not supported yet")]
    NotYet(String),
    /// A path, query or user behind the port or before the host.
    #[error("a backend is a host and a port, without a user, a path or a query")]
    Extra,
    /// No port, or none from 1 to 65535.
    #[error("the backend has no port from 1 to 65535")]
    Port,
    /// The host is neither a name nor an address.
    #[error("the backend's host is wrong: {0}")]
    Host(#[from] NameError),
}

impl FromStr for BackendAddress {
    type Err = BackendError;

    /// `127.0.0.1:3000`, `[::1]:3000`, `app:3000`, each also behind `http://` (then port 80 is the default),
    /// or a port alone, for one on 127.0.0.1.
    fn from_str(text: &str) -> Result<Self, BackendError> {
        let mut default_port = None;
        let mut authority = text;
        if let Some((scheme, rest)) = text.split_once("://") {
            if !scheme.eq_ignore_ascii_case("http") {
                return Err(BackendError::NotYet(format!("{scheme}://")));
            }
            authority = rest.strip_suffix('/').unwrap_or(rest);
            default_port = Some(80);
        } else if text.starts_with("unix:") || text.starts_with('/') {
            return Err(BackendError::NotYet("unix socket".to_owned()));
        }
        if authority.contains(['/', '?', '#', '@']) {
            return Err(BackendError::Extra);
        }
        if !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_digit()) && default_port.is_none() {
            return Ok(Self::Socket((Ipv4Addr::LOCALHOST, parse_port(authority)?).into()));
        }
        let bare_ipv6 = authority.ends_with(']') || !authority.contains(':');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !bare_ipv6 => (host, parse_port(port)?),
            _ => (authority, default_port.ok_or(BackendError::Port)?),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(BackendError::Host(NameError::Character));
        }
        let host = Hostname::parse(host)?;
        Ok(match host.ip() {
            Some(ip) => Self::Socket((ip, port).into()),
            None => Self::Name(host, port),
        })
    }
}

/// A port from 1 to 65535.
pub(super) fn parse_port(text: &str) -> Result<u16, BackendError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(BackendError::Port)
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Reads one address of `backend`.
pub(super) fn read(item: &Item<'_>) -> Option<BackendAddress> {
    let text = match item.value.get_ref() {
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::String(_) => item.text()?,
        _ => return item.wrong_type("a backend's address", "\"127.0.0.1:3000\""),
    };
    match text.parse() {
        Ok(address) => Some(address),
        Err(error) => {
            let remedy = match &error {
                BackendError::NotYet(_) => "doorward speaks http:// to backends; write host:port, or http://host:port",
                BackendError::Extra => "remove them; the path of a request is passed on as it is",
                BackendError::Port => "add one, as in \"app:3000\" or \"127.0.0.1:3000\"",
                BackendError::Host(_) => "write host:port, and an IPv6 address in brackets, as in \"[::1]:3000\"",
            };
            item.fault(error.to_string(), remedy)
        }
    }
}
