//! `doorward certs budget`: what CAs still issue, from the storage alone, whether a daemon runs or not.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::{Common, ask_running, print_json, refuse, unexpected};
use crate::acme::{self, BudgetView, LimitView};
use crate::admin::certs::{Reply, Request};
use crate::cli::output::{Style, safe, say, styled};
use crate::cli::{CONFIG_FILE, DONE, Daemon};
use crate::config::{Acme, Found, Loaded, Machine, Storage, load_on};
use crate::storage::FileStorage;

/// Show what the CAs still issue by their limits: orders, certificates per domain, duplicates, failures.
///
/// Asks the running doorward, or where none runs the storage that the config names. A quarter of what is shared is
/// kept for renewals. Asks no CA.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward certs budget --config /etc/doorward/doorward.toml\n  doorward certs budget --json | jq '.[].limits[] | select(.left_for_new == 0)'"
)]
pub(in crate::cli) struct BudgetArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &BudgetArgs) -> u8 {
    let views = match ask_running(&args.common.daemon, &Request::Budget) {
        Ok(Some(Reply::Budget { issuers })) => Ok(issuers),
        Ok(Some(_)) => return unexpected(),
        Ok(None) => on_storage(&args.common.daemon),
        Err(error) => Err(error),
    };
    match views {
        Ok(views) if args.common.json => {
            print_json(&views);
            DONE
        }
        Ok(views) => {
            say(render(&views, SystemTime::now()));
            DONE
        }
        Err(error) => refuse(args.common.json, &error),
    }
}

/// With no doorward running.
fn on_storage(daemon: &Daemon) -> Result<Vec<BudgetView>, String> {
    let file = daemon.config.clone().unwrap_or_else(|| CONFIG_FILE.into());
    // What is masked need not be read, by somebody who perhaps may not.
    let machine = Machine { look: |_| Found::Assumed, secret: |_| Ok("masked".to_owned()), ..Machine::this() };
    let Loaded { config, .. } = load_on(&file, machine).map_err(|faults| faults.to_string())?;
    look(&config.acme.unwrap_or_default(), &config.storage)
}

fn look(acme: &Acme, storage: &Storage) -> Result<Vec<BudgetView>, String> {
    let Storage::File { path } = storage;
    if !path.is_dir() {
        return Err(format!("there is no storage in {}; the daemon makes it at its start", path.display()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let storage = FileStorage::open(path).map_err(|error| error.to_string())?;
        acme::budget(acme, &storage, SystemTime::now()).await.map_err(|error| error.to_string())
    })
}

fn render(views: &[BudgetView], now: SystemTime) -> String {
    let mut out = String::new();
    for (at, view) in views.iter().enumerate() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "{}{}", if at > 0 { "\n" } else { "" }, styled(Style::Bold, &safe(&view.issuer)));
        if view.limits.iter().all(|limit| limit.most.is_none()) {
            out.push_str("  no limits are known\n");
            continue;
        }
        for limit in view.limits.iter().filter(|limit| limit.most.is_some()) {
            let full = limit.left_for_new == Some(0);
            let line = line(limit, now);
            let _ = writeln!(out, "  {}", styled(if full { Style::Yellow } else { Style::Plain }, &line));
        }
    }
    out
}

fn line(limit: &LimitView, now: SystemTime) -> String {
    let what = match limit.limit.as_str() {
        "orders" => "orders".to_owned(),
        "per_domain" => format!("certificates for {}", subject(limit)),
        "duplicates" => format!("certificates for the names of {}", subject(limit)),
        _ => format!("failed validations of {}", subject(limit)),
    };
    let within = humantime::format_duration(Duration::from_secs(limit.within.unwrap_or(0)));
    let mut line = format!("{what}: {} of {} in {within}", limit.used, limit.most.unwrap_or(0));
    if let Some(left) = limit.left_for_new {
        let _ = write!(line, ", {left} left for new names");
    }
    if let Some(at) = limit.room_at {
        let wait = (UNIX_EPOCH + Duration::from_secs(at)).duration_since(now).unwrap_or_default();
        // To the minute.
        let wait = Duration::from_secs(wait.as_secs().div_ceil(60) * 60);
        let _ = write!(line, ", room again in {}", humantime::format_duration(wait));
    }
    line
}

fn subject(limit: &LimitView) -> String {
    safe(limit.subject.as_deref().unwrap_or("the account"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_says_until_when() {
        let limit = |name: &str, subject: Option<&str>, used, most: Option<u32>, room_at| LimitView {
            limit: name.to_owned(),
            subject: subject.map(str::to_owned),
            used,
            most,
            within: Some(7 * 86_400),
            left_for_new: most.map(|most| (most - most / 4).saturating_sub(used)),
            room_at,
        };
        let limits = vec![
            limit("orders", None, 2, Some(300), None),
            limit("per_domain", Some("example.org"), 38, Some(50), Some(3_000)),
        ];
        let views = [
            BudgetView { issuer: "letsencrypt".to_owned(), limits },
            BudgetView { issuer: "own".to_owned(), limits: vec![limit("orders", None, 0, None, None)] },
        ];
        assert_eq!(
            render(&views, UNIX_EPOCH + Duration::from_secs(1_250)),
            "letsencrypt\n  orders: 2 of 300 in 7days, 223 left for new names\n  \
             certificates for example.org: 38 of 50 in 7days, 0 left for new names, room again in 30m\n\n\
             own\n  no limits are known\n"
        );
    }
}
