//! The metrics registry. Floor 1: each room declares its own metrics and registers them here.
//!
//! Every data-plane worker counts in a registry of its own, so that no two cores share a counter's
//! cache line; [`Metrics::gather`] adds them up when somebody asks.

mod process;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};

/// The media type of what [`Metrics::gather`] returns.
pub const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

/// All registries of the process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registries: Arc<Mutex<Vec<Registry>>>,
}

impl Metrics {
    /// A further registry, whose metrics are added to those of the same name and labels in the others.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let registry = Registry::new();
        self.registries.lock().unwrap_or_else(PoisonError::into_inner).push(registry.clone());
        registry
    }

    /// Everything that the registries hold, and the process's own metrics, in Prometheus's text format
    /// (version 0.0.4): families by name, one sample for each set of labels.
    ///
    /// Counters, gauges and histograms of the same name and labels are summed over the registries. A family
    /// that two registries declare with different types, and a histogram with other bucket bounds, keeps what
    /// came first: a sum of unlike things would be a lie.
    #[must_use]
    pub fn gather(&self) -> String {
        let registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut families = Families::default();
        for registry in registries {
            registry.gather().into_iter().for_each(|family| families.add(family));
        }
        process::families().into_iter().for_each(|family| families.add(family));
        let mut text = String::new();
        for family in families.finish() {
            // One family that cannot be written does not take the others with it.
            let mut one = String::new();
            match TextEncoder::new().encode_utf8(&[family], &mut one) {
                Ok(()) => text.push_str(&one),
                Err(error) => tracing::warn!(%error, "a metric cannot be shown"),
            }
        }
        text
    }
}

/// A family's samples by their labels.
type Samples = BTreeMap<Vec<(String, String)>, Metric>;

/// Families by name, each with its samples by their labels.
#[derive(Default)]
struct Families {
    by_name: BTreeMap<String, (MetricFamily, Samples)>,
}

impl Families {
    fn add(&mut self, mut family: MetricFamily) {
        let metrics = std::mem::take(family.mut_metric());
        let kind = family.get_field_type();
        let (declared, samples) =
            self.by_name.entry(family.name().to_owned()).or_insert_with(|| (family, BTreeMap::new()));
        if declared.get_field_type() != kind {
            tracing::warn!(metric = declared.name(), "declared with two types, only the first is shown");
            return;
        }
        for metric in metrics {
            match samples.entry(labels(&metric)) {
                Entry::Vacant(entry) => {
                    entry.insert(metric);
                }
                Entry::Occupied(mut entry) => sum(entry.get_mut(), &metric, kind),
            }
        }
    }

    fn finish(self) -> impl Iterator<Item = MetricFamily> {
        self.by_name.into_values().map(|(mut family, samples)| {
            family.set_metric(samples.into_values().collect());
            family
        })
    }
}

fn labels(metric: &Metric) -> Vec<(String, String)> {
    metric.get_label().iter().map(|pair: &LabelPair| (pair.name().to_owned(), pair.value().to_owned())).collect()
}

fn sum(into: &mut Metric, other: &Metric, kind: MetricType) {
    match kind {
        MetricType::COUNTER => {
            let mut counter = into.get_counter().clone();
            counter.set_value(counter.get_value() + other.get_counter().get_value());
            into.set_counter(counter);
        }
        MetricType::GAUGE => {
            let mut gauge = into.get_gauge().clone();
            gauge.set_value(gauge.get_value() + other.get_gauge().get_value());
            into.set_gauge(gauge);
        }
        MetricType::HISTOGRAM => {
            let (mut histogram, added) = (into.get_histogram().clone(), other.get_histogram());
            let bounds = |h: &prometheus::proto::Histogram| -> Vec<u64> {
                h.get_bucket().iter().map(|bucket| bucket.upper_bound().to_bits()).collect()
            };
            if bounds(&histogram) != bounds(added) {
                return;
            }
            let mut buckets = histogram.get_bucket().to_vec();
            for (bucket, more) in buckets.iter_mut().zip(added.get_bucket()) {
                bucket.set_cumulative_count(bucket.cumulative_count() + more.cumulative_count());
            }
            histogram.set_bucket(buckets);
            histogram.set_sample_count(histogram.get_sample_count() + added.get_sample_count());
            histogram.set_sample_sum(histogram.get_sample_sum() + added.get_sample_sum());
            into.set_histogram(histogram);
        }
        // Quantiles cannot be added, and nobody here declares a summary.
        MetricType::SUMMARY | MetricType::UNTYPED => {}
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts};

    use super::*;

    fn worker(metrics: &Metrics, requests: &[(&str, u64)], open: i64, seconds: &[f64]) {
        let registry = metrics.registry();
        let counter = IntCounterVec::new(Opts::new("doorward_requests_total", "requests"), &["route"]).expect("opts");
        let gauge = IntGauge::new("doorward_open", "open").expect("opts");
        let options = HistogramOpts::new("doorward_seconds", "time").buckets(vec![0.1, 1.0]);
        let histogram = HistogramVec::new(options, &["route"]).expect("opts");
        registry.register(Box::new(counter.clone())).expect("registered once");
        registry.register(Box::new(gauge.clone())).expect("registered once");
        registry.register(Box::new(histogram.clone())).expect("registered once");
        requests.iter().for_each(|(route, count)| counter.with_label_values(&[*route]).inc_by(*count));
        gauge.set(open);
        seconds.iter().for_each(|value| histogram.with_label_values(&["a"]).observe(*value));
    }

    #[test]
    fn registries_are_added_up_by_labels() {
        let metrics = Metrics::default();
        worker(&metrics, &[("a", 2), ("b", 1)], 3, &[0.05, 0.5]);
        worker(&metrics, &[("a", 5)], 4, &[0.5, 5.0]);
        let text = metrics.gather();
        for line in [
            "doorward_requests_total{route=\"a\"} 7",
            "doorward_requests_total{route=\"b\"} 1",
            "doorward_open 7",
            "doorward_seconds_bucket{route=\"a\",le=\"0.1\"} 1",
            "doorward_seconds_bucket{route=\"a\",le=\"1\"} 3",
            "doorward_seconds_bucket{route=\"a\",le=\"+Inf\"} 4",
            "doorward_seconds_sum{route=\"a\"} 6.05",
            "doorward_seconds_count{route=\"a\"} 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in:\n{text}");
        }
        assert_eq!(text.matches("# TYPE doorward_requests_total counter").count(), 1, "{text}");
    }

    #[test]
    fn two_types_under_one_name_are_not_mixed() {
        let metrics = Metrics::default();
        let gauge = IntGauge::new("doorward_x", "x").expect("opts");
        gauge.set(3);
        metrics.registry().register(Box::new(gauge)).expect("registered once");
        let counter = prometheus::IntCounter::new("doorward_x", "x").expect("opts");
        counter.inc_by(9);
        metrics.registry().register(Box::new(counter)).expect("registered once");
        assert!(metrics.gather().lines().any(|l| l == "doorward_x 3"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_tells_of_itself() {
        let text = Metrics::default().gather();
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            let value = text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|v| v > 0.0), "{name} in:\n{text}");
        }
    }
}
