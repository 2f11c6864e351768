//! Ports for programs that cannot take port 0, and for addresses where nobody listens.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what Linux gives to those who do not mind which (`ip_local_port_range`, from 32768 on): there a port that was
/// free a moment ago may be the near end of anybody's connection by now.
const PORTS: std::ops::Range<u16> = 10_240..32_768;

/// Where this process goes on; two that run side by side begin at different places.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new((std::process::id() % 20_000) as u16));

/// An address of this machine's `ip` that is free for TCP and UDP; nobody else in this process is given its port,
/// whatever the address.
pub(crate) fn free(ip: &str) -> SocketAddr {
    let ip: IpAddr = ip.parse().expect("an address");
    for _ in PORTS {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        let address = SocketAddr::new(ip, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {ip} is free")
}
