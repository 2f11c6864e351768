//! The HTTP/1.1 door: requests off a client's connection, answers onto it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::{Body, Frame};

use super::Proxy;
use super::access_log::Record;
use super::client::Client;
use super::failure::Failure;
use super::forward::{Answer, Request, forward};
use super::headers;
use super::outlet::{Kind, Outlet, RelayError};
use super::page::Page;
use super::tunnel;
use crate::backend::{Connection, Exchange, RequestBodyError};
use crate::drain::Watch;
use crate::http1::{
    BodyDecoder, Fields, Framing, HeadLimits, Piece, Progress, RequestHead, ResponseHead, declared_length, empty_lines,
    request_framing,
};
use crate::net::{Deadline, Inbox, Outbox, Transport};

/// How long a client may go on sending what nobody reads, so that it sees the answer before the connection ends.
const LINGER: Duration = Duration::from_secs(2);
/// And how much.
const LINGER_BYTES: usize = 256 * 1024;

/// A client's connection. The request's body and the answer share it, so it is borrowed for a poll at a time.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    pub(super) io: IO,
    inbox: Inbox,
    pub(super) outbox: Outbox,
    body: BodyDecoder,
    taken: u64,
    most: u64,
}

/// What becomes of the connection after a request.
enum Next {
    /// It waits for the next one.
    KeepAlive,
    /// It ends as it should.
    Close,
    /// It ends so that the client sees that something is missing.
    Abort,
    /// Nothing is left of it.
    Gone,
}

/// Serves requests until the connection ends.
pub(super) async fn serve<IO: Transport>(proxy: &Rc<Proxy>, client: &Client, io: IO, mut drain: Watch) {
    let wire = Rc::new(RefCell::new(Wire::new(io)));
    let deadline = proxy.timer.deadline();
    let mut head = RequestHead::default();
    let stopped = drain.clone();
    let mut drained = std::pin::pin!(drain.signaled());
    loop {
        let next = match read_head(proxy, &wire, &mut head, &deadline, drained.as_mut()).await {
            Ok(true) => Box::pin(one(proxy, client, &wire, &head, &deadline, &stopped)).await,
            Ok(false) => Next::Close,
            Err(failure) => {
                head.begin(Method::GET, b"");
                refuse(proxy, client, &wire, &head, &deadline, failure).await
            }
        };
        match next {
            Next::KeepAlive => {}
            Next::Close => return linger(&wire, &deadline).await,
            Next::Abort => return wire.borrow_mut().io.reset_on_drop(),
            Next::Gone => return,
        }
    }
}

/// Answers plain HTTP on a TLS port, whatever was asked, and closes.
pub(super) async fn refuse_plain<IO: Transport>(proxy: &Rc<Proxy>, client: &Client, io: IO) {
    let wire = Rc::new(RefCell::new(Wire::new(io)));
    let deadline = proxy.timer.deadline();
    let mut head = RequestHead::default();
    head.begin(Method::GET, b"");
    deadline.set(LINGER);
    refuse(proxy, client, &wire, &head, &deadline, Failure::plain_http()).await;
    linger(&wire, &deadline).await;
}

/// Waits for a request's head. `false`: the client is done, or we are.
async fn read_head<IO: Transport>(
    proxy: &Proxy,
    wire: &RefCell<Wire<IO>>,
    head: &mut RequestHead,
    deadline: &Deadline,
    mut drained: Pin<&mut impl Future>,
) -> Result<bool, Failure> {
    let settings = proxy.settings();
    let limits = HeadLimits { bytes: settings.limits.header_bytes, fields: settings.limits.header_count };
    let mut progress = Progress::default();
    let mut begun = false;
    deadline.set(settings.timeouts.keep_alive);
    poll_fn(|cx| {
        let Wire { io, inbox, .. } = &mut *wire.borrow_mut();
        loop {
            if progress.is_at_start() {
                let skip = empty_lines(inbox);
                drop(inbox.split_to(skip));
            }
            if !inbox.is_empty() {
                if let Some(end) = progress.find_end(inbox, &limits)? {
                    head.read(&inbox[..end], &limits)?;
                    drop(inbox.split_to(end));
                    return Poll::Ready(Ok(true));
                }
                if !begun {
                    begun = true;
                    deadline.set(settings.timeouts.request_header);
                }
            }
            match inbox.poll_fill(io, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(false)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if !begun {
            inbox.shrink();
            if drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
        }
        deadline.poll_passed(cx).map(|()| if begun { Err(Failure::slow_request()) } else { Ok(false) })
    })
    .await
}

/// Serves one request.
async fn one<IO: Transport>(
    proxy: &Rc<Proxy>,
    client: &Client,
    wire: &Rc<RefCell<Wire<IO>>>,
    head: &RequestHead,
    deadline: &Deadline,
    drain: &Watch,
) -> Next {
    let framing = match request_framing(head) {
        Ok(framing) => framing,
        Err(error) => return refuse(proxy, client, wire, head, deadline, error.into()).await,
    };
    let settings = proxy.settings();
    wire.borrow_mut().begin(framing, settings.limits.request_body_bytes);
    let mut record = Record::begin(proxy);
    let mut response = ResponseHead::default();
    let body = RequestBody { wire: Rc::clone(wire) };
    let request = Request { head, body, framing, client, deadline, extended: None };
    let interim = |interim: &ResponseHead| {
        if !head.http10 {
            let outbox = &mut wire.borrow_mut().outbox;
            headers::write_answer(outbox.text(), interim);
            outbox.text().extend_from_slice(b"\r\n");
        }
    };
    let forwarded = forward(proxy, &settings, request, &mut response, &mut record, interim);
    let next = match while_client_stays(wire, forwarded).await.unwrap_or_else(|| Err(Failure::gone())) {
        Ok(Answer::Forwarded(exchange)) => {
            let closing = drain.is_draining();
            relay(proxy, wire, head, &response, exchange, deadline, closing, &mut record).await
        }
        Ok(Answer::Tunnel(connection)) => tunnel(proxy, wire, &response, connection, deadline, &mut record).await,
        Ok(Answer::Page(page)) => send_page(proxy, wire, head, page, deadline, false, &mut record).await,
        Err(failure) => fail(proxy, wire, head, deadline, failure, &mut record).await,
    };
    record.bytes_in = wire.borrow().taken;
    record.end(proxy, client, head, if head.http10 { "HTTP/1.0" } else { "HTTP/1.1" });
    next
}

/// Answers a request that was not understood well enough to be served.
async fn refuse<IO: Transport>(
    proxy: &Rc<Proxy>,
    client: &Client,
    wire: &Rc<RefCell<Wire<IO>>>,
    head: &RequestHead,
    deadline: &Deadline,
    failure: Failure,
) -> Next {
    let mut record = Record::begin(proxy);
    let next = fail(proxy, wire, head, deadline, failure, &mut record).await;
    record.end(proxy, client, head, "HTTP/1.1");
    next
}

async fn fail<IO: Transport>(
    proxy: &Proxy,
    wire: &Rc<RefCell<Wire<IO>>>,
    head: &RequestHead,
    deadline: &Deadline,
    failure: Failure,
    record: &mut Record,
) -> Next {
    let page = Page::failure(&failure, &head.fields, record.id);
    let status = failure.status;
    record.error = Some((failure.code, failure.detail));
    if status == 499 {
        record.status = status;
        return Next::Gone;
    }
    send_page(proxy, wire, head, page, deadline, failure.close, record).await
}

/// Sends an answer of our own.
async fn send_page<IO: Transport>(
    proxy: &Proxy,
    wire: &Rc<RefCell<Wire<IO>>>,
    head: &RequestHead,
    page: Page,
    deadline: &Deadline,
    close: bool,
    record: &mut Record,
) -> Next {
    record.status = page.head.status;
    let keep = {
        let mut wire = wire.borrow_mut();
        let keep = !close && wire.skip_body() && keeps_alive(head);
        if !wire.outbox.takes_text() {
            return Next::Abort;
        }
        let out = wire.outbox.text();
        headers::write_answer(out, &page.head);
        headers::write_length(out, page.body.len() as u64);
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(httpdate::fmt_http_date(std::time::SystemTime::now()).as_bytes());
        out.extend_from_slice(if keep { b"\r\n\r\n" } else { b"\r\nConnection: close\r\n\r\n" });
        if head.method != Method::HEAD {
            record.bytes_out = page.body.len() as u64;
            out.extend_from_slice(&page.body);
        }
        keep
    };
    deadline.set(proxy.settings().timeouts.write);
    let mut progress = 0;
    let sent = poll_fn(|cx| {
        let Wire { io, outbox, .. } = &mut *wire.borrow_mut();
        if let Poll::Ready(result) = outbox.poll_send(io, cx, &mut progress) {
            return Poll::Ready(result.is_ok());
        }
        deadline.poll_passed(cx).map(|()| false)
    })
    .await;
    match (sent, keep) {
        (true, true) => Next::KeepAlive,
        (true, false) => Next::Close,
        (false, _) => Next::Gone,
    }
}

/// Sends the app's answer.
#[expect(clippy::too_many_arguments, reason = "one caller, which has just found all of them out")]
async fn relay<IO: Transport>(
    proxy: &Proxy,
    wire: &Rc<RefCell<Wire<IO>>>,
    head: &RequestHead,
    response: &ResponseHead,
    mut exchange: Exchange<RequestBody<IO>>,
    deadline: &Deadline,
    closing: bool,
    record: &mut Record,
) -> Next {
    let timeouts = &proxy.settings().timeouts;
    let trailers = head.fields.has_token("te", "trailers");
    let kind = Outlet::kind_for(exchange.framing(), head.http10, trailers);
    let keep = !closing && keeps_alive(head) && kind != Kind::UntilClose;
    write_head(wire.borrow_mut().outbox.text(), response, kind, exchange.framing(), keep);
    record.status = response.status;
    let mut outlet = Outlet::new(kind);
    let mut seen = None;
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = outlet.poll(&mut exchange, wire, cx) {
            return Poll::Ready(result);
        }
        let mut wire = wire.borrow_mut();
        if wire.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(RelayError::ClientGone));
        }
        let now = (exchange.progress, outlet.progress);
        let client_is_slow = !wire.outbox.is_empty();
        if seen != Some(now) {
            seen = Some(now);
            deadline.set(if client_is_slow { timeouts.write } else { timeouts.idle });
        }
        deadline
            .poll_passed(cx)
            .map(|()| Err(if client_is_slow { RelayError::ClientStalled } else { RelayError::BackendStalled }))
    })
    .await;
    record.bytes_out = outlet.bytes;
    match result {
        Ok(()) if keep && wire.borrow_mut().skip_body() => Next::KeepAlive,
        Ok(()) => Next::Close,
        Err(RelayError::ClientGone) => {
            record.error = Some(("client_gone", None));
            Next::Gone
        }
        Err(error) => {
            record.error = Some(("truncated", Some(error.to_string())));
            // With a length or chunks the end alone tells that something is missing, and what came is kept.
            if kind == Kind::UntilClose { Next::Abort } else { Next::Gone }
        }
    }
}

fn write_head(out: &mut Vec<u8>, response: &ResponseHead, kind: Kind, framing: Framing, keep: bool) {
    headers::write_answer(out, response);
    match (kind, framing) {
        (Kind::Length, Framing::Length(length)) => headers::write_length(out, length),
        (Kind::Chunked { .. }, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // An answer to HEAD and a 304 say how long the body would be (RFC 9110 §8.6); a 204 has none.
        (Kind::None, _) if response.status != 204 => {
            if let Some(length) = declared_length(&response.fields) {
                headers::write_length(out, length);
            }
        }
        _ => {}
    }
    out.extend_from_slice(if keep { b"\r\n" } else { b"Connection: close\r\n\r\n" });
}

/// Passes the change of protocol on, then whatever is said in it.
#[expect(clippy::await_holding_refcell_ref, reason = "the body and the exchange, which shared it, are gone")]
async fn tunnel<IO: Transport>(
    proxy: &Proxy,
    wire: &Rc<RefCell<Wire<IO>>>,
    response: &ResponseHead,
    connection: Connection,
    deadline: &Deadline,
    record: &mut Record,
) -> Next {
    let idle = proxy.settings().timeouts.tunnel_idle;
    record.status = 101;
    let mut wire = wire.borrow_mut();
    let out = wire.outbox.text();
    headers::write_answer(out, response);
    out.extend_from_slice(b"Connection: Upgrade\r\n");
    if let Some(protocol) = response.fields.first("upgrade") {
        crate::http1::field(out, b"Upgrade", protocol);
    }
    out.extend_from_slice(b"\r\n");
    let inbox = std::mem::take(&mut wire.inbox);
    let outbox = std::mem::take(&mut wire.outbox);
    let mut client = tunnel::End { io: &mut wire.io, inbox, outbox };
    let mut backend = tunnel::End { io: connection.io, inbox: connection.inbox, outbox: connection.outbox };
    proxy.metrics.tunnels.inc();
    (record.bytes_in, record.bytes_out) = tunnel::relay(&mut client, &mut backend, deadline, idle).await;
    proxy.metrics.tunnels.dec();
    Next::Gone
}

/// Ends a connection so that the client sees the last answer: what it still sends is read for a while.
async fn linger<IO: Transport>(wire: &RefCell<Wire<IO>>, deadline: &Deadline) {
    deadline.set(LINGER);
    let mut read = 0;
    let mut shut = false;
    poll_fn(|cx| {
        let Wire { io, inbox, .. } = &mut *wire.borrow_mut();
        if !shut {
            match Pin::new(&mut *io).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return deadline.poll_passed(cx),
            }
        }
        while read < LINGER_BYTES {
            inbox.clear();
            match inbox.poll_fill(io, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(n)) => read += n,
                Poll::Pending => return deadline.poll_passed(cx),
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Waits for the answer's head; sends 1xx heads meanwhile. None: the client went away.
async fn while_client_stays<IO: Transport, F: Future>(wire: &RefCell<Wire<IO>>, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut progress = 0;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let mut wire = wire.borrow_mut();
        let Wire { io, outbox, .. } = &mut *wire;
        if !outbox.is_empty()
            && let Poll::Ready(Err(_)) = outbox.poll_send(io, cx, &mut progress)
        {
            return Poll::Ready(None);
        }
        wire.poll_gone(cx).map(|()| None)
    })
    .await
}

fn keeps_alive(head: &RequestHead) -> bool {
    !head.http10 && !head.fields.has_token("connection", "close")
}

impl<IO: Transport> Wire<IO> {
    fn new(io: IO) -> Self {
        Self {
            io,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            body: BodyDecoder::new(Framing::None),
            taken: 0,
            most: 0,
        }
    }

    fn begin(&mut self, framing: Framing, most: Option<u64>) {
        self.body = BodyDecoder::new(framing);
        self.taken = 0;
        self.most = most.unwrap_or(u64::MAX);
    }

    /// Ready once the client has closed its side, as far as can be seen without reading what belongs to nobody yet.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.body.is_done() || !self.inbox.is_empty() {
            return Poll::Pending;
        }
        match self.inbox.poll_fill(&mut self.io, cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Drops what is left of the body, where all of it has come already. False: the next request's start is not known.
    fn skip_body(&mut self) -> bool {
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
    wire: Rc<RefCell<Wire<IO>>>,
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
                    let trailers = if was_done { None } else { trailers(body.trailers()) };
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
fn trailers(fields: &Fields) -> Option<HeaderMap> {
    let map: HeaderMap = fields
        .iter()
        .filter(|(name, _)| headers::passes_as_trailer(name))
        .filter_map(|(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?)))
        .collect();
    (!map.is_empty()).then_some(map)
}
