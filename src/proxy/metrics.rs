//! What the proxy counts. One set a worker: no two cores write to the same number.

use std::cell::RefCell;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::route::Route;

/// Seconds; from a cached page to a slow report.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// The label of requests that found no route.
const NO_ROUTE: &str = "";

/// The proxy's metrics.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    raw: IntCounterVec,
    raw_bytes: IntCounterVec,
    raw_open: IntGaugeVec,
    retries: IntCounterVec,
    /// Requests under way.
    pub under_way: IntGauge,
    /// Clients of HTTP/2 that broke its rules or asked for too much, and were sent away.
    pub sent_away: IntCounter,
    /// Requests over HTTP/2 that were refused, as memory had no room for more.
    pub refused: IntCounter,
    /// WebSockets and other upgraded connections that are open.
    pub tunnels: IntGauge,
    /// Handles by route index, so that counting a request looks nothing up; the last is for no route.
    routes: RefCell<Vec<Option<RouteMetrics>>>,
}

#[derive(Clone, Debug)]
struct RouteMetrics {
    statuses: Vec<(u16, IntCounter)>,
    duration: Histogram,
}

impl ProxyMetrics {
    /// Metrics in `registry`.
    ///
    /// # Errors
    /// Where they are registered there already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("doorward_requests_total", "Requests answered, by route and status."),
            &["route", "status"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new("doorward_request_duration_seconds", "From a request's head to its answer's end.")
                .buckets(BUCKETS.to_vec()),
            &["route"],
        )?;
        let raw = IntCounterVec::new(
            Opts::new("doorward_raw_connections_total", "Connections passed on as bytes, by route and outcome."),
            &["route", "outcome"],
        )?;
        let raw_bytes = IntCounterVec::new(
            Opts::new("doorward_raw_bytes_total", "Bytes passed on as they are, in from clients and out to them."),
            &["route", "direction"],
        )?;
        let raw_open = IntGaugeVec::new(
            Opts::new("doorward_raw_connections_open", "Connections open that are passed on as bytes, by route."),
            &["route"],
        )?;
        registry.register(Box::new(raw.clone()))?;
        registry.register(Box::new(raw_bytes.clone()))?;
        registry.register(Box::new(raw_open.clone()))?;
        let retries = IntCounterVec::new(
            Opts::new(
                "doorward_backend_retries_total",
                "Requests that one endpoint failed and another could take, by whether the budget had room for it.",
            ),
            &["backend", "outcome"],
        )?;
        registry.register(Box::new(retries.clone()))?;
        let under_way = IntGauge::new("doorward_requests_under_way", "Requests that have no complete answer yet.")?;
        let tunnels = IntGauge::new("doorward_tunnels_open", "WebSockets and other upgraded connections open.")?;
        let sent_away = IntCounter::new(
            "doorward_http2_sent_away_total",
            "HTTP/2 connections ended for broken rules, slow heads or floods.",
        )?;
        registry.register(Box::new(sent_away.clone()))?;
        let refused = IntCounter::new(
            "doorward_http2_refused_total",
            "Requests over HTTP/2 that were refused, as the memory limit had no room for more at once.",
        )?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(under_way.clone()))?;
        registry.register(Box::new(tunnels.clone()))?;
        let routes = RefCell::default();
        Ok(Self {
            requests,
            durations,
            raw,
            raw_bytes,
            raw_open,
            retries,
            under_way,
            sent_away,
            refused,
            tunnels,
            routes,
        })
    }

    /// Counts a request that ended.
    pub(super) fn ended(&self, route: Option<&Route>, status: u16, took: Duration) {
        let mut routes = self.routes.borrow_mut();
        let index = route.map_or(0, |route| route.index + 1);
        if routes.len() <= index {
            routes.resize_with(index + 1, || None);
        }
        let name = route.map_or(NO_ROUTE, |route| &route.name);
        let metrics = routes[index].get_or_insert_with(|| RouteMetrics {
            statuses: Vec::new(),
            duration: self.durations.with_label_values(&[name]),
        });
        match metrics.statuses.iter().find(|(known, _)| *known == status) {
            Some((_, counter)) => counter.inc(),
            None => {
                let counter = self.requests.with_label_values(&[name, &status.to_string()]);
                counter.inc();
                metrics.statuses.push((status, counter));
            }
        }
        metrics.duration.observe(took.as_secs_f64());
    }

    /// The gauge of a route's connections that are passed on as bytes.
    pub(super) fn raw_open(&self, route: &Route) -> IntGauge {
        self.raw_open.with_label_values(&[&*route.name])
    }

    /// The counters of what such connections carry, in and out.
    pub(super) fn raw_bytes(&self, route: &Route) -> [IntCounter; 2] {
        ["in", "out"].map(|direction| self.raw_bytes.with_label_values(&[&*route.name, direction]))
    }

    /// Counts a connection that was passed on whole, at its end.
    pub(super) fn raw_ended(&self, route: Option<&Route>, outcome: &str) {
        self.raw.with_label_values(&[route.map_or(NO_ROUTE, |route| &route.name), outcome]).inc();
    }

    /// Counts a request that is taken to another endpoint, or is not because too many are already.
    pub(super) fn retry(&self, backend: &str, allowed: bool) {
        self.retries.with_label_values(&[backend, if allowed { "retried" } else { "over_budget" }]).inc();
    }

    /// Drops the handles: the indices belong to a table that was replaced.
    pub(super) fn forget_routes(&self) {
        self.routes.borrow_mut().clear();
    }
}
