//! [`Wire`]: a client's connection, and [`RequestBody`]: what of it is the request's body.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};

use super::super::{Snapshot, fate};
use crate::backend::RequestBodyError;
use crate::http1::{BodyDecoder, Fields, Framing, Piece};
use crate::net::{Inbox, Outbox, Transport};

/// What a client may send ahead of the answer (further requests, mostly) before it is no longer listened to.
const AHEAD: usize = 16 * 1024;

/// A client's connection. The request's body and the answer share it, so it is borrowed for a poll at a time.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    pub(super) io: IO,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    body: BodyDecoder,
    pub(super) taken: u64,
    most: u64,
}

impl<IO: Transport> Wire<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self {
            io,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            body: BodyDecoder::new(Framing::None),
            taken: 0,
            most: 0,
        }
    }

    pub(super) fn begin(&mut self, framing: Framing, most: Option<u64>) {
        self.body = BodyDecoder::new(framing);
        self.taken = 0;
        self.most = most.unwrap_or(u64::MAX);
    }

    /// Ready once the client has closed its side, as far as can be seen behind what it has sent ahead.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.body.is_done() && self.inbox.len() < AHEAD {
            match ready!(self.inbox.poll_fill(&mut self.io, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Drops what is left of the body, where all of it has come already. False: the next request's start is not known.
    pub(super) fn skip_body(&mut self) -> bool {
        loop {
            match self.body.take(&mut self.inbox) {
                Ok(Piece::Data(_)) => {}
                Ok(Piece::End) => return true,
                Ok(Piece::More) | Err(_) => return false,
            }
        }
    }
}

/// A request's body, read off the client's connection as the backend takes it.
#[derive(Debug)]
pub(super) struct RequestBody<IO> {
    pub(super) wire: Rc<RefCell<Wire<IO>>>,
    pub(super) settings: Rc<Snapshot>,
}

impl<IO: Transport> Body for RequestBody<IO> {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Wire { io, inbox, body, taken, most, .. } = &mut *self.wire.borrow_mut();
        loop {
            let was_done = body.is_done();
            match body.take(inbox) {
                Ok(Piece::Data(data)) => {
                    *taken += data.len() as u64;
                    let fits = *taken <= *most;
                    return Poll::Ready(Some(if fits {
                        Ok(Frame::data(data))
                    } else {
                        Err(RequestBodyError::TooLarge)
                    }));
                }
                Ok(Piece::End) => {
                    let trailers = if was_done { None } else { trailers(body.trailers(), &self.settings.untrusted) };
                    return Poll::Ready(trailers.map(|map| Ok(Frame::trailers(map))));
                }
                Ok(Piece::More) => {}
                Err(_) => return Poll::Ready(Some(Err(RequestBodyError::Malformed))),
            }
            match ready!(inbox.poll_fill(io, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(RequestBodyError::Gone))),
                Ok(_) => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.wire.borrow().body.is_done()
    }
}

/// The trailers that may reach the app.
fn trailers(fields: &Fields, untrusted: &[String]) -> Option<HeaderMap> {
    let map: HeaderMap = fields
        .iter()
        .filter(|(name, _)| fate::passes_as_trailer(name, untrusted))
        .filter_map(|(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?)))
        .collect();
    (!map.is_empty()).then_some(map)
}
