//! [`Lazy`]: a stream that is flushed when its owner says so, not whenever the h2 crate does.
//!
//! The h2 crate flushes after every frame. Gathering what all streams of a connection have to say until its
//! task has run makes one TLS record and one system call of many.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Transport;

/// What is gathered at the most before it is written anyway.
const GATHER: usize = 32 * 1024;
/// Pieces of at least this size go straight through: a copy would cost more than it saves.
const LARGE: usize = 8 * 1024;

/// The stream as the h2 crate has it. [`Flusher`] is the other handle to the same stream.
#[derive(Debug)]
pub(super) struct Lazy<IO>(Rc<RefCell<Inner<IO>>>);

/// The stream as its owner has it.
#[derive(Debug)]
pub(super) struct Flusher<IO>(Rc<RefCell<Inner<IO>>>);

#[derive(Debug)]
struct Inner<IO> {
    io: IO,
    text: Vec<u8>,
    sent: usize,
    /// Whether our side was shut down.
    ended: bool,
}

/// Two handles to `io`.
pub(super) fn lazy<IO: Transport>(io: IO) -> (Lazy<IO>, Flusher<IO>) {
    let inner = Rc::new(RefCell::new(Inner { io, text: Vec::new(), sent: 0, ended: false }));
    (Lazy(Rc::clone(&inner)), Flusher(inner))
}

impl<IO: Transport> Flusher<IO> {
    /// Writes what was gathered, and flushes.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush(cx)
    }

    /// Ends our side, then reads what the client still sends until it ends its own: closing before that would
    /// reset the connection, and the client might never see what was sent last.
    pub(super) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_flush(cx))?;
        if !inner.ended {
            ready!(Pin::new(&mut inner.io).poll_shutdown(cx))?;
            inner.ended = true;
        }
        let mut scrap = [0; 4096];
        loop {
            let mut scrap = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut inner.io).poll_read(cx, &mut scrap))?;
            if scrap.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: Transport> Inner<IO> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.text.len() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.text[self.sent..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
        }
        self.sent = 0;
        if self.text.capacity() > LARGE {
            self.text = Vec::new();
        }
        self.text.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.text.len() - self.sent + length > GATHER {
            ready!(self.poll_drain(cx))?;
        }
        if length >= LARGE && self.text.is_empty() {
            return Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        }
        slices.iter().for_each(|slice| self.text.extend_from_slice(slice));
        Poll::Ready(Ok(length))
    }
}

impl<IO: Transport> AsyncRead for Lazy<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<IO: Transport> AsyncWrite for Lazy<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Says that it is done: the owner flushes when the connection's task has run.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_flush(cx))?;
        ready!(Pin::new(&mut inner.io).poll_shutdown(cx))?;
        inner.ended = true;
        Poll::Ready(Ok(()))
    }
}
