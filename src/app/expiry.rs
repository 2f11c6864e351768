//! When certificates expire, as a metric: read off the table when somebody asks.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use crate::certs::Table;

/// `doorward_certificate_expiry_seconds{id}`: unix seconds.
pub(super) struct Expiry {
    table: Arc<Table>,
    gauge: IntGaugeVec,
}

impl Expiry {
    pub(super) fn new(table: Arc<Table>) -> Result<Self, prometheus::Error> {
        let options = Opts::new("doorward_certificate_expiry_seconds", "When a served certificate ends, unix seconds.");
        Ok(Self { table, gauge: IntGaugeVec::new(options, &["id"])? })
    }
}

impl Collector for Expiry {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.reset();
        for certificate in self.table.list() {
            self.gauge.with_label_values(&[certificate.id().as_str()]).set(certificate.not_after());
        }
        self.gauge.collect()
    }
}
