//! A request's body off its stream.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};

use super::super::{Snapshot, fate};
use crate::backend::RequestBodyError;
use crate::http1::is_name;
use crate::net::Deadline;

/// How much a client may go on sending behind an answer that came early.
const LINGER_BYTES: usize = 256 * 1024;

/// What a client sends behind its head. The request's body reads it; what that leaves is the stream's task's.
#[derive(Debug)]
pub(super) struct Incoming {
    recv: RefCell<RecvStream>,
    /// Bytes that were taken for the body.
    pub(super) taken: Cell<u64>,
}

/// A request's body, taken off its stream as the backend takes it: flow control holds the client back.
#[derive(Debug)]
pub(super) struct RequestBody {
    pub(super) incoming: Rc<Incoming>,
    pub(super) settings: Rc<Snapshot>,
    /// Whether there is nothing to come.
    pub(super) over: bool,
}

impl Incoming {
    pub(super) fn new(recv: RecvStream) -> Self {
        Self { recv: RefCell::new(recv), taken: Cell::new(0) }
    }

    /// What follows, for a tunnel: none while a body has it.
    pub(super) fn into_recv(self: Rc<Self>) -> Option<RecvStream> {
        Rc::into_inner(self).map(|this| this.recv.into_inner())
    }

    /// Reads what the client still sends behind an early answer, to the end, the bound or the deadline. To let go
    /// of the stream at once would reset it, and some clients then lose the answer, though RFC 9113 §8.1 forbids
    /// them to.
    pub(super) async fn linger(&self, deadline: &Deadline) {
        let mut read = 0;
        poll_fn(|cx| {
            let recv = &mut *self.recv.borrow_mut();
            while read < LINGER_BYTES && !recv.is_end_stream() {
                match recv.poll_data(cx) {
                    Poll::Ready(Some(Ok(data))) => {
                        read += data.len();
                        // Fails where the stream is gone, which the next poll tells.
                        let _ = recv.flow_control().release_capacity(data.len());
                    }
                    Poll::Ready(None | Some(Err(_))) => break,
                    Poll::Pending => return deadline.poll_passed(cx),
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let recv = &mut *this.incoming.recv.borrow_mut();
        match ready!(recv.poll_data(cx)) {
            Some(Ok(data)) => {
                // Fails where the stream is gone, which the next poll tells.
                let _ = recv.flow_control().release_capacity(data.len());
                let taken = this.incoming.taken.get() + data.len() as u64;
                this.incoming.taken.set(taken);
                if taken > this.settings.limits.request_body_bytes.unwrap_or(u64::MAX) {
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(RequestBodyError::Gone))),
            None => match ready!(recv.poll_trailers(cx)) {
                Ok(fields) => {
                    this.over = true;
                    let fields = fields
                        .map(|fields| trailers(fields, &this.settings.untrusted))
                        .filter(|fields| !fields.is_empty());
                    Poll::Ready(fields.map(|fields| Ok(Frame::trailers(fields))))
                }
                Err(_) => Poll::Ready(Some(Err(RequestBodyError::Gone))),
            },
        }
    }
}

/// The trailers that may pass.
pub(super) fn trailers(fields: HeaderMap, untrusted: &[String]) -> HeaderMap {
    let keep = |name: &HeaderName| {
        let name = name.as_str().as_bytes();
        is_name(name) && fate::passes_as_trailer(name, untrusted)
    };
    fields.iter().filter(|(name, _)| keep(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
