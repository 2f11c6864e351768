//! `doorward completions`: what a shell completes by.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use super::complete::VARIABLE;
use super::output::{complain, say};

/// Print the completions for a shell: of verbs and options, and of what this machine's doorward has.
///
/// The script asks doorward itself at each TAB, so it completes ids and names of certificates, DNS solvers, issuers
/// and endpoints, of the daemon that --socket or --config name on the line. It belongs to this version: print it anew
/// after an upgrade, or have each shell do so as it starts.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  echo 'source <(doorward completions bash)' >> ~/.bashrc\n  doorward completions zsh > \"${fpath[1]}/_doorward\"\n  doorward completions fish > ~/.config/fish/completions/doorward.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

pub(super) fn run(args: &CompletionsArgs) -> ExitCode {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
        Shell::Zsh => &Zsh,
    };
    let mut script = Vec::new();
    // It is found by the PATH, as the command that is completed.
    if let Err(error) = shell.write_registration(VARIABLE, "doorward", "doorward", "doorward", &mut script) {
        complain(error);
        return ExitCode::from(super::FAILED);
    }
    say(String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
