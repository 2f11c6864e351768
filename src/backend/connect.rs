//! A new connection to an endpoint: the socket, the PROXY protocol where it is on, then TLS where it is spoken.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::stream::{Socket, Stream};
use super::{BackendAddress, Endpoint, Origin, origin};

/// Why there is no connection. The request has not reached the backend.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint's name could not be resolved.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// The endpoint.
        address: BackendAddress,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nothing took the connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The endpoint.
        address: BackendAddress,
        /// What the system said.
        source: io::Error,
    },
    /// There is no TLS with whatever took it.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// The endpoint.
        address: BackendAddress,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// Connects, with `tls` where the endpoint has a transport.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: Option<Arc<ClientConfig>>,
    origin: impl FnOnce() -> Option<Origin>,
) -> Result<Stream, ConnectError> {
    let mut socket = open(&endpoint.address).await?;
    if let Some(version) = endpoint.proxy_protocol {
        let failed = |source| ConnectError::Connect { address: endpoint.address.clone(), source };
        let header = origin::header(version, origin().as_ref()).map_err(failed)?;
        // Before TLS: whoever takes connections over reads it first.
        socket.write_all(&header).await.map_err(failed)?;
    }
    let (Some(transport), Some(config)) = (&endpoint.transport, tls) else { return Ok(Stream::Plain(socket)) };
    let failed = |source| ConnectError::Tls { address: endpoint.address.clone(), source };
    let no_name = || failed(io::Error::new(io::ErrorKind::InvalidInput, "there is no name to ask for"));
    let name = transport.name(&endpoint.address).ok_or_else(no_name)?;
    let stream = TlsConnector::from(config).connect(name, socket).await.map_err(failed)?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Opens the socket. Of a name's addresses, the first that answers is taken.
async fn open(address: &BackendAddress) -> Result<Socket, ConnectError> {
    let failed = |source| ConnectError::Connect { address: address.clone(), source };
    let stream = match address {
        BackendAddress::Socket(socket) => TcpStream::connect(socket).await.map_err(failed)?,
        BackendAddress::Unix(path) => {
            return UnixStream::connect(&**path).await.map(Socket::Unix).map_err(failed);
        }
        BackendAddress::Name(name, port) => {
            let resolved = tokio::net::lookup_host((name.as_str(), *port))
                .await
                .map_err(|source| ConnectError::Resolve { address: address.clone(), source })?;
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            let mut stream = None;
            for socket in resolved {
                match TcpStream::connect(socket).await {
                    Ok(connected) => {
                        stream = Some(connected);
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            stream.ok_or_else(|| failed(last))?
        }
    };
    stream.set_nodelay(true).map_err(failed)?;
    Ok(Socket::Tcp(stream))
}
