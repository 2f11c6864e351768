//! [`HttpsClient`]: requests to an `https://` API, with a deadline for everything.
//!
//! A connection a request: an ACME order is a dozen requests in a minute, so a pool would save little,
//! and TLS resumption makes the further ones cheap. HTTP/1.1 only.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::read;

/// The longest body that is read, in bytes: certificate chains and directories are far smaller.
const LONGEST_BODY: usize = 1024 * 1024;

/// Whom the client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The system's trust store.
    System,
    /// The certificates in this PEM file, and no others.
    File(PathBuf),
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the look-up of the name to the end of the TLS handshake.
    pub connect: Duration,
    /// The whole of a request, connecting included, to the last byte of the answer.
    pub request: Duration,
}

/// A client; cloning is cheap.
#[derive(Clone)]
pub struct HttpsClient {
    /// None: it speaks plain HTTP instead, and nothing else.
    tls: Option<TlsConnector>,
    timeouts: ClientTimeouts,
    /// Whether `http://` is asked as well.
    plain: bool,
}

/// A connection, with or without TLS.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for S {}

/// Why there is no client, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsClientError {
    /// The file with the roots cannot be read.
    #[error("cannot read the trusted roots in {file}: {reason}", file = file.display())]
    Roots {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no trust store.
    #[error("the system has no trusted roots ({0}); install ca-certificates, or name a PEM file with the roots")]
    NoSystemRoots(String),
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The address is not one that this client can ask.
    #[error("{0} is not an https:// address")]
    Address(Uri),
    /// The name was not found, or nobody listens there.
    #[error("cannot connect to {authority}: {source}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What came back. A certificate that is not trusted comes as `InvalidData`.
        source: std::io::Error,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the exchange with {authority} failed: {source}")]
    Exchange {
        /// Host and port.
        authority: String,
        /// What came back.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("no answer from {authority} within {} s", .after.as_secs())]
    Timeout {
        /// Host and port.
        authority: String,
        /// The deadline that passed.
        after: Duration,
    },
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), request: Duration::from_secs(60) }
    }
}

impl HttpsClient {
    /// A client that trusts `roots`.
    ///
    /// # Errors
    /// [`HttpsClientError::Roots`] and [`HttpsClientError::NoSystemRoots`].
    pub fn new(roots: &Roots, timeouts: ClientTimeouts) -> Result<Self, HttpsClientError> {
        let store = match roots {
            Roots::System => system_roots()?,
            Roots::File(file) => roots_of(file)?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))), timeouts, plain: false })
    }

    /// A client for `http://` addresses alone.
    #[must_use]
    pub fn plain(timeouts: ClientTimeouts) -> Self {
        Self { tls: None, timeouts, plain: true }
    }

    /// The same, for `http://` as well: for what answers on this machine, or where an operator says so.
    #[must_use]
    pub fn allowing_http(self) -> Self {
        Self { plain: true, ..self }
    }

    /// Sends `request`, whose URI is absolute, and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`HttpsClientError`]; an answer longer than 1 MiB is an [`HttpsClientError::Exchange`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpsClientError> {
        let (secure, host) = match (request.uri().scheme_str(), request.uri().host()) {
            (Some("https"), Some(host)) if self.tls.is_some() => (true, host),
            (Some("http"), Some(host)) if self.plain => (false, host),
            _ => return Err(HttpsClientError::Address(request.uri().clone())),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = request.uri().port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority = request.uri().authority().map_or_else(|| host.clone(), ToString::to_string);
        let after = self.timeouts.request;
        match tokio::time::timeout(after, self.exchange((&host, port, secure), &authority, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpsClientError::Timeout { authority, after }),
        }
    }

    async fn exchange(
        &self,
        (host, port, secure): (&str, u16, bool),
        authority: &str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, HttpsClientError> {
        let after = self.timeouts.connect;
        let stream = match tokio::time::timeout(after, self.connect(host, port, secure)).await {
            Ok(stream) => {
                stream.map_err(|source| HttpsClientError::Connect { authority: authority.to_owned(), source })?
            }
            Err(_) => return Err(HttpsClientError::Timeout { authority: authority.to_owned(), after }),
        };
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| HttpsClientError::Exchange {
            authority: authority.to_owned(),
            source,
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(e.into()))?;
        // Ends when both halves of the exchange are dropped; aborted with this future.
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let request = origin_form(request, authority)?;
        let response = sender.send_request(request).await.map_err(|e| broken(e.into()))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(broken)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    async fn connect(&self, host: &str, port: u16, secure: bool) -> std::io::Result<Box<dyn Stream>> {
        let stream = connect_to_any(host, port, self.timeouts.connect).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = self.tls.as_ref().filter(|_| secure) else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await.map_err(in_plain_words)?))
    }
}

impl std::fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpsClient").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

/// What is wrong with a server's certificate, and the remedy; other errors as they are.
fn in_plain_words(error: std::io::Error) -> std::io::Error {
    let Some(rustls::Error::InvalidCertificate(reason)) = error.get_ref().and_then(|inner| inner.downcast_ref()) else {
        return error;
    };
    let said = match reason {
        CertificateError::UnknownIssuer => {
            "its certificate is from an issuer that is not trusted; name the issuer's root with `trust`".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        // From webpki, which has no type for it here.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is a CA's own, and a server's is needed: let it have one that the CA issued".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    };
    std::io::Error::new(error.kind(), said)
}

/// Tries each address in turn, none for so long that the others are left without time.
async fn connect_to_any(host: &str, port: u16, within: Duration) -> std::io::Result<TcpStream> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    let share = within / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failed = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(failed)
}

/// The request as it goes on the wire: path and query alone, and a Host (RFC 9112 §3.2.1).
fn origin_form(request: Request<Bytes>, authority: &str) -> Result<Request<Full<Bytes>>, HttpsClientError> {
    let (mut parts, body) = request.into_parts();
    let bad = HttpsClientError::Address(parts.uri.clone());
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let (Ok(uri), Ok(host)) = (path.parse(), HeaderValue::from_str(authority)) else { return Err(bad) };
    parts.uri = uri;
    parts.headers.insert(header::HOST, host);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(Request::from_parts(parts, Full::new(body)))
}

fn system_roots() -> Result<RootCertStore, HttpsClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Some distributions ship a root or two that no parser takes: the others are what counts.
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(HttpsClientError::NoSystemRoots(reasons.join("; ")));
    }
    Ok(store)
}

fn roots_of(file: &Path) -> Result<RootCertStore, HttpsClientError> {
    let bad = |reason: String| HttpsClientError::Roots { file: file.to_path_buf(), reason };
    let pem = read::file(file, read::SMALL).map_err(|e| bad(e.to_string()))?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        store.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if store.is_empty() { Err(bad("no certificate in it; it has to be PEM".to_owned())) } else { Ok(store) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_asked_is_said_in_plain_words() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = HttpsClient::new(&Roots::File(file.path().into()), ClientTimeouts::default()).expect_err("empty");
        assert!(error.to_string().contains("PEM"), "{error}");
        let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(file.path(), ca.cert.pem()).expect("writes");
        let client = HttpsClient::new(&Roots::File(file.path().into()), ClientTimeouts::default()).expect("a client");

        let get = |uri: &str| Request::get(uri).body(Bytes::new()).expect("a request");
        assert!(matches!(client.send(get("http://localhost/")).await, Err(HttpsClientError::Address(_))));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("an address");
        let refused = client.send(get(&format!("https://{closed}/"))).await;
        assert!(matches!(refused, Err(HttpsClientError::Connect { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(file.path(), ca.cert.pem()).expect("writes");
        let timeouts = ClientTimeouts { connect: Duration::from_millis(50), request: Duration::from_secs(5) };
        let client = HttpsClient::new(&Roots::File(file.path().into()), timeouts).expect("a client");
        let request = Request::get(format!("https://{address}/")).body(Bytes::new()).expect("a request");
        let error = client.send(request).await.expect_err("nobody answers");
        assert!(matches!(error, HttpsClientError::Timeout { after, .. } if after == timeouts.connect), "{error}");
    }
}
