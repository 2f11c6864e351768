//! [`Exchange`]: one request to a backend and its answer, over one connection.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::{Body, Frame};

use super::pool::{Connection, Link, Pools};
use super::upload::{RequestBodyError, Upload};
use crate::http1::{BodyDecoder, BodyError, Fields, Framing, FramingError, HeadError, HeadLimits};
use crate::http1::{Piece, Progress, ResponseHead, response_framing};

/// Fields in an answer's head.
const MAX_FIELDS: usize = 256;

/// A request under way. It is driven by whoever waits for the answer: polling for the head or for a piece
/// of the body also sends on what is left of the request, so an exchange needs no task of its own.
///
/// The connection goes back to the pool when both sides are through and nothing is left over;
/// dropping the exchange before that closes it, which stops the backend's work.
#[derive(Debug)]
pub struct Exchange<B> {
    connection: Option<Connection>,
    pools: Rc<Pools>,
    upload: Upload<B>,
    method: Method,
    answer: Answer,
    framing: Framing,
    received: bool,
    reusable: bool,
    /// Bytes moved in either direction: whoever keeps a deadline sees by it that there is progress.
    pub progress: u64,
}

#[derive(Debug)]
enum Answer {
    Head(Progress),
    Body(BodyDecoder),
    Done,
}

/// What went wrong on the way to or from the backend.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The request's body did not come whole.
    #[error(transparent)]
    Request(#[from] RequestBodyError),
    /// The connection ended before the answer's head.
    #[error("the backend closed the connection without an answer")]
    NoAnswer,
    /// The connection broke.
    #[error("the connection to the backend broke: {0}")]
    Broken(#[from] io::Error),
    /// The answer's head is malformed or too large.
    #[error("the backend's answer is malformed: {0}")]
    Head(#[from] HeadError),
    /// The answer's framing is ambiguous.
    #[error("the backend's answer is ambiguous: {0}")]
    Framing(#[from] FramingError),
    /// The answer's body is truncated or malformed.
    #[error("the backend's answer is incomplete: {0}")]
    Body(#[from] BodyError),
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
{
    /// Begins: the request's head is in the connection's outbox already.
    #[must_use]
    pub fn new(connection: Connection, pools: Rc<Pools>, method: Method, body: B, framing: Framing) -> Self {
        Self {
            connection: Some(connection),
            pools,
            upload: Upload::new(body, framing),
            method,
            answer: Answer::Head(Progress::default()),
            framing: Framing::None,
            received: false,
            reusable: true,
            progress: 0,
        }
    }

    /// Waits for the answer's next head. After an interim one (1xx), ask again; after the final one, for the body.
    ///
    /// # Errors
    /// [`ExchangeError`]: the exchange is over.
    pub fn poll_head(&mut self, head: &mut ResponseHead, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        if let Poll::Ready(sent) = self.poll_upload(cx) {
            sent?;
        }
        let limits = HeadLimits { bytes: self.pools.limits().header_bytes, fields: MAX_FIELDS };
        let (Some(connection), Answer::Head(progress)) = (&mut self.connection, &mut self.answer) else {
            return Poll::Ready(Err(ExchangeError::NoAnswer));
        };
        loop {
            if !connection.inbox.is_empty()
                && let Some(end) = progress.find_end(&connection.inbox, &limits)?
            {
                head.read(&connection.inbox[..end], &limits)?;
                drop(connection.inbox.split_to(end));
                break;
            }
            let Link { io, inbox, .. } = &mut **connection;
            match ready!(inbox.poll_fill(io, cx)) {
                Ok(0) => return Poll::Ready(Err(ExchangeError::NoAnswer)),
                Ok(n) => {
                    self.received = true;
                    self.progress += n as u64;
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        if !head.is_interim() {
            let framing = response_framing(&self.method, head)?;
            self.reusable =
                !head.http10 && framing != Framing::UntilClose && !head.fields.has_token("connection", "close");
            self.framing = framing;
            self.answer = Answer::Body(BodyDecoder::new(framing));
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the next piece of the answer's body; none: it ended as it should.
    ///
    /// # Errors
    /// [`ExchangeError`]: the answer is not whole, and who reads it must learn that.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        // An answer may end before the request does; a request that breaks off ends the answer too.
        if let Poll::Ready(Err(error)) = self.poll_upload(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let (Some(connection), Answer::Body(decoder)) = (&mut self.connection, &mut self.answer) else {
            return Poll::Ready(None);
        };
        loop {
            match decoder.take(&mut connection.inbox) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::End) => {
                    let trailers = (!decoder.trailers().is_empty()).then(|| header_map(decoder.trailers()));
                    self.finish();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ok(Piece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            let Link { io, inbox, .. } = &mut **connection;
            match ready!(inbox.poll_fill(io, cx)) {
                Ok(0) => {
                    if let Err(error) = decoder.close() {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
                Ok(n) => self.progress += n as u64,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Whether all of the answer's body was handed out.
    #[must_use]
    pub fn is_body_over(&self) -> bool {
        match &self.answer {
            Answer::Head(_) => false,
            Answer::Body(decoder) => decoder.is_done(),
            Answer::Done => true,
        }
    }

    /// Whether nothing more of the request will be sent.
    #[must_use]
    pub fn is_upload_over(&self) -> bool {
        self.upload.is_over()
    }

    /// Whether the backend has taken all that the client has sent so far.
    #[must_use]
    pub fn is_outbox_empty(&self) -> bool {
        self.connection.as_ref().is_none_or(|connection| connection.outbox.is_empty())
    }

    /// How the answer's body is framed; [`Framing::None`] before its head.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether it went over a kept connection from which nothing came: the backend may have closed it before it saw
    /// the request.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        !self.received && self.connection.as_ref().is_some_and(|connection| connection.reused)
    }

    /// The body, to be sent again: only where the backend sent nothing, nothing of the body was taken, and the
    /// request asks for nothing to change (RFC 9110 §9.2.1).
    #[must_use]
    pub fn into_unsent(self) -> Option<B> {
        if !self.received && self.method.is_safe() { self.upload.into_untouched() } else { None }
    }

    /// After 101: the connection, which speaks another protocol from here on.
    #[must_use]
    pub fn into_connection(mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Gives the connection back once the body is known to be over, for answers that have none.
    pub fn finish_if_over(&mut self) {
        if matches!(&self.answer, Answer::Body(decoder) if decoder.is_done() && decoder.trailers().is_empty()) {
            self.finish();
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(())) };
        let Link { io, outbox, .. } = &mut **connection;
        self.upload.poll(outbox, io, cx, &mut self.progress).map_err(ExchangeError::from)
    }

    fn finish(&mut self) {
        self.answer = Answer::Done;
        if let Some(connection) = self.connection.take()
            && self.reusable
            && self.upload.is_ended()
            && connection.inbox.is_empty()
        {
            self.pools.keep(connection);
        }
    }
}

fn header_map(fields: &Fields) -> HeaderMap {
    fields
        .iter()
        .filter_map(|(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?)))
        .collect()
}
