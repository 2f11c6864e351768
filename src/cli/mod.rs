//! The command line. Floor 8: one file a verb.
//!
//! Answers go to stdout, complaints and logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or config.

mod admin_socket;
#[cfg(test)]
mod dev;
pub mod logging;
mod output;
mod reload;
mod status;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Done.
pub(crate) const DONE: u8 = 0;
/// Failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage or config; clap uses the same for usage.
pub(crate) const WRONG: u8 = 2;

/// Runs the command line that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(match Cli::parse().verb {
        Verb::Status(args) => status::run(&args),
        Verb::Reload(args) => reload::run(&args),
        Verb::Version => {
            output::say(format_args!("doorward {}\n", env!("CARGO_PKG_VERSION")));
            DONE
        }
    })
}

/// A TLS-terminating edge proxy: picks the certificate by name, tells the app the truth, renews by ACME.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, max_term_width = 100, after_help = "Start with: doorward dev")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show how a running doorward is: listeners, certificates, the last reload
    Status(status::StatusArgs),
    /// Have a running doorward read its config again
    Reload(reload::ReloadArgs),
    /// Print the version
    Version,
}

/// Which daemon an admin verb talks to.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Daemon {
    /// The daemon's admin socket
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<std::path::PathBuf>,
    /// The daemon's config file, which names the socket
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
}

/// Runs one question to a daemon to its answer.
fn wait_for<T>(answer: impl Future<Output = Result<T, crate::admin::client::ClientError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(answer).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_verb_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands_mut().filter(|verb| !matches!(verb.get_name(), "help" | "version")) {
            let name = verb.get_name().to_owned();
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Example"), "{name}: {help}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_socket_and_a_config_are_one_too_many() {
        assert!(Cli::try_parse_from(["doorward", "status", "--socket", "a", "--config", "b"]).is_err());
        assert!(Cli::try_parse_from(["doorward", "status", "--socket", "a", "--json"]).is_ok());
    }
}
