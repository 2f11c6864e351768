//! [`Transport`]: what a connection is, with or without TLS.

use std::net::Shutdown;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A stream that can also be ended in other ways than the regular one. Where these fail the peer is gone already.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Makes the coming drop end the connection by a reset: the only way to say "this is not all" where the
    /// end of the connection is the end of the message.
    fn reset_on_drop(&mut self);

    /// Ends what is sent, all of which was flushed, without the word of TLS that this was all (RFC 8446 §6.1): it is
    /// not known whether it was.
    fn end_untold(&mut self);

    /// The next write carries all that is left to send. TLS says with it that nothing more comes (RFC 8446 §6.1), so
    /// that the peer is not woken once more for that word alone; the stream is shut down as ever.
    fn ends_with_next_write(&mut self) {}
}

impl Transport for TcpStream {
    fn reset_on_drop(&mut self) {
        let _gone = socket2::SockRef::from(&*self).set_linger(Some(std::time::Duration::ZERO));
    }

    fn end_untold(&mut self) {
        let _gone = socket2::SockRef::from(&*self).shutdown(Shutdown::Write);
    }
}

impl Transport for UnixStream {
    /// A unix socket knows no reset.
    fn reset_on_drop(&mut self) {}

    fn end_untold(&mut self) {
        let _gone = socket2::SockRef::from(&*self).shutdown(Shutdown::Write);
    }
}

impl<T: Transport> Transport for &mut T {
    fn reset_on_drop(&mut self) {
        (**self).reset_on_drop();
    }

    fn end_untold(&mut self) {
        (**self).end_untold();
    }

    fn ends_with_next_write(&mut self) {
        (**self).ends_with_next_write();
    }
}
