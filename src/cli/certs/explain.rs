//! `doorward certs explain`.

use std::fmt::Write as _;

use clap::Args;

use super::super::output::{Style, safe, say, styled};
use super::{Common, DONE, FAILED, ask, print_json, refuse, unexpected};
use crate::admin::certs::{Explanation, Reply, Request};
use crate::cli::{clock, complete};

/// Say which certificate a name is served with and why; if none, what stands in the way.
///
/// With the last error, the next attempt, and a probe of the path that a CA asks by HTTP-01, at each address of the
/// name as this machine resolves it. Exits with 1 where nothing is served for the name. With no doorward running it
/// says what would be served, from the storage and the folders of the config.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs explain www.example.com")]
pub(in crate::cli) struct ExplainArgs {
    /// The name
    #[arg(add = complete::names())]
    name: String,
    /// The port that is probed; CAs ask port 80
    #[arg(long, default_value_t = 80)]
    port: u16,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &ExplainArgs) -> u8 {
    let request = Request::Explain { name: args.name.clone(), port: args.port };
    match ask(&args.common.daemon, request) {
        Ok(Reply::Explain(explanation)) => {
            if args.common.json {
                print_json(&explanation);
            } else {
                say(render(&explanation, clock::now()));
            }
            if explanation.certificate.is_some() { DONE } else { FAILED }
        }
        Ok(_) => unexpected(),
        Err(error) => refuse(args.common.json, &error),
    }
}

fn render(of: &Explanation, now: i64) -> String {
    let mut out = String::new();
    let (style, served) = match &of.certificate {
        Some(id) => (Style::Green, format!("is served with {}", safe(id))),
        None => (Style::Red, "has no certificate".to_owned()),
    };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{} {}", styled(Style::Bold, &safe(&of.name)), styled(style, &served));
    for reason in &of.reasons {
        let _ = writeln!(out, "  {}", safe(reason));
    }
    let signed = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    if let Some(error) = &of.last_error {
        let when = of.last_attempt.map_or_else(String::new, |at| format!(", {}", clock::ago(signed(at), now)));
        let _ = writeln!(out, "  {}", styled(Style::Red, &format!("the last attempt failed{when}: {}", safe(error))));
    }
    if let Some(at) = of.next_attempt {
        let what = if of.last_error.is_some() { "the next attempt is due" } else { "its renewal begins" };
        let _ = writeln!(out, "  {what} {}", clock::until(signed(at), now));
    }
    for probe in &of.probes {
        let (style, word) = if probe.reached { (Style::Green, "ok") } else { (Style::Red, "NOT") };
        let _ = writeln!(out, "  {:<5} {}: {}", styled(style, word), probe.address, safe(&probe.message));
    }
    for line in &of.dns {
        let _ = writeln!(out, "  {}", safe(line));
    }
    for line in &of.budget {
        let _ = writeln!(out, "  budget of {}", safe(line));
    }
    for advice in &of.advice {
        let _ = writeln!(out, "  {}", styled(Style::Dim, &format!("note: {}", safe(advice))));
    }
    out
}
