//! An app with TLS of its own.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Leaf, Origin};

/// The app's end of a connection.
pub(crate) type Secure = StreamOwned<ServerConnection, TcpStream>;

impl Origin {
    /// Runs `script` for each connection, which begins with TLS and this certificate.
    pub(crate) fn secure(leaf: &Leaf, script: impl Fn(Secure) + Send + Sync + 'static) -> Self {
        let config = Arc::new(server_config(leaf));
        Self::raw(move |stream, _| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            script(StreamOwned::new(session, stream));
        })
    }
}

fn server_config(leaf: &Leaf) -> ServerConfig {
    let chain = CertificateDer::pem_slice_iter(leaf.full_chain().as_bytes()).collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate")
}
