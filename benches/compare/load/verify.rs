//! [`Once`]: certificates are verified, but each only once.

use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Verifies the first handshake in full, and another whenever the certificate is not the one before: three signatures
/// take a client longer than all that a proxy does for a handshake, and it is the proxy that is to be measured.
#[derive(Debug)]
pub(crate) struct Once {
    strict: Arc<WebPkiServerVerifier>,
    /// The certificate of the last handshake that was verified to its end.
    last: Mutex<Vec<u8>>,
}

impl Once {
    pub(crate) fn new(strict: Arc<WebPkiServerVerifier>) -> Self {
        Self { strict, last: Mutex::default() }
    }

    fn knows(&self, certificate: &CertificateDer<'_>) -> bool {
        self.last.lock().expect("no panic")[..] == certificate[..]
    }

    fn unless_known(
        &self,
        certificate: &CertificateDer<'_>,
        verify: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.knows(certificate) {
            verify()?;
            *self.last.lock().expect("no panic") = certificate.to_vec();
        }
        Ok(HandshakeSignatureValid::assertion())
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
        if self.knows(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.strict.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.unless_known(certificate, || self.strict.verify_tls12_signature(message, certificate, signature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.unless_known(certificate, || self.strict.verify_tls13_signature(message, certificate, signature))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}
