//! [`Stream`]: a client's connection after its handshake.

use crate::net::Transport;

/// A TLS stream to a client.
pub type Stream<IO> = tokio_rustls::server::TlsStream<IO>;

impl<IO: Transport> Transport for Stream<IO> {
    /// Also sends no close_notify, which would say that this was all (RFC 8446 §6.1).
    fn reset_on_drop(&mut self) {
        self.get_mut().0.reset_on_drop();
    }

    fn end_untold(&mut self) {
        self.get_mut().0.end_untold();
    }
}
