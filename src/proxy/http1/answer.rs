//! Answers to an HTTP/1.1 client: the app's, and our own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use http::Method;

use super::super::Proxy;
use super::super::access_log::Record;
use super::super::failure::Failure;
use super::super::headers;
use super::super::pace::Pace;
use super::super::page::Page;
use super::Next;
use super::outlet::{Kind, Outlet, RelayError};
use super::wire::{RequestBody, Wire};
use crate::backend::Exchange;
use crate::http1::{self, Framing, RequestHead, ResponseHead, declared_length};
use crate::net::{Deadline, Transport};

/// Sends the app's answer.
#[expect(clippy::too_many_arguments, reason = "one caller, which has just found all of them out")]
pub(super) async fn relay<IO: Transport>(
    proxy: &Proxy,
    wire: &Rc<RefCell<Wire<IO>>>,
    head: &RequestHead,
    response: &ResponseHead,
    mut exchange: Exchange<RequestBody<IO>>,
    deadline: &Deadline,
    closing: bool,
    record: &mut Record,
) -> Next {
    let settings = proxy.settings();
    let timeouts = &settings.timeouts;
    let trailers = head.fields.has_token("te", "trailers");
    let kind = Outlet::kind_for(exchange.framing(), head.http10, trailers);
    // A refusal before the end of the request: the rest of it will hardly be waited for, and the client is told so
    // (RFC 9110 §10.1.1).
    let refused = response.status >= 400 && !exchange.is_upload_over();
    let keep = !closing && !refused && keeps_alive(head) && kind != Kind::UntilClose;
    write_head(wire.borrow_mut().outbox.text(), response, kind, exchange.framing(), keep);
    record.status = response.status;
    let mut outlet = Outlet::new(kind, !keep);
    let mut seen = None;
    let mut pace = Pace::new(timeouts.write, settings.limits.download_rate);
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = outlet.poll(&mut exchange, wire, cx) {
            return Poll::Ready(result);
        }
        let mut wire = wire.borrow_mut();
        if wire.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(RelayError::ClientGone));
        }
        let client_is_slow = outlet.is_blocked;
        let now = (exchange.progress, outlet.progress, client_is_slow);
        if seen != Some(now) {
            seen = Some(now);
            if client_is_slow {
                let Some(left) = pace.wait(outlet.progress) else { return Poll::Ready(Err(RelayError::ClientStalled)) };
                deadline.set(left);
            } else {
                pace.pause(outlet.progress);
                deadline.set(timeouts.idle);
            }
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

pub(super) fn write_head(out: &mut Vec<u8>, response: &ResponseHead, kind: Kind, framing: Framing, keep: bool) {
    headers::write_answer(out, response);
    if let Some(date) = headers::missing_date(response) {
        http1::field(out, b"Date", date.as_bytes());
    }
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

pub(super) async fn fail<IO: Transport>(
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
pub(super) async fn send_page<IO: Transport>(
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
        if !keep {
            wire.io.ends_with_next_write();
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

fn keeps_alive(head: &RequestHead) -> bool {
    !head.http10 && !head.fields.has_token("connection", "close")
}
