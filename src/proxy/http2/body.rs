//! A request's body off its stream.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};

use super::super::headers;
use crate::backend::RequestBodyError;

/// A request's body, taken off its stream as the backend takes it: flow control holds the client back.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// None where there is no body to come.
    pub(super) recv: Option<RecvStream>,
    pub(super) taken: Rc<Cell<u64>>,
    pub(super) most: u64,
    pub(super) over: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let Some(recv) = this.recv.as_mut().filter(|_| !this.over) else { return Poll::Ready(None) };
        match ready!(recv.poll_data(cx)) {
            Some(Ok(data)) => {
                let taken = this.taken.get() + data.len() as u64;
                this.taken.set(taken);
                if taken > this.most {
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                }
                // Fails where the stream is gone, which the next poll tells.
                let _ = recv.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(RequestBodyError::Gone))),
            None => match ready!(recv.poll_trailers(cx)) {
                Ok(fields) => {
                    this.over = true;
                    let fields = fields.map(trailers).filter(|fields| !fields.is_empty());
                    Poll::Ready(fields.map(|fields| Ok(Frame::trailers(fields))))
                }
                Err(_) => Poll::Ready(Some(Err(RequestBodyError::Gone))),
            },
        }
    }
}

/// The trailers that may pass.
pub(super) fn trailers(fields: HeaderMap) -> HeaderMap {
    let keep = |name: &HeaderName| headers::passes_as_trailer(name.as_str().as_bytes());
    fields.iter().filter(|(name, _)| keep(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
