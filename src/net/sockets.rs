//! Listening sockets: one a worker on the same address, so that the kernel spreads connections (`SO_REUSEPORT`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel queues before it drops further ones; it lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(source, *address))]
pub struct BindError {
    /// The address as configured.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Opens `count` sockets that share `address`. With port 0, all get the port that the first one was given. `own` are
/// the addresses that this process listens on already: a wildcard address and one of its own can share a port.
///
/// # Errors
/// [`BindError`]: then none stays open.
pub fn bind_tcp(address: SocketAddr, count: usize, own: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let fail = |source| BindError { address, source };
    // A plain bind first: SO_REUSEPORT would let two doorwards of one user share the port unnoticed.
    let beside_own = own.iter().any(|other| *other != address && other.port() == address.port());
    if address.port() != 0 && !beside_own {
        drop(open(address, false).map_err(fail)?);
    }
    let first = open(address, true).map_err(fail)?;
    let bound = first.local_addr().map_err(fail)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(open(bound, true).map_err(fail)?);
    }
    Ok(sockets)
}

/// The port that a socket was bound to.
#[must_use]
pub fn port_of(socket: &TcpListener) -> u16 {
    socket.local_addr().map_or(0, |address| address.port())
}

/// Whether this machine knows a way to an address. Nothing is sent: a connected datagram socket only asks the routes.
#[must_use]
pub fn has_route(ip: IpAddr) -> bool {
    let from: IpAddr = if ip.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    // Any port will do.
    UdpSocket::bind((from, 0)).and_then(|socket| socket.connect((ip, 9))).is_ok()
}

fn open(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default is.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    // Linux hands it on to the connections (tcp(7)), which saves each a system call.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    if reuse_port {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

fn hint(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "; another program has port {} (`ss -ltnp 'sport = :{0}'` tells which): stop it or choose another port",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root, CAP_NET_BIND_SERVICE or net.ipv4.ip_unprivileged_port_start".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_send_small_pieces_at_once() {
        let sockets = bind_tcp("127.0.0.1:0".parse().expect("an address"), 1, &[]).expect("bound");
        let client = std::net::TcpStream::connect(sockets[0].local_addr().expect("an address")).expect("connected");
        sockets[0].set_nonblocking(false).expect("set");
        let (accepted, _) = sockets[0].accept().expect("accepted");
        assert!(accepted.nodelay().expect("known") && !client.nodelay().expect("known"));
    }

    #[test]
    fn workers_share_a_port_and_strangers_do_not() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let sockets = bind_tcp(any, 3, &[]).expect("bound");
        let bound = sockets[0].local_addr().expect("an address");
        assert!(sockets.iter().all(|s| port_of(s) == bound.port()));
        let error = bind_tcp(bound, 1, &[bound]).expect_err("taken").to_string();
        assert!(error.contains("another program has port"), "{error}");
        let wide = SocketAddr::new([0, 0, 0, 0].into(), bound.port());
        assert!(bind_tcp(wide, 1, &[]).is_err(), "a stranger's");
        bind_tcp(wide, 2, &[bound]).expect("our own, which is more particular");
    }
}
