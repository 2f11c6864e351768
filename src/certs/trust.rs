//! Whether the public's clients would trust a certificate, as far as this system's roots can tell.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Certificate, provider};
use crate::names::HostPattern;

/// Whether this system trusts the issuer; none where it has no roots to tell by.
pub fn is_trusted(certificate: &Certificate) -> Option<bool> {
    if certificate.is_self_signed() {
        return Some(false);
    }
    static VERIFIER: OnceLock<Option<Arc<WebPkiServerVerifier>>> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(verifier).as_ref()?;
    let chain: Vec<_> = certificate.chain().map(|der| CertificateDer::from(der.to_vec())).collect();
    let (leaf, intermediates) = chain.split_first()?;
    let name = certificate.names().first().map(sample)?;
    let name = ServerName::try_from(name).ok()?;
    // At a time when it is valid: its dates are told apart from its issuer.
    let middle = certificate.not_before() + (certificate.not_after() - certificate.not_before()) / 2;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(middle).unwrap_or(0)));
    Some(verifier.verify_server_cert(leaf, intermediates, &name, &[], at).is_ok())
}

fn verifier() -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return None;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider())).build().ok()
}

/// A name that the pattern stands for.
fn sample(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Wildcard(base) => format!("x.{base}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Order, TestCa};
    use super::*;

    #[test]
    fn what_a_private_ca_issued_is_not_trusted() {
        let certificate = TestCa::new("trust").certificate("x", Order::new(&["*.a.test"]));
        // Without any roots there is nothing to tell by.
        assert_ne!(is_trusted(&certificate), Some(true));
    }
}
