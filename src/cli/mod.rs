//! The command line. Floor 8: one file a verb.

pub mod check;
pub mod config_show;

use std::process::ExitCode;

/// Runs the command line that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
