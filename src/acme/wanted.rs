//! [`Wanted`]: a certificate that somebody wants from ACME.

use std::collections::BTreeMap;

use crate::config::CertificateId;
use crate::names::HostPattern;

/// A certificate that a route wants from ACME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is called in storage and in the table; [`super::certificate_id`] makes one.
    pub id: CertificateId,
    /// Its names: at least one. Wildcards need a solver of DNS-01 for their zone.
    pub names: Vec<HostPattern>,
    /// Whether one of the local CA is served until the first one is there.
    pub self_signed_meanwhile: bool,
}

impl Wanted {
    /// Its names sorted, so that another order in the config is no change.
    fn in_order(mut self) -> Self {
        self.names.sort();
        self.names.dedup();
        self
    }
}

/// Routes for the same names share a certificate, and what one of them allows is allowed.
pub(super) fn by_id(wanted: Vec<Wanted>) -> BTreeMap<CertificateId, Wanted> {
    let mut all: BTreeMap<CertificateId, Wanted> = BTreeMap::new();
    for one in wanted.into_iter().map(Wanted::in_order) {
        let self_signed_meanwhile = one.self_signed_meanwhile;
        all.entry(one.id.clone()).or_insert(one).self_signed_meanwhile |= self_signed_meanwhile;
    }
    all
}
