//! The steps of a request that `benches/` measures one by one: what a door does between parsing and writing, without
//! its connection. For benches alone; nothing here serves a request.

use std::time::{Duration, SystemTime};

use super::access_line::Line;
use super::asked::Asked;
use super::client::Client;
use super::{headers, http1, http2};
use crate::http1::{Framing, RequestHead, ResponseHead};
use crate::route::Table;

/// Finds out what is asked for, finds the route and appends the head that the app gets to `out`, as for a request
/// without a body. `false`: it has no route or is malformed.
#[must_use]
pub fn request_to_backend(head: &RequestHead, client: &Client, routes: &Table, out: &mut Vec<u8>) -> bool {
    let Ok(asked) = Asked::new(head, 443) else { return false };
    let Ok(Some(route)) = routes.find(asked.host.as_str(), asked.path(), client.entrance.listener) else {
        return false;
    };
    headers::write_request(out, head, &asked, client, route, &[], (Framing::None, None));
    true
}

/// Appends the head that an HTTP/1.1 client gets to `out`, for a body of this length.
pub fn answer_to_http1(head: &ResponseHead, length: u64, out: &mut Vec<u8>) {
    http1::measured_head(head, length, out);
}

/// The head that an HTTP/2 client gets, for a body of this length.
#[must_use]
pub fn answer_to_http2(head: &ResponseHead, length: u64) -> http::Response<()> {
    http2::measured_head(head, length)
}

/// Appends the access log's line of an answered request to `out`, as JSON.
pub fn access_line(head: &RequestHead, client: &Client, host: &str, out: &mut Vec<u8>) {
    let line = Line {
        at: SystemTime::now(),
        message: "request",
        id: 0x9e37_79b9_7f4a_7c15,
        client: headers::client_ip(head, client),
        method: head.method.as_str(),
        host,
        path: std::str::from_utf8(head.target()).unwrap_or(""),
        route: host,
        backend: None,
        status: Some(200),
        bytes_in: 0,
        bytes_out: 1024,
        took: Duration::from_micros(412),
        protocol: "HTTP/1.1",
        tls: client.tls.as_ref().map(|tls| tls.version),
        sni: Some(host),
        outcome: None,
        ended_by: None,
        error: None,
        detail: None,
    };
    line.write_json(out);
}
