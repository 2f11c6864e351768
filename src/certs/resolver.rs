//! [`Chosen`]: rustls' question for a certificate, answered with the one that was chosen before.
//!
//! rustls asks in the middle of the handshake and cannot wait. The choice needs more than rustls tells
//! (the local address), may have to wait (on demand), and is reported in the access log; so it is made once,
//! before the handshake goes on, and both hear the same answer.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Certificate;

/// Answers every ClientHello of one connection (there are two after a HelloRetryRequest) with this certificate.
#[derive(Debug)]
pub struct Chosen(pub Arc<Certificate>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.certified_key()))
    }
}
