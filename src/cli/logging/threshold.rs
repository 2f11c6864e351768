//! Which events are logged. The answer is kept at each place that logs, so that what is off costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A level that can change. Libraries speak from `warn` on, and at `trace` about everything. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Threshold {
    level: Arc<AtomicU8>,
}

impl Threshold {
    pub(super) fn new(level: Level) -> Self {
        Self { level: Arc::new(AtomicU8::new(number(level))) }
    }

    /// Logs from `level` on.
    pub(super) fn set(&self, level: Level) {
        if self.level.swap(number(level), Ordering::Release) != number(level) {
            tracing::callsite::rebuild_interest_cache();
        }
    }

    fn lets_pass(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level.load(Ordering::Acquire);
        let target = metadata.target();
        let ours = target.strip_prefix("doorward").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        let limit = if ours || level >= number(Level::TRACE) { level } else { level.min(number(Level::WARN)) };
        number(*metadata.level()) <= limit
    }
}

impl<S: Subscriber> Layer<S> for Threshold {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.lets_pass(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.lets_pass(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.level.load(Ordering::Acquire) {
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::Event;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Targets(Arc<Mutex<Vec<(Level, String)>>>);

    impl<S: Subscriber> Layer<S> for Targets {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let metadata = event.metadata();
            self.0.lock().expect("unpoisoned").push((*metadata.level(), metadata.target().to_owned()));
        }
    }

    fn speak() {
        tracing::info!("a");
        tracing::debug!("b");
        tracing::info!(target: "h2::codec", "c");
        tracing::warn!(target: "h2::codec", "d");
        tracing::debug!(target: "doorwardish", "e");
    }

    #[test]
    fn the_level_changes_while_running_and_libraries_are_quieter() {
        let (threshold, heard) = (Threshold::new(Level::INFO), Targets::default());
        let subscriber = tracing_subscriber::registry().with(threshold.clone()).with(heard.clone());
        tracing::subscriber::with_default(subscriber, || {
            let mut counts = vec![];
            for level in [Level::INFO, Level::DEBUG, Level::TRACE, Level::ERROR] {
                threshold.set(level);
                heard.0.lock().expect("unpoisoned").clear();
                speak();
                counts.push(heard.0.lock().expect("unpoisoned").len());
            }
            assert_eq!(counts, [2, 3, 5, 0], "at info, debug, trace, error");
        });
    }
}
