//! One request: find its route, pick an endpoint, send it, wait for the answer's head.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http_body::Body;

use super::access_log::Record;
use super::asked::Asked;
use super::attempts::Attempts;
pub(super) use super::attempts::connect;
use super::client::Client;
use super::failure::Failure;
use super::headers;
use super::pace::Pace;
use super::page::Page;
use super::{Proxy, Settings, Snapshot, redirect};
use crate::backend::{self, Connection, Exchange, RequestBodyError};
use crate::config::Balance;
use crate::http1::{Framing, RequestHead, ResponseHead};
use crate::net::Deadline;
use crate::route::{HttpsPolicy, Route, RouteMode};

/// Where ACME's HTTP-01 asks (RFC 8555 §8.3).
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// A request with all that its door knows about it.
pub(super) struct Request<'a, B> {
    pub(super) head: &'a RequestHead,
    pub(super) body: B,
    pub(super) framing: Framing,
    pub(super) client: &'a Client,
    pub(super) deadline: &'a Deadline,
    /// The protocol that an HTTP/2 client wants to tunnel (RFC 8441), if any.
    pub(super) extended: Option<&'static [u8]>,
}

/// Interim answers (1xx) to one request; more are no news but a flood, and all have to be kept for the client.
const INTERIM: usize = 100;

/// The longest method; the longest that is registered has 17 letters.
const LONGEST_METHOD: usize = 32;

/// What the client gets.
pub(super) enum Answer<B> {
    /// The app's answer: its head is in the response given, its body is still to come.
    Forwarded(Exchange<B>),
    /// The app changes the protocol; its head is in the response given.
    Tunnel(Connection),
    /// An answer of our own.
    Page(Page),
}

/// Serves one request up to the head of its answer.
///
/// `interim` is called with each 1xx head. What was found out on the way is put in `record`.
pub(super) async fn forward<B>(
    proxy: &Proxy,
    settings: &Rc<Snapshot>,
    request: Request<'_, B>,
    response: &mut ResponseHead,
    record: &mut Record,
    interim: impl FnMut(&ResponseHead),
) -> Result<Answer<B>, Failure>
where
    B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
{
    let Request { head, client, .. } = request;
    if let Some(page) = challenge(proxy, head, client) {
        return Ok(Answer::Page(page));
    }
    if !is_method(head.method.as_str()) {
        return Err(Failure::unknown_method());
    }
    let asked = Asked::new(head, if client.tls.is_some() { 443 } else { 80 })?;
    record.asked(&asked);
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Failure::method());
    }
    let route = route(settings, &asked, client)?;
    record.route = Some((Rc::clone(settings), route.index));
    let disabled = proxy.known.disabled.contains(asked.host.as_str());
    let https = if disabled { HttpsPolicy::Off } else { route.https };
    match (https, headers::is_secure(head, client)) {
        (HttpsPolicy::Redirect, false) => {
            return redirect::to_https(settings, route, &asked, client).map(Answer::Page);
        }
        // Its connections pass by whole, and this one is none of them.
        _ if route.mode != RouteMode::Http => return Err(Failure::misdirected()),
        (HttpsPolicy::Off, true) => return Err(Failure::https_off()),
        _ => {}
    }
    check_expectation(head)?;
    if let (Framing::Length(length), Some(most)) = (request.framing, settings.limits.request_body_bytes)
        && length > most
    {
        return Err(Failure::body_too_large());
    }
    send(proxy, settings, request, &asked, route, response, record, interim).await
}

/// Whether this is a method as all that are registered, or used by anybody who can be met: servers differ in what they
/// make of others, such as `get` or `G|T`.
fn is_method(name: &str) -> bool {
    name.len() <= LONGEST_METHOD
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// The answer to HTTP-01, for any host and before anything else.
fn challenge(proxy: &Proxy, head: &RequestHead, client: &Client) -> Option<Page> {
    if client.tls.is_some() {
        return None;
    }
    let token = std::str::from_utf8(head.target().strip_prefix(CHALLENGES)?).ok()?;
    let answer = proxy.known.challenges.answer(token)?;
    Some(Page::new(200, "application/octet-stream", answer.as_bytes().to_vec()))
}

fn route<'a>(settings: &'a Settings, asked: &Asked<'_>, client: &Client) -> Result<&'a Route, Failure> {
    let host = asked.host.as_str();
    let route = settings.routes.find(host, asked.path(), client.entrance.listener);
    if let (None, Some(name)) = (route, client.default_route()) {
        return settings.routes.named(name).map(|route| &**route).ok_or_else(Failure::unknown_host);
    }
    if let Some(certificate) = client.tls.as_ref().and_then(|tls| tls.certificate.as_ref()) {
        // Another tenant's name on this connection: the client must ask on one of its own (RFC 9110 §15.5.20).
        let pinned = route.and_then(|route| route.certificate.as_ref());
        if !certificate.covers(host) || pinned.is_some_and(|id| id != certificate.id()) {
            return Err(Failure::misdirected());
        }
    }
    route.map(|route| &**route).ok_or_else(Failure::unknown_host)
}

fn check_expectation(head: &RequestHead) -> Result<(), Failure> {
    match head.fields.all("expect").find(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        Some(_) => Err(Failure::expectation()),
        None => Ok(()),
    }
}

#[expect(clippy::too_many_arguments, reason = "one caller, which has just found all of them out")]
async fn send<B>(
    proxy: &Proxy,
    settings: &Settings,
    request: Request<'_, B>,
    asked: &Asked<'_>,
    route: &Route,
    response: &mut ResponseHead,
    record: &mut Record,
    mut interim: impl FnMut(&ResponseHead),
) -> Result<Answer<B>, Failure>
where
    B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
{
    let Request { head, mut body, framing, client, deadline, extended } = request;
    let upgrade = extended.or_else(|| headers::upgrade_asked(head));
    let backend = &*route.backend;
    let stuck = if backend.is_sticky() { backend.stuck(head.fields.all("cookie")) } else { None };
    let key = || hash_key(&backend.balance, head, client);
    let chosen = stuck.or_else(|| proxy.pools.pick(backend, key, &[]));
    let mut endpoint = chosen.ok_or_else(Failure::no_endpoint)?;
    let mut attempts = Attempts::new(proxy, backend);
    let mut kept = proxy.pools.take(endpoint);
    let mut stale = false;
    loop {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            // On the heap: it is seldom needed, and takes more room than all else here.
            None => Box::pin(attempts.reach(&mut endpoint, settings, client, deadline, record, !stale)).await?,
        };
        record.endpoint = Some(connection.address().clone());
        let verdict = connection.verdict();
        let shape = (framing, upgrade);
        headers::write_request(connection.outbox.text(), head, asked, client, route, &settings.untrusted, shape);
        let mut exchange = Exchange::new(connection, Rc::clone(&proxy.pools), head.method.clone(), body, framing);
        match wait_for_head(&mut exchange, settings, deadline, response, &mut interim).await {
            Ok(()) => {
                verdict.succeeded();
                if backend.is_sticky() && stuck.is_none_or(|stuck| stuck.id() != endpoint.id()) {
                    let cookie = backend.cookie(endpoint, headers::is_secure(head, client));
                    cookie.iter().for_each(|cookie| response.fields.push(b"Set-Cookie", cookie.as_bytes()));
                }
                if response.status == 101 {
                    return switch(exchange, response, upgrade);
                }
                exchange.finish_if_over();
                return Ok(Answer::Forwarded(exchange));
            }
            Err(failure) => {
                stale = exchange.is_stale();
                match exchange.into_unsent() {
                    // A kept connection that the backend had closed: ask once more, over a new one.
                    Some(untouched) if failure.status == 502 && stale => body = untouched,
                    Some(untouched) if failure.status == 502 => {
                        verdict.failed();
                        endpoint = attempts.after(endpoint).ok_or(failure)?;
                        body = untouched;
                    }
                    _ => {
                        if matches!(failure.status, 502 | 504) {
                            verdict.failed();
                        }
                        return Err(failure);
                    }
                }
            }
        }
    }
}

/// What a request is told apart by, where the backend's policy is a hash of something.
fn hash_key(balance: &Balance, head: &RequestHead, client: &Client) -> Option<u64> {
    match balance {
        Balance::RoundRobin | Balance::Least | Balance::RandomTwo => None,
        Balance::HashClient => Some(backend::hash(headers::client_ip(head, client))),
        Balance::HashHeader(name) => head.fields.first(name).map(backend::hash),
        Balance::HashCookie(name) => {
            let mut pairs = head.fields.all("cookie").flat_map(|value| value.split(|b| *b == b';'));
            let value =
                |pair: &'_ [u8]| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(backend::hash);
            pairs.find_map(value)
        }
    }
}

/// Sends the request on until the final head is there; each step forward moves the deadline.
async fn wait_for_head<B>(
    exchange: &mut Exchange<B>,
    settings: &Settings,
    deadline: &Deadline,
    response: &mut ResponseHead,
    interim: &mut impl FnMut(&ResponseHead),
) -> Result<(), Failure>
where
    B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
{
    let mut seen = None;
    let mut pace = Pace::new(settings.timeouts.request_body, settings.limits.upload_rate);
    let mut interims = 0;
    poll_fn(|cx: &mut Context<'_>| {
        loop {
            match exchange.poll_head(response, cx) {
                Poll::Ready(Ok(())) if response.is_interim() && interims == INTERIM => {
                    return Poll::Ready(Err(Failure::too_many_interim()));
                }
                Poll::Ready(Ok(())) if response.is_interim() => {
                    interims += 1;
                    interim(response);
                }
                Poll::Ready(result) => return Poll::Ready(result.map_err(Failure::from)),
                Poll::Pending => break,
            }
        }
        let now = (exchange.progress, exchange.is_upload_over(), exchange.is_outbox_empty());
        if seen != Some(now) {
            seen = Some(now);
            let client_is_awaited = !now.1 && exchange.is_outbox_empty();
            if client_is_awaited {
                let Some(left) = pace.wait(exchange.progress) else {
                    return Poll::Ready(Err(Failure::slow_request()));
                };
                deadline.set(left);
            } else {
                pace.pause(exchange.progress);
                deadline.set(if now.1 { settings.timeouts.first_byte } else { settings.timeouts.request_body });
            }
        }
        deadline.poll_passed(cx).map(|()| {
            let slow_client = !exchange.is_upload_over() && exchange.is_outbox_empty();
            Err(if slow_client { Failure::slow_request() } else { Failure::answer_timeout() })
        })
    })
    .await
}

fn switch<B>(exchange: Exchange<B>, response: &ResponseHead, upgrade: Option<&[u8]>) -> Result<Answer<B>, Failure>
where
    B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
{
    if !exchange.is_upload_over() {
        // The rest of the body would be taken for the new protocol, which begins behind the request (RFC 9110 §7.8).
        return Err(Failure::not_switching("101 before the end of the request"));
    }
    let Some(asked) = upgrade else { return Err(Failure::not_switching("101 where no upgrade was asked for")) };
    let mut to = response.fields.all("upgrade");
    match (to.next(), to.next()) {
        (Some(protocol), None) if protocol.eq_ignore_ascii_case(asked) => {}
        _ => return Err(Failure::not_switching("101 to a protocol that was not asked for")),
    }
    exchange.into_connection().map(Answer::Tunnel).ok_or_else(|| Failure::not_switching("no connection"))
}
