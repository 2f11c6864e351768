//! The hall: the whole trip of a connection, on one page.
//!
//! accept → (TLS: ClientHello → certificate → handshake) → HTTP/1.1 or HTTP/2 → requests, until it ends.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::worker::Context;
use super::{Door, Listener, ListenerSettings};
use crate::drain::Watch;
use crate::proxy::{Client, Tls};
use crate::tls::{AcceptError, Accepted, Acceptor, Alpn, TlsInfo};

/// Serves a connection from its first byte to its last.
pub(super) async fn serve(context: &Context, listener: &Listener, stream: TcpStream, peer: SocketAddr, drain: Watch) {
    // Where it fails, the connection is gone, which the first read tells.
    let _gone = stream.set_nodelay(true);
    let settings = listener.settings.load_full();
    let port = listener.port();
    match &settings.door {
        Door::Http => {
            let client = client(&settings, peer, port, None);
            context.proxy.serve_http1(&client, stream, drain).await;
        }
        Door::Https(acceptor) => match handshake(context, acceptor, listener, stream, peer).await {
            Ok(Accepted { stream, info }) => {
                let client = client(&settings, peer, port, Some(tls(&info)));
                match info.alpn {
                    Alpn::Http2 => Box::pin(context.proxy.serve_http2(Rc::new(client), stream, drain)).await,
                    Alpn::Http1 => context.proxy.serve_http1(&client, stream, drain).await,
                }
            }
            Err(Some(AcceptError::PlainHttp(stream))) => {
                let client = client(&settings, peer, port, None);
                context.proxy.refuse_plain(&client, stream).await;
            }
            Err(Some(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(None) => tracing::debug!(%peer, "TLS handshake took too long"),
        },
    }
}

/// The TLS handshake, within its deadline and under its permit. `None`: too late.
async fn handshake(
    context: &Context,
    acceptor: &Acceptor,
    listener: &Listener,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<Accepted<TcpStream>, Option<AcceptError<TcpStream>>> {
    let local = match listener.bound {
        bound if bound.ip().is_unspecified() => stream.local_addr().unwrap_or(bound),
        bound => bound,
    };
    let deadline = context.proxy.timer().deadline();
    deadline.set(context.proxy.settings().timeouts.handshake);
    // On the heap: a handshake needs much for a short time, a connection little for a long one.
    let result = deadline
        .bound(Box::pin(async {
            let _permit = context.shared.permits.handshakes.acquire().await;
            let local = SocketAddr::new(local.ip().to_canonical(), local.port());
            acceptor.accept(stream, local, peer.ip().to_canonical()).await
        }))
        .await;
    context.metrics.handshake(match &result {
        Some(Ok(accepted)) => accepted.outcome(),
        Some(Err(error)) => error.outcome(),
        None => "timeout",
    });
    result.map_or(Err(None), |result| result.map_err(Some))
}

fn client(settings: &ListenerSettings, peer: SocketAddr, port: u16, tls: Option<Tls>) -> Client {
    Client::new(peer, port, Arc::clone(&settings.trusted_proxies), tls)
}

fn tls(info: &TlsInfo) -> Tls {
    Tls {
        sni: info.sni.clone(),
        version: info.version,
        cipher: info.cipher,
        alpn: match info.alpn {
            Alpn::Http2 => "h2",
            Alpn::Http1 => "http/1.1",
        },
        resumed: info.resumed,
        certificate: info.certificate.clone(),
    }
}
