//! The command line. Floor 8: one file a verb.
//!
//! Answers go to stdout, complaints and logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or config.

mod admin_socket;
mod backends;
mod ca;
mod certs;
pub mod check;
mod clock;
mod complete;
mod completions;
pub mod config_show;
mod dev;
mod dns;
mod interrupt;
pub mod logging;
mod output;
mod private;
mod reload;
mod run;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Done.
pub(crate) const DONE: u8 = 0;
/// Failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage or config; clap uses the same for usage.
pub(crate) const WRONG: u8 = 2;

/// Where packages put the config.
const CONFIG_FILE: &str = "/etc/doorward/doorward.toml";

/// Runs the command line that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    complete::answer();
    match Cli::parse().verb {
        Verb::Run(args) => run::run(&args),
        Verb::Dev(args) => dev::run(&args),
        Verb::Check(args) => check::run(&args.config, args.json),
        Verb::Config(ConfigVerb::Show(args)) => config_show::run(&args.config),
        Verb::Dns(verb) => ExitCode::from(dns::run(verb)),
        Verb::Reload(args) => ExitCode::from(reload::run(&args)),
        Verb::Backends(verb) => ExitCode::from(backends::run(&verb)),
        Verb::Status(args) => ExitCode::from(status::run(&args)),
        Verb::Certs(verb) => ExitCode::from(certs::run(&verb)),
        Verb::Ca(verb) => ExitCode::from(ca::run(&verb)),
        Verb::Completions(args) => completions::run(&args),
        Verb::Version => {
            output::say(format_args!("doorward {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

/// A TLS-terminating edge proxy: picks the certificate by name, tells the app the truth, renews by ACME.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, max_term_width = 100, after_help = "Start with: doorward dev")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs; what help says of one stands with its arguments.
#[derive(Debug, Subcommand)]
enum Verb {
    Dev(dev::DevArgs),
    Run(run::RunArgs),
    Check(CheckArgs),
    /// Look at the config
    #[command(subcommand)]
    Config(ConfigVerb),
    #[command(subcommand)]
    Certs(certs::CertsVerb),
    #[command(subcommand)]
    Ca(ca::CaVerb),
    /// Add, list, test and remove solvers of DNS-01: who can change which zones
    #[command(subcommand)]
    Dns(dns::DnsVerb),
    #[command(subcommand)]
    Backends(backends::BackendsVerb),
    Status(status::StatusArgs),
    Reload(reload::ReloadArgs),
    Completions(completions::CompletionsArgs),
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  doorward config show --config /etc/doorward/doorward.toml")]
enum ConfigVerb {
    Show(ShowArgs),
}

/// Load all that `run` would, start nothing, and print every fault found.
///
/// The config, the certificates, the storage; each fault with file, line, key and remedy. Exits with 0 where all is well, with 1 where something that the config
/// needs is not as it should be, and with 2 where the config itself has faults.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward check --config /etc/doorward/doorward.toml")]
struct CheckArgs {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
    /// Everything found, as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Print the effective config: includes taken in, every default written, secrets masked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward config show --config /etc/doorward/doorward.toml")]
struct ShowArgs {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Which daemon an admin verb talks to.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Daemon {
    /// The daemon's admin socket
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The daemon's config file, which names the socket
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs one question to a daemon to its answer.
fn wait_for<T>(answer: impl Future<Output = Result<T, crate::admin::client::ClientError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(answer).map_err(|error| match error {
        // Its reason says it all.
        crate::admin::client::ClientError::Refused { message, .. } => message,
        error => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_verb_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        check_examples(&mut command);
    }

    fn check_examples(command: &mut clap::Command) {
        for verb in command.get_subcommands_mut().filter(|verb| !matches!(verb.get_name(), "help" | "version")) {
            let name = verb.get_name().to_owned();
            let help = verb.render_long_help().to_string();
            // A folder of verbs shows them, and each of them its own.
            assert!(verb.has_subcommands() || help.contains("Example"), "{name}: {help}");
            check_examples(verb);
        }
    }

    #[test]
    fn every_verb_about_certificates_answers_programs_too() {
        fn check(command: &clap::Command) {
            for verb in command.get_subcommands() {
                let json = verb.get_arguments().any(|argument| argument.get_id() == "json");
                assert!(verb.has_subcommands() || json, "{} {}", command.get_name(), verb.get_name());
                check(verb);
            }
        }
        let command = Cli::command();
        for folder in ["certs", "ca", "dns"] {
            check(command.find_subcommand(folder).expect(folder));
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
