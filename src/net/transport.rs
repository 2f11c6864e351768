//! [`Transport`]: what a client's connection is, with or without TLS.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream to a client that can also be broken off.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Makes the coming drop end the connection by a reset: the only way to say "this is not all" where the
    /// end of the connection is the end of the message.
    fn reset_on_drop(&mut self);
}

impl Transport for TcpStream {
    fn reset_on_drop(&mut self) {
        // Where it fails the peer is gone already.
        let _gone = socket2::SockRef::from(&*self).set_linger(Some(std::time::Duration::ZERO));
    }
}
