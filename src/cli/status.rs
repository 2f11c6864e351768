//! `doorward status`: how a running daemon is, for people or as JSON.

use std::fmt::Write as _;

use clap::Args;

use super::clock::{ago, count, duration, now, until};
use super::output::{Style, complain, safe, say, styled};
use super::{DONE, Daemon, FAILED, admin_socket};
use crate::admin::client::Client;
use crate::admin::view::{
    AcmeState, AcmeView, CertificateState, CertificateView, IssuerView, ReloadOutcome, ReloadView, RunState, StatusView,
};

/// How many certificates the table shows of those that are well.
const SHOWN: usize = 20;
/// From how many days on an expiry stands out.
const SOON: i64 = 7;

/// Show how a running doorward is: listeners, backends, certificates, ACME, the last reload.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward status\n  doorward status --json | jq '.certificates[] | select(.state != \"served\")'"
)]
pub(super) struct StatusArgs {
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
    /// Every certificate, however many
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    daemon: Daemon,
}

pub(super) fn run(args: &StatusArgs) -> u8 {
    let answer = admin_socket::find(&args.daemon)
        .map_err(|error| error.to_string())
        .and_then(|socket| super::wait_for(async move { Client::new(socket).status().await }));
    match answer {
        Ok(status) if args.json => {
            // The view has string keys only and no serializer of its own that fails.
            say(format_args!("{}\n", serde_json::to_string_pretty(&status).unwrap_or_default()));
            DONE
        }
        Ok(status) => {
            say(render(&status, now(), if args.all { usize::MAX } else { SHOWN }));
            DONE
        }
        Err(error) => {
            complain(error);
            FAILED
        }
    }
}

fn render(status: &StatusView, now: i64, shown: usize) -> String {
    let mut out = String::new();
    let (style, state) = match status.state {
        RunState::Ready => (Style::Green, "ready"),
        RunState::Starting => (Style::Yellow, "starting"),
        RunState::Draining => (Style::Yellow, "draining: finishes what is under way"),
    };
    let up = duration(i64::try_from(status.uptime).unwrap_or(i64::MAX));
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "doorward {}, {}, up {up}, pid {}", safe(&status.version), styled(style, state), status.pid);
    if let Some(config) = &status.config {
        let _ = writeln!(out, "config {}", safe(&config.display().to_string()));
    }
    let _ = writeln!(
        out,
        "{}, {}, {}",
        count(status.workers, "worker"),
        count(status.routes, "route"),
        count(status.connections, "open connection")
    );
    status.last_reload.iter().for_each(|reload| show_reload(&mut out, reload, now));
    for line in &status.after_restart {
        let _ = writeln!(out, "{}", styled(Style::Yellow, &safe(line)));
    }

    let mut listeners = Table::new("listeners");
    for listener in &status.listeners {
        let public = listener.public_port.map_or_else(String::new, |port| format!("public port {port}"));
        listeners.row(Style::Plain, [listener.protocol.clone(), listener.address.to_string(), public]);
    }
    listeners.show(&mut out);
    super::backends::show(&mut out, &status.backends);
    show_certificates(&mut out, &status.certificates, now, shown);
    show_acme(&mut out, &status.acme, now);
    show_issuers(&mut out, &status.issuers, now);
    out
}

fn show_reload(out: &mut String, reload: &ReloadView, now: i64) {
    let when = ago(i64::try_from(reload.at).unwrap_or(i64::MAX), now);
    let (style, outcome) = match reload.outcome {
        ReloadOutcome::Applied => (Style::Plain, "went well"),
        ReloadOutcome::Unchanged => (Style::Plain, "changed nothing"),
        ReloadOutcome::Refused => (Style::Red, "was refused, the config before it is in force"),
        ReloadOutcome::Failed => (Style::Red, "failed, the config before it is in force"),
    };
    let _ = writeln!(out, "{}", styled(style, &format!("the last reload, {when}, {outcome}")));
    for fault in &reload.faults {
        for line in fault.lines() {
            let _ = writeln!(out, "  {}", safe(line));
        }
    }
}

/// What is not well stands first, then what expires soonest.
fn show_certificates(out: &mut String, certificates: &[CertificateView], now: i64, shown: usize) {
    let mut sorted: Vec<_> = certificates.iter().collect();
    sorted.sort_by(|a, b| (a.state, a.expires, &a.id).cmp(&(b.state, b.expires, &b.id)));
    let unwell = sorted.iter().filter(|c| c.state != CertificateState::Served).count();
    let kept = shown.saturating_add(unwell).min(sorted.len());
    let mut table = Table::new("certificates");
    for certificate in &sorted[..kept] {
        let (style, state) = match certificate.state {
            CertificateState::Failed => (Style::Red, "NOT SERVED"),
            CertificateState::Stale => (Style::Red, "OLD ONE SERVED"),
            CertificateState::Warning => (Style::Yellow, "warning"),
            CertificateState::Served if certificate.expires.is_some_and(|at| at - now < SOON * 86_400) => {
                (Style::Yellow, "served")
            }
            CertificateState::Served => (Style::Plain, "served"),
        };
        let expires = certificate.expires.map_or_else(String::new, |at| expiry(at, now));
        table.row(
            style,
            [
                state.to_owned(),
                certificate.id.clone(),
                expires,
                names(&certificate.names),
                certificate.key.clone().unwrap_or_default(),
            ],
        );
        if let Some(message) = &certificate.message {
            table.note(format!("{} ({})", message, certificate.source));
        }
    }
    table.show(out);
    if kept < sorted.len() {
        let _ = writeln!(out, "  and {} more that are well (--all shows them)", sorted.len() - kept);
    }
}

fn show_acme(out: &mut String, acme: &[AcmeView], now: i64) {
    let mut sorted: Vec<_> = acme.iter().collect();
    sorted.sort_by(|a, b| (a.state, a.next, &a.id).cmp(&(b.state, b.next, &b.id)));
    let mut table = Table::new("acme");
    for view in sorted {
        let next = |what: &str| view.next.map_or_else(String::new, |at| format!("{what} {}", until(at, now)));
        let (style, state, next) = match view.state {
            // None of its own: the CA is down.
            AcmeState::Failing if view.failures == 0 => (Style::Red, "FAILING".to_owned(), next("next try")),
            AcmeState::Failing => (Style::Red, format!("FAILING ({}x)", view.failures), next("next try")),
            AcmeState::Waiting => (Style::Yellow, "waiting".to_owned(), next("begins")),
            AcmeState::Ordering => (Style::Yellow, "ordering".to_owned(), String::new()),
            AcmeState::Issued => (Style::Plain, "issued".to_owned(), next("renews")),
        };
        table.row(style, [state, view.id.clone(), next, names(&view.names)]);
        view.message.iter().for_each(|message| table.note(message.clone()));
    }
    table.show(out);
}

/// Issuers that are up are not worth a line, unless another one is down.
fn show_issuers(out: &mut String, issuers: &[IssuerView], now: i64) {
    let mut table = Table::new("issuers");
    let at = |seconds: Option<u64>| seconds.and_then(|seconds| i64::try_from(seconds).ok());
    for view in issuers.iter().filter(|_| issuers.iter().any(|view| view.down_since.is_some())) {
        let (style, state) = match at(view.down_since) {
            Some(since) => (Style::Red, format!("DOWN since {}", ago(since, now))),
            None => (Style::Plain, "up".to_owned()),
        };
        let next = at(view.next_probe).map_or_else(String::new, |at| format!("asked again {}", until(at, now)));
        table.row(style, [view.issuer.clone(), state, next]);
        view.error.iter().for_each(|error| table.note(error.clone()));
    }
    table.show(out);
}

/// Aligned columns under a title, and notes under rows.
pub(super) struct Table<const N: usize> {
    title: &'static str,
    rows: Vec<(Style, [String; N], Vec<String>)>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, style: Style, cells: [String; N]) {
        self.rows.push((style, cells.map(|cell| safe(&cell)), Vec::new()));
    }

    pub(super) fn note(&mut self, note: String) {
        if let Some((_, _, notes)) = self.rows.last_mut() {
            notes.extend(note.lines().map(safe));
        }
    }

    pub(super) fn show(&self, out: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        let mut widths = [0; N];
        for (_, cells, _) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let _ = writeln!(out, "\n{}", styled(Style::Bold, self.title));
        for (style, cells, notes) in &self.rows {
            let line: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(out, "  {}", styled(*style, line.join("  ").trim_end()));
            for note in notes {
                let _ = writeln!(out, "    {note}");
            }
        }
    }
}

/// The first names, and how many more.
fn names(names: &[String]) -> String {
    const FIRST: usize = 3;
    let mut text = names.iter().take(FIRST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > FIRST {
        let _ = write!(text, " and {} more", names.len() - FIRST);
    }
    text
}

fn expiry(at: i64, now: i64) -> String {
    if at <= now { format!("EXPIRED {}", ago(at, now)) } else { format!("expires {}", until(at, now)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    fn certificate(id: &str, state: CertificateState, days: i64, message: Option<&str>) -> CertificateView {
        CertificateView {
            id: id.to_owned(),
            names: vec![format!("{id}.example"), format!("www.{id}.example")],
            expires: Some(NOW + days * DAY),
            key: Some("ECDSA P-256".to_owned()),
            state,
            source: format!("/etc/doorward/certs/{id}"),
            message: message.map(str::to_owned),
        }
    }

    fn status() -> StatusView {
        StatusView {
            version: "0.1.0".to_owned(),
            pid: 42,
            state: RunState::Ready,
            started: 0,
            uptime: 3 * 86_400,
            config: Some("/etc/doorward/doorward.toml".into()),
            after_restart: vec!["workers changed: in force after a restart".to_owned()],
            last_reload: Some(ReloadView {
                at: u64::try_from(NOW).expect("positive") - 300,
                outcome: ReloadOutcome::Refused,
                changes: vec![],
                faults: vec!["doorward.toml:3:1: lisener: unknown key\n  remedy: did you mean listener?".to_owned()],
            }),
            listeners: vec![],
            workers: 2,
            routes: 1,
            connections: 7,
            certificates: vec![
                certificate("good", CertificateState::Served, 62, None),
                certificate("soon", CertificateState::Served, 3, None),
                certificate("bad", CertificateState::Failed, -1, Some("the key does not match\u{1b}[2J")),
            ],
            acme: vec![AcmeView {
                id: "cert-a".to_owned(),
                names: (1..=5).map(|n| format!("n{n}.example")).collect(),
                issuer: "letsencrypt".to_owned(),
                state: AcmeState::Failing,
                next: Some(NOW + 600),
                failures: 3,
                message: Some("connection refused".to_owned()),
            }],
            backends: vec![],
            issuers: vec![
                IssuerView {
                    issuer: "letsencrypt".to_owned(),
                    down_since: u64::try_from(NOW - 7200).ok(),
                    next_probe: u64::try_from(NOW + 600).ok(),
                    error: Some("status 503".to_owned()),
                },
                IssuerView { issuer: "zerossl".to_owned(), down_since: None, next_probe: None, error: None },
            ],
        }
    }

    #[test]
    fn what_fails_stands_first_and_says_why() {
        let text = render(&status(), NOW, SHOWN);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in:\n{text}"));
        assert!(at("NOT SERVED") < at("served      soon") && at("served      soon") < at("served      good"));
        assert!(at("expires in 62 days") > at("expires in 3 days"));
        assert!(at("EXPIRED 24 hours ago") > at("NOT SERVED"));
        at("    the key does not match\\u{1b}[2J (/etc/doorward/certs/bad)\n");
        at("the last reload, 5 minutes ago, was refused");
        at("remedy: did you mean listener?");
        at("\nworkers changed: in force after a restart\n");
        at("2 workers, 1 route, 7 open connections");
        at("FAILING (3x)  cert-a  next try in 10 minutes  n1.example, n2.example, n3.example and 2 more");
        at("letsencrypt  DOWN since 2 hours ago  asked again in 10 minutes\n    status 503\n");
        at("zerossl      up");
        assert!(!text.contains('\u{1b}'), "no escape reaches the terminal");
    }

    #[test]
    fn many_that_are_well_are_summed_up() {
        let mut status = status();
        status.certificates.extend((0..30).map(|n| certificate(&format!("c{n}"), CertificateState::Served, 90, None)));
        let text = render(&status, NOW, SHOWN);
        assert!(text.contains("and 12 more that are well") && text.contains("NOT SERVED"), "{text}");
        assert!(!render(&status, NOW, usize::MAX).contains("more that are well"));
    }
}
