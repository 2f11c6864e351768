//! What the DNS tests stand on: real BIND, real PowerDNS, moto's Route 53 and STS, and a fake of Cloudflare's API.

pub mod bind;
pub mod cloudflare;
pub mod moto;
pub mod pdns;

use std::net::TcpListener;

/// A port that was free a moment ago, for TCP and UDP.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let port = listener.local_addr().expect("an address").port();
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
