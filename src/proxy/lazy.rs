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

use crate::net::{Transport, spare};

/// What is gathered at the most before it is written anyway.
const GATHER: usize = 32 * 1024;
/// Pieces of at least this size go straight through: a copy would cost more than it saves.
const LARGE: usize = 8 * 1024;
/// What fits here is not worth the thread's spare buffer.
const FIRST: usize = 1024;

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
    /// Bytes that the stream has taken in all.
    taken: u64,
    /// Whether our side was shut down.
    ended: bool,
}

/// Two handles to `io`.
pub(super) fn lazy<IO: Transport>(io: IO) -> (Lazy<IO>, Flusher<IO>) {
    let inner = Rc::new(RefCell::new(Inner { io, text: Vec::new(), sent: 0, taken: 0, ended: false }));
    (Lazy(Rc::clone(&inner)), Flusher(inner))
}

impl<IO: Transport> Flusher<IO> {
    /// Writes what was gathered, and flushes.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush(cx)
    }

    /// Bytes that the stream has taken so far: whoever keeps a deadline sees by it that there is progress.
    pub(super) fn taken(&self) -> u64 {
        self.0.borrow().taken
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
            self.taken += n as u64;
        }
        self.sent = 0;
        self.text.clear();
        if self.text.capacity() > LARGE {
            spare::keep_gathered(std::mem::take(&mut self.text));
        }
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
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
            self.taken += written as u64;
            return Poll::Ready(Ok(written));
        }
        if self.sent > 0 {
            // A stream that takes a little at a time may never take all: what it took must not pile up.
            self.text.drain(..self.sent);
            self.sent = 0;
        }
        if self.text.len() + length > self.text.capacity().max(FIRST) {
            let more = spare::gathered();
            if more.capacity() > self.text.capacity() {
                let less = std::mem::replace(&mut self.text, more);
                self.text.extend_from_slice(&less);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then waits until it is given leave again.
    struct Slow(usize);

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.0);
            self.0 -= n;
            if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Slow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Transport for Slow {
        fn reset_on_drop(&mut self) {}
        fn end_untold(&mut self) {}
    }

    #[test]
    fn what_a_slow_stream_has_taken_does_not_pile_up() {
        let (mut lazy, flusher) = lazy(Slow(0));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let piece = [0; 1024];
        let mut given = 0;
        for _ in 0..1000 {
            while let Poll::Ready(Ok(n)) = Pin::new(&mut lazy).poll_write(&mut cx, &piece) {
                given += n as u64;
            }
            flusher.0.borrow_mut().io.0 = 10 * 1024;
            assert!(flusher.poll_flush(&mut cx).is_pending());
        }
        let held = flusher.0.borrow().text.capacity();
        assert!(held <= 3 * GATHER, "{held} bytes are held after {given}");
        assert_eq!(flusher.taken(), 1000 * 10 * 1024);
        assert!(given - flusher.taken() <= GATHER as u64);
    }
}
