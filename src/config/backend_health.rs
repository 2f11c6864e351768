//! `check` and `ejection` of a backend: when an endpoint is taken for one that can serve.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Item, Section};

/// `check`: whether each endpoint can serve, asked again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// `path`: asked for with GET; none: a connection is enough.
    pub path: Option<String>,
    /// `status`: what the answer to it may be, default 200 to 399.
    pub status: Statuses,
    /// `host`: the `Host` to ask with, default the endpoint's.
    pub host: Option<String>,
    /// `interval`, default 5 s.
    pub interval: Duration,
    /// `timeout`: for the connection and the answer, default 2 s.
    pub timeout: Duration,
    /// `rise`: so many successes in a row bring an endpoint back; default 2.
    pub rise: u32,
    /// `fall`: so many failures in a row take it out; default 3.
    pub fall: u32,
}

/// Statuses of answers: ranges, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            write!(f, "{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

/// `ejection`: an endpoint that fails requests again and again is left alone for a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ejection {
    /// `failures`: in a row; 0: never; default 5.
    pub failures: u32,
    /// `time`: for how long, default 10 s.
    pub time: Duration,
}

impl Default for Check {
    fn default() -> Self {
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(2));
        Self { path: None, status: Statuses(vec![(200, 399)]), host: None, interval, timeout, rise: 2, fall: 3 }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, time: Duration::from_secs(10) }
    }
}

/// Reads `check`. `http` tells whether there is a path to ask for.
pub(super) fn read_check(mut section: Section<'_>, http: bool) -> Check {
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    let mut check = Check::default();
    section
        .set("path", &mut check.path, |item| read_path(item).map(Some))
        .set("status", &mut check.status, read_statuses)
        .set("host", &mut check.host, |item| super::route::read_host_header(item).map(Some))
        .set("interval", &mut check.interval, |item| item.duration(range.clone()))
        .set("timeout", &mut check.timeout, |item| item.duration(range))
        .set("rise", &mut check.rise, |item| item.integer(1..=100))
        .set("fall", &mut check.fall, |item| item.integer(1..=100));
    if !http {
        section.refuse("path", "only HTTP has paths to ask for", "remove path: a connection is enough then");
    }
    if check.path.is_none() {
        section.refuse("status", "a check without a path gets no status", "add path = \"/healthz\", or remove status");
    }
    section.finish();
    check
}

/// Reads `ejection`.
pub(super) fn read_ejection(mut section: Section<'_>) -> Ejection {
    let mut ejection = Ejection::default();
    let range = Duration::from_millis(100)..=Duration::from_secs(86_400);
    section.set("failures", &mut ejection.failures, |item| item.integer(0..=1000)).set(
        "time",
        &mut ejection.time,
        |item| item.duration(range),
    );
    section.finish();
    ejection
}

/// Statuses and ranges of them, with commas between.
fn read_statuses(item: &Item<'_>) -> Option<Statuses> {
    let text = match item.value.get_ref() {
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::String(_) => item.words()?,
        _ => return item.wrong_type("statuses", "\"200-299\""),
    };
    let status = |text: &str| text.trim().parse().ok().filter(|status| (100..600).contains(status));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((status(first)?, status(last)?)).filter(|(first, last)| first <= last)
    };
    match text.split(',').map(range).collect() {
        Some(ranges) => Some(Statuses(ranges)),
        None => item.fault(
            format!("{:?} is not a list of statuses", item.written()),
            "write statuses from 100 to 599 and ranges of them, as in \"200-299\" or \"200,401\"",
        ),
    }
}

fn read_path(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    if !text.starts_with('/') || !text.chars().all(|c| c.is_ascii_graphic()) {
        let remedy = "start with /, and percent-encode what is not ASCII, as in \"/healthz\"";
        return item.fault(format!("{:?} is not a path", item.written()), remedy);
    }
    Some(text)
}
