//! `doorward run`: production, from a config file.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::logging::{LogLevel, Logging};
use super::output::complain;
use super::{FAILED, WRONG};
use crate::app::{self, App};
use crate::config::{self, Fault, Faults, Loaded, Log};

/// Run doorward with a config file, until TERM or INT.
///
/// Logs go to stderr: JSON lines, or readable ones on a terminal. HUP, `doorward reload` and a change of the
/// config's files have it read again. Exits with 0 after a drain, with 1 where it cannot start, and with 2 where
/// the config has faults (`doorward check` shows them without starting).
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward run --config /etc/doorward/doorward.toml")]
pub(super) struct RunArgs {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG_FILE)]
    config: PathBuf,
    /// From which level on to log; goes before the config's
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    let Loaded { config, warnings } = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults, args.log_level),
    };
    let logging = Arc::new(Logging::start(&config.log, args.log_level));
    for Fault { message, remedy, file, key, .. } in &warnings {
        tracing::warn!(file = %file.display(), key, remedy, "config: {message}");
    }
    let on_log_change = {
        let logging = Arc::clone(&logging);
        move |log: &Log| logging.apply(log)
    };
    let options = app::Options {
        config_file: Some(args.config.clone()),
        readable_log: logging.is_readable(),
        on_log_change: Some(Box::new(on_log_change)),
        ..app::Options::default()
    };
    match App::start(config, options) {
        Ok(app) => app.run_until_stopped(),
        Err(error) => {
            tracing::error!(%error, "cannot start");
            ExitCode::from(FAILED)
        }
    }
}

/// Faults as log lines where lines are collected, and as `check` shows them where somebody reads along.
fn refuse(faults: &Faults, level: Option<LogLevel>) -> ExitCode {
    if std::io::stderr().is_terminal() {
        for fault in &faults.faults {
            complain(fault);
        }
    } else {
        let _logging = Logging::start(&Log::default(), level);
        for fault in &faults.faults {
            log_fault(fault);
        }
    }
    ExitCode::from(WRONG)
}

fn log_fault(fault: &Fault) {
    let (line, column) = fault.position.map(|at| (at.line, at.column)).unzip();
    let (file, key) = (fault.file.display(), fault.key.as_str());
    tracing::error!(%file, line, column, key, remedy = fault.remedy, "config: {}", fault.message);
}
