//! `doorward certs generate` and `renew`: asks, and shows how far it is until it is there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;

use super::super::output::{Style, complain, safe, say, styled};
use super::ask::Talk;
use super::{Common, DONE, FAILED, print_json, refuse, tell, unexpected};
use crate::admin::certs::{Detail, Done, Generate, Reply, Request};
use crate::cli::{clock, complete};

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(300);

/// Order a certificate now, before any traffic moves here, and keep it renewed from then on.
///
/// Shows how far it is with each name while it waits, then `OK, cert-…`: the id, which any number of routes can name
/// as their `certificate`. What cannot work is said before anything is ordered. It stays wanted until
/// `certs delete`, whether or not a route uses it, and serves every name below its wildcards with no order for each.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward certs generate www.example.com example.com\n  doorward certs generate \"*.example.org\" myapp.example.org --key p384 --id apps"
)]
pub(in crate::cli) struct GenerateArgs {
    /// The names; wildcards in quotes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The issuer, by its name in the config; default: the one of `[acme]`
    #[arg(long, add = complete::issuers())]
    issuer: Option<String>,
    /// What to call it; default: cert- and a hash of its names
    #[arg(long)]
    id: Option<String>,
    /// The kind of key; default: the one of `[acme]`
    #[arg(long, value_parser = ["p256", "p384", "rsa2048"])]
    key: Option<String>,
    /// The profile to ask the CA for
    #[arg(long)]
    profile: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    common: Common,
}

/// Renew a certificate now that is due or has failed, or with --force at any time.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs renew cert-0123456789ab --force")]
pub(in crate::cli) struct RenewArgs {
    /// The certificate's id, or a name that it serves
    #[arg(add = complete::ids_and_names(), value_name = "ID|NAME")]
    id: String,
    /// Also where it is not due: it counts against the CA's limits
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, Args)]
struct Wait {
    /// Return at once; `certs show` tells how far it is
    #[arg(long)]
    no_wait: bool,
    /// How long to wait; the order goes on afterwards
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(super) fn run(args: &GenerateArgs) -> u8 {
    let request = Request::Generate(Generate {
        names: args.names.clone(),
        id: args.id.clone(),
        issuer: args.issuer.clone(),
        key: args.key.clone(),
        profile: args.profile.clone(),
    });
    match Talk::begin(&args.common.daemon) {
        Ok(talk) => order(talk, &args.common, &args.wait, request, None),
        Err(error) => refuse(args.common.json, &error),
    }
}

pub(super) fn renew(args: &RenewArgs) -> u8 {
    let asked =
        Talk::begin(&args.common.daemon).and_then(|mut talk| show(&mut talk, &args.id).map(|before| (talk, before)));
    let request = Request::Renew { id: args.id.clone(), force: args.force };
    match asked {
        Ok((talk, before)) => order(talk, &args.common, &args.wait, request, Some(before)),
        Err(error) => refuse(args.common.json, &error),
    }
}

fn order(mut talk: Talk, common: &Common, wait: &Wait, request: Request, before: Option<Box<Detail>>) -> u8 {
    if talk.is_alone() && wait.no_wait {
        let why =
            "no doorward is running, so nobody would go on with the order: leave out --no-wait, or start doorward";
        return refuse(common.json, why);
    }
    let asked_at = clock::now();
    let done = match talk.ask(request) {
        Ok(Reply::Done(done)) => done,
        Ok(_) => return unexpected(),
        Err(error) => return refuse(common.json, &error),
    };
    if wait.no_wait || done.serving {
        return tell(common.json, &done);
    }
    let outcome = wait_for(&mut talk, common, wait, &done, before.as_deref(), asked_at);
    let is_alone = talk.is_alone();
    talk.finish(outcome.is_ok());
    match outcome {
        Ok(detail) if common.json => {
            print_json(&detail);
            DONE
        }
        Ok(detail) => {
            let end = detail.row.expires.map_or_else(String::new, |at| format!(", until {}", clock::date(at)));
            let names = detail.row.names.join(", ");
            say(format_args!("{} {}\n", styled(Style::Green, "OK,"), safe(&detail.row.id)));
            say(format_args!("  from {} for {}{end}\n", safe(&detail.row.issuer), safe(&names)));
            if is_alone {
                say("  no doorward runs: the next one that starts serves it and renews it\n");
            }
            DONE
        }
        Err(error) => {
            if common.json {
                print_json(&serde_json::json!({ "id": done.id, "error": error }));
            }
            complain(&error);
            FAILED
        }
    }
}

/// Looks until a new certificate is served, an attempt has failed, or the time is up.
fn wait_for(
    talk: &mut Talk,
    common: &Common,
    wait: &Wait,
    done: &Done,
    before: Option<&Detail>,
    asked_at: i64,
) -> Result<Box<Detail>, String> {
    let deadline = Instant::now() + wait.timeout;
    let mut shown = BTreeMap::new();
    let old = before.and_then(|detail| detail.fingerprint.clone());
    let failures = before.map_or(0, |detail| detail.failures);
    loop {
        // Right after the wish it may not be known yet.
        if let Ok(detail) = show(talk, &done.id) {
            if !common.json {
                for (name, words) in &detail.progress {
                    if shown.insert(name.clone(), words.clone()).as_ref() != Some(words) {
                        say(format_args!("  {}: {}\n", safe(name), safe(words)));
                    }
                }
            }
            if detail.fingerprint.is_some() && detail.fingerprint != old {
                return Ok(detail);
            }
            let is_new = detail.last_attempt.is_some_and(|at| i64::try_from(at).is_ok_and(|at| at >= asked_at));
            // Who waits for room by a CA's limits has not failed, but that is no reason to wait here.
            let other = detail.failures != failures || detail.failures == 0 || before.is_none();
            if is_new && detail.last_error.is_some() && other {
                return Err(failure(talk, &done.id, &detail));
            }
        }
        if Instant::now() > deadline || talk.is_interrupted() {
            let id = &done.id;
            return Err(match talk.is_alone() {
                true => format!("{id} is not there yet; the same command, or doorward at its start, goes on with it"),
                false => format!("{id} is not there yet; the order goes on, `doorward certs show {id}` tells"),
            });
        }
        std::thread::sleep(LOOK);
    }
}

/// Why there is no certificate, and what comes next.
fn failure(talk: &Talk, id: &str, detail: &Detail) -> String {
    let next = detail.next_attempt.and_then(|at| i64::try_from(at).ok());
    let next = match (next, talk.is_alone()) {
        (_, true) => "; no doorward runs, so the next try is when one is started, or by the same command".to_owned(),
        (Some(at), false) => format!("; the next try is {}", clock::until(at, clock::now())),
        (None, false) => String::new(),
    };
    let error = detail.last_error.clone().unwrap_or_default();
    let ends = if detail.fingerprint.is_none() {
        format!(", and `doorward certs delete {id}` ends that")
    } else {
        String::new()
    };
    format!("{id} could not be had: {error}{next}{ends}")
}

fn show(talk: &mut Talk, of: &str) -> Result<Box<Detail>, String> {
    match talk.ask(Request::Show { of: of.to_owned() })? {
        Reply::Show(detail) => Ok(detail),
        _ => Err("the daemon gave an answer to another question".to_owned()),
    }
}
