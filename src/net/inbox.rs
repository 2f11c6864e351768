//! [`Inbox`]: what came over a connection and was not used yet.

use std::io;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::spare;

/// How much is read at once at first: a head and a small body.
const FIRST: usize = 4 * 1024;
/// How much is read at once where much comes: a relay gains nothing beyond.
const MOST: usize = 64 * 1024;

/// A buffer that grows where much comes, and whose pieces are handed on without a copy.
///
/// Its memory is used again when every piece that was handed on is gone.
#[derive(Debug)]
pub struct Inbox {
    buffer: BytesMut,
    step: usize,
}

impl Inbox {
    /// Empty, with no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), step: FIRST }
    }

    /// With what was read already, which it takes as it is.
    #[must_use]
    pub fn with(read: Vec<u8>) -> Self {
        // A vector that nobody else holds becomes the buffer without a copy.
        let buffer = BytesMut::from(bytes::Bytes::from(read));
        Self { buffer, step: FIRST }
    }

    /// Reads once. `Ready(Ok(0))` is the end of what the peer sends.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn poll_fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() == 0 {
            self.buffer = spare::input();
        }
        if self.buffer.capacity() - self.buffer.len() < self.step / 2 {
            self.buffer.reserve(self.step);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        // The future holds nothing but the two borrows: dropping it when pending loses nothing.
        let poll = std::pin::pin!(reader.read_buf(&mut self.buffer)).poll(cx);
        match poll {
            Poll::Ready(Ok(n)) if n == room => self.step = (self.step * 4).min(MOST),
            Poll::Ready(Ok(n)) if n < self.step / 8 => self.step = (self.step / 4).max(FIRST),
            _ => {}
        }
        poll
    }

    /// Gives memory back, where nothing waits to be used, and remembers how much came at once: for connections that
    /// go idle between pieces of much.
    pub fn rest(&mut self) {
        if self.buffer.is_empty() {
            spare::keep_input(std::mem::take(&mut self.buffer));
        }
    }

    /// Gives memory back, where nothing waits to be used; for connections that go idle.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() {
            spare::keep_input(std::mem::take(self).buffer);
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Inbox {
    type Target = BytesMut;
    fn deref(&self) -> &BytesMut {
        &self.buffer
    }
}

impl DerefMut for Inbox {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }
}
