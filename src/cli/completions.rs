//! `doorward completions`: what a shell completes by.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::output::say;

/// Print the completions for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward completions bash > /etc/bash_completion.d/doorward\n  doorward completions zsh > \"${fpath[1]}/_doorward\"\n  doorward completions fish > ~/.config/fish/completions/doorward.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "doorward", &mut script);
    say(String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
