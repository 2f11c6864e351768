//! [`Outbox`]: what a connection has yet to send, written in as few system calls and copies as can be.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::spare;

/// Data of up to so many bytes is copied behind a head, so that one write carries both; larger ones go as they are.
const COPIED: usize = 4 * 1024;
/// A text buffer that grew beyond this is not kept.
const KEPT: usize = 16 * 1024;
/// How much one write carries, in bytes and in pieces.
const WRITE: usize = 64 * 1024;
const SLICES: usize = 16;

/// Text (heads, chunk framing, small data), then pieces of data that go as they are.
#[derive(Debug, Default)]
pub struct Outbox {
    text: Vec<u8>,
    sent: usize,
    pieces: VecDeque<Bytes>,
    /// Bytes of `pieces`.
    data: usize,
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
        self.pieces.is_empty()
    }

    /// Whether so much waits that more would not go with the next write.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // A piece may have a head and a tail.
        self.waiting() >= WRITE || self.pieces.len() + 4 > SLICES
    }

    /// Has text written behind all that waits.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.takes_text() {
            return write(self.text());
        }
        let mut text = Vec::new();
        write(&mut text);
        self.push(text.into());
    }

    /// Queues a piece of a body, with `tail` behind it.
    pub fn data(&mut self, data: Bytes, tail: &'static [u8]) {
        if self.takes_text() && data.len() <= COPIED {
            self.text().extend_from_slice(&data);
            self.text.extend_from_slice(tail);
        } else {
            self.push(data);
            self.push(Bytes::from_static(tail));
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

    /// Bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.text.len() - self.sent + self.data
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
                let mut slices = [IoSlice::new(&[]); SLICES];
                let texts = std::iter::once(text).filter(|text| !text.is_empty());
                let all = texts.chain(self.pieces.iter().map(|piece| &piece[..]));
                let count = slices.iter_mut().zip(all).map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count();
                ready!(Pin::new(&mut *writer).poll_write_vectored(cx, &slices[..count]))?
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

    fn push(&mut self, piece: Bytes) {
        self.data += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    fn advance(&mut self, mut written: usize) {
        let text = written.min(self.text.len() - self.sent);
        self.sent += text;
        written -= text;
        self.data -= written;
        while let Some(piece) = self.pieces.front_mut().filter(|_| written > 0) {
            let part = written.min(piece.len());
            piece.advance(part);
            written -= part;
            if piece.is_empty() {
                // Lets go of the buffer that the data was read into, so that it is used again.
                self.pieces.pop_front();
            }
        }
        if self.sent == self.text.len() {
            self.sent = 0;
            self.text.clear();
            if self.text.capacity() > KEPT {
                self.text = Vec::new();
            }
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
        let expected = [b"head\r\n", &data[..], b"\r\nnext\r\n", &data[..], b"small\r\nend"].concat();
        for step in [1, 5, 6, 7, 1000, 100_000] {
            let (mut outbox, mut writer, mut progress) = (Outbox::default(), Narrow(Vec::new(), step), 0);
            outbox.write(|text| text.extend_from_slice(b"head\r\n"));
            outbox.data(data.clone(), b"\r\n");
            outbox.write(|text| text.extend_from_slice(b"next\r\n"));
            outbox.data(data.clone(), b"");
            outbox.data(Bytes::from_static(b"small"), b"\r\n");
            outbox.write(|text| text.extend_from_slice(b"end"));
            assert_eq!(outbox.waiting(), expected.len());
            std::future::poll_fn(|cx| outbox.poll_send(&mut writer, cx, &mut progress)).await.expect("written");
            assert!(writer.0 == expected, "{step} bytes at once");
            assert_eq!((progress, outbox.waiting()), (expected.len() as u64, 0));
            assert!(outbox.is_empty() && outbox.takes_text());
        }
    }

    #[test]
    fn it_is_full_of_many_small_pieces_as_of_a_large_one() {
        let (mut many, mut large) = (Outbox::default(), Outbox::default());
        many.data(Bytes::from(vec![b'x'; COPIED + 1]), b"");
        let small = std::iter::repeat_with(|| many.data(Bytes::from_static(b"x"), b""));
        assert!(small.take(SLICES).count() == SLICES && many.is_full() && !large.is_full());
        large.data(Bytes::from(vec![b'x'; WRITE]), b"");
        assert!(large.is_full());
    }
}
