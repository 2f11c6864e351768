//! HTTP/2 by the h2 crate, for what curl does not show: resets, GOAWAY, trailers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use rustls::pki_types::ServerName;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, client_config};

/// A connection.
pub(crate) struct H2 {
    /// Drives the connection, also between calls.
    pub(crate) runtime: Runtime,
    /// For whatever the methods do not do.
    pub(crate) send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct H2Reply {
    /// The code.
    pub(crate) status: u16,
    /// The head's.
    pub(crate) headers: HeaderMap,
    /// As far as it came.
    pub(crate) body: Vec<u8>,
    /// What ended the stream before its end.
    pub(crate) cut: Option<h2::Error>,
    /// After the body.
    pub(crate) trailers: Option<HeaderMap>,
}

impl H2 {
    /// To `name` at `address`.
    pub(crate) fn connect(address: SocketAddr, name: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let connector = TlsConnector::from(Arc::new(client_config(&["h2"])));
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let (send, connection) = runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(address).await.expect("doorward listens");
            let tls = connector.connect(name, tcp).await.expect("a handshake");
            let (send, connection) = h2::client::handshake(tls).await.expect("HTTP/2");
            (send, tokio::spawn(connection))
        });
        Self { runtime, send, connection }
    }

    /// A GET.
    pub(crate) fn get(&self, url: &str) -> Result<H2Reply, h2::Error> {
        self.request(Request::get(url).body(()).expect("a request"), None)
    }

    /// A request, with a body where there is one.
    pub(crate) fn request(&self, request: Request<()>, body: Option<Bytes>) -> Result<H2Reply, h2::Error> {
        let send = self.send.clone();
        self.block_on(async move {
            let mut send = send.ready().await?;
            let (response, mut stream) = send.send_request(request, body.is_none())?;
            if let Some(body) = body {
                stream.send_data(body, true)?;
            }
            let response = response.await?;
            let (head, mut rest) = response.into_parts();
            let (mut body, mut cut) = (Vec::new(), None);
            while let Some(piece) = rest.data().await {
                match piece {
                    Ok(piece) => {
                        // It can only fail where more is released than came.
                        let _ = rest.flow_control().release_capacity(piece.len());
                        body.extend_from_slice(&piece);
                    }
                    Err(fault) => {
                        cut = Some(fault);
                        break;
                    }
                }
            }
            let trailers = if cut.is_none() { rest.trailers().await? } else { None };
            Ok(H2Reply { status: head.status.as_u16(), headers: head.headers, body, cut, trailers })
        })
    }

    /// Waits for the connection's end.
    pub(crate) fn closed(self) -> Result<(), h2::Error> {
        let Self { runtime, send, connection } = self;
        drop(send);
        runtime.block_on(async { timeout(PATIENCE, connection).await.expect("an end in time").expect("no panic") })
    }

    /// Runs a future on the connection's runtime, not for ever.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(PATIENCE, future).await.expect("an end in time") })
    }
}

impl H2Reply {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
