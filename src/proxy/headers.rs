//! The header contract: what an app hears of a request, and what a client hears of an answer.
//!
//! The rule for forgery is in [`super::fate`].

use http::Method;

use super::asked::Asked;
use super::client::{Client, Tls};
use super::fate::{Fate, fate};
use crate::http1::{self, Fields, Framing, RequestHead, ResponseHead, field, number, tokens};
use crate::route::Route;

/// Writes the head that the app gets.
pub(super) fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead,
    asked: &Asked<'_>,
    client: &Client,
    route: &Route,
    untrusted: &[String],
    (framing, upgrade): (Framing, Option<&[u8]>),
) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(&asked.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    field(out, b"Host", route.rewrite_host.as_ref().map_or(asked.authority, |host| host.as_bytes()));
    let named = Named::new(&head.fields);
    for (name, value) in head.fields.iter() {
        let pass = match fate(name, untrusted) {
            Fate::Pass => !named.has(name),
            Fate::Forwarded => client.trusted && !named.has(name),
            Fate::Hop | Fate::Stated | Fate::Never => false,
        };
        if pass {
            field(out, name, value);
        }
    }
    match framing {
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked | Framing::UntilClose => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // An HTTP/2 client need not say so, but some HTTP/1.1 servers insist (RFC 9110 §8.6).
        Framing::None if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => write_length(out, 0),
        Framing::None => {}
    }
    match upgrade {
        Some(protocol) => {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            field(out, b"Upgrade", protocol);
        }
        None if head.fields.has_token("te", "trailers") => {
            out.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n");
        }
        None => {}
    }
    write_origin(out, head, asked, client, route);
    out.extend_from_slice(b"\r\n");
}

/// Writes where the request came from: ours, behind all that the client sent.
fn write_origin(out: &mut Vec<u8>, head: &RequestHead, asked: &Asked<'_>, client: &Client, route: &Route) {
    if client.trusted {
        write_trusted_origin(out, head, asked, client);
    } else {
        out.extend_from_slice(&client.told);
        field(out, b"X-Forwarded-Host", asked.authority);
    }
    if route.forwarded {
        let text = format!("for={};proto={};host=\"", node(client.peer.ip()), client.proto());
        out.extend_from_slice(b"Forwarded: ");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(asked.authority);
        out.extend_from_slice(b"\"\r\n");
    }
    if let (true, Some(tls)) = (route.tls_headers, &client.tls) {
        write_tls(out, tls);
    }
}

/// A trusted peer's word is passed on where it is clear: said once.
fn write_trusted_origin(out: &mut Vec<u8>, head: &RequestHead, asked: &Asked<'_>, client: &Client) {
    let own_port = client.port.to_string();
    let own_ip = client.peer.ip().to_string();
    out.extend_from_slice(b"X-Forwarded-For: ");
    for value in head.fields.all("x-forwarded-for").filter(|value| !value.is_empty()) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(own_ip.as_bytes());
    out.extend_from_slice(b"\r\n");
    field(out, b"X-Real-IP", client_ip(head, client).to_string().as_bytes());
    let proto = said_once(&head.fields, "x-forwarded-proto").unwrap_or(client.proto().as_bytes());
    field(out, b"X-Forwarded-Proto", proto);
    field(out, b"X-Forwarded-Port", said_once(&head.fields, "x-forwarded-port").unwrap_or(own_port.as_bytes()));
    field(out, b"X-Forwarded-Host", said_once(&head.fields, "x-forwarded-host").unwrap_or(asked.authority));
}

fn write_tls(out: &mut Vec<u8>, tls: &Tls) {
    field(out, b"X-Tls-Version", tls.version.as_bytes());
    field(out, b"X-Tls-Cipher", tls.cipher.as_bytes());
    if let Some(alpn) = &tls.alpn {
        field(out, b"X-Tls-Alpn", alpn.as_bytes());
    }
    if let Some(sni) = &tls.sni {
        field(out, b"X-Tls-Sni", sni.as_str().as_bytes());
    }
    if let Some(certificate) = &tls.certificate {
        // An id comes from a folder's name, which may hold anything.
        let id: String =
            certificate.id().as_str().chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
        field(out, b"X-Tls-Certificate", id.as_bytes());
    }
}

/// Whether the client reached the outermost trusted hop over TLS.
pub(super) fn is_secure(head: &RequestHead, client: &Client) -> bool {
    client.tls.is_some()
        || (client.trusted
            && said_once(&head.fields, "x-forwarded-proto").is_some_and(|p| p.eq_ignore_ascii_case(b"https")))
}

/// The client's address: the last in `X-Forwarded-For` that is not a trusted proxy, where the peer is one.
pub(super) fn client_ip(head: &RequestHead, client: &Client) -> std::net::IpAddr {
    let peer = client.peer.ip();
    if !client.trusted {
        return peer;
    }
    let mut last = peer;
    let values: Vec<&[u8]> = head.fields.all("x-forwarded-for").flat_map(tokens).collect();
    for value in values.into_iter().rev() {
        let Some(ip) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) else { break };
        last = ip;
        if !client.trusts(ip) {
            break;
        }
    }
    last
}

fn said_once<'a>(fields: &'a Fields, name: &'a str) -> Option<&'a [u8]> {
    let mut values = fields.all(name);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() && !value.contains(&b',') => Some(value),
        _ => None,
    }
}

/// Writes the head that the client gets, up to what frames its body.
pub(super) fn write_answer(out: &mut Vec<u8>, head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(head.status));
    out.push(b' ');
    let reason = http::StatusCode::from_u16(head.status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(reason.unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
    let passes = passes_to_client(head);
    head.fields.iter().filter(|(name, _)| passes(name)).for_each(|(name, value)| field(out, name, value));
}

/// Which fields of an answer go to the client, by their names.
pub(super) fn passes_to_client(head: &ResponseHead) -> impl Fn(&[u8]) -> bool {
    let named = Named::new(&head.fields);
    move |name| !is_hop_of_answer(name) && !named.has(name)
}

/// The `Date` that an answer without one is given on its way (RFC 9110 §6.6.1); none where the app says it.
pub(super) fn missing_date(head: &ResponseHead) -> Option<String> {
    let said = head.fields.iter().any(|(name, _)| name.len() == 4 && name.eq_ignore_ascii_case(b"date"));
    (!said).then(|| httpdate::fmt_http_date(std::time::SystemTime::now()))
}

pub(super) fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

fn is_hop_of_answer(name: &[u8]) -> bool {
    // The lengths come first: most names are none of these, and cost one comparison.
    match name.len() {
        2 => name.eq_ignore_ascii_case(b"te"),
        7 => name.eq_ignore_ascii_case(b"upgrade"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        14 => name.eq_ignore_ascii_case(b"content-length"),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

/// The fields that `Connection` names: they end at this hop.
struct Named<'a> {
    fields: &'a Fields,
    any: bool,
}

impl<'a> Named<'a> {
    fn new(fields: &'a Fields) -> Self {
        let plain = |t: &[u8]| {
            t.eq_ignore_ascii_case(b"close")
                || t.eq_ignore_ascii_case(b"keep-alive")
                || t.eq_ignore_ascii_case(b"upgrade")
        };
        Self { fields, any: fields.all("connection").flat_map(tokens).any(|token| !plain(token)) }
    }

    fn has(&self, name: &[u8]) -> bool {
        self.any && self.fields.all("connection").flat_map(tokens).any(|token| token.eq_ignore_ascii_case(name))
    }
}

/// A node as `Forwarded` spells it (RFC 7239 §6).
fn node(ip: std::net::IpAddr) -> String {
    if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() }
}

/// The protocol that a client asks to change to, where it may be passed on: one, and not HTTP itself.
pub(super) fn upgrade_asked(head: &RequestHead) -> Option<&[u8]> {
    if head.http10 || !head.fields.has_token("connection", "upgrade") {
        return None;
    }
    let mut values = head.fields.all("upgrade").flat_map(http1::tokens);
    match (values.next(), values.next()) {
        (Some(protocol), None) if !protocol.to_ascii_lowercase().starts_with(b"h2") && !is_http(protocol) => {
            Some(protocol)
        }
        _ => None,
    }
}

fn is_http(protocol: &[u8]) -> bool {
    protocol.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"))
        || protocol.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"tls"))
}
