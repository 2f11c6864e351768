//! One stream: a request, and the head of its answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderValue, Method};

use super::super::Proxy;
use super::super::access_log::Record;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::forward::{Answer, Request, forward};
use super::super::page::Page;
use super::LINGER;
use super::allowance::Allowance;
use super::body::{Incoming, RequestBody};
use super::head::{http_head, is_extended_connect, read_head};
use super::outlet::relay;
use super::upgrade::tunnel;
use crate::http1::{Framing, RequestHead, ResponseHead};

/// Serves one request.
pub(super) async fn stream(
    proxy: &Rc<Proxy>,
    client: &Client,
    allowance: &Rc<Allowance>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let settings = proxy.settings();
    let deadline = proxy.timer.deadline();
    let (parts, recv) = request.into_parts();
    let mut record = Record::begin(proxy);
    let mut head = RequestHead::default();
    let mut response = ResponseHead::default();
    let respond = RefCell::new(respond);
    let extended = is_extended_connect(&parts);
    let framing = read_head(&parts, &recv, &settings.limits, &mut head);
    let incoming = Rc::new(Incoming::new(recv));
    let result = match framing {
        Err(failure) => Err(failure),
        Ok(framing) => {
            let body = RequestBody {
                incoming: Rc::clone(&incoming),
                settings: Rc::clone(&settings),
                over: framing == Framing::None,
            };
            let extended = extended.then_some(&b"websocket"[..]);
            let request = Request { head: &head, body, framing, client, deadline: &deadline, extended };
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
        // Over HTTP/2 a 2xx opens the tunnel (RFC 8441 §5), but the app did not agree to one.
        Ok(Answer::Forwarded(_)) if extended && (200..300).contains(&response.status) => {
            fail(respond, &head, Failure::not_switching("an answer of its own in place of 101"), &mut record);
        }
        Ok(Answer::Forwarded(exchange)) => {
            relay(&settings, respond, allowance, &response, exchange, &deadline, &mut record).await;
        }
        Ok(Answer::Tunnel(connection)) => {
            record.bytes_in = incoming.taken.get();
            // The body is gone by now, and what follows an extended CONNECT was never its.
            if let Some(recv) = incoming.into_recv() {
                tunnel(proxy, respond, recv, allowance, &response, connection, &deadline, &mut record).await;
            }
            return record.end(proxy, client, &head, "HTTP/2");
        }
        Ok(Answer::Page(page)) => send_page(respond, &head, page, &mut record),
        Err(failure) => {
            if failure.status == 499 {
                allowance.reset();
            }
            fail(respond, &head, failure, &mut record);
        }
    }
    record.bytes_in = incoming.taken.get();
    record.end(proxy, client, &head, "HTTP/2");
    deadline.set(LINGER);
    incoming.linger(&deadline).await;
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
