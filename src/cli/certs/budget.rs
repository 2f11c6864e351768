//! `doorward certs budget`: what CAs still issue, from the storage alone, whether a daemon runs or not.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::acme::{self, BudgetView, LimitView};
use crate::cli::output::{Style, complain, safe, say, styled};
use crate::cli::{CONFIG_FILE, DONE, FAILED, WRONG};
use crate::config::{Acme, Found, Loaded, Machine, Storage, load_on};
use crate::storage::FileStorage;

/// Show what the CAs still issue by their limits: orders, certificates per domain, duplicates, failures.
///
/// Works on the storage that the config names; a daemon need not run. A quarter of what is shared is kept for
/// renewals. Asks no CA.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  doorward certs budget --config /etc/doorward/doorward.toml\n  doorward certs budget --json | jq '.[].limits[] | select(.left_for_new == 0)'"
)]
pub(in crate::cli) struct BudgetArgs {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BudgetArgs) -> u8 {
    // What is masked need not be read, by somebody who perhaps may not.
    let machine = Machine { look: |_| Found::Assumed, secret: |_| Ok("masked".to_owned()), ..Machine::this() };
    let Loaded { config, .. } = match load_on(&args.config, machine) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(faults);
            return WRONG;
        }
    };
    match look(&config.acme.unwrap_or_default(), &config.storage) {
        Ok(views) if args.json => {
            // Plain fields: serialising them cannot fail.
            say(format_args!("{}\n", serde_json::to_string_pretty(&views).unwrap_or_default()));
            DONE
        }
        Ok(views) => {
            say(render(&views, SystemTime::now()));
            DONE
        }
        Err(error) => {
            complain(error);
            FAILED
        }
    }
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
