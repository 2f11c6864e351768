//! [`Once`]: certificates are verified, but each only once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Verifies the first handshake in full, and another whenever the certificate is not the one before: three signatures
/// take a client longer than all that a proxy does for a handshake, and it is the proxy that is to be measured. For one
/// handshake at a time.
#[derive(Debug)]
pub(crate) struct Once {
    strict: Arc<WebPkiServerVerifier>,
    last: Mutex<Vec<u8>>,
    is_known: AtomicBool,
}

impl Once {
    pub(crate) fn new(strict: Arc<WebPkiServerVerifier>) -> Self {
        Self { strict, last: Mutex::default(), is_known: AtomicBool::new(false) }
    }

    fn unless_known(
        &self,
        verify: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.is_known.load(Ordering::Relaxed) { Ok(HandshakeSignatureValid::assertion()) } else { verify() }
    }
}

impl ServerCertVerifier for Once {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut last = self.last.lock().expect("no panic");
        let is_known = last[..] == end_entity[..];
        self.is_known.store(is_known, Ordering::Relaxed);
        if is_known {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.strict.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        *last = end_entity.to_vec();
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.unless_known(|| self.strict.verify_tls12_signature(message, certificate, signature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.unless_known(|| self.strict.verify_tls13_signature(message, certificate, signature))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}
