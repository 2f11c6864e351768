//! `doorward dns`: who can change which DNS zones.
//!
//! All of it works on the storage, with or without a daemon; a daemon follows the storage. The providers'
//! commands are made from the catalogue in `config`, so that a provider has the same settings everywhere.

mod add;
mod amazon;
mod list;
mod place;
mod plan;
mod records;
mod table;
mod test;

pub(super) use place::known;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::output::complain;
use crate::config::DnsProvider;

/// What is asked for.
#[derive(Debug)]
pub(super) enum DnsVerb {
    List(list::ListArgs),
    Remove(list::RemoveArgs),
    Test(test::TestArgs),
    Plan(plan::PlanArgs),
    Role(amazon::RoleArgs),
    Policy(amazon::PolicyArgs),
    Add(Box<add::AddArgs>),
}

const EXAMPLES: &str = "Examples:
  doorward dns route53 add --id 1 --dns-zones example.org --role arn:aws:iam::123456789012:role/dns
  doorward dns cloudflare add --id cf --dns-zones example.com --api-token - < token
  doorward dns rfc2136 add --id ns --dns-zones example.net --server 192.0.2.53 --tsig-key /etc/bind/acme.key
  doorward dns test 1 www.example.org
  doorward dns plan";

/// Runs it to its exit code.
pub(super) fn run(verb: DnsVerb) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return super::FAILED;
        }
    };
    let done = runtime.block_on(async {
        match verb {
            DnsVerb::List(args) => list::list(&args).await,
            DnsVerb::Remove(args) => list::remove(&args).await,
            DnsVerb::Test(args) => test::run(&args).await,
            DnsVerb::Plan(args) => plan::run(&args).await,
            DnsVerb::Role(args) => amazon::role(&args).await,
            DnsVerb::Policy(args) => amazon::policy(&args).await,
            DnsVerb::Add(args) => add::run(*args).await,
        }
    });
    match done {
        Ok(code) => code,
        Err(Failure::Wrong(message)) => {
            complain(message);
            super::WRONG
        }
        Err(Failure::Failed(message)) => {
            complain(message);
            super::FAILED
        }
    }
}

/// Why it was not done.
#[derive(Debug)]
enum Failure {
    /// Wrong usage or config.
    Wrong(String),
    /// Anything else.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Prints a value as JSON.
fn say_json(value: &serde_json::Value) {
    super::output::say(format_args!("{value:#}\n"));
}

impl Subcommand for DnsVerb {
    fn augment_subcommands(command: Command) -> Command {
        let names: Vec<_> = DnsProvider::all().iter().map(|provider| provider.name).collect();
        let help = format!(
            "{EXAMPLES}\n\nProviders, each with `add` (see `doorward dns PROVIDER add --help`):\n  {}",
            names.join(", ")
        );
        let command = command
            .subcommand_required(true)
            .arg_required_else_help(true)
            .after_help(help)
            .subcommand(list::ListArgs::augment_args(Command::new("list")))
            .subcommand(list::RemoveArgs::augment_args(Command::new("remove")))
            .subcommand(test::TestArgs::augment_args(Command::new("test")))
            .subcommand(plan::PlanArgs::augment_args(Command::new("plan")));
        DnsProvider::all().iter().fold(command, |command, provider| command.subcommand(of_provider(provider)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        matches!(name, "list" | "remove" | "test" | "plan") || DnsProvider::find(name).is_some()
    }
}

impl FromArgMatches for DnsVerb {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        Ok(match name {
            "list" => Self::List(list::ListArgs::from_arg_matches(matches)?),
            "remove" => Self::Remove(list::RemoveArgs::from_arg_matches(matches)?),
            "test" => Self::Test(test::TestArgs::from_arg_matches(matches)?),
            "plan" => Self::Plan(plan::PlanArgs::from_arg_matches(matches)?),
            provider => {
                let provider = DnsProvider::find(provider).ok_or_else(missing)?;
                match matches.subcommand().ok_or_else(missing)? {
                    ("role", matches) => Self::Role(amazon::RoleArgs::from_arg_matches(matches)?),
                    ("policy", matches) => Self::Policy(amazon::PolicyArgs::from_arg_matches(matches)?),
                    (_, matches) => Self::Add(Box::new(add::AddArgs::of(provider, matches)?)),
                }
            }
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn of_provider(provider: &'static DnsProvider) -> Command {
    let about = format!("Zones at {}", provider.name);
    let example = format!("Example:\n  doorward dns {} add --help", provider.name);
    let command = Command::new(provider.name).about(about).after_help(example);
    let command = command.subcommand_required(true).arg_required_else_help(true);
    let command = command.subcommand(add::command(provider));
    match provider.name {
        "route53" => command
            .subcommand(amazon::RoleArgs::augment_args(Command::new("role")))
            .subcommand(amazon::PolicyArgs::augment_args(Command::new("policy"))),
        "cloudflare" | "rfc2136" => command,
        // They would bury the others; the help lists their names.
        _ => command.hide(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<DnsVerb, clap::Error> {
        let command = DnsVerb::augment_subcommands(Command::new("dns"));
        let words = std::iter::once("dns").chain(words.iter().copied());
        command.try_get_matches_from(words).and_then(|matches| DnsVerb::from_arg_matches(&matches))
    }

    #[test]
    fn every_command_is_sound_and_shows_an_example() {
        let mut command = DnsVerb::augment_subcommands(Command::new("dns"));
        command.clone().debug_assert();
        command.build();
        for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            let nested: Vec<_> = verb.get_subcommands_mut().filter(|verb| verb.get_name() != "help").collect();
            let helps: Vec<String> = match nested.is_empty() {
                true => vec![verb.render_long_help().to_string()],
                false => nested.into_iter().map(|verb| verb.render_long_help().to_string()).collect(),
            };
            assert!(helps.iter().all(|help| help.contains("Example")), "{helps:?}");
        }
    }

    #[test]
    fn what_a_provider_needs_is_asked_for() {
        let add = ["--id", "1", "--dns-zones", "example.org,example.net"];
        let route53 = parse(&[&["route53", "add"], &add[..], &["--role", "arn", "--hosted-zone-id", "Z"]].concat());
        assert!(matches!(route53, Ok(DnsVerb::Add(_))), "{route53:?}");
        assert!(parse(&[&["hetzner", "add"], &add[..]].concat()).is_err(), "no token");
        assert!(parse(&["rfc2136", "add", "--id", "1"]).is_err(), "no zones");
        assert!(parse(&[&["cloudflare", "add"], &add[..], &["--role", "x"]].concat()).is_err(), "not its option");
        assert!(matches!(parse(&["test", "1", "www.example.org"]), Ok(DnsVerb::Test(_))));
        assert!(parse(&["nobody", "add"]).is_err());
    }
}
