//! [`Acceptor`]: from a connection's first byte to a finished handshake.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::challenge;
use super::hello::{self, Hello, HelloError};
use super::server_config;
use super::stream::Stream;
use super::tickets::{Bound, Tickets};
use crate::certs::{Ask, Certificate, Challenges, Choice, OnDemand, OnDemandError, Table, unix_now};
use crate::config::{CertificateId, TlsOptions};
use crate::names::Hostname;

/// Every label that a handshake's outcome can have in the metrics; `timeout`, `crowded_out` and `passthrough` are
/// for the caller, who keeps the time and decides whose TLS ends here.
pub const OUTCOMES: [&str; 13] = [
    "ok",
    "resumed",
    "passthrough",
    "challenge",
    "unknown_name",
    "not_ready",
    "no_certificate",
    "malformed",
    "plain_http",
    "closed",
    "timeout",
    "crowded_out",
    "tls_error",
];

static IDS: AtomicU64 = AtomicU64::new(0);

/// One listener's handshakes. Shared by all workers as an `Arc`.
pub struct Acceptor {
    /// Its own, in this process.
    id: u64,
    base: ServerConfig,
    tickets: Bound,
    default: Option<CertificateId>,
    /// Whose certificate stands in for the default one.
    default_host: Option<Hostname>,
    table: Arc<Table>,
    on_demand: Option<Arc<dyn OnDemand>>,
    challenges: Option<Arc<Challenges>>,
}

/// A finished handshake.
pub struct Accepted<IO> {
    /// The connection.
    pub stream: Stream<IO>,
    /// What was agreed.
    pub info: TlsInfo,
}

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// The name that the client asked for, canonical; none where it sent none.
    pub sni: Option<Hostname>,
    /// The application protocol of HTTP.
    pub alpn: Alpn,
    /// The application protocol that was agreed on, if any (RFC 7301).
    pub agreed: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name, for example `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// The key exchange group by its IANA name, for example `X25519MLKEM768`; none for a session resumed in TLS 1.2.
    pub group: Option<&'static str>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificate that answers for the name (also where a resumed session did not send it again).
    pub certificate: Option<Arc<Certificate>>,
}

/// An application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/1.1, also where the client offered nothing.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Why there was no handshake. What the client should hear over TLS was sent.
#[derive(thiserror::Error)]
pub enum AcceptError<IO> {
    /// The client speaks HTTP without TLS; it has had no answer, and what it sent so far is read.
    #[error("plain HTTP on a TLS port")]
    PlainHttp(IO),
    /// Not TLS, or no sound ClientHello.
    #[error("no sound ClientHello: {0}")]
    Malformed(String),
    /// A CA's question (RFC 8737): it was answered, and that was all.
    #[error("a CA asked for proof of {0}, and got it")]
    Challenge(Hostname),
    /// The certificate for the name could not be had in time, or not at all for now.
    #[error("no certificate for {0} yet: {1}")]
    NotReady(Hostname, String),
    /// No certificate for the name, and no default.
    #[error("no certificate for {0}")]
    UnknownName(Hostname),
    /// The client asked for no name, and there is no certificate for the address and no default.
    #[error("the client sent no server name, and there is no default certificate")]
    NoCertificate,
    /// The client went away.
    #[error("the client closed the connection during the handshake")]
    Closed,
    /// Nothing in common, an alert of the client's, or a broken rule.
    #[error("{0}")]
    Tls(String),
}

impl Acceptor {
    /// The handshakes of a listener with these options. `on_demand` is asked for names that the table lacks.
    ///
    /// # Errors
    /// Where the cryptographic provider supports none of the versions.
    pub fn new(
        options: &TlsOptions,
        default_certificate: Option<CertificateId>,
        table: Arc<Table>,
        on_demand: Option<Arc<dyn OnDemand>>,
        tickets: &Tickets,
    ) -> Result<Self, rustls::Error> {
        let bound = || tickets.bound_to(options, default_certificate.as_ref());
        let base = server_config::base(options, Arc::new(bound()))?;
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            id,
            base,
            tickets: bound(),
            default: default_certificate,
            default_host: None,
            table,
            on_demand,
            challenges: None,
        })
    }

    /// As this one, but with CAs' questions (RFC 8737) answered from `challenges`.
    #[must_use]
    pub fn answering(self, challenges: Arc<Challenges>) -> Self {
        Self { challenges: Some(challenges), ..self }
    }

    /// As this one, but clients that send no name get this host's certificate where there is no other for them.
    #[must_use]
    pub fn with_default_host(self, default_host: Option<Hostname>) -> Self {
        Self { default_host, ..self }
    }

    /// Reads the ClientHello and finishes the handshake. `local` is the address that the client dialled, `peer`
    /// its own. Reads a bounded number of bytes; the caller bounds the time.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub async fn accept<IO>(&self, mut io: IO, local: SocketAddr, peer: IpAddr) -> Result<Accepted<IO>, AcceptError<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        // On the heap: it takes 7 KiB, which a connection would hold for all of its life.
        Box::pin(async move {
            match Hello::read(&mut io).await {
                Ok(hello) => self.finish(io, hello, local, peer).await,
                Err(error) => Err(AcceptError::from_hello(error, io).await),
            }
        })
        .await
    }

    /// Finishes the handshake that `hello` began.
    ///
    /// # Errors
    /// [`AcceptError`], but never `PlainHttp`.
    pub async fn finish<IO>(
        &self,
        mut io: IO,
        hello: Hello,
        local: SocketAddr,
        peer: IpAddr,
    ) -> Result<Accepted<IO>, AcceptError<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        if hello.only_offers(challenge::ACME_TLS) {
            return challenge::answer(self.challenges.as_deref(), &self.base, io, hello).await;
        }
        let (choice, refusal) = self.choose(&hello, local, peer).await;
        let certificate = match choice {
            Choice::Named(certificate) | Choice::Default(certificate) => certificate,
            none @ (Choice::UnknownName | Choice::Nothing) => {
                let Some(name) = hello.sni.filter(|_| matches!(none, Choice::UnknownName)) else {
                    hello::send_alert(&mut io, hello::HANDSHAKE_FAILURE).await;
                    return Err(AcceptError::NoCertificate);
                };
                // A name that may be served soon is not unknown: who comes again may find it.
                if let Some(OnDemandError::Failed(why)) = refusal {
                    hello::send_alert(&mut io, hello::INTERNAL_ERROR).await;
                    return Err(AcceptError::NotReady(name, why));
                }
                hello::send_alert(&mut io, hello::UNRECOGNIZED_NAME).await;
                return Err(AcceptError::UnknownName(name));
            }
        };
        let config = if hello.sni.is_some() {
            server_config::shared(self.id, &self.base, &certificate)
        } else {
            let mut config = server_config::with_certificate(&self.base, Arc::clone(&certificate));
            config.ticketer = Arc::new(self.tickets.and_address(local.ip()));
            Arc::new(config)
        };
        let Hello { sni, bytes, .. } = hello;
        let stream = Stream::handshake(io, config, bytes).await.map_err(failure)?;
        let info = TlsInfo::new(&stream, sni, certificate);
        Ok(Accepted { stream, info })
    }

    /// Refuses a client for whose name there is nothing behind this listener.
    pub async fn refuse<IO>(&self, mut io: IO, hello: Hello) -> AcceptError<IO>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        hello::send_alert(&mut io, hello::UNRECOGNIZED_NAME).await;
        hello.sni.map_or(AcceptError::NoCertificate, AcceptError::UnknownName)
    }

    /// Asks the table; where it has nothing for the name, has one made and asks again. With it comes why none
    /// was made.
    async fn choose(&self, hello: &Hello, local: SocketAddr, peer: IpAddr) -> (Choice, Option<OnDemandError>) {
        let ask = Ask {
            sni: hello.sni.as_ref().map(Hostname::as_str),
            local: local.ip(),
            schemes: &hello.schemes,
            default: self.default.as_ref(),
            now: unix_now(),
        };
        let mut choice = self.table.choose(&ask);
        if let (Choice::Nothing, Some(host)) = (&choice, &self.default_host) {
            choice = self.table.choose(&Ask { sni: Some(host.as_str()), ..ask });
        }
        // Nothing is made for a name whose HTTPS is switched off.
        if ask.sni.is_some_and(|name| self.table.disabled().contains(name)) {
            return (choice, None);
        }
        let (Choice::UnknownName | Choice::Default(_), Some(name), Some(on_demand)) =
            (&choice, &hello.sni, &self.on_demand)
        else {
            return (choice, None);
        };
        match on_demand.obtain(name.clone(), peer).await {
            Ok(()) => (self.table.choose(&Ask { now: unix_now(), ..ask }), None),
            Err(error) => {
                tracing::debug!(%name, %peer, %error, "no certificate on demand");
                (choice, Some(error))
            }
        }
    }
}

impl<IO> Accepted<IO> {
    /// The outcome's label in the metrics: one of [`OUTCOMES`].
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        if self.info.resumed { "resumed" } else { "ok" }
    }
}

impl<IO> AcceptError<IO> {
    /// What becomes of a connection whose ClientHello could not be read, or not be answered.
    pub async fn from_hello(error: HelloError, mut io: IO) -> Self
    where
        IO: AsyncWrite + Unpin,
    {
        match error {
            HelloError::Foreign(foreign) => Self::Malformed(foreign.refuse(&mut io).await),
            HelloError::PlainHttp => Self::PlainHttp(io),
            HelloError::Malformed(why) => Self::Malformed(why),
            HelloError::Closed => Self::Closed,
        }
    }

    /// The outcome's label in the metrics: one of [`OUTCOMES`].
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::PlainHttp(_) => "plain_http",
            Self::Malformed(_) => "malformed",
            Self::Challenge(_) => "challenge",
            Self::UnknownName(_) => "unknown_name",
            Self::NotReady(..) => "not_ready",
            Self::NoCertificate => "no_certificate",
            Self::Closed => "closed",
            Self::Tls(_) => "tls_error",
        }
    }
}

impl TlsInfo {
    fn new<IO>(stream: &Stream<IO>, sni: Option<Hostname>, certificate: Arc<Certificate>) -> Self {
        let session = stream.state();
        Self {
            sni,
            agreed: session.alpn_protocol().map(|agreed| String::from_utf8_lossy(agreed).into_owned()),
            alpn: if session.alpn_protocol() == Some(server_config::H2) { Alpn::Http2 } else { Alpn::Http1 },
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: session.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
            group: session.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
            resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            certificate: Some(certificate),
        }
    }
}

/// The IANA name; rustls calls those of TLS 1.3 `TLS13_…`.
fn cipher_name(suite: rustls::CipherSuite) -> &'static str {
    match suite {
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or(""),
    }
}

pub(super) fn failure<IO>(error: io::Error) -> AcceptError<IO> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => AcceptError::Tls(tls.to_string()),
        None => AcceptError::Closed,
    }
}

impl fmt::Display for Alpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        })
    }
}

impl<IO> fmt::Debug for AcceptError<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.outcome())
    }
}

impl<IO> fmt::Debug for Accepted<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("info", &self.info).finish_non_exhaustive()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("default", &self.default).finish_non_exhaustive()
    }
}
