//! [`Stream`]: the bytes to and from an endpoint, whatever is between.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::net::Transport;

/// A socket to an endpoint.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

/// What is read from and written to an endpoint.
#[derive(Debug)]
pub enum Stream {
    /// The socket itself.
    Plain(Socket),
    /// TLS over it. On the heap, so that it costs those nothing that do without.
    Tls(Box<TlsStream<Socket>>),
}

impl Socket {
    /// Whether the system has told of nothing to read. Makes no system call, so "no" may be stale.
    fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(&mut cx).is_pending(),
            Self::Unix(socket) => socket.poll_read_ready(&mut cx).is_pending(),
        }
    }
}

impl Stream {
    /// Whether nothing has come, as far as it is known without a system call: "no" may be stale, only a read tells.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            // What a record holds beyond what was read waits within, where no socket tells of it.
            Self::Tls(_) => false,
        }
    }
}

/// Calls the same on whatever the stream is.
macro_rules! each {
    ($stream:expr, $kind:ident :: { $($variant:ident),+ }, $inner:ident => $call:expr) => {
        match $stream.get_mut() { $($kind::$variant($inner) => $call,)+ }
    };
}

impl Transport for Socket {
    fn reset_on_drop(&mut self) {
        match self {
            Self::Tcp(socket) => socket.reset_on_drop(),
            Self::Unix(socket) => socket.reset_on_drop(),
        }
    }

    fn end_untold(&mut self) {
        match self {
            Self::Tcp(socket) => socket.end_untold(),
            Self::Unix(socket) => socket.end_untold(),
        }
    }
}

impl Transport for Stream {
    fn reset_on_drop(&mut self) {
        match self {
            Self::Plain(socket) => socket.reset_on_drop(),
            Self::Tls(stream) => stream.get_mut().0.reset_on_drop(),
        }
    }

    fn end_untold(&mut self) {
        match self {
            Self::Plain(socket) => socket.end_untold(),
            Self::Tls(stream) => stream.get_mut().0.end_untold(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, Socket::{Tcp, Unix}, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, Socket::{Tcp, Unix}, inner => Pin::new(inner).poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, Socket::{Tcp, Unix}, inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, Socket::{Tcp, Unix}, inner => Pin::new(inner).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, Socket::{Tcp, Unix}, inner => Pin::new(inner).poll_shutdown(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, Stream::{Plain, Tls}, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, Stream::{Plain, Tls}, inner => Pin::new(inner).poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, Stream::{Plain, Tls}, inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, Stream::{Plain, Tls}, inner => Pin::new(inner).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, Stream::{Plain, Tls}, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
