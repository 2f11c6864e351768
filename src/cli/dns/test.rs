//! `doorward dns test`: a real record, written, seen and removed.

use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::place::Place;
use super::{Failure, say_json};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::{Style, say, styled};
use crate::cli::{DONE, FAILED, complete};
use crate::dns::{TxtRecord, challenge_name};
use crate::names::HostPattern;

/// The lock that is held while a test's record is needed.
const LOCK: &str = "dns-test";
/// What a step says that Ctrl-C or SIGTERM ended.
const INTERRUPTED: &str = "interrupted";

/// Write, see and remove a real record, as for a certificate for NAME.
///
/// The record is a TXT value at _acme-challenge.NAME, or where a CNAME there leads. It is removed in any case, also after
/// Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward dns test 1 www.example.org")]
pub(in crate::cli) struct TestArgs {
    /// The solver
    #[arg(add = complete::solvers())]
    id: String,
    /// A name that a certificate could be for
    #[arg(value_parser = HostPattern::parse)]
    name: HostPattern,
    /// What happened, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(args: &TestArgs) -> Result<u8, Failure> {
    let (_, storage, solvers) = args.place.solvers().await?;
    let solver = solvers.all().into_iter().find(|solver| solver.config.id == args.id);
    let solver = solver.ok_or_else(|| {
        Failure::Failed(format!("there is no DNS solver {:?}; `doorward dns list` shows all", args.id))
    })?;
    let asked =
        challenge_name(args.name.base()).ok_or_else(|| Failure::Wrong("an address is in no zone".to_owned()))?;
    let name = solvers.resolver().follow(&asked).await.unwrap_or_else(|_| asked.clone());
    let value: String = std::iter::repeat_with(fastrand::alphanumeric).take(43).collect();
    let (record, token) = (TxtRecord { name, value }, format!("test-{:016x}", fastrand::u64(..)));

    let _lease = storage.lock(LOCK).await?;
    let mut steps = Steps { json: args.json, done: Vec::new(), begin: Instant::now() };
    if record.name != asked {
        steps.note("delegated", true, format!("{asked} is a CNAME to {}", record.name));
    }
    let other = solvers.covering(&record.name).filter(|other| other.config.id != args.id);
    if let Some(other) = other {
        steps.note(
            "chosen",
            true,
            format!("for certificates the solver {} would be used: its zone is longer", other.config.id),
        );
    }
    // Until here there is nothing to take back.
    let mut interrupt = Interrupt::note();
    let written = tokio::select! {
        written = solvers.present(solver, record.clone(), &token, LOCK) => written.map_err(|error| error.to_string()),
        () = interrupt.wait() => Err(INTERRUPTED.to_owned()),
    };
    match written {
        Err(error) => steps.note("written", false, error),
        Ok(presented) => {
            steps.note("written", true, format!("{} TXT {:?}", record.name, record.value));
            let seen = tokio::select! {
                seen = solvers.wait_for(&presented) => seen.map_err(|error| error.to_string()),
                () = interrupt.wait() => Err(INTERRUPTED.to_owned()),
            };
            match seen {
                Ok(seen) => {
                    let servers: Vec<_> = seen.into_iter().map(|sighting| sighting.server).collect();
                    steps.note("seen", true, format!("at {}", servers.join(", ")));
                }
                Err(error) => steps.note("seen", false, error),
            }
        }
    }
    match solvers.withdraw(&token).await {
        Ok(()) => steps.note("removed", true, String::new()),
        Err(error) => steps.note("removed", false, error.to_string()),
    }
    Ok(steps.finish())
}

struct Steps {
    json: bool,
    done: Vec<(&'static str, bool, String, u128)>,
    begin: Instant,
}

impl Steps {
    fn note(&mut self, step: &'static str, well: bool, detail: String) {
        let after = self.begin.elapsed().as_millis();
        if !self.json {
            let (style, word) = if well { (Style::Green, "ok") } else { (Style::Red, "FAILED") };
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            say(format_args!("{} {step} after {after} ms{detail}\n", styled(style, word)));
        }
        self.done.push((step, well, detail, after));
    }

    fn finish(self) -> u8 {
        let well = self.done.iter().all(|(_, well, _, _)| *well);
        if self.json {
            let steps: Vec<_> = self.done.iter().map(|(step, well, detail, after)| json!({ "step": step, "ok": well, "detail": detail, "after_ms": u64::try_from(*after).unwrap_or(u64::MAX) })).collect();
            say_json(&json!({ "ok": well, "steps": steps }));
        }
        if well { DONE } else { FAILED }
    }
}
