//! What the listeners count, per worker.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::tls::OUTCOMES;

/// The listeners' metrics.
#[derive(Clone, Debug)]
pub(super) struct ListenMetrics {
    /// Connections taken.
    pub(super) accepted: IntCounter,
    /// Connections open now.
    pub(super) open: IntGauge,
    /// Times that taking a connection failed, as when descriptors run out.
    pub(super) accept_errors: IntCounter,
    handshakes: Vec<(&'static str, IntCounter)>,
}

impl ListenMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let accepted = IntCounter::new("doorward_connections_total", "Client connections taken.")?;
        let open = IntGauge::new("doorward_connections_open", "Client connections open.")?;
        let accept_errors = IntCounter::new("doorward_accept_errors_total", "Failures to take a connection.")?;
        let outcomes =
            IntCounterVec::new(Opts::new("doorward_handshakes_total", "TLS handshakes, by outcome."), &["outcome"])?;
        registry.register(Box::new(accepted.clone()))?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(accept_errors.clone()))?;
        registry.register(Box::new(outcomes.clone()))?;
        let handshakes = OUTCOMES.iter().map(|outcome| (*outcome, outcomes.with_label_values(&[*outcome]))).collect();
        Ok(Self { accepted, open, accept_errors, handshakes })
    }

    pub(super) fn handshake(&self, outcome: &str) {
        if let Some((_, counter)) = self.handshakes.iter().find(|(known, _)| *known == outcome) {
            counter.inc();
        }
    }
}
