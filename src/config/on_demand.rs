//! `[on_demand]`: certificates at a name's first handshake, for routes with `certificate = "on-demand"`.

use std::path::PathBuf;
use std::time::Duration;

use super::limits::{Rate, read_rate};
use super::reader::{Item, Section};

/// `[on_demand]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDemand {
    /// `ask`: the `http://` or `https://` URL that is asked `?domain=NAME&client=IP`; 2xx allows.
    pub ask: String,
    /// `trust`: a PEM file with the roots to trust for `ask`, in place of the system's.
    pub trust: Option<PathBuf>,
    /// `ask_timeout`: how long `ask` may take to answer.
    pub ask_timeout: Duration,
    /// `wait`: how long a handshake waits for its certificate.
    pub wait: Duration,
    /// `under_way`: names that are asked for, or got, at once.
    pub under_way: usize,
    /// `labels`: how many labels a name may have in front of its registered domain.
    pub labels: usize,
    /// `per_client`: new names of one client network (/24, or /48 of IPv6).
    pub per_client: Rate,
    /// `per_domain`: new names of one registered domain that get an order.
    pub per_domain: Rate,
    /// `allowed_for`: how long a yes of `ask` is remembered.
    pub allowed_for: Duration,
    /// `refused_for`: how long a no of `ask`, or a failed order, is remembered.
    pub refused_for: Duration,
}

impl OnDemand {
    /// With every default.
    #[must_use]
    pub fn new(ask: impl Into<String>) -> Self {
        let seconds = Duration::from_secs;
        Self {
            ask: ask.into(),
            trust: None,
            ask_timeout: seconds(2),
            wait: seconds(8),
            under_way: 64,
            labels: 2,
            per_client: Rate::new(20, 3600),
            per_domain: Rate::new(20, 86_400),
            allowed_for: seconds(3600),
            refused_for: seconds(300),
        }
    }
}

const EXAMPLE: &str = "\"http://127.0.0.1:3000/allowed\"";
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Reads `[on_demand]`. `handshake` is the time that a handshake has in all.
pub(super) fn read(mut section: Section<'_>, handshake: Duration) -> Option<OnDemand> {
    let ask = section.required("ask", EXAMPLE, read_ask);
    let mut this = OnDemand::new(ask.clone().unwrap_or_default());
    section
        .set("trust", &mut this.trust, |item| item.file().map(Some))
        .set("ask_timeout", &mut this.ask_timeout, |item| read_time(item, Duration::from_secs(60)))
        .set("wait", &mut this.wait, |item| read_time(item, Duration::from_secs(600)))
        .set("under_way", &mut this.under_way, |item| item.integer(1..=10_000))
        .set("labels", &mut this.labels, |item| item.integer(0..=100))
        .set("per_client", &mut this.per_client, read_rate)
        .set("per_domain", &mut this.per_domain, read_rate)
        .set("allowed_for", &mut this.allowed_for, |item| read_time(item, LONGEST))
        .set("refused_for", &mut this.refused_for, |item| read_time(item, LONGEST));
    if this.wait >= handshake {
        section.reading.warning(
            &section.place_of("wait"),
            "a handshake is cut by timeouts.handshake before it has waited so long",
            "write a shorter wait here, or a longer handshake in [timeouts]",
        );
    }
    section.finish();
    ask.map(|_| this)
}

fn read_time(item: &Item<'_>, most: Duration) -> Option<Duration> {
    item.duration(Duration::from_millis(1)..=most)
}

fn read_ask(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    let url: Option<http::Uri> = text.parse().ok();
    let sound = |url: &http::Uri| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    };
    match url.filter(sound) {
        Some(_) => Some(text),
        None => item.fault(
            format!("{:?} is not an http:// or https:// URL", item.written()),
            format!("write the URL to ask, as in {EXAMPLE}"),
        ),
    }
}
