//! [`Outbox`]: what a connection has yet to send, written in as few system calls and copies as can be.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::spare;

/// Bytes up to so many are copied behind a head, so that one write carries both; larger ones go as they are.
const COPIED: usize = 4 * 1024;
/// A text buffer that grew beyond this is not kept.
const KEPT: usize = 16 * 1024;

/// Text (heads, chunk framing, small data), then one large piece of data, then a line's end where chunks need it.
#[derive(Debug, Default)]
pub struct Outbox {
    text: Vec<u8>,
    sent: usize,
    data: Bytes,
    tail: &'static [u8],
}

impl Outbox {
    /// The text, to append to. Only while [`Outbox::takes_text`].
    pub fn text(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.takes_text(), "text would overtake data");
        if self.text.capacity() == 0 {
            self.text = spare::text();
        }
        &mut self.text
    }

    /// Whether nothing large waits behind the text.
    #[must_use]
    pub fn takes_text(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty()
    }

    /// Queues a piece of a body, with `tail` behind it. Only while [`Outbox::takes_text`].
    pub fn data(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= COPIED {
            self.text().extend_from_slice(&data);
            self.text.extend_from_slice(tail);
        } else {
            debug_assert!(self.takes_text(), "data would overtake data");
            self.data = data;
            self.tail = tail;
        }
    }

    /// Forgets all of it: whom it was for is gone.
    pub fn discard(&mut self) {
        *self = Self::default();
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.text.len() && self.takes_text()
    }

    /// Bytes of text that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.text.len() - self.sent
    }

    /// Gives memory back; for connections that go idle.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            spare::keep_text(std::mem::take(self).text);
        }
    }

    /// Writes and flushes all of it; `progress` counts the bytes that the writer took.
    ///
    /// # Errors
    /// Those of the writer; a writer that takes nothing is [`io::ErrorKind::WriteZero`].
    pub fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        cx: &mut Context<'_>,
        progress: &mut u64,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let text = &self.text[self.sent..];
            let written = if self.takes_text() {
                ready!(Pin::new(&mut *writer).poll_write(cx, text))?
            } else {
                let slices = [IoSlice::new(text), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                let from = usize::from(text.is_empty());
                ready!(Pin::new(&mut *writer).poll_write_vectored(cx, &slices[from..]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress += written as u64;
            self.advance(written);
        }
        // TLS keeps records that the socket did not take.
        Pin::new(writer).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        let text = written.min(self.text.len() - self.sent);
        self.sent += text;
        written -= text;
        let data = written.min(self.data.len());
        self.data.advance(data);
        self.tail = &self.tail[written - data..];
        if self.sent == self.text.len() {
            self.sent = 0;
            self.text.clear();
            if self.text.capacity() > KEPT {
                self.text = Vec::new();
            }
        }
        if self.data.is_empty() {
            // Lets go of the buffer that the data was read into, so that it is used again.
            self.data = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most so many bytes a call.
    struct Narrow(Vec<u8>, usize);

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.1);
            self.0.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn all_is_written_in_order_whatever_the_writer_takes() {
        let data = Bytes::from(vec![b'x'; COPIED + 1]);
        let expected = [b"head\r\n", &data[..], b"\r\n"].concat();
        for step in [1, 5, 6, 7, 1000, 100_000] {
            let (mut outbox, mut writer, mut progress) = (Outbox::default(), Narrow(Vec::new(), step), 0);
            outbox.text().extend_from_slice(b"head\r\n");
            outbox.data(data.clone(), b"\r\n");
            std::future::poll_fn(|cx| outbox.poll_send(&mut writer, cx, &mut progress)).await.expect("written");
            assert_eq!(writer.0, expected);
            assert_eq!(progress, expected.len() as u64);
            assert!(outbox.is_empty());
        }
    }
}
