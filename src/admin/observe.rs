//! The metrics listener: plain HTTP for Prometheus and for health checks.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | every metric, Prometheus's text format |
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 while it takes connections; 503 before, and from the first moment of a drain |
//!
//! It has no secrets and takes no commands, but it tells route names: keep it off the public side.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tokio::net::TcpListener;

use super::accept::{self, Bounds};
use super::view::RunState;
use crate::metrics::{self, Metrics};

const BOUNDS: Bounds = Bounds { listener: "metrics", connections: 64, head: Duration::from_secs(30) };

/// Where the process is in its life: set by the app, read by `/readyz` and `status`. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<AtomicU8>,
}

impl Readiness {
    /// In [`RunState::Starting`].
    #[must_use]
    pub fn starting() -> Self {
        Self { state: Arc::new(AtomicU8::new(0)) }
    }

    /// Moves to `state`.
    pub fn set(&self, state: RunState) {
        let number = match state {
            RunState::Starting => 0,
            RunState::Ready => 1,
            RunState::Draining => 2,
        };
        self.state.store(number, Ordering::Release);
    }

    /// Where it is.
    #[must_use]
    pub fn get(&self) -> RunState {
        match self.state.load(Ordering::Acquire) {
            0 => RunState::Starting,
            1 => RunState::Ready,
            _ => RunState::Draining,
        }
    }
}

/// Answers on `listener` until `shutdown` is done; then drops what is open. Runs on a tokio runtime with time
/// enabled.
pub async fn serve(listener: TcpListener, metrics: Metrics, readiness: Readiness, shutdown: impl Future<Output = ()>) {
    let answer = move |request| std::future::ready(answer(&request, &metrics, &readiness));
    accept::serve(BOUNDS, listener, answer, shutdown).await;
}

fn answer<B>(request: &Request<B>, metrics: &Metrics, readiness: &Readiness) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood here\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = text(StatusCode::OK, metrics.gather());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::MEDIA_TYPE));
            response
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match readiness.get() {
            RunState::Ready => text(StatusCode::OK, "ready\n"),
            RunState::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            RunState::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there is /metrics, /healthz and /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Opens the metrics listener.
///
/// # Errors
/// What the kernel said, with the address and the remedy.
pub fn bind(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {address} ([metrics] address): {error}; free it or set another"),
        )
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn ready_only_between_start_and_drain() {
        let listener = TcpListener::from_std(bind(([127, 0, 0, 1], 0).into()).expect("bound")).expect("a runtime");
        let address = listener.local_addr().expect("bound");
        let (metrics, readiness) = (Metrics::default(), Readiness::starting());
        let counter = prometheus::IntCounter::new("doorward_tests_total", "tests").expect("opts");
        metrics.registry().register(Box::new(counter.clone())).expect("registered once");
        counter.inc();
        let server = tokio::spawn(serve(listener, metrics, readiness.clone(), std::future::pending()));

        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        readiness.set(RunState::Ready);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        readiness.set(RunState::Draining);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        let shown = get(address, "/metrics").await;
        assert!(shown.contains("content-type: text/plain; version=0.0.4\r\n"), "{shown}");
        assert!(shown.contains("\ndoorward_tests_total 1\n"), "{shown}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }
}
