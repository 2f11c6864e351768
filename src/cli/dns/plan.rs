//! `doorward dns plan`: what the config needs in DNS, beside what resolves now.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use clap::Args;
use serde_json::json;

use super::place::Place;
use super::records::{Need, Target, What, needed};
use super::table::Table;
use super::{Failure, say_json};
use crate::acme;
use crate::cli::DONE;
use crate::cli::output::{Style, say};
use crate::config::Config;
use crate::dns::{DnsError, Issuance, RData, RecordType, Resolver, Solvers, plain};
use crate::names::Hostname;

/// Show the DNS records that the config needs, beside what resolves now.
///
/// A, AAAA, CNAME or ALIAS for every host; CAA with the account for what ACME gets; _acme-challenge for wildcards.
/// What resolves is what the resolvers here see: others may see something else for a while.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward dns plan --address 192.0.2.10 --address 2001:db8::10\n  doorward dns plan --target edge.example.org --json"
)]
pub(in crate::cli) struct PlanArgs {
    /// An address of this doorward, as clients reach it [default: those that listeners name, else this machine's]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    address: Vec<IpAddr>,
    /// A host that has doorward's addresses, for CNAME or ALIAS records in place of addresses
    #[arg(long, value_name = "HOST", conflicts_with = "address", value_parser = Hostname::parse)]
    target: Option<Hostname>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// How what resolves stands to what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    Missing,
    Differs,
    /// All works without, but it is better with.
    Advised,
    Unknown,
}

struct Line {
    name: String,
    kind: &'static str,
    value: String,
    now: String,
    state: State,
}

pub(super) async fn run(args: &PlanArgs) -> Result<u8, Failure> {
    let (config, storage, solvers) = args.place.solvers().await?;
    let (ca, account, methods) = match &config.acme {
        Some(acme) => {
            let acme = &acme.asking(&acme.issuer);
            let methods = acme.challenges.iter().map(|challenge| challenge.as_str()).collect();
            (acme::caa_identities(&acme.issuer).await, acme::account_uri(acme, &*storage).await?, methods)
        }
        None => (Vec::new(), None, Vec::new()),
    };
    let who = Issuance { ca: &ca, account: account.as_deref(), methods: &methods, wildcard: false };
    let target = match &args.target {
        Some(host) => Target::Host(host.to_string()),
        None if args.address.is_empty() => Target::Addresses(addresses(&config)),
        None => Target::Addresses(args.address.clone()),
    };
    let mut lines = Vec::new();
    let needs = needed(&config, &target, ca.first().map(String::as_str), account.as_deref());
    for need in beside_aliases(&solvers.resolver(), needs, &target).await {
        lines.push(line(&solvers, need, who).await);
    }
    if args.json {
        let shown = lines.iter().map(|line| json!({ "name": line.name, "type": line.kind, "needed": line.value, "now": line.now, "state": line.state.word() }));
        say_json(&json!({ "records": shown.collect::<Vec<_>>() }));
        return Ok(DONE);
    }
    let mut table = Table::new(["NAME", "TYPE", "NEEDED", "NOW", "STATE"]);
    for line in lines {
        let now = if line.now.is_empty() { "-".to_owned() } else { line.now };
        let cells = [line.name, line.kind.to_owned(), line.value, now, line.state.word().to_owned()];
        table.row(line.state.style(), cells);
    }
    match table.is_empty() {
        true => say("the config has no host that needs a record\n"),
        false => say(table),
    }
    Ok(DONE)
}

/// Nothing can be beside a CNAME (RFC 1034 §3.6.2): where names become one, CAA goes to the top of their zone.
async fn beside_aliases(resolver: &Resolver, needs: BTreeSet<Need>, target: &Target) -> BTreeSet<Need> {
    if matches!(target, Target::Addresses(_)) {
        return needs;
    }
    let mut moved = BTreeSet::new();
    for mut need in needs {
        if let (What::Permission { .. }, Ok(host)) = (&need.what, Hostname::parse(&need.name))
            && let Ok(authority) = resolver.authority(&host).await
        {
            need.name = authority.zone;
        }
        moved.insert(need);
    }
    moved
}

async fn line(solvers: &Solvers, need: Need, who: Issuance<'_>) -> Line {
    let resolver = solvers.resolver();
    let apex = match &need.what {
        What::Alias(_) => is_apex(&resolver, &need.name).await,
        _ => false,
    };
    let kind = need.what.kind(apex);
    let mut value = need.what.value();
    let looked = match &need.what {
        What::Address { v6, ip } => addresses_now(&resolver, &need.name, *v6, *ip).await,
        What::Alias(host) => alias_now(&resolver, &need.name, host, apex).await,
        What::Permission { wildcard, .. } => {
            permission_now(&resolver, &need.name, Issuance { wildcard: *wildcard, ..who }).await
        }
        What::Answer => answer_now(solvers, &need.name, &mut value).await,
    };
    let (now, state) = looked.unwrap_or_else(|error| (error.to_string(), State::Unknown));
    Line { name: need.name, kind, value, now, state }
}

type Looked = Result<(String, State), DnsError>;

async fn addresses_now(resolver: &Resolver, name: &str, v6: bool, ip: Option<IpAddr>) -> Looked {
    let found: Vec<IpAddr> =
        resolver.addresses(&any(name)).await?.into_iter().filter(|ip| ip.is_ipv6() == v6).collect();
    let state = match ip {
        _ if found.is_empty() => State::Missing,
        None => State::Unknown,
        Some(ip) if found.contains(&ip) => State::Ok,
        Some(_) => State::Differs,
    };
    Ok((found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), state))
}

async fn alias_now(resolver: &Resolver, name: &str, host: &str, apex: bool) -> Looked {
    let name = any(name);
    if apex {
        let (ours, theirs) = (resolver.addresses(&name).await?, resolver.addresses(host).await?);
        let state = match ours.as_slice() {
            [] => State::Missing,
            ours if !theirs.is_empty() && ours.iter().all(|ip| theirs.contains(ip)) => State::Ok,
            _ => State::Differs,
        };
        return Ok((ours.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), state));
    }
    let answers = resolver.look_up(&name, RecordType::CNAME).await?;
    let found = answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) => Some(plain(&target.0)),
        _ => None,
    });
    let addresses = || async {
        resolver.addresses(&name).await.map(|ips| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    };
    Ok(match found {
        Some(target) if target == host => (format!("{target}."), State::Ok),
        Some(target) => (format!("{target}."), State::Differs),
        None => match addresses().await? {
            none if none.is_empty() => (none, State::Missing),
            some => (some, State::Differs),
        },
    })
}

/// The nearest CAA records up the tree decide (RFC 8659 §3).
async fn permission_now(resolver: &Resolver, name: &str, who: Issuance<'_>) -> Looked {
    Ok(match resolver.permissions(name).await? {
        None => (String::new(), State::Advised),
        Some(caa) if caa.permits(&who).is_ok() => (caa.to_string(), State::Ok),
        Some(caa) => (caa.to_string(), State::Differs),
    })
}

/// Who would write the answer, and where.
async fn answer_now(solvers: &Solvers, name: &str, value: &mut String) -> Looked {
    let asked = Hostname::parse(name).map_err(|_| DnsError::NoSolver(name.to_owned()))?;
    let target = solvers.resolver().follow(&asked).await?;
    let now = if target == asked { String::new() } else { format!("CNAME {target}.") };
    let solver = solvers.covering(&target).or_else(|| solvers.covering(&asked));
    Ok(match solver {
        Some(solver) => {
            *value = format!("(written by doorward through the solver {})", solver.config.id);
            (now, State::Ok)
        }
        None => {
            *value = "a DNS solver for its zone, or a CNAME into the zone of one".to_owned();
            (now, State::Missing)
        }
    })
}

/// Whether a zone begins at the name.
async fn is_apex(resolver: &Resolver, name: &str) -> bool {
    let Ok(host) = Hostname::parse(name) else { return false };
    resolver.authority(&host).await.is_ok_and(|authority| authority.zone == name)
}

/// A name that a wildcard stands for.
fn any(name: &str) -> String {
    name.strip_prefix("*.").map_or_else(|| name.to_owned(), |base| format!("doorward-plan.{base}"))
}

/// Where clients reach the listeners, as far as can be told from here: what they name, or what this machine sends
/// from where that is an address of the internet.
fn addresses(config: &Config) -> Vec<IpAddr> {
    let named: Vec<IpAddr> =
        config.listeners.iter().map(|listener| listener.address.ip()).filter(|ip| !ip.is_unspecified()).collect();
    let mut found = if named.is_empty() { outbound() } else { named };
    found.sort();
    found.dedup();
    found
}

/// The addresses that this machine would send from; nothing is sent.
fn outbound() -> Vec<IpAddr> {
    let documentation: [(SocketAddr, SocketAddr); 2] = [
        ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 53).into()),
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 53).into()),
    ];
    let source = |(local, remote): &(SocketAddr, SocketAddr)| {
        let socket = UdpSocket::bind(local).ok()?;
        socket.connect(remote).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let public = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_private() && !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => {
            !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unique_local() && !ip.is_unspecified()
        }
    };
    documentation.iter().filter_map(source).filter(public).collect()
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "MISSING",
            Self::Differs => "DIFFERS",
            Self::Advised => "advised",
            Self::Unknown => "unknown",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::Plain,
            Self::Missing | Self::Differs => Style::Red,
            Self::Advised | Self::Unknown => Style::Yellow,
        }
    }
}
