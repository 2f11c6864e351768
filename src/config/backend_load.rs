//! `queue` and `retry` of a backend: how many wait for an endpoint, and how often a request is tried again.

use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Item, Section};
use super::{Backend, sticky};

/// `queue`: what waits where an endpoint has `max_connections` under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    /// `length`: so many may wait for one endpoint; further ones get 503; default 100.
    pub length: u32,
    /// `wait`: for so long, then they get 503 too; default 5 s.
    pub wait: Duration,
}

/// `retry`: whether a request that an endpoint failed is taken to another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// `attempts`: after the first, for one request; 0: none; default 2.
    pub attempts: u32,
    /// `share`: so many retries for each request, in thousandths; default 200.
    pub share: u32,
    /// `per_second`: and so many in any case; default 10.
    pub per_second: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 100, wait: Duration::from_secs(5) }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, share: 200, per_second: 10 }
    }
}

impl Retry {
    /// `share` as it is written: 0.2 for one retry in five requests.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(self.share) / 1000.0
    }
}

/// Reads how requests are kept together, held back and tried again.
pub(super) fn read(section: &mut Section<'_>, backend: &mut Backend) {
    backend.sticky = section.optional("sticky", |item| item.section().map(sticky::read));
    if !backend.protocol.is_http() {
        section.refuse("sticky", "only HTTP has cookies", "remove sticky, and write balance = \"hash-client\"");
    }
    let longest = Duration::from_secs(3600);
    section
        .set("slow_start", &mut backend.slow_start, |item| item.duration(Duration::ZERO..=longest))
        .set("max_connections", &mut backend.max_connections, |item| item.integer(1..=1_000_000).map(Some))
        .set("queue", &mut backend.queue, |item| item.section().map(read_queue))
        .set("retry", &mut backend.retry, |item| item.section().map(read_retry));
    if section.place_of_name("max_connections").is_none() {
        let remedy = "add max_connections = 100, or remove queue";
        section.refuse("queue", "nothing waits for an endpoint without max_connections", remedy);
    }
}

/// Reads `queue`.
fn read_queue(mut section: Section<'_>) -> Queue {
    let mut queue = Queue::default();
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    section
        .set("length", &mut queue.length, |item| item.integer(0..=100_000))
        .set("wait", &mut queue.wait, |item| item.duration(range));
    section.finish();
    queue
}

/// Reads `retry`.
fn read_retry(mut section: Section<'_>) -> Retry {
    let mut retry = Retry::default();
    section
        .set("attempts", &mut retry.attempts, |item| item.integer(0..=10))
        .set("share", &mut retry.share, read_share)
        .set("per_second", &mut retry.per_second, |item| item.integer(0..=100_000));
    section.finish();
    retry
}

fn read_share(item: &Item<'_>) -> Option<u32> {
    let share = match item.value.get_ref() {
        DeValue::Float(float) => float.as_str().parse().unwrap_or(-1.0),
        DeValue::Integer(_) => match item.as_integer() {
            Some(0) => 0.0,
            Some(1) => 1.0,
            _ => -1.0,
        },
        _ => return item.wrong_type("a share", "0.2"),
    };
    if !(0.0..=1.0).contains(&share) {
        return item.out_of_range("0.0", "1.0");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    Some((share * 1000.0_f64).round() as u32)
}
