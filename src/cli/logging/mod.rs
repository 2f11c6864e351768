//! Logs: all on stderr; JSON lines for machines, readable lines on a terminal.
//!
//! A JSON line is flat: `{"timestamp":"…","level":"INFO","message":"listening","address":"127.0.0.1:443",…}`.
//! No thread that serves clients ever waits for whoever reads stderr: see [`sink`].

mod sink;
mod text;
mod threshold;

use std::io::IsTerminal as _;
use std::sync::Arc;

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt};

use self::sink::Sink;
use self::threshold::Threshold;
use super::output;
use crate::config::{Log, LogFormat};

/// A level on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed and needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What happens, requests among it.
    Info,
    /// Why it happens.
    Debug,
    /// Everything, also from the libraries.
    Trace,
}

/// The process's log. What is under way is written when this is dropped, so `main` holds it to the end.
#[derive(Debug)]
pub struct Logging {
    threshold: Threshold,
    chosen: Option<Level>,
    readable: bool,
    sink: Arc<Sink>,
}

impl Logging {
    /// Starts logging for the whole process as `log` says; `chosen`, from the command line, goes before its level,
    /// now and at every reload.
    ///
    /// From here on a panic is a log line too, in the same format.
    #[must_use]
    pub fn start(log: &Log, chosen: Option<LogLevel>) -> Self {
        let chosen = chosen.map(Level::from);
        let threshold = Threshold::new(chosen.unwrap_or(log.level));
        let sink = Sink::start(std::io::stderr());
        let terminal = std::io::stderr().is_terminal();
        let json = match log.format {
            LogFormat::Json => true,
            LogFormat::Text => false,
            LogFormat::Auto => !terminal,
        };
        let writer = sink.clone();
        let layer = fmt::layer().with_writer(move || writer.handle());
        let layer = if json {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            layer.with_target(false).boxed()
        } else {
            layer.event_format(text::Readable::new(terminal && output::wants_colour())).boxed()
        };
        let subscriber = tracing_subscriber::registry().with(threshold.clone()).with(layer);
        // Only a second call in one process could fail, and `main` makes one.
        let _ = tracing::subscriber::set_global_default(subscriber);
        std::panic::set_hook(Box::new(log_panic));
        Self { threshold, chosen, readable: !json, sink }
    }

    /// Whether lines are for people, not JSON.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Takes over the level of a reloaded config, unless the command line chose one. The format stays.
    pub fn apply(&self, log: &Log) {
        self.threshold.set(self.chosen.unwrap_or(log.level));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.sink.finish();
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let reason = info.payload_as_str().unwrap_or("no reason given");
    let place = info.location().map(ToString::to_string);
    let thread = std::thread::current().name().map(str::to_owned);
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(reason, place, thread, backtrace, "panic: this is a bug in doorward");
}
