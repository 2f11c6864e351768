//! The HTTP/2 door: a task for the connection, and one for each stream.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, request};
use http_body::{Body, Frame};

use super::access_log::Record;
use super::client::Client;
use super::failure::Failure;
use super::forward::{Answer, Request, forward};
use super::headers;
use super::lazy::{Flusher, Lazy, lazy};
use super::page::Page;
use super::{Proxy, Settings};
use crate::backend::{Exchange, RequestBodyError};
use crate::drain::Watch;
use crate::http1::{Framing, HeadError, RequestHead, ResponseHead, declared_length, request_framing};
use crate::net::{Deadline, Transport};

/// What a client may send on one stream before the app has taken it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// And on all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is kept for a client that does not take it, per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that we reset for the client's faults before it is sent away (CVE-2025-8671, "MadeYouReset").
const LOCAL_RESETS: usize = 100;

/// Serves streams until the connection ends.
pub(super) async fn serve<IO: Transport + 'static>(proxy: &Rc<Proxy>, client: Rc<Client>, io: IO, mut drain: Watch) {
    let settings = proxy.settings();
    let deadline = proxy.timer.deadline();
    let (io, flusher) = lazy(io);
    deadline.set(settings.timeouts.handshake);
    let handshake = builder(&settings).handshake::<_, Bytes>(io);
    let Some(Ok(connection)) = deadline.bound(flushing(&flusher, handshake)).await else { return };
    let drained = std::pin::pin!(drain.signaled());
    run(proxy, &client, connection, &flusher, &deadline, drained).await;
}

fn builder(settings: &Settings) -> Builder {
    let limits = &settings.limits;
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(limits.h2_resets)
        .max_pending_accept_reset_streams(limits.h2_resets)
        .max_local_error_reset_streams(Some(LOCAL_RESETS));
    builder
}

/// Drives `future` and flushes what it wrote whenever it waits.
async fn flushing<IO: Transport, F: Future>(flusher: &Flusher<IO>, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        let poll = future.as_mut().poll(cx);
        // An error shows up at the connection's next read or write.
        let _ = flusher.poll_flush(cx);
        poll
    })
    .await
}

async fn run<IO: Transport + 'static>(
    proxy: &Rc<Proxy>,
    client: &Rc<Client>,
    mut connection: Connection<Lazy<IO>, Bytes>,
    flusher: &Flusher<IO>,
    deadline: &Deadline,
    mut drained: Pin<&mut impl Future>,
) {
    let open = Rc::new(Cell::new(0_usize));
    let mut was_open = usize::MAX;
    let mut leaving = false;
    poll_fn(|cx| {
        if !leaving && drained.as_mut().poll(cx).is_ready() {
            leaving = true;
            connection.graceful_shutdown();
        }
        let accepted = loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let count = Open::new(&open);
                    let (proxy, client) = (Rc::clone(proxy), Rc::clone(client));
                    tokio::task::spawn_local(async move {
                        stream(&proxy, &client, request, respond).await;
                        drop(count);
                    });
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, peer = %client.peer, "an HTTP/2 connection broke");
                    break Poll::Ready(());
                }
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        let flushed = flusher.poll_flush(cx);
        if accepted.is_ready() || matches!(flushed, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        let timeouts = &proxy.settings().timeouts;
        if was_open != open.get() || flushed.is_pending() {
            was_open = open.get();
            match (flushed.is_pending(), was_open) {
                (true, _) => deadline.set(timeouts.write),
                (false, 0) => deadline.set(timeouts.keep_alive),
                (false, _) => deadline.clear(),
            }
        }
        if deadline.poll_passed(cx).is_ready() {
            // First a polite goodbye; a client that does not take it is left.
            if leaving || flushed.is_pending() {
                return Poll::Ready(());
            }
            leaving = true;
            connection.graceful_shutdown();
            deadline.set(timeouts.write);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

/// Counts a stream while it is open.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Serves one request.
async fn stream(proxy: &Rc<Proxy>, client: &Client, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
    let settings = proxy.settings();
    let deadline = proxy.timer.deadline();
    let (parts, recv) = request.into_parts();
    let mut record = Record::begin(proxy);
    let mut head = RequestHead::default();
    let mut response = ResponseHead::default();
    let respond = RefCell::new(respond);
    let taken = Rc::new(Cell::new(0));
    let result = match read_head(&parts, &recv, settings.limits.header_count, &mut head) {
        Err(failure) => Err(failure),
        Ok(framing) => {
            let most = settings.limits.request_body_bytes.unwrap_or(u64::MAX);
            let body = RequestBody { recv, taken: Rc::clone(&taken), most, over: framing == Framing::None };
            let request = Request { head: &head, body, framing, client, deadline: &deadline, extended: None };
            let interim = |interim: &ResponseHead| {
                // Where it can't be sent, neither can the final one, which tells.
                let _ = respond.borrow_mut().send_informational(http_head(interim, Framing::None));
            };
            let forwarded = forward(proxy, &settings, request, &mut response, &mut record, interim);
            unless_reset(&respond, forwarded).await.unwrap_or_else(|| Err(Failure::gone()))
        }
    };
    let respond = respond.into_inner();
    match result {
        Ok(Answer::Forwarded(exchange)) => {
            relay(&settings, respond, &response, exchange, &deadline, &mut record).await;
        }
        // Only an HTTP/1.1 client can have asked for a change of protocol.
        Ok(Answer::Tunnel(_)) => fail(respond, &head, Failure::not_switching("101 over HTTP/2"), &mut record),
        Ok(Answer::Page(page)) => send_page(respond, &head, page, &mut record),
        Err(failure) => fail(respond, &head, failure, &mut record),
    }
    record.bytes_in = taken.get();
    record.end(proxy, client, &head, "HTTP/2");
}

/// Puts a stream's head in the form that all doors share (RFC 9113 §8.2, §8.3).
fn read_head(
    parts: &request::Parts,
    recv: &RecvStream,
    most: usize,
    head: &mut RequestHead,
) -> Result<Framing, Failure> {
    if parts.headers.len() > most {
        return Err(HeadError::TooManyFields.into());
    }
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    head.begin(parts.method.clone(), target.as_bytes());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if let Some(authority) = authority {
        head.fields.push(b"host", authority.as_bytes());
    }
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        match name.as_str() {
            "host" => match authority {
                None => head.fields.push(b"host", value.as_bytes()),
                Some(authority) if authority.as_bytes().eq_ignore_ascii_case(value.as_bytes()) => {}
                Some(_) => return Err(Failure::bad_request("the Host and the :authority name different hosts")),
            },
            // A client may split cookies over fields; HTTP/1.1 knows one (RFC 9113 §8.2.3).
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value.as_bytes());
            }
            "connection" | "transfer-encoding" | "upgrade" | "keep-alive" | "proxy-connection" => {
                return Err(Failure::bad_request("a field that belongs to HTTP/1.1 connections came over HTTP/2"));
            }
            name => head.fields.push(name.as_bytes(), value.as_bytes()),
        }
    }
    if !cookies.is_empty() {
        head.fields.push(b"cookie", &cookies);
    }
    match request_framing(head)? {
        Framing::None if !recv.is_end_stream() => Ok(Framing::Chunked),
        framing => Ok(framing),
    }
}

/// Waits for `future`; none: the client reset the stream.
async fn unless_reset<F: Future>(respond: &RefCell<SendResponse<Bytes>>, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => respond.borrow_mut().poll_reset(cx).map(|_| None),
    })
    .await
}

fn fail(mut respond: SendResponse<Bytes>, head: &RequestHead, failure: Failure, record: &mut Record) {
    let page = Page::failure(&failure, &head.fields, record.id);
    record.status = failure.status;
    record.error = Some((failure.code, failure.detail));
    if failure.status == 499 {
        respond.send_reset(Reason::CANCEL);
    } else {
        send_page(respond, head, page, record);
    }
}

/// Sends an answer of our own: small, so it waits in the stream's buffer.
fn send_page(mut respond: SendResponse<Bytes>, head: &RequestHead, page: Page, record: &mut Record) {
    record.status = page.head.status;
    let mut answer = http_head(&page.head, Framing::Length(page.body.len() as u64));
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(std::time::SystemTime::now())) {
        answer.headers_mut().insert(http::header::DATE, date);
    }
    let empty = page.body.is_empty() || head.method == Method::HEAD;
    let Ok(mut send) = respond.send_response(answer, empty) else { return };
    if !empty {
        record.bytes_out = page.body.len() as u64;
        // The stream may be gone by now, and then nobody waits for it.
        let _ = send.send_data(Bytes::from(page.body), true);
    }
}

/// Sends the app's answer.
async fn relay(
    settings: &Settings,
    mut respond: SendResponse<Bytes>,
    response: &ResponseHead,
    mut exchange: Exchange<RequestBody>,
    deadline: &Deadline,
    record: &mut Record,
) {
    record.status = response.status;
    let framing = exchange.framing();
    let empty = matches!(framing, Framing::None | Framing::Length(0));
    let mut head = http_head(response, framing);
    if framing == Framing::None
        && response.status != 204
        && let Some(length) = declared_length(&response.fields)
    {
        head.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    }
    let Ok(mut send) = respond.send_response(head, empty) else {
        record.error = Some(("client_gone", None));
        return;
    };
    if empty {
        exchange.finish_if_over();
        return;
    }
    let timeouts = &settings.timeouts;
    let mut outlet = Outlet { pending: Bytes::new(), ending: false, bytes: 0, progress: 0 };
    let mut seen = None;
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = outlet.poll(&mut exchange, &mut send, cx) {
            return Poll::Ready(result);
        }
        let now = (exchange.progress, outlet.progress);
        if seen != Some(now) {
            seen = Some(now);
            deadline.set(if outlet.pending.is_empty() { timeouts.idle } else { timeouts.write });
        }
        if deadline.poll_passed(cx).is_ready() {
            return Poll::Ready(Err(End::Broken("nothing moved for too long".to_owned())));
        }
        send.poll_reset(cx).map(|_| Err(End::ClientGone))
    })
    .await;
    record.bytes_out = outlet.bytes;
    match result {
        Ok(()) => {}
        Err(End::ClientGone) => record.error = Some(("client_gone", None)),
        Err(End::Broken(detail)) => {
            // Never a clean end: the client has to see that something is missing (RFC 9113 §8.1).
            send.send_reset(Reason::INTERNAL_ERROR);
            record.error = Some(("truncated", Some(detail)));
        }
    }
}

/// How an answer ends short of its end.
enum End {
    ClientGone,
    Broken(String),
}

/// The app's answer on its way into a stream.
struct Outlet {
    pending: Bytes,
    /// Whether `pending` is the last of it.
    ending: bool,
    bytes: u64,
    progress: u64,
}

impl Outlet {
    fn poll(
        &mut self,
        exchange: &mut Exchange<RequestBody>,
        send: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), End>> {
        loop {
            while !self.pending.is_empty() {
                send.reserve_capacity(self.pending.len());
                let room = match send.capacity() {
                    0 => match std::task::ready!(send.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return Poll::Ready(Err(End::ClientGone)),
                    },
                    room => room,
                };
                let part = self.pending.split_to(room.min(self.pending.len()));
                self.progress += part.len() as u64;
                let last = self.ending && self.pending.is_empty();
                if send.send_data(part, last).is_err() {
                    return Poll::Ready(Err(End::ClientGone));
                }
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            let sent = match std::task::ready!(exchange.poll_frame(cx)) {
                None => send.send_data(Bytes::new(), true),
                Some(Err(error)) => return Poll::Ready(Err(End::Broken(error.to_string()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.bytes += data.len() as u64;
                        self.pending = data;
                        if matches!(exchange.framing(), Framing::Length(_)) && exchange.is_body_over() {
                            exchange.finish_if_over();
                            self.ending = true;
                        }
                        continue;
                    }
                    Err(frame) => send.send_trailers(trailers(frame.into_trailers().unwrap_or_default())),
                },
            };
            return Poll::Ready(sent.map_err(|_| End::ClientGone));
        }
    }
}

fn trailers(fields: http::HeaderMap) -> http::HeaderMap {
    let keep = |name: &HeaderName| headers::passes_as_trailer(name.as_str().as_bytes());
    fields.iter().filter(|(name, _)| keep(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn http_head(head: &ResponseHead, framing: Framing) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let map = response.headers_mut();
    map.reserve(head.fields.len());
    headers::answer_fields(head, |name, value| {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    });
    if let Framing::Length(length) = framing {
        map.insert(http::header::CONTENT_LENGTH, length.into());
    }
    response
}

/// A request's body, taken off its stream as the backend takes it: flow control holds the client back.
#[derive(Debug)]
struct RequestBody {
    recv: RecvStream,
    taken: Rc<Cell<u64>>,
    most: u64,
    over: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match std::task::ready!(self.recv.poll_data(cx)) {
            Some(Ok(data)) => {
                let taken = self.taken.get() + data.len() as u64;
                self.taken.set(taken);
                if taken > self.most {
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                }
                // Fails where the stream is gone, which the next poll tells.
                let _ = self.recv.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(RequestBodyError::Gone))),
            None => match std::task::ready!(self.recv.poll_trailers(cx)) {
                Ok(fields) => {
                    self.over = true;
                    let fields = fields.map(trailers).filter(|fields| !fields.is_empty());
                    Poll::Ready(fields.map(|fields| Ok(Frame::trailers(fields))))
                }
                Err(_) => Poll::Ready(Some(Err(RequestBodyError::Gone))),
            },
        }
    }
}
