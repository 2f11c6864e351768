//! From a listener's options to what rustls runs a handshake by.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::certs::{Certificate, Chosen, provider};
use crate::config::{TlsOptions, TlsVersion};

/// HTTP/2 in ALPN (RFC 9113 §3.1).
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN (RFC 7301 §6).
pub(super) const HTTP1: &[u8] = b"http/1.1";

/// The listener's configuration but for the certificate, which is each connection's own.
///
/// rustls offers nothing that testssl would complain of; what is set here are the versions, ALPN, and tickets in
/// place of a session cache. X25519MLKEM768 comes first by the crate's feature `prefer-post-quantum`.
pub(super) fn base(options: &TlsOptions, tickets: Arc<dyn ProducesTickets>) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match options.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NotChosen));
    config.alpn_protocols = match &options.alpn {
        Some(protocols) => protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
        None if options.http2 => vec![H2.to_vec(), HTTP1.to_vec()],
        None => vec![HTTP1.to_vec()],
    };
    // The order is ours: AES-256-GCM, AES-128-GCM, ChaCha20-Poly1305. All are sound, but scanners look for it.
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    // Early data can be replayed (RFC 8446 §8), and an app behind a proxy can't tell it from the rest.
    config.max_early_data_size = 0;
    Ok(config)
}

/// How many configurations a thread keeps.
const KEPT: usize = 256;

thread_local! {
    static CONFIGS: RefCell<HashMap<(u64, usize), Arc<ServerConfig>>> = RefCell::default();
}

/// The configuration of connections with this certificate, as long as nothing else of it is their own. `listener`
/// stands for `base`.
///
/// Those of a thread share it: it takes a kilobyte, which each connection would hold for all of its life, and to
/// copy it writes to counts that all cores share.
pub(super) fn shared(listener: u64, base: &ServerConfig, certificate: &Arc<Certificate>) -> Arc<ServerConfig> {
    // What is kept holds the certificate, so no other one can come to have its address.
    let key = (listener, Arc::as_ptr(certificate).addr());
    CONFIGS.with_borrow_mut(|configs| {
        if let Some(config) = configs.get(&key) {
            return Arc::clone(config);
        }
        if configs.len() == KEPT {
            // Crude, but names in use are back at once, and certificates that were replaced are not kept for long.
            configs.clear();
        }
        let config = Arc::new(with_certificate(base, Arc::clone(certificate)));
        configs.insert(key, Arc::clone(&config));
        config
    })
}

/// The configuration of one connection: a copy is a few reference counts.
pub(super) fn with_certificate(base: &ServerConfig, certificate: Arc<Certificate>) -> ServerConfig {
    let mut config = base.clone();
    config.cert_resolver = Arc::new(Chosen(certificate));
    config
}

/// Stands where the certificate of each connection goes.
#[derive(Debug)]
struct NotChosen;

impl ResolvesServerCert for NotChosen {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
