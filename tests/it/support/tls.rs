//! A raw client: rustls, and exactly the bytes that the test says, in exactly its segments.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::{PATIENCE, Reply, ca, read_reply};

/// An open connection.
pub(crate) struct Tls {
    /// For whatever the methods do not do.
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

/// A client that trusts the tests' CA, with this ALPN.
pub(crate) fn client_config(alpn: &[&str]) -> ClientConfig {
    client_config_of(alpn, rustls::ALL_VERSIONS)
}

/// As [`client_config`], for some versions only.
pub(crate) fn client_config_of(alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca().root_pem.as_bytes()).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

impl Tls {
    /// To `name` at `address`, for HTTP/1.1, handshake done.
    pub(crate) fn connect(address: SocketAddr, name: &str) -> Self {
        Self::with(client_config(&["http/1.1"]), address, name).unwrap_or_else(|fault| panic!("{name}: {fault}"))
    }

    /// With a config of the test's own; the fault where the handshake fails.
    pub(crate) fn with(config: impl Into<Arc<ClientConfig>>, address: SocketAddr, name: &str) -> std::io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(config.into(), name).expect("a client");
        let mut stream = StreamOwned::new(connection, tcp(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// The certificate that was served.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().expect("a certificate")[0].clone()
    }

    /// The port that it comes from.
    pub(crate) fn local_port(&self) -> u16 {
        self.stream.sock.local_addr().expect("an address").port()
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("doorward takes the bytes");
        self.stream.flush().expect("doorward takes the bytes");
        self
    }

    /// Reads one answer.
    pub(crate) fn reply(&mut self) -> Reply {
        read_reply(&mut self.stream, false)
    }

    /// A GET on this connection, and its answer.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).reply()
    }

    /// Reads to the end; whether it came with a close_notify (or a plain FIN), and not not at all.
    pub(crate) fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(fault) => !matches!(fault.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        }
    }
}

/// A plain connection that fails a test rather than hang it.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("doorward listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}
