//! A front for pebble: counts requests, and answers in pebble's place what pebble cannot do. Where a test
//! uses [`Front::answer`], that answer is a fake and no behaviour of pebble.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::pebble::{Pebble, acme};

type Reply = http::Response<Bytes>;
type Intercept = Box<dyn Fn(&Seen) -> Option<Reply> + Send + Sync>;
type Amend = Box<dyn Fn(&Seen, &mut Reply) + Send + Sync>;

/// A request that came by.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    /// The payload of its JWS, where it has one.
    pub payload: serde_json::Value,
    pub at: std::time::Instant,
    /// What was answered.
    pub status: u16,
}

/// The front. What it does can be changed while it runs.
pub struct Front {
    address: SocketAddr,
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    intercept: Mutex<Option<Intercept>>,
    amend: Mutex<Option<Amend>>,
}

impl Front {
    pub async fn start(pebble: &Pebble) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("front.crt"), made.cert.pem()).expect("writes");
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).expect("a key");
        let server = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pebble.trust()).expect("PEM")).expect("a root");
        let client = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (acceptor, connector) = (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let (upstream, serving) = (pebble.address(), Arc::clone(&shared));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, connector, shared) = (acceptor.clone(), connector.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request| {
                        let (connector, shared) = (connector.clone(), Arc::clone(&shared));
                        async move { Ok::<_, Infallible>(shared.serve(request, connector, upstream).await.map(Full::new)) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, folder, shared }
    }

    /// `[acme]` for the CA behind this front.
    pub fn acme(&self) -> doorward::config::Acme {
        acme(&format!("https://localhost:{}/dir", self.address.port()), self.folder.path().join("front.crt"))
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// Answers in pebble's place where `intercept` gives something.
    pub fn answer(&self, intercept: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) {
        *self.shared.intercept.lock().expect("not poisoned") = Some(Box::new(intercept));
    }

    /// Changes pebble's answers.
    pub fn amend(&self, amend: impl Fn(&Seen, &mut Reply) + Send + Sync + 'static) {
        *self.shared.amend.lock().expect("not poisoned") = Some(Box::new(amend));
    }

    /// The requests so far whose path begins with `path`, but for those whose nonce pebble refused at random.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.shared.seen.lock().expect("not poisoned");
        seen.iter().filter(|seen| seen.path.starts_with(path) && seen.status != 400).cloned().collect()
    }
}

impl Front {
    /// How many requests to `path` named `name` in their payload.
    pub fn seen_for(&self, path: &str, name: &str) -> usize {
        self.seen(path).iter().filter(|seen| seen.payload.to_string().contains(name)).count()
    }
}

impl Shared {
    async fn serve(
        &self,
        request: http::Request<hyper::body::Incoming>,
        connector: TlsConnector,
        upstream: SocketAddr,
    ) -> Reply {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let seen = Seen {
            path: parts.uri.path().to_owned(),
            payload: payload(&body),
            at: std::time::Instant::now(),
            status: 0,
        };
        let intercepted = self.intercept.lock().expect("not poisoned").as_ref().and_then(|answer| answer(&seen));
        let reply = match intercepted {
            Some(reply) => reply,
            None => match pass(http::Request::from_parts(parts, Full::new(body)), connector, upstream).await {
                Ok(mut reply) => {
                    if let Some(amend) = &*self.amend.lock().expect("not poisoned") {
                        amend(&seen, &mut reply);
                    }
                    reply
                }
                Err(_) => reply(502, &[], "the front cannot reach pebble"),
            },
        };
        let seen = Seen { status: reply.status().as_u16(), ..seen };
        self.seen.lock().expect("not poisoned").push(seen);
        reply
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn pass(
    request: http::Request<Full<Bytes>>,
    connector: TlsConnector,
    upstream: SocketAddr,
) -> Result<Reply, AnyError> {
    let stream = TcpStream::connect(upstream).await?;
    let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (mut parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    // Written anew by the server side, also where the body was amended.
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.remove(http::header::TRANSFER_ENCODING);
    Ok(http::Response::from_parts(parts, body))
}

/// An answer of our own.
pub fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut builder = http::Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Bytes::copy_from_slice(body.as_bytes())).expect("a response")
}

/// Replaces the JSON body of an answer by what `change` makes of it.
pub fn change_json(reply: &mut Reply, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = serde_json::from_slice(reply.body()).expect("JSON");
    change(&mut value);
    *reply.body_mut() = Bytes::from(value.to_string());
}

fn payload(body: &[u8]) -> serde_json::Value {
    let decode = || {
        let jws: serde_json::Value = serde_json::from_slice(body).ok()?;
        let payload = BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str()?).ok()?;
        serde_json::from_slice(&payload).ok()
    };
    decode().unwrap_or_default()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
