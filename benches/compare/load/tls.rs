//! Connections to a contender: the same groups and ciphers for each, so that none is measured at another's task.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::verify::Once;

/// The longest that anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Whom to talk to, and how.
#[derive(Args)]
pub(crate) struct Target {
    /// Where the contender listens.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The name to ask for (SNI and Host).
    #[arg(long)]
    pub(crate) name: String,
    /// The CA to believe, PEM; without it no TLS is spoken.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// The TLS version.
    #[arg(long, value_enum, default_value = "1.3")]
    pub(crate) tls: Version,
    /// The path to ask for.
    #[arg(long, default_value = "/tiny")]
    pub(crate) path: String,
}

impl Target {
    /// A request over HTTP/1.1.
    pub(crate) fn request(&self, close: bool) -> String {
        let connection = if close { "Connection: close\r\n" } else { "" };
        format!("GET {} HTTP/1.1\r\nHost: {}\r\n{connection}\r\n", self.path, self.name)
    }
}

/// A TLS version.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

/// A connection, with TLS or without.
pub(crate) enum Stream {
    /// Over TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Plain.
    Plain(TcpStream),
}

/// What one user of the tool connects with; sessions are remembered here.
pub(crate) struct Client<'a> {
    target: &'a Target,
    config: Option<Arc<ClientConfig>>,
}

impl<'a> Client<'a> {
    /// With sessions resumed or not; `alpn` is offered alone.
    pub(crate) fn new(target: &'a Target, resume: bool, alpn: &str) -> Self {
        let config = target.ca.as_ref().map(|ca| Arc::new(config(ca, target.tls, resume, alpn)));
        Self { target, config }
    }

    /// Connects, and ends the handshake.
    pub(crate) fn connect(&self) -> io::Result<Stream> {
        let mut socket = TcpStream::connect_timeout(&self.target.address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let Some(config) = &self.config else { return Ok(Stream::Plain(socket)) };
        let name = ServerName::try_from(self.target.name.clone()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
    }
}

fn config(ca: &PathBuf, version: Version, resume: bool, alpn: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(&super::read(ca)).expect("a CA's certificate in PEM");
    roots.add(root).expect("a CA's certificate");
    let provider = CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        // P-256 only for the sake of certificates: OpenSSL takes TLS 1.2 with one from those alone that offer its curve.
        kx_groups: vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    };
    let version = match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    };
    let provider = Arc::new(provider);
    let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = Arc::new(Once::new(strict.build().expect("a CA")));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version that the ciphers fit")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config.resumption = if resume { Resumption::in_memory_sessions(64) } else { Resumption::disabled() };
    config
}

impl Stream {
    /// Version, group and cipher that were agreed on, for a comparison of contenders.
    pub(crate) fn agreed(&self) -> String {
        let Self::Tls(tls) = self else { return "plain".to_owned() };
        let version = tls.conn.protocol_version().map(|version| format!("{version:?}"));
        let group = tls.conn.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
        let suite = tls.conn.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        [version, group, suite].map(|part| part.unwrap_or_else(|| "-".to_owned())).join(" ")
    }

    /// Whether a session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        match self {
            Self::Tls(tls) => tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            Self::Plain(_) => false,
        }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Tls(tls) => &tls.sock,
            Self::Plain(socket) => socket,
        }
    }

    /// Asks over HTTP/1.1 and reads the answer, which has to be a 200 with a length; says how many bytes it had.
    pub(crate) fn get(&mut self, target: &Target, close: bool) -> io::Result<usize> {
        self.write_all(target.request(close).as_bytes())?;
        self.flush()?;
        let mut answer = Vec::with_capacity(2048);
        let mut room = [0; 8192];
        loop {
            let read = self.read(&mut room)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&room[..read]);
            if is_whole(&answer)? {
                return Ok(answer.len());
            }
        }
    }
}

fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(format!("answered: {}", head.lines().next().unwrap_or_default())));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other("the answer has no content-length"))?;
    Ok(answer.len() >= end + 4 + length)
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(tls) => tls.read(room),
            Self::Plain(socket) => socket.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tls(tls) => tls.write(bytes),
            Self::Plain(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(tls) => tls.flush(),
            Self::Plain(socket) => socket.flush(),
        }
    }
}
