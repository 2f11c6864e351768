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
    /// The same, not summed over workers, and with those that are on their way to this one.
    pub(super) load: IntGauge,
    /// Connections that this worker took and gave to another.
    pub(super) given: IntCounter,
    /// Times that taking a connection failed, as when descriptors run out.
    pub(super) accept_errors: IntCounter,
    handshakes: Vec<(&'static str, IntCounter)>,
    proxied: Vec<(&'static str, IntCounter)>,
}

/// What becomes of a connection that has to begin with a PROXY protocol header.
const PROXIED: [&str; 7] = ["ok", "local", "untrusted", "malformed", "too_long", "closed", "timeout"];

impl ListenMetrics {
    pub(super) fn new(index: usize, registry: &Registry) -> Result<Self, prometheus::Error> {
        let accepted = IntCounter::new("doorward_connections_total", "Client connections taken.")?;
        let open = IntGauge::new("doorward_connections_open", "Client connections open.")?;
        let load = Opts::new("doorward_worker_connections_open", "Client connections open, by worker.");
        let load = IntGauge::with_opts(load.const_label("worker", index.to_string()))?;
        let given = IntCounter::new(
            "doorward_connections_given_total",
            "Client connections that one worker took and another served, as it had fewer.",
        )?;
        let accept_errors = IntCounter::new("doorward_accept_errors_total", "Failures to take a connection.")?;
        let outcomes =
            IntCounterVec::new(Opts::new("doorward_handshakes_total", "TLS handshakes, by outcome."), &["outcome"])?;
        registry.register(Box::new(accepted.clone()))?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(load.clone()))?;
        registry.register(Box::new(given.clone()))?;
        registry.register(Box::new(accept_errors.clone()))?;
        registry.register(Box::new(outcomes.clone()))?;
        let handshakes = OUTCOMES.iter().map(|outcome| (*outcome, outcomes.with_label_values(&[*outcome]))).collect();
        let headers = Opts::new("doorward_proxy_protocol_headers_total", "PROXY protocol headers, by outcome.");
        let headers = IntCounterVec::new(headers, &["outcome"])?;
        registry.register(Box::new(headers.clone()))?;
        let proxied = PROXIED.iter().map(|outcome| (*outcome, headers.with_label_values(&[*outcome]))).collect();
        Ok(Self { accepted, open, load, given, accept_errors, handshakes, proxied })
    }

    pub(super) fn handshake(&self, outcome: &str) {
        count(&self.handshakes, outcome);
    }

    pub(super) fn proxied(&self, outcome: &str) {
        count(&self.proxied, outcome);
    }
}

fn count(counters: &[(&'static str, IntCounter)], outcome: &str) {
    if let Some((_, counter)) = counters.iter().find(|(known, _)| *known == outcome) {
        counter.inc();
    }
}
