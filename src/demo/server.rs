//! The demo app's HTTP server.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::accept::{Format, preferred};
use super::seen::Seen;
use super::{page, text};

/// How long a connection may stay idle: longer than the proxy keeps one that it does not use.
const IDLE: Duration = Duration::from_secs(120);
/// How long to wait after an accept failed, for whatever ran out (file descriptors) to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// No script, nothing from elsewhere: the page is all there is. The style is in the page.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// A running demo app. It ends with the process, or when this is dropped.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Demo {
    /// Where it listens, on loopback: what a route's backend is set to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts the demo app on a free loopback port, on a thread and runtime of its own. It takes connections when
/// this returns.
///
/// # Errors
/// No port, no thread or no runtime to be had.
pub fn start() -> io::Result<Demo> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("demo".to_owned()).spawn(move || {
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => tokio::select! {
                    () = serve(listener) => {}
                    _ = stopped => {}
                },
                Err(error) => tracing::error!(%error, "the demo app cannot start"),
            }
        });
    })?;
    Ok(Demo { address, _stop: stop })
}

async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let mut http = hyper::server::conn::http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
                    let service = hyper::service::service_fn(answer);
                    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "demo app connection");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "demo app: cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (head, mut body) = request.into_parts();
    // Counted, not kept: a body of any size costs no memory.
    let mut received = 0_u64;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    let seen = Seen::new(&head, received);
    let (media, shown) = match preferred(&head.headers) {
        Format::Html => ("text/html; charset=utf-8", page::render(&seen)),
        Format::Text => ("text/plain; charset=utf-8", text::render(&seen)),
        Format::Json => ("application/json", seen.json()),
    };
    let mut response = Response::new(Full::from(shown));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
