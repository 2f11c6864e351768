//! The HTTP/1.1 door: requests off a client's connection, answers onto it.

mod answer;
mod head;
mod outlet;
mod upgrade;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Method;

use self::answer::{fail, relay, send_page, write_head};
use self::head::read_head;
use self::outlet::Kind;
use self::upgrade::tunnel;
use self::wire::{RequestBody, Wire};
use super::Proxy;
use super::access_log::Record;
use super::client::Client;
use super::failure::Failure;
use super::forward::{Answer, Request, forward};
use super::headers;
use crate::drain::Watch;
use crate::http1::{Framing, RequestHead, ResponseHead, request_framing};
use crate::net::{Deadline, Transport};

/// How long a client may go on sending what nobody reads, so that it sees the answer before the connection ends.
const LINGER: Duration = Duration::from_secs(2);
/// And how much.
const LINGER_BYTES: usize = 256 * 1024;

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
///
/// Not an `async fn`: that would keep the stream that it was given beside the one that it made of it, for as long as the
/// connection lives.
pub(super) fn serve<IO: Transport>(
    proxy: &Rc<Proxy>,
    client: Rc<Client>,
    io: IO,
    mut drain: Watch,
) -> impl Future<Output = ()> {
    let wire = Rc::new(RefCell::new(Wire::new(io)));
    async move {
        let deadline = proxy.timer.deadline();
        let mut head = RequestHead::default();
        let stopped = drain.clone();
        let mut drained = pin!(drain.signaled());
        loop {
            let next = match read_head(proxy, &wire, &mut head, &deadline, drained.as_mut()).await {
                Ok(true) => Box::pin(one(proxy, &client, &wire, &head, &deadline, &stopped)).await,
                Ok(false) => Next::Close,
                Err(failure) => {
                    head.begin(Method::GET, b"");
                    Box::pin(refuse(proxy, &client, &wire, &head, &deadline, failure)).await
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
}

/// The head of an answer that keeps the connection, for benches.
pub(super) fn measured_head(response: &ResponseHead, length: u64, out: &mut Vec<u8>) {
    write_head(out, response, Kind::Length, Framing::Length(length), true);
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
    let mut record = Record::begin(proxy, &settings);
    let mut response = ResponseHead::default();
    let body = RequestBody { wire: Rc::clone(wire), settings: Rc::clone(&settings) };
    let request = Request { head, body, framing, client, deadline, extended: None };
    let interim = |interim: &ResponseHead| {
        if !head.http10 {
            let outbox = &mut wire.borrow_mut().outbox;
            headers::write_answer(outbox.text(), interim);
            outbox.text().extend_from_slice(b"\r\n");
        }
    };
    let forwarded = forward(proxy, &settings, request, &mut response, &mut record, interim);
    let answer = while_client_stays(wire, pin!(forwarded)).await.unwrap_or_else(|| Err(Failure::gone()));
    // Who is told so sends its next request elsewhere, and loses none to a connection that ends.
    let closing = drain.is_draining();
    let next = match answer {
        Ok(Answer::Forwarded(exchange)) => {
            relay(proxy, wire, head, &response, exchange, deadline, closing, &mut record).await
        }
        Ok(Answer::Tunnel(connection)) => tunnel(proxy, wire, &response, connection, deadline, &mut record).await,
        Ok(Answer::Page(page)) => send_page(proxy, wire, head, page, deadline, closing, &mut record).await,
        Err(mut failure) => {
            failure.close |= closing;
            fail(proxy, wire, head, deadline, failure, &mut record).await
        }
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
    let mut record = Record::begin(proxy, &proxy.settings());
    let next = fail(proxy, wire, head, deadline, failure, &mut record).await;
    record.end(proxy, client, head, "HTTP/1.1");
    next
}

/// Waits for the answer's head; sends 1xx heads meanwhile. None: the client went away.
async fn while_client_stays<IO: Transport, F: Future + Unpin>(
    wire: &RefCell<Wire<IO>>,
    mut future: F,
) -> Option<F::Output> {
    let mut progress = 0;
    poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
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
