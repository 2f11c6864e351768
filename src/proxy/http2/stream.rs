//! One stream: a request, and the head of its answer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, request};

use super::super::Proxy;
use super::super::access_log::Record;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::forward::{Answer, Request, forward};
use super::super::headers;
use super::super::page::Page;
use super::body::RequestBody;
use super::outlet::relay;
use crate::config::Limits;
use crate::http1::{Framing, HeadError, RequestHead, ResponseHead, request_framing};

/// Serves one request.
pub(super) async fn stream(
    proxy: &Rc<Proxy>,
    client: &Client,
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
    let taken = Rc::new(Cell::new(0));
    let result = match read_head(&parts, &recv, &settings.limits, &mut head) {
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

/// Puts a stream's head in the form that all doors share (RFC 9113 §8.2, §8.3), under the limits that all share.
fn read_head(
    parts: &request::Parts,
    recv: &RecvStream,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Framing, Failure> {
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    head.begin(parts.method.clone(), target.as_bytes());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if let Some(authority) = authority {
        head.fields.push(b"host", authority.as_bytes());
    }
    let mut cookies = Vec::new();
    let mut bytes = parts.method.as_str().len() + target.len() + authority.map_or(0, str::len);
    let mut padded = false;
    for (name, value) in &parts.headers {
        bytes += name.as_str().len() + value.len();
        padded |= value.as_bytes().trim_ascii().len() != value.len();
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
    if bytes > limits.header_bytes {
        return Err(HeadError::TooLarge.into());
    }
    if head.fields.len() > limits.header_count {
        return Err(HeadError::TooManyFields.into());
    }
    if padded {
        // Malformed (RFC 9113 §8.2.1); HTTP/1.1 would trim it, so two hops would read two values.
        return Err(HeadError::Field.into());
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

pub(super) fn http_head(head: &ResponseHead, framing: Framing) -> Response<()> {
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
