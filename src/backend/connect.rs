//! A new connection to an endpoint.

use std::io;

use tokio::net::TcpStream;

use super::BackendAddress;

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
}

/// Connects. Of a name's addresses, the first that answers is taken.
pub(super) async fn connect(address: &BackendAddress) -> Result<TcpStream, ConnectError> {
    let failed = |source| ConnectError::Connect { address: address.clone(), source };
    let stream = match address {
        BackendAddress::Socket(socket) => TcpStream::connect(socket).await.map_err(failed)?,
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
    Ok(stream)
}
