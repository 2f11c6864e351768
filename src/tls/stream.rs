//! [`Stream`]: a client's connection from its handshake on.
//!
//! A connection that waits holds neither what it read nor what it wrote: both pass through a buffer that all
//! connections of a thread share.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{CommonState, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::session::{Next, Session};
use crate::net::Transport;

/// How much is read at least in a handshake: the client's last flight fits.
const FLIGHT: usize = 2 * 1024;
/// The most that may wait in a handshake; a message has at most so many bytes anyway.
const HANDSHAKE: usize = 64 * 1024;
/// What is encrypted at once: what a relay reads at once, with its framing.
const WRITE: usize = 66 * 1024;
/// Pieces of one write.
const PIECES: usize = 64;
/// Records that wait up to so many bytes are sent together with those that come next.
const TOGETHER: usize = 8 * 1024;
/// The longest record, and some (RFC 5246 §6.2.3).
const RECORD: usize = 17 * 1024;
/// Records that wait, and what is read or written at once.
const SCRATCH: usize = TOGETHER + Session::encrypted(WRITE, PIECES);

/// A TLS stream to a client.
///
/// The end of the client's data is the client's close_notify; that the connection ends without one is
/// [`io::ErrorKind::UnexpectedEof`] (RFC 8446 §6.1).
pub struct Stream<IO> {
    io: IO,
    session: Session,
    /// Whether the next write carries all that is left.
    ends: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    /// Finishes the handshake that the client has begun with `hello`. In TLS 1.3, the tickets then go with the first
    /// data, or as soon as the client waits.
    ///
    /// # Errors
    /// Those of `io`; [`io::ErrorKind::InvalidData`] with a [`rustls::Error`] where the handshake fails, which the
    /// client was told.
    pub(super) async fn handshake(mut io: IO, config: Arc<ServerConfig>, hello: Vec<u8>) -> io::Result<Self> {
        let mut session = Session::new(config, hello).map_err(invalid)?;
        loop {
            let next = session.handshake();
            // In TLS 1.3 only tickets are left when it is done. In TLS 1.2 the client may wait for our end of it.
            let only_tickets = session.state().protocol_version() == Some(ProtocolVersion::TLSv1_3);
            if !(only_tickets && matches!(next, Ok(Next::Done))) {
                io.write_all(session.unsent()).await?;
                session.advance(session.unsent().len());
            }
            match next {
                Ok(Next::Done) => return Ok(Self { io, session, ends: false }),
                Ok(Next::Read) => {}
                Ok(Next::Closed) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => {
                    // That the client is gone changes nothing.
                    let _gone = io.shutdown().await;
                    return Err(invalid(error));
                }
            }
            if session.incoming().len() > HANDSHAKE {
                return Err(invalid(rustls::Error::General("the handshake has too many bytes".to_owned())));
            }
            session.incoming().reserve(FLIGHT);
            if io.read_buf(session.incoming()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl<IO> Stream<IO> {
    /// What was agreed.
    pub(super) fn state(&self) -> &CommonState {
        self.session.state()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.unsent().is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, self.session.unsent()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.session.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// The client broke a rule: tells it why, as far as the socket takes it at once.
    fn broken(&mut self, cx: &mut Context<'_>, error: rustls::Error) -> io::Error {
        let _told = self.poll_drain(cx);
        invalid(error)
    }

    fn poll_decrypted(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        loop {
            let waiting = self.session.unpack(scratch)?;
            // As much as there is room for, and a whole record at least; but not much of the next, as what is left is
            // copied twice.
            let whole = Session::record_end(&scratch[..waiting]).filter(|end| *end > waiting);
            let least = whole.unwrap_or(waiting + RECORD);
            let most = least.max(Session::encrypted(out.remaining(), 0)).min(scratch.len());
            let mut records = ReadBuf::new(&mut scratch[..most]);
            records.set_filled(waiting);
            let read = Pin::new(&mut self.io).poll_read(cx, &mut records);
            let came = records.filled().len();
            if came == waiting {
                self.session.repack(&scratch[..waiting]);
                return match read {
                    Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => {
                        // The client may wait for the end of the handshake before it says more.
                        if !self.session.owes_an_answer()
                            && let Poll::Ready(Err(error)) = self.poll_drain(cx)
                        {
                            return Poll::Ready(Err(error));
                        }
                        Poll::Pending
                    }
                };
            }
            if let Err(error) = self.session.decrypt(&mut scratch[..came], out) {
                return Poll::Ready(Err(self.broken(cx, error)));
            }
            if out.filled().len() > before || self.session.peer_closed() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_encrypted(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut room = WRITE;
        let pieces = slices.iter().take(PIECES).map(|slice| {
            let piece = &slice[..slice.len().min(room)];
            room -= piece.len();
            piece
        });
        let last =
            self.ends && slices.len() <= PIECES && slices.iter().map(|slice| slice.len()).sum::<usize>() <= WRITE;
        let length = self.session.encrypt(pieces, last, &mut scratch[TOGETHER..])?;
        let mut records = TOGETHER..TOGETHER + length;
        // What waits was encrypted before, and goes before.
        let older = self.session.unsent();
        if older.len() <= TOGETHER {
            records.start -= older.len();
            scratch[records.start..TOGETHER].copy_from_slice(older);
            self.session.advance(older.len());
            while !records.is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, &scratch[records.clone()]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => records.start += written,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
        }
        self.session.queue(&scratch[records]);
        Poll::Ready(Ok(WRITE - room))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.session.read_waiting(out) {
            Ok(false) if this.session.peer_closed() || out.remaining() == 0 => Poll::Ready(Ok(())),
            Ok(false) => with_scratch(|scratch| this.poll_decrypted(cx, out, scratch)),
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(this.broken(cx, error))),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.session.unsent().len() > TOGETHER {
            ready!(this.poll_drain(cx))?;
        }
        with_scratch(|scratch| this.poll_encrypted(cx, slices, scratch))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.session.close()?;
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<IO: Transport> Transport for Stream<IO> {
    /// Also sends no close_notify, which would say that this was all (RFC 8446 §6.1).
    fn reset_on_drop(&mut self) {
        self.io.reset_on_drop();
    }

    fn end_untold(&mut self) {
        self.io.end_untold();
    }

    fn ends_with_next_write(&mut self) {
        self.ends = true;
    }
}

impl<IO> fmt::Debug for Stream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Lends the thread's buffer.
fn with_scratch<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    thread_local!(static SCRATCH_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    let mut scratch = SCRATCH_BUFFER.take();
    scratch.resize(SCRATCH, 0);
    let result = f(&mut scratch);
    SCRATCH_BUFFER.set(scratch);
    result
}
