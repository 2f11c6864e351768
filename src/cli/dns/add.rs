//! `doorward dns PROVIDER add`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde_json::json;

use super::place::Place;
use super::{Failure, say_json};
use crate::cli::DONE;
use crate::cli::output::{Style, say, styled};
use crate::config::{DnsProvider, DnsSetting, DnsSolver, parse_server};
use crate::dns::{self, Resolver};
use crate::names::Hostname;
use crate::read;

/// The lock under which solvers are added and removed.
pub(super) const LOCK: &str = "dns-solvers";

/// What every provider's `add` takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// What the solver is to be called
    #[arg(long, value_name = "ID")]
    id: String,
    /// The zones that it is for, with all names below them
    #[arg(long = "dns-zones", value_name = "ZONE", value_delimiter = ',', required = true, value_parser = zone)]
    zones: Vec<Hostname>,
    /// The records' time to live in seconds [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    ttl: Option<u32>,
    /// How long a record may take until all of the zone's servers have it [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    propagation_timeout: Option<Duration>,
    /// The servers that must have it, in place of those that the zone's NS records name
    #[arg(long = "nameservers", value_name = "ADDRESS", value_delimiter = ',', value_parser = server)]
    nameservers: Vec<SocketAddr>,
    /// Take the place of a solver with the same id
    #[arg(long)]
    replace: bool,
    /// What was added, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// A solver to add.
#[derive(Debug)]
pub(in crate::cli) struct AddArgs {
    provider: &'static DnsProvider,
    common: Common,
    /// As they were written: secrets by reference.
    settings: BTreeMap<&'static str, String>,
}

impl AddArgs {
    pub(super) fn of(provider: &'static DnsProvider, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let common = Common::from_arg_matches(matches)?;
        let written = |setting: &DnsSetting| matches.get_one::<String>(setting.name).cloned();
        let settings = provider.settings.iter().filter_map(|s| Some((s.name, written(s)?))).collect();
        Ok(Self { provider, common, settings })
    }
}

/// The command for a provider, with an option for each of its settings.
pub(super) fn command(provider: &'static DnsProvider) -> Command {
    let needed = provider.settings.iter().filter(|setting| setting.required);
    let group =
        provider.either.first().into_iter().flat_map(|group| group.iter().filter_map(|name| provider.setting(name)));
    let example = |setting: &DnsSetting| match setting.secret {
        true => format!(" --{} -", option(setting.name)),
        false => format!(" --{} …", option(setting.name)),
    };
    let options: String = needed.chain(group).map(example).collect();
    let stdin = if options.ends_with(" -") { " < secret" } else { "" };
    let example =
        format!("Example:\n  doorward dns {} add --id 1 --dns-zones example.org{options}{stdin}", provider.name);
    let command = Command::new("add").about(format!("Let doorward change zones at {}", provider.name));
    let command = command.arg_required_else_help(true).after_help(example);
    provider.settings.iter().fold(Common::augment_args(command), |command, setting| command.arg(argument(setting)))
}

/// Adds it to the storage, where a running doorward finds it.
pub(super) async fn run(args: AddArgs) -> Result<u8, Failure> {
    let AddArgs { provider, common, settings } = args;
    let mut read = BTreeMap::new();
    for (name, written) in settings {
        let secret = provider.setting(name).is_some_and(|setting| setting.secret);
        read.insert(name.to_owned(), if secret { secret_of(name, &written)? } else { written });
    }
    let wrong = |error: crate::config::DnsSolverError| Failure::Wrong(error.to_string());
    let mut solver = DnsSolver::new(common.id, provider, common.zones, read).map_err(wrong)?;
    solver.ttl = common.ttl.unwrap_or(solver.ttl);
    solver.propagation_timeout = common.propagation_timeout.unwrap_or(solver.propagation_timeout);
    solver.nameservers = common.nameservers;

    let config = common.place.config()?;
    // What cannot be used is not kept.
    dns::connect(&solver, &Resolver::new(&config.resolvers)).map_err(|error| Failure::Wrong(error.to_string()))?;
    if config.dns.iter().any(|other| other.id == solver.id) {
        return Err(Failure::Failed(format!("the config has a [[dns]] with id = {:?}; choose another id", solver.id)));
    }
    let storage = common.place.storage(&config)?;
    let _lease = storage.lock(LOCK).await?;
    if !common.replace && dns::load(&*storage, &solver.id).await?.is_some() {
        let remedy = format!("`doorward dns remove {}` first, or add --replace", solver.id);
        return Err(Failure::Failed(format!("there is a DNS solver {:?} already; {remedy}", solver.id)));
    }
    dns::save(&*storage, &solver).await?;
    if common.json {
        say_json(&shown(&solver, "storage"));
    } else {
        let zones: Vec<_> = solver.zones.iter().map(ToString::to_string).collect();
        let (ok, id, zone) = (styled(Style::Green, "OK"), &solver.id, &solver.zones[0]);
        say(format_args!("{ok}, DNS solver {id} ({}) for {}\n", provider.name, zones.join(", ")));
        say(format_args!("try it: doorward dns test {id} {zone}\n"));
    }
    Ok(DONE)
}

/// A solver as it may be shown.
pub(super) fn shown(solver: &DnsSolver, from: &str) -> serde_json::Value {
    let settings: BTreeMap<_, _> = solver.settings.keys().map(|name| (name, solver.shown(name))).collect();
    json!({
        "id": solver.id,
        "provider": solver.provider.name,
        "zones": solver.zones.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "settings": settings,
        "ttl": solver.ttl,
        "propagation_timeout_seconds": solver.propagation_timeout.as_secs(),
        "nameservers": solver.nameservers,
        "from": from,
    })
}

/// A secret that is named and not written: `-` is stdin, anything else a file. The command line can be seen by
/// everybody on the machine.
fn secret_of(name: &str, written: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match written.strip_prefix("file:").unwrap_or(written) {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        path => read::text(Path::new(path), read::SMALL).map(|read| text = read),
    };
    let option = option(name);
    read.map_err(|error| {
        // What was written may be the secret itself.
        Failure::Wrong(format!(
            "--{option} takes - for stdin, or a file that holds the secret, never the secret itself: {error}"
        ))
    })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::Wrong(format!("--{option}: the secret is empty")));
    }
    Ok(secret.to_owned())
}

fn argument(setting: &'static DnsSetting) -> Arg {
    let (value, how) = match setting.secret {
        true => ("-|FILE", "read from stdin or a file"),
        false => ("TEXT", ""),
    };
    let help = [setting.help, how].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    let argument = Arg::new(setting.name).long(option(setting.name)).value_name(value).help(help);
    argument.action(ArgAction::Set).required(setting.required).allow_hyphen_values(setting.secret)
}

fn option(name: &str) -> String {
    name.replace('_', "-")
}

fn zone(text: &str) -> Result<Hostname, String> {
    Hostname::parse(text).map_err(|error| error.to_string())
}

fn server(text: &str) -> Result<SocketAddr, String> {
    parse_server(text).ok_or_else(|| "write an IP address, and a port where it is not 53".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_on_the_command_line_is_not_taken_and_not_repeated() {
        let Err(Failure::Wrong(message)) = secret_of("api_token", "s3cret-token") else { panic!("taken") };
        assert!(message.contains("--api-token takes -") && !message.contains("s3cret"), "{message}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "s3cret\n").expect("writes");
        let path = file.path().display().to_string();
        assert_eq!(secret_of("api_token", &path).ok().as_deref(), Some("s3cret"));
        assert_eq!(secret_of("api_token", &format!("file:{path}")).ok().as_deref(), Some("s3cret"));
    }
}
