//! A request's body off its stream.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};

use super::super::failure::Failure;
use super::super::{Settings, Snapshot, fate};
use super::windows::Windows;
use crate::backend::RequestBodyError;
use crate::http1::{Framing, is_name};
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
///
/// Over HTTP/1.1 a body ends with its last byte, over HTTP/2 with its stream: what comes between makes it malformed
/// (RFC 9113 §8.1.1). So that no such request looks whole to the app, what meets the length waits for the stream's end.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Rc<Incoming>,
    settings: Rc<Snapshot>,
    /// Whether there is nothing to come.
    over: bool,
    /// What is still to come of the length that the head tells.
    left: Option<u64>,
    held: Bytes,
}

impl Incoming {
    pub(super) fn new(recv: RecvStream) -> Self {
        Self { recv: RefCell::new(recv), taken: Cell::new(0) }
    }

    /// Waits for the end of a request that says it has no body, and has none so far.
    pub(super) async fn ends(&self, settings: &Settings, deadline: &Deadline) -> Result<(), Failure> {
        if self.recv.borrow().is_end_stream() {
            return Ok(());
        }
        deadline.set(settings.timeouts.request_body);
        poll_fn(|cx| {
            let recv = &mut *self.recv.borrow_mut();
            loop {
                match recv.poll_data(cx) {
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                    // The stream judges lengths itself, so there should be none; nor would it be the app's.
                    Poll::Ready(Some(Ok(_))) => return Poll::Ready(Err(RequestBodyError::Malformed.into())),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Failure::gone())),
                    Poll::Pending => return deadline.poll_passed(cx).map(|()| Err(Failure::slow_request())),
                }
            }
        })
        .await
    }

    /// What follows, for a tunnel: none while a body has it.
    pub(super) fn into_recv(self: Rc<Self>) -> Option<RecvStream> {
        Rc::into_inner(self).map(|this| this.recv.into_inner())
    }

    /// Reads what the client still sends behind an early answer, to the end, the bound or the deadline. To let go
    /// of the stream at once would reset it, and some clients then lose the answer, though RFC 9113 §8.1 forbids
    /// them to. The reason for a reset where the client breaks a rule in the meantime.
    pub(super) async fn linger(&self, windows: &Windows, deadline: &Deadline) -> Result<(), Reason> {
        let mut read = 0;
        let mut waiting = None;
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
                    Poll::Pending => {
                        let waiting = waiting.get_or_insert_with(|| windows.watch(recv.stream_id().into()));
                        if waiting.poll_too_large(cx).is_ready() {
                            return Poll::Ready(Err(Reason::FLOW_CONTROL_ERROR));
                        }
                        return deadline.poll_passed(cx).map(Ok);
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl RequestBody {
    pub(super) fn new(incoming: &Rc<Incoming>, settings: &Rc<Snapshot>, framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing { Some(length) } else { None };
        Self {
            incoming: Rc::clone(incoming),
            settings: Rc::clone(settings),
            over: framing == Framing::None,
            left,
            held: Bytes::new(),
        }
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
        let data = loop {
            match ready!(recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails where the stream is gone, which the next poll tells.
                    let _ = recv.flow_control().release_capacity(data.len());
                    let taken = this.incoming.taken.get() + data.len() as u64;
                    this.incoming.taken.set(taken);
                    if taken > this.settings.limits.request_body_bytes.unwrap_or(u64::MAX) {
                        return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                    }
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    if this.left != Some(0) || recv.is_end_stream() && this.held.is_empty() {
                        break Some(data);
                    }
                    if this.held.is_empty() {
                        this.held = data;
                    } else if !data.is_empty() {
                        return Poll::Ready(Some(Err(RequestBodyError::Malformed)));
                    }
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(RequestBodyError::Gone))),
                None if this.held.is_empty() => break None,
                None => break Some(std::mem::take(&mut this.held)),
            }
        };
        match data {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
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
