//! TLS to a backend: who is believed to be it, and as whom doorward comes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ::aws_lc_rs::digest;
use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::BackendAddress;
use crate::config::{BackendCa, BackendSni, BackendTls};
use crate::read;

/// Sessions that a worker keeps for one transport.
const SESSIONS: usize = 64;

/// How endpoints with the same TLS settings are spoken to. Its files may change while it is used.
#[derive(Debug)]
pub struct Transport {
    settings: BackendTls,
    id: u64,
    current: ArcSwap<Published>,
    /// As the files were before they were read last.
    stamps: Mutex<Vec<Stamp>>,
}

/// What tells that a file has changed, through symlinks: time, length and inode; none where it is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

/// A client config, and how many there were before it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) generation: u64,
    pub(super) config: Arc<ClientConfig>,
}

/// Why TLS to a backend cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}; put the path right, or let doorward's user read the file")]
    Read(PathBuf, std::io::Error),
    /// A file holds something else.
    #[error("{0} holds no {1} in PEM: {2}")]
    Pem(PathBuf, &'static str, String),
    /// The system has no CAs.
    #[error("the system has no CA certificates; install ca-certificates, or name a CA in tls.ca")]
    NoRoots,
    /// The certificate and key do not work together.
    #[error("{0} and {1} cannot be used as a client certificate: {2}")]
    Client(PathBuf, PathBuf, rustls::Error),
    /// The CAs cannot be used.
    #[error("the CAs of {0} cannot be used: {1}")]
    Roots(String, String),
    /// TLS itself refuses.
    #[error("TLS to backends cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Transport {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn new(settings: BackendTls) -> Result<Self, TransportError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let stamps = Mutex::new(stamps(&settings));
        let config = client_config(&settings)?;
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { settings, id, current: ArcSwap::from_pointee(Published { generation: 0, config }), stamps })
    }

    /// Reads the files again; handshakes from now on go by them, and kept connections are not used again.
    ///
    /// # Errors
    /// [`TransportError`]: what was there stays.
    pub fn reload(&self) -> Result<(), TransportError> {
        let config = client_config(&self.settings)?;
        let generation = self.current.load().generation + 1;
        self.current.store(Arc::new(Published { generation, config }));
        Ok(())
    }

    /// Whether a file has changed since this was asked last, or since the start.
    #[must_use]
    pub fn have_files_changed(&self) -> bool {
        let now = stamps(&self.settings);
        let mut before = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *before != now;
        *before = now;
        changed
    }

    /// The files that it depends on.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.settings.files()
    }

    /// Whether it believes anybody.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.settings.insecure
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Published>> {
        self.current.load()
    }

    /// The name that rustls is given: it is asked for where the settings say so, and checked unless another one is.
    pub(super) fn name(&self, address: &BackendAddress) -> Option<ServerName<'static>> {
        let name = match &self.settings.sni {
            BackendSni::Name(name) => name.clone(),
            _ => self.settings.server_name.clone().or_else(|| address.host())?,
        };
        ServerName::try_from(name).ok()
    }
}

/// A copy of a published config with sessions of its own: those of two workers, or of before and after a change of
/// CA, do not mix.
pub(super) fn with_own_sessions(published: &ClientConfig) -> Arc<ClientConfig> {
    let mut own = published.clone();
    own.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(own)
}

fn client_config(settings: &BackendTls) -> Result<Arc<ClientConfig>, TransportError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|error| TransportError::Pem(key.clone(), "private key", error.to_string()))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| TransportError::Client(certificate.clone(), key.clone(), error))?
        }
    };
    config.enable_sni = settings.sni != BackendSni::Off;
    Ok(Arc::new(config))
}

fn stamps(settings: &BackendTls) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let data = std::fs::metadata(file).ok()?;
        Some((data.modified().ok()?, data.len(), data.ino()))
    };
    settings.files().map(stamp).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    read::file(path, read::SMALL).map_err(|error| TransportError::Read(path.to_owned(), error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let bytes = read(path)?;
    let pem = |reason: String| TransportError::Pem(path.to_owned(), "certificate", reason);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| pem(error.to_string()))?;
    if certificates.is_empty() {
        Err(pem("it has no -----BEGIN CERTIFICATE-----".to_owned()))
    } else {
        Ok(certificates)
    }
}

/// Decides who is the backend: by a chain to a CA and a name, by the key, by both, or by nothing.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The name to check, where it is not the one that is asked for.
    name: Option<ServerName<'static>>,
    pins: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(settings: &BackendTls, provider: &Arc<CryptoProvider>) -> Result<Self, TransportError> {
        let chain = if settings.checks_chain() {
            let (roots, whose) = roots(&settings.ca)?;
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            Some(verifier.map_err(|error| TransportError::Roots(whose, error.to_string()))?)
        } else {
            None
        };
        let name = settings.server_name.clone().and_then(|name| ServerName::try_from(name).ok());
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { chain, name, pins: settings.pins.clone(), algorithms })
    }
}

fn roots(ca: &BackendCa) -> Result<(RootCertStore, String), TransportError> {
    let mut roots = RootCertStore::empty();
    match ca {
        BackendCa::File(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| {
                    TransportError::Pem(path.clone(), "CA certificate that can be used", error.to_string())
                })?;
            }
            Ok((roots, path.display().to_string()))
        }
        BackendCa::Default | BackendCa::System => {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 { Err(TransportError::NoRoots) } else { Ok((roots, "the system".to_owned())) }
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            let name = self.name.as_ref().unwrap_or(server_name);
            chain.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)?;
        }
        if !self.pins.is_empty() {
            let (_, certificate) = X509Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
            let key = digest::digest(&digest::SHA256, certificate.public_key().raw);
            if !self.pins.iter().any(|pin| pin == key.as_ref()) {
                return Err(rustls::Error::General("the backend's key has none of the pinned fingerprints".to_owned()));
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
