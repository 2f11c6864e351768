//! [`BackendAddress`]: where an app listens.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::BackendProtocol;
use crate::names::{Hostname, NameError};

/// Where a backend's endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendAddress {
    /// An address and port.
    Socket(SocketAddr),
    /// A name that is looked up, and a port.
    Name(Hostname, u16),
    /// A name whose SRV records (RFC 2782) say where the endpoints are.
    Service(Hostname),
    /// A unix socket, by its absolute path.
    Unix(Box<str>),
    /// One of a name's addresses; found out, and never written in the config.
    At(Hostname, SocketAddr),
}

/// Why a text is no address of a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// A scheme that is none of [`BackendProtocol`]'s.
    #[error("{0}:// is nothing that a backend speaks")]
    Scheme(String),
    /// A scheme where the protocol is not chosen.
    #[error("only http:// can stand here, not {0}://")]
    HttpOnly(&'static str),
    /// A scheme before what has none.
    #[error("{0} has no scheme")]
    NoScheme(&'static str),
    /// A path, query or user behind the port or before the host.
    #[error("a backend is a host and a port, without a user, a path or a query")]
    Extra,
    /// No port, or none from 1 to 65535.
    #[error("the backend has no port from 1 to 65535")]
    Port,
    /// The host is neither a name nor an address.
    #[error("the backend's host is wrong: {0}")]
    Host(#[from] NameError),
    /// The path of a unix socket is relative, too long or empty.
    #[error("the path of a unix socket is absolute and has at most {UNIX_PATH} bytes")]
    UnixPath,
}

/// The longest path that the system takes for a socket (`sun_path` of unix(7), less its end).
const UNIX_PATH: usize = 107;

impl BackendAddress {
    /// Parses an address, and the protocol where a scheme names one: `127.0.0.1:3000`, `[::1]:3000`, `app:3000`,
    /// a port alone for one on 127.0.0.1, `unix:/run/app.sock`, `srv:_http._tcp.app`; all but the last three also
    /// behind `http://` (port 80 is its default), `https://` (443), `tcp://` or `tls://`.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn parse(text: &str) -> Result<(Option<BackendProtocol>, Self), BackendError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let sound = path.len() > 1 && path.len() <= UNIX_PATH && path.starts_with('/') && !path.contains('\0');
            return if sound { Ok((None, Self::Unix(path.into()))) } else { Err(BackendError::UnixPath) };
        }
        if let Some(name) = text.strip_prefix("srv:") {
            let name = Hostname::parse(name)?;
            return if name.ip().is_some() {
                Err(NameError::Character.into())
            } else {
                Ok((None, Self::Service(name)))
            };
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let port_alone = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let authority = if port_alone { return Ok((None, loopback(text)?)) } else { text };
            return Ok((None, parse_authority(authority, None)?));
        };
        let protocol = super::backend::PROTOCOLS.iter().find(|(word, _)| scheme.eq_ignore_ascii_case(word));
        let Some((_, protocol)) = protocol else { return Err(BackendError::Scheme(scheme.to_owned())) };
        if let Some(kind) = ["unix:", "srv:"].into_iter().find(|kind| rest.starts_with(kind)) {
            return Err(BackendError::NoScheme(kind));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        Ok((Some(*protocol), parse_authority(authority, protocol.default_port())?))
    }

    /// Its host, where it has one: what TLS checks the certificate for unless told otherwise.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Socket(address) => Some(address.ip().to_string()),
            Self::Name(name, _) => Some(name.as_str().to_owned()),
            Self::At(name, _) => Some(name.as_str().to_owned()),
            Self::Unix(_) | Self::Service(_) => None,
        }
    }

    /// Whether somebody may mean this one by these words: as it is shown, or, of one of a name's addresses, the name
    /// and port or the address and port.
    #[must_use]
    pub fn is_called(&self, words: &str) -> bool {
        let by_part = match self {
            Self::At(name, socket) => {
                words == socket.to_string() || words.strip_prefix(name.as_str()) == Some(&format!(":{}", socket.port()))
            }
            _ => false,
        };
        by_part || words == self.to_string()
    }
}

impl FromStr for BackendAddress {
    type Err = BackendError;

    /// As [`BackendAddress::parse`], of a backend that speaks HTTP.
    fn from_str(text: &str) -> Result<Self, BackendError> {
        match Self::parse(text)? {
            (None | Some(BackendProtocol::Http), address) => Ok(address),
            (Some(other), _) => Err(BackendError::HttpOnly(other.word())),
        }
    }
}

fn loopback(port: &str) -> Result<BackendAddress, BackendError> {
    Ok(BackendAddress::Socket((Ipv4Addr::LOCALHOST, parse_port(port)?).into()))
}

fn parse_authority(authority: &str, default_port: Option<u16>) -> Result<BackendAddress, BackendError> {
    if authority.contains(['/', '?', '#', '@']) {
        return Err(BackendError::Extra);
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
        Some(ip) => BackendAddress::Socket((ip, port).into()),
        None => BackendAddress::Name(host, port),
    })
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
            Self::At(name, socket) => write!(f, "{name}:{}@{}", socket.port(), socket.ip()),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Service(name) => write!(f, "srv:{name}"),
        }
    }
}

/// What to do about an address that is wrong.
pub(super) fn remedy(error: &BackendError) -> &'static str {
    match error {
        BackendError::Scheme(_) | BackendError::HttpOnly(_) => {
            "write http://, https://, tcp:// or tls:// before host:port, or host:port alone for http"
        }
        BackendError::NoScheme(_) => {
            "write it alone, and what it speaks as the backend's protocol, as in protocol = \"https\""
        }
        BackendError::Extra => "remove them; the path of a request is passed on as it is",
        BackendError::Port => "add one, as in \"app:3000\" or \"127.0.0.1:3000\"",
        BackendError::Host(_) => "write host:port, and an IPv6 address in brackets, as in \"[::1]:3000\"",
        BackendError::UnixPath => "write it as in \"unix:/run/app.sock\"",
    }
}
