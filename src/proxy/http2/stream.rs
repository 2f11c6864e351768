//! One stream: a request, and the head of its answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderValue, Method};

use super::super::access_log::Record;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::forward::{Answer, Request, forward};
use super::super::page::Page;
use super::super::{Proxy, Snapshot};
use super::allowance::Allowance;
use super::body::{Incoming, RequestBody};
use super::head::{http_head, is_extended_connect, read_head};
use super::outlet::relay;
use super::upgrade::tunnel;
use super::windows::Windows;
use super::{LINGER, Open};
use crate::http1::{Framing, RequestHead, ResponseHead};

/// A request that has come, with all that its task needs. What can be found out at once is, so that the task carries
/// no more than that: it is made, moved and dropped once a request.
pub(super) struct Stream {
    proxy: Rc<Proxy>,
    client: Rc<Client>,
    allowance: Rc<Allowance>,
    windows: Rc<Windows>,
    settings: Rc<Snapshot>,
    head: RequestHead,
    framing: Result<Framing, Failure>,
    extended: bool,
    incoming: Rc<Incoming>,
    respond: SendResponse<Bytes>,
    record: Record,
}

impl Stream {
    /// Reads the request's head.
    pub(super) fn open(
        proxy: &Rc<Proxy>,
        client: &Rc<Client>,
        allowance: &Rc<Allowance>,
        windows: &Rc<Windows>,
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Self {
        let settings = proxy.settings();
        let (parts, recv) = request.into_parts();
        let record = Record::begin(proxy, &settings);
        let mut head = RequestHead::default();
        let framing = read_head(&parts, &recv, &settings.limits, &mut head);
        Self {
            proxy: Rc::clone(proxy),
            client: Rc::clone(client),
            allowance: Rc::clone(allowance),
            windows: Rc::clone(windows),
            settings,
            head,
            framing,
            extended: is_extended_connect(&parts),
            incoming: Rc::new(Incoming::new(recv)),
            respond,
            record,
        }
    }

    /// Serves the request; `open` counts it as long.
    pub(super) async fn serve(self, open: Open) {
        let Self {
            proxy,
            client,
            allowance,
            windows,
            settings,
            head,
            framing,
            extended,
            incoming,
            respond,
            mut record,
        } = self;
        let deadline = proxy.timer.deadline();
        let mut response = ResponseHead::default();
        let respond = RefCell::new(respond);
        let framing = match framing {
            // The app would take the head for all of it.
            Ok(Framing::Length(0)) => incoming.ends(&settings, &deadline).await.map(|()| Framing::Length(0)),
            framing => framing,
        };
        let result = match framing {
            Err(failure) => Err(failure),
            Ok(framing) => {
                let body = RequestBody::new(&incoming, &settings, framing);
                let extended = extended.then_some(&b"websocket"[..]);
                let request = Request { head: &head, body, framing, client: &client, deadline: &deadline, extended };
                let interim = |interim: &ResponseHead| {
                    // Where it can't be sent, neither can the final one, which tells.
                    let _ = respond.borrow_mut().send_informational(http_head(interim, Framing::None));
                };
                let forwarded = forward(&proxy, &settings, request, &mut response, &mut record, interim);
                unless_reset(&respond, pin!(forwarded)).await.unwrap_or_else(|| Err(Failure::gone()))
            }
        };
        let mut respond = respond.into_inner();
        match result {
            // Over HTTP/2 a 2xx opens the tunnel (RFC 8441 §5), but the app did not agree to one.
            Ok(Answer::Forwarded(_)) if extended && (200..300).contains(&response.status) => {
                fail(&mut respond, &head, Failure::not_switching("an answer of its own in place of 101"), &mut record);
            }
            Ok(Answer::Forwarded(exchange)) => {
                relay(&settings, &mut respond, &allowance, &response, exchange, &deadline, &mut record).await;
            }
            Ok(Answer::Tunnel(connection)) => {
                record.bytes_in = incoming.taken.get();
                // The body is gone by now, and what follows an extended CONNECT was never its.
                if let Some(recv) = incoming.into_recv() {
                    let tunnel =
                        tunnel(&proxy, respond, recv, &allowance, &response, connection, &deadline, &mut record);
                    Box::pin(tunnel).await;
                }
                return record.end(&proxy, &client, &head, "HTTP/2");
            }
            Ok(Answer::Page(page)) => send_page(&mut respond, &head, page, &mut record),
            Err(failure) => {
                if failure.status == 499 {
                    allowance.reset();
                }
                fail(&mut respond, &head, failure, &mut record);
            }
        }
        record.bytes_in = incoming.taken.get();
        record.end(&proxy, &client, &head, "HTTP/2");
        deadline.set(LINGER);
        if let Err(reason) = incoming.linger(&windows, &deadline).await {
            allowance.reset();
            respond.send_reset(reason);
        }
        drop(open);
    }
}

/// Waits for `future`; none: the client reset the stream.
async fn unless_reset<F: Future + Unpin>(respond: &RefCell<SendResponse<Bytes>>, mut future: F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => respond.borrow_mut().poll_reset(cx).map(|_| None),
    })
    .await
}

fn fail(respond: &mut SendResponse<Bytes>, head: &RequestHead, failure: Failure, record: &mut Record) {
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
fn send_page(respond: &mut SendResponse<Bytes>, head: &RequestHead, page: Page, record: &mut Record) {
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
