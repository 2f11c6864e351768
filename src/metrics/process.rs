//! What the kernel tells of this process, under the names that every Prometheus client library uses.
//!
//! Read from `/proc` when somebody asks; where there is no such thing, the metrics are absent.

use std::fs;

use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// Ticks of `/proc/self/stat` in a second. The kernel shows times to programs in this unit on every
/// architecture, whatever its own timer does (`USER_HZ`, proc_pid_stat(5)).
const TICKS: f64 = 100.0;

/// One family for each thing that could be read.
pub(super) fn families() -> Vec<MetricFamily> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let gauge = MetricType::GAUGE;
    [
        ("process_cpu_seconds_total", "CPU time used, user and system", MetricType::COUNTER, cpu_seconds(&stat)),
        ("process_max_fds", "How many file descriptors may be open", gauge, max_fds(&limits)),
        ("process_open_fds", "Open file descriptors", gauge, open_fds()),
        ("process_resident_memory_bytes", "Memory in use", gauge, kilobytes(&status, "VmRSS:")),
        ("process_start_time_seconds", "When the process started, unix time", gauge, start_time(&stat)),
        ("process_threads", "Threads", gauge, field(&status, "Threads:")),
        ("process_virtual_memory_bytes", "Memory mapped", gauge, kilobytes(&status, "VmSize:")),
    ]
    .into_iter()
    .filter_map(|(name, help, kind, value)| Some(family(name, help, kind, value?)))
    .collect()
}

fn family(name: &str, help: &str, kind: MetricType, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

/// The `number`th field of `/proc/self/stat`, counted as proc_pid_stat(5) does. The second field, the
/// program's name in brackets, may hold anything, so the count starts behind its last bracket.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS)
}

fn start_time(stat: &str) -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = field(&system, "btime ")?;
    Some(boot + stat_field(stat, 22)? / TICKS)
}

fn field(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn kilobytes(status: &str, key: &str) -> Option<f64> {
    field(status, key).map(|kilobytes| kilobytes * 1024.0)
}

fn max_fds(limits: &str) -> Option<f64> {
    field(limits, "Max open files")
}

fn open_fds() -> Option<f64> {
    // The directory's own descriptor is open while it is read.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(count).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 1234 1000 10";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(stat_field(stat, 22), Some(1234.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn limits_and_sizes_are_read_in_their_units() {
        assert_eq!(
            max_fds("Limit  Soft\nMax open files            1024                 4096                 files"),
            Some(1024.0)
        );
        assert_eq!(max_fds("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(kilobytes("VmRSS:\t    2 kB\n", "VmRSS:"), Some(2048.0));
    }
}
