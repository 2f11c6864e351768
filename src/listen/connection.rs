//! The hall: the whole trip of a connection, on one page.
//!
//! accept → (PROXY protocol) → (TLS: ClientHello → passed on whole, or certificate → handshake) → HTTP/1.1, HTTP/2
//! or bytes, until it ends.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::context::Context;
use super::{Door, Listener, ListenerSettings};
use crate::drain::Watch;
use crate::names::Hostname;
use crate::net::proxy_protocol::{self, ProxyProtocolError};
use crate::proxy::{Client, RawRoute, Tls};
use crate::route::RouteMode;
use crate::tls::{AcceptError, Accepted, Acceptor, Alpn, Hello, HelloError, TlsInfo};

/// What a connection has become, until it ends.
type Serving<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Serves a connection from its first byte to its last.
///
/// What it needs to begin, and what it can become, is on the heap, each for itself: a future is as large as the largest
/// it can become, and most connections wait most of the time in a small one. For the same reason none is an `async fn`
/// that only hands on what it was given, which would then be there twice.
pub(super) fn serve<'a>(
    context: &'a Context,
    listener: &'a Listener,
    stream: TcpStream,
    peer: SocketAddr,
    drain: Watch,
) -> impl Future<Output = ()> + 'a {
    let begun = Box::pin(begin(context, listener, stream, peer, drain));
    async move {
        if let Some(serving) = begun.await {
            serving.await;
        }
    }
}

/// As far as it takes to know what the connection is. `None`: it came to nothing.
async fn begin<'a>(
    context: &'a Context,
    listener: &Listener,
    stream: TcpStream,
    peer: SocketAddr,
    drain: Watch,
) -> Option<Serving<'a>> {
    let settings = listener.settings.load_full();
    let local = match listener.bound {
        bound if bound.ip().is_unspecified() => stream.local_addr().unwrap_or(bound),
        bound => bound,
    };
    let dialled = Dialled { peer, local, port: settings.entrance.port };
    let (stream, dialled) = match settings.proxy_protocol {
        false => (stream, dialled),
        true => proxied(context, &settings, stream, dialled).await?,
    };
    let proxy = &context.proxy;
    let nothing = || (None, Vec::new());
    Some(match &settings.door {
        Door::Http => Box::pin(proxy.serve_http1(dialled.client(&settings, None), stream, drain)),
        Door::Tcp => {
            let client = dialled.client(&settings, None);
            let route = proxy.raw_route(&client.entrance, None)?;
            Box::pin(proxy.serve_raw(client, route, stream, nothing(), drain))
        }
        Door::Https(acceptor) | Door::Tls(acceptor) => {
            match handshake(context, acceptor, local, &settings, dialled, stream).await? {
                Secured::Terminated(accepted, route) => {
                    let Accepted { stream, info } = *accepted;
                    let client = dialled.client(&settings, Some(tls(&info)));
                    match (&settings.door, info.alpn) {
                        (Door::Https(_), Alpn::Http2) => Box::pin(proxy.serve_http2(client, stream, drain)),
                        (Door::Https(_), Alpn::Http1) => Box::pin(proxy.serve_http1(client, stream, drain)),
                        _ => Box::pin(proxy.serve_raw(client, route?, stream, nothing(), drain)),
                    }
                }
                Secured::Untouched(stream, read, route) => {
                    let client = dialled.client(&settings, None);
                    Box::pin(proxy.serve_raw(client, route, stream, read, drain))
                }
            }
        }
    })
}

/// Who dialled, and what.
#[derive(Clone, Copy)]
struct Dialled {
    peer: SocketAddr,
    /// Where it connected to, as the proxy before us tells where there is one.
    local: SocketAddr,
    port: u16,
}

/// A connection whose ClientHello was read.
enum Secured {
    /// TLS ends here; with the route of the whole connection, where it has one.
    Terminated(Box<Accepted<TcpStream>>, Option<RawRoute>),
    /// TLS ends at the app; with the name that was asked for, and what was read.
    Untouched(TcpStream, (Option<Hostname>, Vec<u8>), RawRoute),
}

/// Reads the PROXY protocol header, which the listener's proxies have to send, and nobody else may.
async fn proxied(
    context: &Context,
    settings: &ListenerSettings,
    mut stream: TcpStream,
    Dialled { peer, local, port }: Dialled,
) -> Option<(TcpStream, Dialled)> {
    if !settings.entrance.trusted_proxies.iter().any(|net| net.contains(&peer.ip().to_canonical())) {
        context.metrics.proxied("untrusted");
        if context.may_complain() {
            let listener = settings.entrance.listener;
            tracing::warn!(%peer, %listener, "refused: not one of the trusted_proxies, and others cannot connect where proxy_protocol is on");
        }
        return None;
    }
    let deadline = context.proxy.timer().deadline();
    deadline.set(context.proxy.settings().timeouts.handshake);
    let read = deadline.bound(pin!(proxy_protocol::read(&mut stream))).await;
    context.metrics.proxied(match &read {
        Some(Ok(Some(_))) => "ok",
        Some(Ok(None)) => "local",
        Some(Err(ProxyProtocolError::Malformed)) => "malformed",
        Some(Err(ProxyProtocolError::TooLong)) => "too_long",
        Some(Err(ProxyProtocolError::Io(_))) => "closed",
        None => "timeout",
    });
    match read {
        Some(Ok(None)) => return Some((stream, Dialled { peer, local, port })),
        Some(Ok(Some(proxied))) => {
            let port = if settings.has_public_port { port } else { proxied.destination.port() };
            return Some((stream, Dialled { peer: proxied.source, local: proxied.destination, port }));
        }
        // A probe that connects and goes is no news.
        Some(Err(ProxyProtocolError::Io(error))) => {
            tracing::debug!(%peer, %error, "a trusted proxy went before its PROXY protocol header was there");
        }
        Some(Err(error)) => {
            if context.may_complain() {
                tracing::warn!(%peer, %error, "a trusted proxy sends no PROXY protocol header");
            }
        }
        None => {
            if context.may_complain() {
                tracing::warn!(%peer, "a trusted proxy sends no PROXY protocol header in time (timeouts.handshake)");
            }
        }
    }
    None
}

/// Reads the ClientHello and, unless its name is passed on whole, finishes the handshake: within its deadline and
/// under its permit. `None`: it came to nothing, and that is counted.
async fn handshake(
    context: &Context,
    acceptor: &Acceptor,
    local: SocketAddr,
    settings: &ListenerSettings,
    dialled: Dialled,
    stream: TcpStream,
) -> Option<Secured> {
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let deadline = context.proxy.timer().deadline();
    deadline.set(context.proxy.settings().timeouts.handshake);
    // On the heap: a handshake needs much for a short time, a connection little for a long one.
    let result = deadline
        .bound(Box::pin(async {
            let place = context.handshakes.begin(&context.shared.permits.handshakes).await;
            place.hold(pin!(secure(context, acceptor, settings, local, dialled.peer, stream))).await
        }))
        .await;
    context.metrics.handshake(match &result {
        Some(Some(Ok(Secured::Terminated(accepted, _)))) => accepted.outcome(),
        Some(Some(Ok(Secured::Untouched(..)))) => "passthrough",
        Some(Some(Err(error))) => error.outcome(),
        Some(None) => "crowded_out",
        None => "timeout",
    });
    let peer = dialled.peer;
    match result {
        Some(Some(Ok(secured))) => return Some(secured),
        Some(Some(Err(AcceptError::PlainHttp(stream)))) => {
            let client = dialled.client(settings, None);
            Box::pin(context.proxy.refuse_plain(&client, stream)).await;
        }
        Some(Some(Err(error))) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Some(None) if context.may_complain() => {
            tracing::warn!(%peer, "more TLS handshakes at once than [limits] handshakes allows: the oldest give way to new ones");
        }
        Some(None) => {}
        None => tracing::debug!(%peer, "TLS handshake took too long"),
    }
    None
}

async fn secure(
    context: &Context,
    acceptor: &Acceptor,
    settings: &ListenerSettings,
    local: SocketAddr,
    peer: SocketAddr,
    mut stream: TcpStream,
) -> Result<Secured, AcceptError<TcpStream>> {
    let route = |sni: Option<&Hostname>| context.proxy.raw_route(&settings.entrance, sni.map(Hostname::as_str));
    let passes = |route: &RawRoute| route.mode() == RouteMode::Passthrough;
    let hello = match Hello::read(&mut stream).await {
        Ok(hello) => hello,
        Err(HelloError::Foreign(foreign)) if let Some(route) = route(Some(&foreign.sni)).filter(passes) => {
            return Ok(Secured::Untouched(stream, (Some(foreign.sni), foreign.bytes), route));
        }
        Err(error) => return Err(AcceptError::from_hello(error, stream).await),
    };
    match route(hello.sni.as_ref()) {
        Some(route) if passes(&route) => Ok(Secured::Untouched(stream, (hello.sni, hello.bytes), route)),
        // A CA asks for a name by any name of its choice, and at any listener.
        None if matches!(settings.door, Door::Tls(_)) && !hello.only_offers(b"acme-tls/1") => {
            Err(acceptor.refuse(stream, hello).await)
        }
        route => Ok(Secured::Terminated(
            Box::new(acceptor.finish(stream, hello, local, peer.ip().to_canonical()).await?),
            route,
        )),
    }
}

impl Dialled {
    fn client(self, settings: &ListenerSettings, tls: Option<Tls>) -> Rc<Client> {
        Rc::new(Client::new(self.peer, self.port, Arc::clone(&settings.entrance), tls).with_local(self.local))
    }
}

fn tls(info: &TlsInfo) -> Tls {
    Tls {
        sni: info.sni.clone(),
        version: info.version,
        cipher: info.cipher,
        alpn: info.agreed.clone(),
        resumed: info.resumed,
        certificate: info.certificate.clone(),
    }
}

#[cfg(test)]
mod tests {
    use crate::proxy::Proxy;
    use crate::tls::Stream;

    use super::*;

    /// Of the future that a function of such arguments makes, in bytes.
    fn size<Arguments, F: Future>(_: impl FnOnce(Arguments) -> F) -> usize {
        size_of::<F>()
    }

    type Served = (&'static Rc<Proxy>, Rc<Client>, Stream<TcpStream>, Watch);

    /// There is one of the first and one of the others for each idle connection: whoever lets them grow should mean to.
    #[test]
    fn a_connection_that_waits_is_small() {
        type Begun = (&'static Context, &'static Listener, TcpStream, SocketAddr, Watch);
        let begun =
            size(|(context, listener, stream, peer, drain): Begun| serve(context, listener, stream, peer, drain));
        let http1 = size(|(proxy, client, io, drain): Served| proxy.serve_http1(client, io, drain));
        let http2 = size(|(proxy, client, io, drain): Served| proxy.serve_http2(client, io, drain));
        assert!(begun <= 64 && http1 <= 640 && http2 <= 1856, "{begun}, {http1}, {http2} bytes");
    }
}
