//! Heads between HTTP/2 and the form that all doors share.

use base64::Engine as _;
use h2::RecvStream;
use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, request};

use super::super::failure::Failure;
use super::super::headers;
use crate::config::Limits;
use crate::http1::{Framing, HeadError, RequestHead, ResponseHead, is_name, request_framing};

/// Puts a stream's head in the form that all doors share (RFC 9113 §8.2, §8.3), under the limits that all share.
pub(super) fn read_head(
    parts: &request::Parts,
    recv: &RecvStream,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Framing, Failure> {
    if parts.uri.scheme_str().is_none_or(str::is_empty) && parts.method != Method::CONNECT {
        return Err(Failure::bad_request("the request has no scheme"));
    }
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
        // The http crate takes more for a name than RFC 9110 does.
        if !is_name(name.as_str().as_bytes()) {
            return Err(HeadError::Field.into());
        }
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
    if is_extended_connect(parts) {
        // A body there is none: what follows belongs to the protocol that is asked for.
        return extended(head).map(|()| Framing::None);
    }
    match request_framing(head)? {
        Framing::None if !recv.is_end_stream() => Ok(Framing::Chunked),
        framing => Ok(framing),
    }
}

/// Whether this asks for a WebSocket (RFC 8441 §4). Other protocols are refused as any CONNECT is.
pub(super) fn is_extended_connect(parts: &request::Parts) -> bool {
    let protocol = parts.extensions.get::<Protocol>();
    parts.method == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Makes of it the handshake that an HTTP/1.1 app knows (RFC 6455 §4.1, RFC 8441 §5).
fn extended(head: &mut RequestHead) -> Result<(), Failure> {
    if head.fields.iter().any(|(name, _)| name == b"content-length" || name == b"sec-websocket-key") {
        return Err(Failure::bad_request("an extended CONNECT has a field that it must not have"));
    }
    head.method = Method::GET;
    let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    head.fields.push(b"sec-websocket-key", base64::engine::general_purpose::STANDARD.encode(nonce).as_bytes());
    Ok(())
}

/// An answer's head for the client.
pub(super) fn http_head(head: &ResponseHead, framing: Framing) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let map = response.headers_mut();
    map.reserve(head.fields.len());
    for (name, value) in head.fields.shared(headers::passes_to_client(head)) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(value)) {
            map.append(name, value);
        }
    }
    if let Framing::Length(length) = framing {
        insert_length(map, length);
    }
    response
}

/// Says how long the body is.
pub(super) fn insert_length(map: &mut HeaderMap, length: u64) {
    map.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
}
