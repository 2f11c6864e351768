//! `doorward certs`: certificates as an operator handles them, one file a verb.

mod budget;

use clap::Subcommand;

/// Handle certificates
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  doorward certs budget")]
pub(super) enum CertsVerb {
    Budget(budget::BudgetArgs),
}

pub(super) fn run(verb: &CertsVerb) -> u8 {
    match verb {
        CertsVerb::Budget(args) => budget::run(args),
    }
}
