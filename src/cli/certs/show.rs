//! `doorward certs show`: all about one certificate.

use std::fmt::Write as _;

use clap::Args;

use super::super::output::{Style, safe, say, styled};
use super::{Common, DONE, ask, print_json, refuse, unexpected};
use crate::admin::certs::{Detail, Reply, Request, Row};
use crate::cli::{clock, complete};

/// Show all about one certificate: chain, names, key, fingerprints, versions, attempts, where it is served.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  doorward certs show cert-0123456789ab\n  doorward certs show www.example.com")]
pub(in crate::cli) struct ShowArgs {
    /// The certificate's id, or a name that it serves
    #[arg(add = complete::ids_and_names(), value_name = "ID|NAME")]
    of: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &ShowArgs) -> u8 {
    match ask(&args.common.daemon, Request::Show { of: args.of.clone() }) {
        Ok(Reply::Show(detail)) if args.common.json => {
            print_json(&detail);
            DONE
        }
        Ok(Reply::Show(detail)) => {
            say(render(&detail, clock::now()));
            DONE
        }
        Ok(_) => unexpected(),
        Err(error) => refuse(args.common.json, &error),
    }
}

fn render(detail: &Detail, now: i64) -> String {
    let mut out = String::new();
    let row = &detail.row;
    let state = if row.states.is_empty() { "ok".to_owned() } else { row.states.join(", ") };
    let style = if row.states.is_empty() { Style::Green } else { Style::Yellow };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{}  {}", styled(Style::Bold, &safe(&row.id)), styled(style, &safe(&state)));
    for message in &row.messages {
        for line in message.lines() {
            let _ = writeln!(out, "    {}", safe(line));
        }
    }
    let signed = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(out, "  {name:<16} {}", safe(&value));
        }
    };
    line("names", Some(row.names.join(", ")));
    line("issuer", Some(row.issuer.clone()));
    line("origin", Some(row.origin.clone()));
    line("from", row.source.clone());
    line("valid from", detail.not_before.map(clock::date));
    line("expires", row.expires.map(|at| format!("{} ({})", clock::date(at), clock::expiry(at, now))));
    line("renewed by", Some(renewed_by(row)));
    line("next renewal", row.next_renewal.map(|at| format!("{} ({})", clock::date(at), clock::until(at, now))));
    line("key", detail.key.clone());
    line("profile", detail.profile.clone());
    line("serial", detail.serial.clone());
    line("SHA-256", detail.fingerprint.clone());
    line("key SHA-256", detail.key_fingerprint.clone());
    line("serving since", detail.serving_since.map(|at| clock::date(signed(at))));
    line("used by", Some(row.used_by.join(", ")));
    let failed = detail.last_attempt.map(|at| format!("failed {}", clock::ago(signed(at), now)));
    let issued = detail.last_success.map(|at| format!("issued {}", clock::ago(signed(at), now)));
    line("last attempt", failed.or(issued));
    line("last error", detail.last_error.clone());
    // Of one that is well it is its renewal.
    let next = detail.next_attempt.map(signed).filter(|at| row.next_renewal.is_none_or(|renewal| *at < renewal));
    line("next attempt", next.map(|at| clock::until(at, now)));
    // How far the last order came is of no interest once it is through.
    let ordering = row.states.iter().any(|state| state == "ordering" || state == "failing");
    for (name, words) in detail.progress.iter().filter(|_| ordering) {
        line("order", Some(format!("{name}: {words}")));
    }
    for served in &detail.served_on {
        let default = if served.default { " (its default)" } else { "" };
        line("served on", Some(format!("{}{default} for {}", served.listener, served.names.join(", "))));
    }
    if detail.served_on.is_empty() {
        line("served on", Some("no listener right now".to_owned()));
    }
    for (depth, link) in detail.chain.iter().enumerate() {
        line(if depth == 0 { "chain" } else { "" }, Some(format!("{}{}", "  ".repeat(depth), subject(&link.subject))));
        line("", Some(format!("{}  by {}, until {}", "  ".repeat(depth), link.issuer, clock::date(link.expires))));
    }
    for (at, version) in detail.previous.iter().enumerate() {
        let end = version.expires.map_or_else(|| "unusable".to_owned(), |end| clock::expiry(end, now));
        let fingerprint: String = version.fingerprint.iter().flat_map(|text| text.chars().take(16)).collect();
        let until = clock::ago(signed(version.until), now);
        line(
            if at == 0 { "previous" } else { "" },
            Some(format!("replaced {until}, expires {end}, SHA-256 {fingerprint}…")),
        );
    }
    out
}

/// Who has a new one made in time, or who has to.
fn renewed_by(row: &Row) -> String {
    match row.renewed_by.as_deref() {
        Some("acme") => "doorward, by ACME".to_owned(),
        Some("own-ca") => "doorward, from its own CA".to_owned(),
        Some("folder") => "whoever changes its files".to_owned(),
        Some(other) => other.to_owned(),
        None => format!("nobody: `doorward certs replace {}` takes a new one", row.id),
    }
}

fn subject(text: &str) -> &str {
    if text.is_empty() { "(no subject, as is usual today)" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::certs::{Previous, Served};

    #[test]
    fn everything_has_a_line() {
        let detail = Detail {
            row: Row { id: "x".to_owned(), names: vec!["a.test".to_owned()], ..Row::default() },
            fingerprint: Some("ab12".to_owned()),
            last_error: Some("the CA refused\x1b[2J".to_owned()),
            previous: vec![Previous { since: 1, until: 2, expires: None, fingerprint: None }],
            served_on: vec![Served {
                listener: "[::]:443".to_owned(),
                names: vec!["a.test".to_owned()],
                default: true,
            }],
            ..Detail::default()
        };
        let text = render(&detail, 100);
        for part in [
            "ab12",
            "the CA refused",
            "unusable",
            "[::]:443 (its default) for a.test",
            "nobody: `doorward certs replace x`",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\x1b'), "{text}");
    }
}
