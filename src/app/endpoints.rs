//! Backends' endpoints as operators see them: metrics, `status`, and what they are told to do.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::State;
use crate::admin::backends::{DutyRequest, Told};
use crate::admin::certs::Refused;
use crate::admin::view::{EndpointState, EndpointView};
use crate::backend::{Backend, Duty, EndpointReport};
use crate::proxy::Settings;

const LABELS: [&str; 2] = ["backend", "endpoint"];

/// What of a report a metric shows.
type Value = fn(&EndpointReport) -> u64;

/// `doorward_backend_…{backend, endpoint}`, read off the endpoints when somebody asks.
pub(super) struct Endpoints {
    settings: Arc<ArcSwap<Settings>>,
    gauges: [(IntGaugeVec, Value); 3],
    counters: [(IntCounterVec, Value); 5],
}

impl Endpoints {
    pub(super) fn new(settings: Arc<ArcSwap<Settings>>) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &LABELS);
        let counter = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &LABELS);
        Ok(Self {
            settings,
            gauges: [
                (
                    gauge("doorward_backend_up", "1 where the endpoint can serve: it is neither down nor left alone.")?,
                    |r| u64::from(!r.down && !r.ejected),
                ),
                (gauge("doorward_backend_in_flight", "Requests and raw connections under way there.")?, |r| {
                    r.in_flight
                }),
                (gauge("doorward_backend_queued", "Requests that wait for a place there.")?, |r| r.queued.into()),
            ],
            counters: [
                (counter("doorward_backend_requests_total", "Requests and raw connections taken there.")?, |r| {
                    r.requests
                }),
                (counter("doorward_backend_failures_total", "Those that got no connection or no answer.")?, |r| {
                    r.failures
                }),
                (counter("doorward_backend_ejections_total", "How often it was left alone for its failures.")?, |r| {
                    r.ejections
                }),
                (counter("doorward_backend_refused_total", "Requests that got no place there in time.")?, |r| {
                    r.refused
                }),
                (counter("doorward_backend_tls_failures_total", "TLS handshakes with it that failed.")?, |r| {
                    r.tls_failures
                }),
            ],
        })
    }
}

impl Collector for Endpoints {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        gauges.chain(self.counters.iter().flat_map(|(counter, _)| counter.desc())).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauges.iter().for_each(|(gauge, _)| gauge.reset());
        self.counters.iter().for_each(|(counter, _)| counter.reset());
        for backend in backends(&self.settings.load()) {
            for report in backend.report() {
                let address = report.address.to_string();
                let labels = [&*backend.name, address.as_str()];
                for (gauge, value) in &self.gauges {
                    gauge.with_label_values(&labels).set(i64::try_from(value(&report)).unwrap_or(i64::MAX));
                }
                for (counter, value) in &self.counters {
                    counter.with_label_values(&labels).inc_by(value(&report));
                }
            }
        }
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.collect());
        gauges.chain(self.counters.iter().flat_map(|(counter, _)| counter.collect())).collect()
    }
}

impl State {
    /// Gives endpoints something else to do.
    pub(super) fn set_duty(&self, request: &DutyRequest) -> Result<Told, Refused> {
        let duty = match request.duty {
            EndpointState::Draining => Duty::Drain,
            EndpointState::Disabled => Duty::Off,
            _ => Duty::On,
        };
        let settings = self.shared.settings.load();
        let of_name = |backend: &&Arc<Backend>| request.backend.as_ref().is_none_or(|name| *name == *backend.name);
        let list = backends(&settings);
        let mut told = HashSet::new();
        let mut by_config = false;
        for backend in list.iter().filter(of_name) {
            for member in self.backends.set_duty(backend, &request.endpoint, duty) {
                by_config |= member.drain && duty == Duty::On;
                let (backend, endpoint) = (&*backend.name, &member.endpoint.address.to_string());
                told.insert((backend.to_owned(), endpoint.clone()));
                match duty {
                    Duty::On => tracing::info!(backend, endpoint, "an operator brings the endpoint back"),
                    Duty::Drain => tracing::warn!(backend, endpoint, "an operator drains the endpoint"),
                    Duty::Off => tracing::warn!(backend, endpoint, "an operator takes the endpoint out"),
                }
            }
        }
        if told.is_empty() {
            let of = request.backend.as_ref().map_or_else(String::new, |name| format!(" of backend {name:?}"));
            let known: Vec<_> = list.iter().flat_map(|backend| &backend.members).collect();
            let known: HashSet<_> = known.iter().map(|member| member.endpoint.address.to_string()).collect();
            let mut known: Vec<_> = known.into_iter().collect();
            known.sort();
            let (message, known) = (format!("no endpoint{of} is {:?}", request.endpoint), known.join(", "));
            return Err(Refused::Unknown(format!("{message}; there are: {known}")));
        }
        if by_config {
            let message = "the config has drain = true or weight = 0 for it: change that and reload";
            return Err(Refused::No(message.to_owned()));
        }
        let is_it = |view: &EndpointView| told.contains(&(view.backend.clone(), view.endpoint.clone()));
        Ok(Told { endpoints: views(&settings).into_iter().filter(is_it).collect() })
    }
}

/// Every endpoint in use, backend by backend.
pub(super) fn views(settings: &Settings) -> Vec<EndpointView> {
    let of_backend = |backend: &Arc<Backend>| -> Vec<EndpointView> {
        backend.report().into_iter().map(|report| view(&backend.name, report)).collect()
    };
    backends(settings).iter().flat_map(of_backend).collect()
}

fn view(backend: &str, report: EndpointReport) -> EndpointView {
    EndpointView {
        backend: backend.to_owned(),
        endpoint: report.address.to_string(),
        state: match report.duty {
            Duty::Off => EndpointState::Disabled,
            Duty::Drain => EndpointState::Draining,
            Duty::On if report.down => EndpointState::Down,
            Duty::On if report.ejected => EndpointState::Ejected,
            Duty::On => EndpointState::Up,
        },
        reason: report.reason,
        by_config: report.by_config,
        weight: report.weight,
        backup: report.tier > 0,
        tier: report.tier,
        in_flight: report.in_flight,
        max_connections: report.max_connections,
        queued: report.queued,
        requests: report.requests,
        failures: report.failures,
        ejections: report.ejections,
        refused: report.refused,
        tls_failures: report.tls_failures,
        addresses: report.addresses,
    }
}

/// The backends of all routes, each once, in the routes' order.
fn backends(settings: &Settings) -> Vec<Arc<Backend>> {
    let mut seen = HashSet::new();
    let all = settings.routes.routes().iter().map(|route| &route.backend);
    all.filter(|backend| seen.insert(Arc::as_ptr(backend))).cloned().collect()
}
