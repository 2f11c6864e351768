//! ACME (RFC 8555): who needs a certificate, when, and how one is got. Floor 5.
//!
//! The [`Manager`] has one task (`keeper`) for all certificates that are wanted, and a `desk` on which they lie in
//! the order of time. It looks at one when its time comes (`plan`, `renewal`). What is to be ordered stands in a
//! `line`: renewals first, and so many at once for each CA. An order takes the lock in storage, looks again whether
//! there still is something to do, and takes a `turn`: it asks issuer by issuer and tries challenge by challenge,
//! each order within the CA's limits (`budget`) and made by `issuer`. A CA that is down is left alone by all
//! (`outage`). Names can come from handshakes too ([`OnDemandIssuer`]). The result goes to the storage and nowhere
//! else: `certs::Stored` serves it from there, on this node and on every other. What fails is kept (`backoff`) and
//! tried again ever more seldom. All of it is made anew from the storage at a start.

mod account;
mod ask;
mod asked;
mod backoff;
mod budget;
mod ca;
mod certificate;
mod clock;
mod desk;
mod dns01;
mod error;
mod guard;
mod http01;
mod identity;
mod issuer;
mod keeper;
mod ledger;
mod line;
mod manager;
mod memory;
mod network;
mod on_demand;
mod outage;
mod plan;
mod probe;
mod progress;
mod record;
mod renewal;
mod request;
mod session;
mod solver;
mod status;
mod tended;
mod tending;
mod tls_alpn01;
mod turn;
mod wanted;

pub use account::account_uri;
pub use asked::{Asked, Reason, find_issuer, revoke};
pub use backoff::Pace;
pub use budget::{BudgetView, LimitView, budget};
pub use clock::{Clock, ClockHand};
pub use dns01::Dns01;
pub use error::AcmeError;
pub use http01::Http01;
pub use identity::caa_identities;
pub use manager::{Manager, Services};
pub use on_demand::OnDemandIssuer;
pub use outage::IssuerStatus;
pub use renewal::{Validity, Window};
pub use solver::{Challenge, Solver, lock_name};
pub use status::{Kept, State, Status};
pub use tls_alpn01::TlsAlpn01;
pub use wanted::Wanted;

use crate::config::CertificateId;
use crate::names::HostPattern;

/// What the certificate for these names is called, in whatever order they are: `cert-` and a short hash.
#[must_use]
pub fn certificate_id(names: &[HostPattern]) -> CertificateId {
    let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names.dedup();
    CertificateId::new(format!("cert-{}", short_hash(names.iter().map(String::as_str))))
}

/// 48 bits of SHA-256 over the parts, in hex.
fn short_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let joined = parts.into_iter().collect::<Vec<_>>().join("\n");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, joined.as_bytes());
    hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_called_the_same_whatever_the_order_of_its_names() {
        let names = |list: &[&str]| list.iter().map(|n| n.parse().expect("a name")).collect::<Vec<HostPattern>>();
        let id = certificate_id(&names(&["a.test", "b.test"]));
        assert_eq!(id, certificate_id(&names(&["b.test", "a.test", "b.test"])));
        assert_ne!(id, certificate_id(&names(&["a.test"])));
        assert!(id.as_str().starts_with("cert-") && id.as_str().len() == 17, "{id}");
    }
}
