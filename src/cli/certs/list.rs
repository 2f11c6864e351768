//! `doorward certs list`: the table.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::super::output::{Style, safe, say, styled};
use super::{Common, DONE, ask, print_json, refuse, unexpected};
use crate::admin::certs::{Reply, Request, Row};
use crate::cli::clock;

/// The widest that a column of names may be.
const WIDE: usize = 48;

/// List all certificates: what they are for, until when, who renews them, who uses them, what is wrong.
///
/// What stands out comes first: certificates that are not served, expired, revoked, failing, mismatched or not
/// trusted. With no doorward running it reads the storage and the folders of the config.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward certs list --expiring 30d\n  doorward certs list --json | jq '.certificates[] | select(.states != [])'"
)]
pub(in crate::cli) struct ListArgs {
    /// Only those that a CA issued to doorward
    #[arg(long, conflicts_with = "imported")]
    generated: bool,
    /// Only those that operators brought, by command or by folder
    #[arg(long)]
    imported: bool,
    /// Only those that end within this time, as in 30d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expiring: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &ListArgs) -> u8 {
    match ask(&args.common.daemon, Request::List) {
        Ok(Reply::List { mut certificates, disabled }) => {
            let now = clock::now();
            certificates.retain(|row| args.shows(row, now));
            if args.common.json {
                print_json(&serde_json::json!({ "certificates": certificates, "disabled": disabled }));
                return DONE;
            }
            say(render(&certificates, now));
            for (name, since) in disabled {
                let since = clock::ago(i64::try_from(since).unwrap_or(0), now);
                let line = format!("HTTPS is off for {} (since {since})", safe(&name));
                say(format_args!("{}\n", styled(Style::Yellow, &line)));
            }
            DONE
        }
        Ok(_) => unexpected(),
        Err(error) => refuse(args.common.json, &error),
    }
}

impl ListArgs {
    fn shows(&self, row: &Row, now: i64) -> bool {
        let within = |time: Duration| {
            let end = now.saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
            row.expires.is_some_and(|at| at <= end)
        };
        (!self.generated || matches!(row.origin.as_str(), "generated" | "wanted"))
            && (!self.imported || matches!(row.origin.as_str(), "imported" | "directory"))
            && self.expiring.is_none_or(within)
    }
}

fn render(rows: &[Row], now: i64) -> String {
    if rows.is_empty() {
        return "no certificate\n".to_owned();
    }
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| (rank(row), row.expires, &row.id));
    let header = ["ID", "DOMAIN", "ISSUER", "EXPIRES", "NEXT RENEWAL", "USED BY", "STATE"].map(str::to_owned);
    let cells: Vec<[String; 7]> = sorted.iter().map(|row| cells(row, now)).collect();
    let mut widths = header.clone().map(|cell| cell.chars().count());
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 7]| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{}", styled(Style::Bold, &line(&header)));
    for (row, cells) in sorted.iter().zip(&cells) {
        let _ = writeln!(out, "{}", styled(style(row), &line(cells)));
        for message in &row.messages {
            for part in message.lines() {
                let _ = writeln!(out, "    {}", safe(part));
            }
        }
    }
    out
}

fn cells(row: &Row, now: i64) -> [String; 7] {
    let names = super::super::certs::list::several(&row.names);
    let dash = || "-".to_owned();
    let state = if row.states.is_empty() { "ok".to_owned() } else { row.states.join(", ") };
    [
        row.id.clone(),
        names,
        row.issuer.clone(),
        row.expires.map_or_else(dash, |at| clock::expiry(at, now)),
        row.next_renewal.map_or_else(|| no_renewal(row), |at| clock::until(at, now)),
        if row.used_by.is_empty() { dash() } else { several(&row.used_by) },
        state,
    ]
    .map(|cell| safe(&cell))
}

/// Why there is no next renewal.
fn no_renewal(row: &Row) -> String {
    match (row.renewed_by.as_deref(), row.expires) {
        (Some("folder"), _) => "by its files",
        (None, Some(_)) => "by nobody",
        _ => "-",
    }
    .to_owned()
}

/// The first of several, and how many more.
pub(in crate::cli) fn several(all: &[String]) -> String {
    let Some((first, rest)) = all.split_first() else { return String::new() };
    let mut shown: String = first.chars().take(WIDE).collect();
    let mut left = rest.len();
    for other in rest {
        if shown.len() + other.len() + 2 > WIDE {
            break;
        }
        shown.push_str(", ");
        shown.push_str(other);
        left -= 1;
    }
    if left > 0 { format!("{shown} +{left}") } else { shown }
}

/// The worst first.
fn rank(row: &Row) -> u8 {
    let has = |state: &str| row.states.iter().any(|known| known == state);
    let red = ["not-served", "expired", "revoked", "failing", "not-yet-valid", "mismatched"];
    let yellow = ["stale", "expiring", "untrusted", "warning", "disabled"];
    match row.states.as_slice() {
        _ if red.iter().any(|state| has(state)) => 0,
        _ if yellow.iter().any(|state| has(state)) => 1,
        _ => 2,
    }
}

fn style(row: &Row) -> Style {
    match rank(row) {
        0 => Style::Red,
        1 => Style::Yellow,
        _ => Style::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn row(id: &str, states: &[&str], days: i64) -> Row {
        Row {
            id: id.to_owned(),
            names: (0..9).map(|n| format!("{n}.{id}.example.com")).collect(),
            issuer: "CA".to_owned(),
            origin: "generated".to_owned(),
            expires: Some(NOW + days * 86_400),
            states: states.iter().map(|state| (*state).to_owned()).collect(),
            messages: states.iter().map(|state| format!("because of {state}\x1b[31m")).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn what_stands_out_comes_first_and_no_terminal_obeys_it() {
        let text = render(&[row("well", &[], 62), row("odd", &["untrusted"], 90), row("bad", &["failing"], 90)], NOW);
        let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
        assert!(at("bad") < at("odd") && at("odd") < at("well"), "{text}");
        assert!(text.contains("in 62 days") && text.contains("because of failing"), "{text}");
        assert!(!text.contains("\x1b[31m"), "{text}");
        assert!(text.contains(" +"), "many names are cut: {text}");
        assert!(text.starts_with("ID"), "{text}");
    }

    #[test]
    fn filters_leave_out_the_rest() {
        let args = |expiring: Option<u64>| ListArgs {
            generated: true,
            imported: false,
            expiring: expiring.map(Duration::from_secs),
            common: Common::default(),
        };
        let month = args(Some(30 * 86_400));
        assert!(month.shows(&row("a", &[], 29), NOW) && !month.shows(&row("a", &[], 31), NOW));
        assert!(month.shows(&row("a", &[], -3), NOW), "what has ended is expiring all the more");
        let imported = Row { origin: "imported".to_owned(), ..row("a", &[], 29) };
        assert!(!args(None).shows(&imported, NOW));
    }
}
