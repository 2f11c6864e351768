//! The accept loop of both admin listeners: a bound on connections, a bound on how long a head may take.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long to wait after an accept failed, for whatever ran out (file descriptors) to come back.
const PAUSE: Duration = Duration::from_millis(200);

/// How much a listener takes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// What it is, for the log.
    pub(super) listener: &'static str,
    /// Connections served at once; further ones wait in the kernel's queue.
    pub(super) connections: usize,
    /// How long a client may take to send a request's head, and how long a connection may stay idle.
    pub(super) head: Duration,
}

/// What gives connections.
pub(super) trait Listener: Send + Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves every connection to `socket` with `answer`, until `shutdown` is done; then drops what is open.
/// Runs on a tokio runtime with time enabled.
pub(super) async fn serve<A>(
    bounds: Bounds,
    socket: impl Listener,
    answer: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    shutdown: impl Future<Output = ()>,
) where
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let Bounds { listener, connections: most, head } = bounds;
    let permits = Arc::new(Semaphore::new(most));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = permits.clone().acquire_owned().await.ok();
            (permit, socket.next().await)
        };
        let (permit, stream) = tokio::select! {
            () = &mut shutdown => return,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        match stream {
            Ok(stream) => {
                let answer = answer.clone();
                connections.spawn(async move {
                    let _permit = permit;
                    let service = hyper::service::service_fn(move |request| {
                        let answered = answer(request);
                        async move { Ok::<_, Infallible>(answered.await) }
                    });
                    let mut http = hyper::server::conn::http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(head);
                    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(listener, %error, "a connection to an admin listener ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(listener, %error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
