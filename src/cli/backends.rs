//! `doorward backends …`: the endpoints of a running doorward, and what they are to do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::clock::count;
use super::output::{Style, complain, safe, say};
use super::status::Table;
use super::{DONE, Daemon, FAILED, admin_socket, complete};
use crate::admin::backends::DutyRequest;
use crate::admin::client::{Client, ClientError};
use crate::admin::view::{EndpointState, EndpointView};

/// How often it is looked whether an endpoint has ended what it had.
const LOOK: Duration = Duration::from_millis(100);

/// List endpoints of backends, drain them, take them out and bring them back
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  doorward backends list\n  doorward backends drain 10.0.0.5:8080 --wait 1m\n  doorward backends enable 10.0.0.5:8080"
)]
pub(super) enum BackendsVerb {
    List(ListArgs),
    Drain(DrainArgs),
    Disable(DisableArgs),
    Enable(EnableArgs),
}

/// Show every endpoint: whether it is up, what it has under way, and what failed there.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward backends list\n  doorward backends list --json | jq '.[] | select(.state != \"up\")'"
)]
pub(super) struct ListArgs {
    /// Those of this backend alone
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Give an endpoint no new requests, but those of clients that stick to it; what is under way there ends as it should.
///
/// This holds until `enable`, over reloads, and ends with the process: what is to last belongs into the config
/// (drain = true).
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward backends drain 10.0.0.5:8080 --backend shop --wait 1m")]
pub(super) struct DrainArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    wait: Wait,
}

/// Give an endpoint no new requests at all; clients that stick to it are given another, and what is under way there
/// ends as it should.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward backends disable 10.0.0.5:8080 --wait 1m && ssh 10.0.0.5 reboot")]
pub(super) struct DisableArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    wait: Wait,
}

/// Bring an endpoint back that was drained or disabled by command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward backends enable 10.0.0.5:8080")]
pub(super) struct EnableArgs {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// Its address as the config has it, as `doorward backends list` shows it
    #[arg(add = complete::endpoints())]
    endpoint: String,
    /// Of this backend alone; otherwise of all that have it
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// The endpoint as it is then, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
struct Wait {
    /// Wait until nothing is under way there, at most so long (as 30s or 5m); exits with 1 where something still is
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
}

pub(super) fn run(verb: &BackendsVerb) -> u8 {
    let done = match verb {
        BackendsVerb::List(args) => list(args),
        BackendsVerb::Drain(args) => tell(&args.which, EndpointState::Draining, args.wait.wait),
        BackendsVerb::Disable(args) => tell(&args.which, EndpointState::Disabled, args.wait.wait),
        BackendsVerb::Enable(args) => tell(&args.which, EndpointState::Up, None),
    };
    done.unwrap_or_else(|error| {
        complain(error);
        FAILED
    })
}

fn list(args: &ListArgs) -> Result<u8, String> {
    let client = client(&args.daemon)?;
    let mut views = super::wait_for(client.backends())?;
    if let Some(name) = &args.backend {
        let all: BTreeSet<_> = views.iter().map(|view| view.backend.clone()).filter(|name| !name.is_empty()).collect();
        views.retain(|view| *name == view.backend);
        if views.is_empty() {
            let all = Vec::from_iter(all).join(", ");
            return Err(format!(
                "no backend in use is called {name:?}; there are: {}",
                if all.is_empty() { "none" } else { &all }
            ));
        }
    }
    if args.json {
        say(json(&views));
    } else if views.is_empty() {
        say("no backend is in use\n");
    } else {
        say(render(&views));
    }
    Ok(DONE)
}

fn tell(which: &Which, duty: EndpointState, wait: Option<Duration>) -> Result<u8, String> {
    let client = client(&which.daemon)?;
    let request = DutyRequest { endpoint: which.endpoint.clone(), backend: which.backend.clone(), duty };
    let told = super::wait_for(client.set_duty(&request))?;
    let (views, quiet) = match wait {
        None => (told.endpoints, true),
        Some(wait) => super::wait_for(until_quiet(&client, &told.endpoints, wait))?,
    };
    say(if which.json { json(&views) } else { render(&views) });
    if !quiet {
        let left: u64 = views.iter().map(|view| view.in_flight).sum();
        return Err(format!("{} still under way; it goes on, and gets nothing new", count(left, "request")));
    }
    Ok(DONE)
}

/// Waits until these have nothing under way; how they are then, and whether they have not.
async fn until_quiet(
    client: &Client,
    told: &[EndpointView],
    wait: Duration,
) -> Result<(Vec<EndpointView>, bool), ClientError> {
    let began = Instant::now();
    loop {
        let mut views = client.backends().await?;
        views.retain(|view| told.iter().any(|told| (&told.endpoint, &told.backend) == (&view.endpoint, &view.backend)));
        let quiet = views.iter().all(|view| view.in_flight == 0 && view.queued == 0);
        if quiet || began.elapsed() >= wait {
            return Ok((views, quiet));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn client(daemon: &Daemon) -> Result<Client, String> {
    admin_socket::find(daemon).map(Client::new).map_err(|error| error.to_string())
}

fn json(views: &[EndpointView]) -> String {
    // The views have string keys only and no serializer of their own that fails.
    format!("{}\n", serde_json::to_string_pretty(views).unwrap_or_default())
}

fn render(views: &[EndpointView]) -> String {
    let mut out = String::new();
    show(&mut out, views);
    out.trim_start().to_owned()
}

/// The table of endpoints, which `doorward status` shows too.
pub(super) fn show(out: &mut String, views: &[EndpointView]) {
    let mut table = Table::new("backends");
    for view in views {
        let (style, state) = match view.state {
            EndpointState::Up => (Style::Plain, "up"),
            EndpointState::Down => (Style::Red, "DOWN"),
            EndpointState::Ejected => (Style::Red, "LEFT ALONE"),
            EndpointState::Draining => (Style::Yellow, "draining"),
            EndpointState::Disabled => (Style::Yellow, "disabled"),
        };
        let most = view.max_connections.map_or_else(String::new, |most| format!(" of {most}"));
        let queued = if view.queued == 0 { String::new() } else { format!(", {} queued", view.queued) };
        let kind = match view.tier {
            0 => format!("weight {}", view.weight),
            1 => "backup".to_owned(),
            tier => format!("backup {tier}"),
        };
        table.row(
            style,
            [
                state.to_owned(),
                if view.backend.is_empty() { "-".to_owned() } else { view.backend.clone() },
                view.endpoint.clone(),
                kind,
                format!("{}{most} under way{queued}", view.in_flight),
                count(view.requests, "request"),
                if view.failures == 0 { String::new() } else { format!("{} failed", view.failures) },
            ],
        );
        if let Some(reason) = &view.reason {
            table.note(reason.clone());
        }
        let addresses: Vec<String> = view.addresses.iter().map(ToString::to_string).collect();
        if !addresses.is_empty() && !view.endpoint.contains('@') {
            table.note(format!("leads to {}", safe(&addresses.join(", "))));
        }
    }
    table.show(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_serve_stands_out_and_counts_are_words() {
        let view = EndpointView {
            backend: "shop".to_owned(),
            endpoint: "app:80".to_owned(),
            state: EndpointState::Down,
            reason: Some("it answers 500".to_owned()),
            by_config: false,
            weight: 2,
            backup: false,
            tier: 0,
            in_flight: 3,
            max_connections: Some(8),
            queued: 1,
            requests: 1,
            failures: 4,
            ejections: 0,
            refused: 0,
            tls_failures: 0,
            addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        };
        let text = render(&[view]);
        let expected = "backends\n  DOWN  shop  app:80  weight 2  3 of 8 under way, 1 queued  1 request  4 failed\n    it answers 500\n    leads to 127.0.0.1\n";
        assert_eq!(text, expected);
    }
}
