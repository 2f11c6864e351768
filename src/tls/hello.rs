//! [`Hello`]: what a client says first, read without a byte lost.

use std::io;

use rustls::SupportedCipherSuite;
use rustls::server::{Accepted, AcceptedAlert, Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::name;
use crate::certs::{SignatureScheme, provider};
use crate::names::{Hostname, Normalized};

/// The longest first flight that is read for a ClientHello: one is at most a few KiB, post-quantum key shares
/// included.
const MAX_HELLO: usize = 64 * 1024;
/// How much is read at a time: a ClientHello with a post-quantum key share fits.
const READ: usize = 2048;
/// The longest HTTP method that is looked for.
const MAX_METHOD: usize = 16;

/// The alert `illegal_parameter` (RFC 8446 §6).
pub(super) const ILLEGAL_PARAMETER: u8 = 47;
/// The alert `handshake_failure` (RFC 8446 §6).
pub(super) const HANDSHAKE_FAILURE: u8 = 40;
/// The alert `decode_error` (RFC 8446 §6).
pub(super) const DECODE_ERROR: u8 = 50;
/// The alert `internal_error` (RFC 8446 §6.2): the fault is not the client's, who may come again.
pub(super) const INTERNAL_ERROR: u8 = 80;
/// The alert `no_application_protocol` (RFC 7301 §3.2).
pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
/// The alert `unrecognized_name` (RFC 6066 §3).
pub(super) const UNRECOGNIZED_NAME: u8 = 112;

/// What a ClientHello says, and its bytes, to go on with the handshake or to hand the connection on.
pub struct Hello {
    /// The name that the client asks for, canonical; none where it sent none, or an address (RFC 6066 §3
    /// forbids that; it is taken as none).
    pub sni: Option<Hostname>,
    /// The protocols that the client offers (RFC 7301), the preferred one first.
    pub alpn: Vec<Vec<u8>>,
    /// The signature schemes that the client can verify, less what its cipher suites rule out.
    pub schemes: Vec<SignatureScheme>,
    /// Every byte read from the client so far: what a passthrough backend has to get first.
    pub bytes: Vec<u8>,
}

/// Why there is no [`Hello`].
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The client speaks HTTP without TLS. Nothing was answered.
    #[error("plain HTTP on a TLS port")]
    PlainHttp,
    /// Not TLS, or no sound ClientHello. The alert was sent.
    #[error("no sound ClientHello: {0}")]
    Malformed(String),
    /// A ClientHello that no handshake can come of here, as one of a client that is too old. Nothing was answered: it
    /// may be for somebody else.
    #[error("no sound ClientHello: {}", .0.why)]
    Foreign(Box<Foreign>),
    /// The client went away.
    #[error("the client went away before its ClientHello was complete")]
    Closed,
}

/// A ClientHello that only somebody else may be able to answer.
#[derive(Debug)]
pub struct Foreign {
    /// The name that the client asks for, canonical.
    pub sni: Hostname,
    /// Every byte read from the client so far.
    pub bytes: Vec<u8>,
    /// What is wrong with it.
    pub why: String,
    alert: Vec<u8>,
}

impl Foreign {
    /// Sends the alert that it deserves here.
    pub async fn refuse<IO: AsyncWrite + Unpin>(self, io: &mut IO) -> String {
        send(io, self.alert).await;
        self.why
    }
}

impl Hello {
    /// Reads a ClientHello, in whatever segments and records it comes. Reads no more than 64 KiB, and has no
    /// time-out of its own.
    ///
    /// # Errors
    /// [`HelloError`]; for `Malformed`, the alert was sent.
    pub async fn read<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO) -> Result<Self, HelloError> {
        let mut bytes = Vec::with_capacity(READ);
        let mut acceptor = Acceptor::default();
        let mut fed = 0;
        loop {
            bytes.reserve(READ);
            let read = (&mut *io).take((MAX_HELLO - bytes.len()) as u64).read_buf(&mut bytes).await;
            if bytes.len() == MAX_HELLO {
                send_alert(io, DECODE_ERROR).await;
                return Err(HelloError::Malformed("it is longer than 64 KiB".to_owned()));
            }
            if !matches!(read, Ok(1..)) {
                return Err(HelloError::Closed);
            }
            match looks_like_http(&bytes) {
                Some(true) => return Err(HelloError::PlainHttp),
                Some(false) => {}
                None => continue,
            }
            match feed(&mut acceptor, &bytes[fed..]) {
                Ok(Some(accepted)) => return Self::new(io, &accepted, bytes).await,
                Ok(None) => fed = bytes.len(),
                Err((why, alert)) => match name::asked_for(&bytes) {
                    Some(sni) => return Err(HelloError::Foreign(Box::new(Foreign { sni, bytes, why, alert }))),
                    None => {
                        send(io, alert).await;
                        return Err(HelloError::Malformed(why));
                    }
                },
            }
        }
    }

    async fn new<IO: AsyncWrite + Unpin>(io: &mut IO, accepted: &Accepted, bytes: Vec<u8>) -> Result<Self, HelloError> {
        let hello = accepted.client_hello();
        let sni = match hello.server_name().map(Normalized::new).transpose() {
            Ok(name) => name.and_then(|name| Hostname::parse(name.as_str()).ok()),
            Err(error) => {
                send_alert(io, ILLEGAL_PARAMETER).await;
                return Err(HelloError::Malformed(error.to_string()));
            }
        };
        let alpn = hello.alpn().map(|all| all.map(<[u8]>::to_vec).collect()).unwrap_or_default();
        let schemes = schemes(&hello);
        Ok(Self { sni, alpn, schemes, bytes })
    }

    /// Whether `protocol` is all that the client offers in ALPN.
    #[must_use]
    pub fn only_offers(&self, protocol: &[u8]) -> bool {
        matches!(&*self.alpn, [only] if only == protocol)
    }
}

/// The client's schemes that one of the cipher suites in common can be used with. In TLS 1.2 the suite rules
/// the kind of key too (RFC 5246 §7.4.2), so a client that offers ECDSA schemes may take RSA certificates only.
fn schemes(hello: &ClientHello<'_>) -> Vec<SignatureScheme> {
    let ours = &provider().cipher_suites;
    let common: Vec<_> = ours.iter().filter(|suite| hello.cipher_suites().contains(&suite.suite())).collect();
    let usable = |scheme: &SignatureScheme| {
        common.iter().any(|suite| match suite {
            SupportedCipherSuite::Tls12(suite) => suite.sign.contains(scheme),
            SupportedCipherSuite::Tls13(_) => true,
        })
    };
    hello.signature_schemes().iter().copied().filter(usable).collect()
}

/// Hands `bytes` to rustls. An error comes with the alert record to send.
fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Result<Option<Accepted>, (String, Vec<u8>)> {
    while !bytes.is_empty() {
        if let Err(error) = acceptor.read_tls(&mut bytes) {
            return Err((error.to_string(), alert(DECODE_ERROR).to_vec()));
        }
    }
    acceptor.accept().map_err(|(error, alert)| (error.to_string(), record(alert)))
}

fn record(mut alert: AcceptedAlert) -> Vec<u8> {
    let mut record = Vec::new();
    // Writing to a Vec does not fail.
    let _ = alert.write_all(&mut record);
    if record.is_empty() { self::alert(DECODE_ERROR).to_vec() } else { record }
}

/// Whether this is a method of HTTP: capitals, then a space. None: too early to tell.
fn looks_like_http(bytes: &[u8]) -> Option<bool> {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match bytes.get(method) {
        None if method <= MAX_METHOD => None,
        Some(b' ') => Some((3..=MAX_METHOD).contains(&method)),
        _ => Some(false),
    }
}

/// A fatal alert in a record of its own, as it is sent before any keys are agreed (RFC 8446 §5.1 and §6).
fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// Sends a fatal alert and ends the stream. That the client does not take it changes nothing.
pub(super) async fn send_alert<IO: AsyncWrite + Unpin>(io: &mut IO, description: u8) {
    send(io, alert(description).to_vec()).await;
}

async fn send<IO: AsyncWrite + Unpin>(io: &mut IO, record: Vec<u8>) {
    let sent: io::Result<()> = async {
        io.write_all(&record).await?;
        io.shutdown().await
    }
    .await;
    drop(sent);
}
