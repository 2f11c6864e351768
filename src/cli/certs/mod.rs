//! `doorward certs …`: what operators do with certificates, of a running doorward or of its storage alone.

mod ask;
mod budget;
mod explain;
pub(super) mod export;
mod generate;
mod import;
mod list;
mod show;
mod sources;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output::{Style, complain, safe, say, styled};
use super::{DONE, Daemon, FAILED, complete};
use crate::admin::certs::{Done, Reply, Request};

pub(super) use ask::{ask, ask_running};
pub(super) use import::hand_over;
pub(super) use list::several;

/// List, import, generate, replace, renew and explain certificates
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  doorward certs list\n  doorward certs import ./example.com/\n  doorward certs explain www.example.com"
)]
pub(super) enum CertsVerb {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Explain(explain::ExplainArgs),
    Generate(generate::GenerateArgs),
    Import(import::ImportArgs),
    Replace(import::ReplaceArgs),
    Rollback(RollbackArgs),
    Renew(generate::RenewArgs),
    Revoke(RevokeArgs),
    Delete(DeleteArgs),
    Disable(SwitchArgs),
    Enable(EnableArgs),
    Export(export::ExportArgs),
    Budget(budget::BudgetArgs),
}

/// Bring the version before back; what it takes the place of is kept as the version before.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs rollback example.com")]
pub(in crate::cli) struct RollbackArgs {
    /// The certificate
    #[arg(add = complete::ids())]
    id: String,
    /// Also where that one has expired, or lacks a name of the present one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

/// Have the CA revoke a certificate, and a new one ordered where somebody wants it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs revoke cert-0123456789ab --reason key-compromise")]
pub(in crate::cli) struct RevokeArgs {
    /// The certificate
    #[arg(add = complete::ids())]
    id: String,
    /// Why (RFC 5280 §5.3.1)
    #[arg(long, default_value = "unspecified", value_parser = ["unspecified", "key-compromise", "superseded", "cessation"])]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// Remove a certificate with its key, its earlier versions and whoever's wish for it.
///
/// Refused while a route uses it; --force says what breaks, and deletes it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs delete old.example.com")]
pub(in crate::cli) struct DeleteArgs {
    /// The certificate
    #[arg(add = complete::ids())]
    id: String,
    /// Also where a route uses it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

/// Switch HTTPS off for a name, while HTTP still works.
///
/// Handshakes for it are refused, and requests over HTTP reach the app in place of a redirect. It stays so over
/// restarts until `certs enable`. Its certificate is kept and renewed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs disable legacy.example.com")]
pub(in crate::cli) struct SwitchArgs {
    /// The name, or a wildcard for all one label below
    #[arg(add = complete::names())]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// Switch HTTPS on again for a name.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs enable legacy.example.com")]
pub(in crate::cli) struct EnableArgs {
    /// The name, as it was disabled
    #[arg(add = complete::disabled())]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// What all certs verbs take.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Common {
    /// The answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) daemon: Daemon,
}

pub(super) fn run(verb: &CertsVerb) -> u8 {
    match verb {
        CertsVerb::List(args) => list::run(args),
        CertsVerb::Show(args) => show::run(args),
        CertsVerb::Explain(args) => explain::run(args),
        CertsVerb::Generate(args) => generate::run(args),
        CertsVerb::Import(args) => import::run(args),
        CertsVerb::Replace(args) => import::replace(args),
        CertsVerb::Renew(args) => generate::renew(args),
        CertsVerb::Export(args) => export::run(args),
        CertsVerb::Budget(args) => budget::run(args),
        CertsVerb::Rollback(args) => do_it(&args.common, Request::Rollback { id: args.id.clone(), force: args.force }),
        CertsVerb::Revoke(args) => {
            let request = Request::Revoke { id: args.id.clone(), reason: args.reason.clone() };
            do_it(&args.common, request)
        }
        CertsVerb::Delete(args) => do_it(&args.common, Request::Delete { id: args.id.clone(), force: args.force }),
        CertsVerb::Disable(args) => do_it(&args.common, Request::Disable { name: args.name.clone() }),
        CertsVerb::Enable(args) => do_it(&args.common, Request::Enable { name: args.name.clone() }),
    }
}

/// Has something done, and says what came of it.
fn do_it(common: &Common, request: Request) -> u8 {
    match ask(&common.daemon, request) {
        Ok(Reply::Done(done)) => tell(common.json, &done),
        Ok(_) => unexpected(),
        Err(error) => refuse(common.json, &error),
    }
}

/// Says what was done.
pub(super) fn tell(json: bool, done: &Done) -> u8 {
    if json {
        print_json(done);
        return DONE;
    }
    say(format_args!("{} {}\n", styled(Style::Green, "OK,"), safe(&done.message)));
    for warning in &done.warnings {
        say(format_args!("  {} {}\n", styled(Style::Yellow, "but"), safe(warning)));
    }
    DONE
}

/// Says why nothing was done.
pub(super) fn refuse(json: bool, error: &str) -> u8 {
    if json {
        print_json(&serde_json::json!({ "error": error }));
    }
    complain(error);
    FAILED
}

fn unexpected() -> u8 {
    complain("the daemon gave an answer to another question: is it of another version than this one?");
    FAILED
}

pub(super) fn print_json(value: &impl serde::Serialize) {
    // The views have string keys only and no serializer of their own that fails.
    say(format_args!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default()));
}

/// Where files of a certificate go: a folder of its name in the current one, unless another is named.
fn folder_for(id: &str, to: Option<&PathBuf>) -> PathBuf {
    let plain: String = id.chars().map(|c| if c == '/' || c == '*' { '_' } else { c }).collect();
    to.cloned().unwrap_or_else(|| PathBuf::from(format!("./{}", plain.trim_start_matches('.'))))
}
