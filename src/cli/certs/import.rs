//! `doorward certs import` and `replace`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::output::{Style, complain, safe, say, styled};
use super::sources::{Collected, Found, collect};
use super::{Common, DONE, FAILED, ask, print_json, refuse, tell, unexpected};
use crate::admin::certs::{Done, Import, Reply, Request, Secret};
use crate::certs::Bundle;
use crate::certs::foreign::Tool;
use crate::cli::{Daemon, clock, complete};

/// Take certificates with their keys into doorward's storage, and serve them at once.
///
/// Reads a folder (in any layout that `[certificates] directories` may have, also many certificates below it), the
/// files of one certificate, or PEM from stdin (`-`), or what another tool holds. They go over the admin socket, so
/// no key is ever in a command line; each is checked as those in watched folders are, and it is confirmed that it is
/// served. With no doorward running they are put into the storage of the config.
///
/// What is imported is not renewed by doorward: `certs replace` takes a new one; or give the route
/// `certificate = "auto"`, which orders one of its own before this one ends.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward certs import ./example.com/\n  doorward certs import fullchain.pem privkey.pem --id example.com\n  pass show example.com | doorward certs import - --id example.com\n  doorward certs import --from certbot /etc/letsencrypt --dry-run"
)]
pub(in crate::cli) struct ImportArgs {
    /// A folder, the files of one certificate, or -
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// What to call it; default: its folder's or file's name
    #[arg(long)]
    id: Option<String>,
    /// Take over what this tool holds at the path
    #[arg(long, value_name = "TOOL")]
    from: Option<From>,
    /// Show what would be imported and what would be left, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// Put a new certificate in the place of one in the storage; the old one is kept (`certs rollback`).
///
/// Refused where the new one has expired or lacks a name that the present one has, unless --force.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  doorward certs replace example.com fullchain.pem privkey.pem")]
pub(in crate::cli) struct ReplaceArgs {
    /// The certificate
    #[arg(add = complete::ids())]
    id: String,
    /// A folder, the files of one certificate, or -
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Whatever speaks against it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// /etc/letsencrypt, or its live folder
    Certbot,
    /// Caddy's data folder, or certificates in it
    Caddy,
    /// Traefik's acme.json
    Traefik,
    /// lego's folder, or certificates in it
    Lego,
}

pub(super) fn run(args: &ImportArgs) -> u8 {
    let tool = args.from.map(|from| match from {
        From::Certbot => Tool::Certbot,
        From::Caddy => Tool::Caddy,
        From::Traefik => Tool::Traefik,
        From::Lego => Tool::Lego,
    });
    let (found, left) = match collect(&args.paths, tool) {
        Ok(collected) => collected,
        Err(error) => return refuse(args.common.json, &error),
    };
    if args.id.is_some() && found.len() > 1 {
        let error = format!("--id names one certificate, and there are {}", found.len());
        return refuse(args.common.json, &error);
    }
    match args.dry_run {
        true => rehearse(args, (found, left)),
        false => import_all(args, (found, left)),
    }
}

/// What would be imported, without a word to anybody: what is there by the same ids is not looked at.
fn rehearse(args: &ImportArgs, (found, left): Collected) -> u8 {
    let (mut would, mut failed) = (Vec::new(), Vec::new());
    for Found { name, from, result } in found {
        let id = args.id.clone().unwrap_or(name);
        match result {
            Ok(Bundle { certificate, .. }) => {
                let names: Vec<String> = certificate.names().iter().map(ToString::to_string).collect();
                let until = certificate.not_after();
                if !args.common.json {
                    let names = safe(&names.join(", "));
                    let (id, until, from) = (safe(&id), clock::date(until), safe(&from));
                    say(format_args!("would import {id}: {names}, until {until}, from {from}\n"));
                }
                would.push(json!({ "id": id, "names": names, "expires": until, "from": from }));
            }
            Err(error) => failed.push(refused(&from, &error.to_string())),
        }
    }
    end(args, "would_import", &would, &failed, &left)
}

/// Each for itself, a line each; what could not be taken is said, and makes the exit code 1.
fn import_all(args: &ImportArgs, (found, left): Collected) -> u8 {
    let (mut taken, mut failed) = (Vec::new(), Vec::new());
    for Found { name, from, result } in found {
        let id = args.id.clone().unwrap_or(name);
        let outcome = result.map_err(|error| error.to_string()).and_then(|bundle| {
            let bundle = Secret(bundle.pem);
            let import = Import { id, bundle, from: from.clone(), own_ca: false, replace: false, force: false };
            hand_over(&args.common.daemon, import)
        });
        match outcome {
            Ok(done) => {
                if !args.common.json {
                    tell(false, &done);
                }
                taken.push(done);
            }
            Err(error) => failed.push(refused(&from, &error)),
        }
    }
    end(args, "imported", &taken, &failed, &left)
}

/// Says why one could not be taken; the same as JSON.
fn refused(from: &str, error: &str) -> Value {
    match error.contains(from) {
        true => complain(safe(error)),
        false => complain(format_args!("{}: {}", safe(from), safe(error))),
    }
    json!({ "from": from, "error": error })
}

/// Says what was left, or as JSON everything.
fn end(args: &ImportArgs, key: &str, taken: &[impl Serialize], failed: &[Value], left: &[String]) -> u8 {
    if args.common.json {
        print_json(&json!({ key: taken, "failed": failed, "left": left }));
    } else {
        for line in left {
            say(format_args!("{} {}\n", styled(Style::Dim, "left:"), safe(line)));
        }
    }
    if failed.is_empty() { DONE } else { FAILED }
}

pub(super) fn replace(args: &ReplaceArgs) -> u8 {
    let outcome = collect(&args.paths, None).and_then(|(found, _)| match <[Found; 1]>::try_from(found) {
        Ok([Found { from, result, .. }]) => {
            let bundle = Secret(result.map_err(|error| error.to_string())?.pem);
            let id = args.id.clone();
            hand_over(&args.common.daemon, Import { id, bundle, from, own_ca: false, replace: true, force: args.force })
        }
        Err(found) => Err(format!("one certificate takes the place of another, and there are {}", found.len())),
    });
    match outcome {
        Ok(done) => tell(args.common.json, &done),
        Err(error) => refuse(args.common.json, &error),
    }
}

/// Gives a certificate to the daemon, or to its storage.
pub(in crate::cli) fn hand_over(daemon: &Daemon, import: Import) -> Result<Done, String> {
    match ask(daemon, Request::Import(import))? {
        Reply::Done(done) => Ok(done),
        _ => {
            unexpected();
            Err("nothing is known of the import".to_owned())
        }
    }
}
