//! `doorward dns list` and `doorward dns remove`.

use clap::Args;
use serde_json::json;

use super::add::{LOCK, shown};
use super::place::Place;
use super::table::Table;
use super::{Failure, say_json};
use crate::cli::output::{Style, complain, say, styled};
use crate::cli::{DONE, complete};
use crate::config::DnsSolver;
use crate::dns::{self, Intent};

/// List who can change which zones; secrets are never shown.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward dns list --json | jq '.[].zones'")]
pub(in crate::cli) struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Remove a solver that was added by command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward dns remove 1")]
pub(in crate::cli) struct RemoveArgs {
    /// The solver
    #[arg(add = complete::solvers())]
    id: String,
    /// What was removed, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn list(args: &ListArgs) -> Result<u8, Failure> {
    let config = args.place.config()?;
    // A storage that is not there yet is not made by a look.
    let stored = match args.place.folder(&config).exists() {
        true => dns::load_all(&*args.place.storage(&config)?).await?,
        false => Vec::new(),
    };
    let all: Vec<(&DnsSolver, &str)> =
        config.dns.iter().map(|s| (s, "config")).chain(stored.iter().map(|s| (s, "storage"))).collect();
    if args.json {
        let all: Vec<_> = all.into_iter().map(|(solver, from)| shown(solver, from)).collect();
        say_json(&json!(all));
        return Ok(DONE);
    }
    let mut table = Table::new(["ID", "PROVIDER", "ZONES", "SETTINGS", "FROM"]);
    for (solver, from) in all {
        let zones: Vec<_> = solver.zones.iter().map(ToString::to_string).collect();
        let settings: Vec<_> = solver.settings.keys().map(|name| format!("{name}={}", solver.shown(name))).collect();
        let cells =
            [solver.id.clone(), solver.provider.name.to_owned(), zones.join(","), settings.join(" "), from.to_owned()];
        table.row(Style::Plain, cells);
    }
    match table.is_empty() {
        true => {
            let place = args.place.folder(&config).display();
            say(format_args!("no DNS solvers in the config and in {place}; add one with: doorward dns PROVIDER add\n"));
        }
        false => say(table),
    }
    Ok(DONE)
}

pub(super) async fn remove(args: &RemoveArgs) -> Result<u8, Failure> {
    let config = args.place.config()?;
    let storage = args.place.storage(&config)?;
    let _lease = storage.lock(LOCK).await?;
    let Some(solver) = dns::load(&*storage, &args.id).await? else {
        let known: Vec<_> = dns::load_all(&*storage).await?.into_iter().map(|solver| solver.id).collect();
        let remedy = match known.as_slice() {
            _ if config.dns.iter().any(|solver| solver.id == args.id) => {
                "it is a [[dns]] of the config: remove it there".to_owned()
            }
            [] => "the storage has none".to_owned(),
            known => format!("the storage has: {}", known.join(", ")),
        };
        return Err(Failure::Failed(format!("no DNS solver {:?} was added by command; {remedy}", args.id)));
    };
    dns::remove(&*storage, &args.id).await?;
    for left in Intent::all(&*storage).await?.iter().filter(|intent| intent.solver == args.id) {
        complain(format_args!(
            "a record that it wrote may still be there: {} TXT {:?}",
            left.record.name, left.record.value
        ));
    }
    match args.json {
        true => say_json(&shown(&solver, "storage")),
        false => say(format_args!("{}, DNS solver {} is removed\n", styled(Style::Green, "OK"), args.id)),
    }
    Ok(DONE)
}
