//! [`Wanted`]: a certificate that somebody wants from ACME.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Asked;
use crate::config::{self, CertificateId};
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
    /// Whether a client asked for it, at a handshake.
    pub on_demand: bool,
    /// What an operator asked for who had it generated; none: a route wants it, and what covers its names will do.
    pub asked: Option<Asked>,
}

impl Wanted {
    /// What it is ordered by.
    pub(super) fn acme(&self, acme: Option<&Arc<config::Acme>>) -> Option<Arc<config::Acme>> {
        acme.map(|acme| self.asked.as_ref().map_or_else(|| Arc::clone(acme), |asked| asked.tailor(acme)))
    }

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
        let asked = one.asked.clone();
        let entry = all.entry(one.id.clone()).or_insert(one);
        entry.self_signed_meanwhile |= self_signed_meanwhile;
        // What an operator asked for goes before what a route leaves open.
        entry.asked = entry.asked.take().or(asked);
    }
    all
}

/// Those that are wanted and have a wildcard among their names.
pub(super) type Wildcards = Vec<(CertificateId, Vec<HostPattern>)>;

/// Finds them.
pub(super) fn wildcards(wanted: &BTreeMap<CertificateId, Wanted>) -> Wildcards {
    let with_wildcard = wanted.values().filter(|one| one.names.iter().any(HostPattern::is_wildcard));
    with_wildcard.map(|one| (one.id.clone(), one.names.clone())).collect()
}
