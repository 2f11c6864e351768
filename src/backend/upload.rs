//! [`Upload`]: a request on its way to the backend.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::http1::{self, Fields, Framing};
use crate::net::Outbox;

/// Small pieces are gathered up to so many bytes before they are written.
const GATHER: usize = 16 * 1024;

/// Why a request's body did not come whole. The backend must see that it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    /// The client went away, or took the request back.
    #[error("the client went away while it sent its request")]
    Gone,
    /// The body breaks HTTP's rules.
    #[error("the request's body is malformed")]
    Malformed,
    /// The body is larger than `request_body_bytes` allows.
    #[error("the request's body is too large")]
    TooLarge,
}

/// A request's body on its way, with how it is framed there.
#[derive(Debug)]
pub(super) struct Upload<B> {
    body: B,
    framing: Framing,
    sent: u64,
    state: State,
    touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sending,
    /// All of it is in the outbox.
    Queued,
    Ended,
    /// The backend takes no more; it may have answered all the same.
    Refused,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
{
    pub(super) fn new(body: B, framing: Framing) -> Self {
        let state = if matches!(framing, Framing::None | Framing::Length(0)) { State::Queued } else { State::Sending };
        Self { body, framing, sent: 0, state, touched: false }
    }

    /// Sends on. `Ready(Ok)` when there is nothing more to do, be it that the backend takes no more.
    pub(super) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        outbox: &mut Outbox,
        io: &mut W,
        cx: &mut Context<'_>,
        progress: &mut u64,
    ) -> Poll<Result<(), RequestBodyError>> {
        if matches!(self.state, State::Ended | State::Refused) {
            return Poll::Ready(Ok(()));
        }
        loop {
            self.gather(outbox, cx)?;
            if outbox.is_empty() {
                if self.state == State::Queued {
                    self.state = State::Ended;
                    return Poll::Ready(Ok(()));
                }
                return Poll::Pending;
            }
            if let Err(error) = ready!(outbox.poll_send(io, cx, progress)) {
                self.refused(outbox, &error);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Whether the whole request was sent.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether nothing more will be sent.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Refused)
    }

    /// The body, where none of it was taken yet, so that it can be sent elsewhere.
    pub(super) fn into_untouched(self) -> Option<B> {
        (!self.touched).then_some(self.body)
    }

    /// Moves what the client has sent into the outbox, while there is room.
    fn gather(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<(), RequestBodyError> {
        while self.state == State::Sending && outbox.takes_text() && outbox.waiting() < GATHER {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(frame) => frame.transpose()?,
            };
            self.touched = true;
            match frame.map(|frame| frame.into_data().map_err(|frame| frame.into_trailers())) {
                None => self.finish(outbox, None)?,
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => self.queue(outbox, data)?,
                Some(Err(Ok(trailers))) => {
                    let mut fields = Fields::new();
                    trailers.iter().for_each(|(name, value)| fields.push(name.as_str().as_bytes(), value.as_bytes()));
                    self.finish(outbox, Some(&fields))?;
                }
                Some(Err(Err(_unknown))) => {}
            }
        }
        Ok(())
    }

    fn queue(&mut self, outbox: &mut Outbox, data: Bytes) -> Result<(), RequestBodyError> {
        self.sent += data.len() as u64;
        match self.framing {
            Framing::Length(length) if self.sent > length => Err(RequestBodyError::Malformed),
            Framing::Length(_) => {
                outbox.data(data, b"");
                Ok(())
            }
            _ => {
                http1::chunk_head(outbox.text(), data.len());
                outbox.data(data, b"\r\n");
                Ok(())
            }
        }
    }

    fn finish(&mut self, outbox: &mut Outbox, trailers: Option<&Fields>) -> Result<(), RequestBodyError> {
        match self.framing {
            // A door that ends a body early has to say so by an error; this is the second lock on that door.
            Framing::Length(length) if self.sent != length => return Err(RequestBodyError::Malformed),
            Framing::Chunked => match trailers {
                Some(trailers) => http1::chunk_trailers(outbox.text(), trailers),
                None => http1::last_chunk(outbox.text()),
            },
            _ => {}
        }
        self.state = State::Queued;
        Ok(())
    }

    fn refused(&mut self, outbox: &mut Outbox, error: &io::Error) {
        tracing::debug!(%error, "the backend takes no more of the request");
        outbox.discard();
        self.state = State::Refused;
    }
}
