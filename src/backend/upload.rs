//! [`Upload`]: a request on its way to the backend.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::http1::{self, Fields, Framing};
use crate::net::Outbox;

/// A larger piece is all that there was: to ask for more would only have a buffer made for it.
const PIECE: usize = 16 * 1024;

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

    /// Moves what the client has sent into the outbox, while there is room: the backend is then woken once for all of it.
    fn gather(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<(), RequestBodyError> {
        let mut last = 0;
        while self.state == State::Sending && last <= PIECE && !outbox.is_full() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(frame) => frame.transpose()?,
            };
            self.touched = true;
            match frame.map(|frame| frame.into_data().map_err(|frame| frame.into_trailers())) {
                None => self.finish(outbox, None)?,
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    last = data.len();
                    self.queue(outbox, data)?;
                }
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
                outbox.write(|text| http1::chunk_head(text, data.len()));
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
                Some(trailers) => outbox.write(|text| http1::chunk_trailers(text, trailers)),
                None => outbox.write(http1::last_chunk),
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use http_body::Frame;

    use super::*;

    /// Frames that are there already.
    struct Ready(VecDeque<Bytes>);

    impl Body for Ready {
        type Data = Bytes;
        type Error = RequestBodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    /// Keeps each write apart.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.0.push(slices.iter().flat_map(|slice| slice.iter().copied()).collect());
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn sent(framing: Framing, frames: &[Bytes]) -> Vec<Vec<u8>> {
        let mut upload = Upload::new(Ready(frames.iter().cloned().collect()), framing);
        let (mut outbox, mut writes, mut progress) = (Outbox::default(), Writes::default(), 0);
        outbox.text().extend_from_slice(b"head|");
        let mut cx = Context::from_waker(Waker::noop());
        let poll = upload.poll(&mut outbox, &mut writes, &mut cx, &mut progress);
        assert_eq!(poll, Poll::Ready(Ok(())));
        assert!(upload.is_ended());
        writes.0
    }

    #[test]
    fn frames_that_are_there_go_in_one_write() {
        let frames = [b'a', b'b', b'c', b'd'].map(|byte| Bytes::from(vec![byte; 10_000]));
        let body = frames.concat();
        assert!(sent(Framing::Length(40_000), &frames) == [[&b"head|"[..], &body].concat()]);
        let chunk = |data: &Bytes| [b"2710\r\n", &data[..], b"\r\n"].concat();
        let chunks: Vec<u8> = frames.iter().flat_map(chunk).chain(*b"0\r\n\r\n").collect();
        assert_eq!(sent(Framing::Chunked, &frames).concat(), [&b"head|"[..], &chunks].concat());
        let large = [b'a', b'b', b'c'].map(|byte| Bytes::from(vec![byte; 60_000]));
        assert_eq!(sent(Framing::Length(180_000), &large).len(), 3, "not all of it is held at once");
    }
}
