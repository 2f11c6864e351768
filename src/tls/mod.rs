//! TLS with clients: the ClientHello, the certificate, the handshake, tickets. Floor 5.
//!
//! An [`Acceptor`] per listener turns a connection's bytes into an [`Accepted`]: it reads the ClientHello
//! ([`Hello`]), has the table choose the certificate, and finishes the handshake.

mod accept;
mod challenge;
mod hello;
mod name;
mod server_config;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod tickets;

pub use accept::{AcceptError, Accepted, Acceptor, Alpn, OUTCOMES, TlsInfo};
pub use hello::{Foreign, Hello, HelloError};
pub use stream::Stream;
pub use tickets::{Clock, Tickets};
