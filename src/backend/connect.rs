//! A new connection to an endpoint: the socket, the PROXY protocol where it is on, then TLS where it is spoken.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::resolved::Resolved;
use super::stream::{Socket, Stream};
use super::{BackendAddress, Endpoint, Origin, origin};

/// How long one of a name's addresses is waited for before the next is tried beside it (RFC 8305 §8).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

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

/// Connects, with `tls` where the endpoint has a transport. Besides the stream: to which of a name's addresses.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: Option<Arc<ClientConfig>>,
    origin: impl FnOnce() -> Option<Origin>,
) -> Result<(Stream, Option<IpAddr>), ConnectError> {
    let (mut socket, peer) = open(endpoint).await?;
    if let Some(version) = endpoint.proxy_protocol {
        let failed = |source| ConnectError::Connect { address: endpoint.address.clone(), source };
        let header = origin::header(version, origin().as_ref()).map_err(failed)?;
        // Before TLS: whoever takes connections over reads it first.
        socket.write_all(&header).await.map_err(failed)?;
    }
    let (Some(transport), Some(config)) = (&endpoint.transport, tls) else { return Ok((Stream::Plain(socket), peer)) };
    let failed = |source| ConnectError::Tls { address: endpoint.address.clone(), source };
    let no_name = || failed(io::Error::new(io::ErrorKind::InvalidInput, "there is no name to ask for"));
    let name = transport.name(&endpoint.address).ok_or_else(no_name)?;
    // Also where the caller gives up half-way.
    let mut handshake = Handshake { endpoint, ended: false };
    let stream = TlsConnector::from(config).connect(name, socket).await.map_err(failed)?;
    handshake.ended = true;
    Ok((Stream::Tls(Box::new(stream)), peer))
}

/// Counts a handshake that does not end well.
struct Handshake<'a> {
    endpoint: &'a Endpoint,
    ended: bool,
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.endpoint.standing.tally.tls_failed();
        }
    }
}

/// Opens the socket. Of a name's addresses, the first that answers is taken.
async fn open(endpoint: &Endpoint) -> Result<(Socket, Option<IpAddr>), ConnectError> {
    let address = &endpoint.address;
    let failed = |source| ConnectError::Connect { address: address.clone(), source };
    let unknown = |reason: &str| ConnectError::Resolve { address: address.clone(), source: io::Error::other(reason) };
    let (stream, peer) = match address {
        BackendAddress::Socket(socket) | BackendAddress::At(_, socket) => {
            (TcpStream::connect(socket).await.map_err(failed)?, None)
        }
        BackendAddress::Unix(path) => {
            let stream = UnixStream::connect(&**path).await.map_err(failed)?;
            return Ok((Socket::Unix(stream), None));
        }
        BackendAddress::Service(_) => {
            let error = endpoint.standing.resolved.as_ref().and_then(Resolved::error);
            return Err(unknown(error.as_deref().unwrap_or("a service is no endpoint, its targets are")));
        }
        BackendAddress::Name(_, port) => {
            let resolved = endpoint.standing.resolved.as_ref().ok_or_else(|| unknown("its name is not looked up"))?;
            let addresses = resolved.wait().await;
            let addresses = addresses.as_ref().as_ref().map_err(|error| unknown(error))?;
            let order = in_order(addresses, fastrand::usize(..));
            let order: Vec<_> = order.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect();
            let (stream, socket) = race(&order).await.map_err(failed)?;
            (stream, Some(socket.ip()))
        }
    };
    stream.set_nodelay(true).map_err(failed)?;
    Ok((Socket::Tcp(stream), peer))
}

/// The order in which addresses are tried: IPv6 and IPv4 by turns (RFC 8305 §4), those of a kind each first once in
/// a while.
fn in_order(addresses: &[IpAddr], turn: usize) -> Vec<IpAddr> {
    let (mut six, mut four): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|ip| ip.is_ipv6());
    for kind in [&mut six, &mut four] {
        let length = kind.len().max(1);
        kind.rotate_left(turn % length);
    }
    let longest = six.len().max(four.len());
    (0..longest).flat_map(|n| [six.get(n), four.get(n)]).flatten().copied().collect()
}

/// Connects to the first of these that answers ("happy eyeballs", RFC 8305 §5): each is given a head start before
/// the next is tried beside it, and none once it has failed.
async fn race(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    if let [only] = addresses {
        return Ok((TcpStream::connect(only).await?, *only));
    }
    let mut attempts = JoinSet::new();
    let mut rest = addresses.iter().copied();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = rest.next() {
            attempts.spawn(async move { (TcpStream::connect(address).await, address) });
        } else if attempts.is_empty() {
            return Err(last);
        }
        tokio::select! {
            Some(Ok((result, address))) = attempts.join_next() => match result {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if rest.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns_and_so_do_addresses() {
        let ips: Vec<IpAddr> =
            ["1.1.1.1", "2.2.2.2", "::1", "3.3.3.3"].iter().map(|ip| ip.parse().expect("an address")).collect();
        let shown = |turn| in_order(&ips, turn).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(0), "::1 1.1.1.1 2.2.2.2 3.3.3.3");
        assert_eq!(shown(4), "::1 2.2.2.2 3.3.3.3 1.1.1.1");
        assert!(in_order(&[], 7).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_fails_or_hangs_does_not_hold_up_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let good = listener.local_addr().expect("an address");
        let refused = TcpListener::bind("127.0.0.2:0").await.and_then(|l| l.local_addr()).expect("a port");
        // A full backlog: the kernel answers no further connection.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        full.bind(&"127.0.0.3:0".parse::<SocketAddr>().expect("an address").into()).expect("bound");
        full.listen(0).expect("it listens");
        let hanging = full.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
        let _first = TcpStream::connect(hanging).await.expect("the one that fits");
        let (_, address) = race(&[hanging, refused, good]).await.expect("one answers");
        assert_eq!(address, good);
        let error = race(&[refused, refused]).await.expect_err("none answers").to_string();
        assert!(error.contains(&refused.to_string()), "{error}");
    }
}
