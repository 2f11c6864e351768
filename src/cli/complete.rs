//! What a shell completes that only doorward knows: ids and names of certificates, DNS solvers, endpoints, issuers.
//!
//! The scripts of `doorward completions` call this program with [`VARIABLE`] set. It asks the daemon that the words
//! so far name, or where none runs the storage; what cannot be had in a moment is not completed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::output::safe;
use super::{CONFIG_FILE, Cli, Daemon, admin_socket, certs, dns};
use crate::admin::certs::{Reply, Request, Row};
use crate::admin::client::Client;
use crate::config::{self, Storage as StorageConfig};

/// What the scripts set, to the name of the shell.
pub(super) const VARIABLE: &str = "DOORWARD_COMPLETE";
/// Whoever presses TAB does not wait longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers a shell and ends the process, where one asks.
pub(super) fn answer() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
    }
}

/// Ids of certificates.
pub(super) fn ids() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let what = |row: &Row| certs::several(&row.names);
        rows().iter().map(|row| candidate(&row.id, &what(row))).collect()
    })
}

/// Ids of certificates, and names that they are for.
pub(super) fn ids_and_names() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let rows = rows();
        let ids = rows.iter().map(|row| candidate(&row.id, &certs::several(&row.names)));
        ids.chain(names_of(&rows)).collect()
    })
}

/// Names that there are certificates for.
pub(super) fn names() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names_of(&rows()))
}

/// Names whose HTTPS is switched off.
pub(super) fn disabled() -> ArgValueCandidates {
    ArgValueCandidates::new(|| match ask_list() {
        Some(Reply::List { disabled, .. }) => disabled.keys().map(|name| candidate(name, "HTTPS is off")).collect(),
        _ => Vec::new(),
    })
}

/// Issuers that the config or doorward knows.
pub(super) fn issuers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let acme = config::load(&config_file()).ok().and_then(|loaded| loaded.config.acme).unwrap_or_default();
        acme.known_issuers().map(|issuer| candidate(&issuer.name, &issuer.directory)).collect()
    })
}

/// Ids of DNS solvers.
pub(super) fn solvers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let (config, storage) = (word_after("--config"), word_after("--storage"));
        let all = in_time(dns::known(config.map(Into::into), storage.map(Into::into)));
        all.unwrap_or_default().iter().map(|(id, zones)| candidate(id, zones)).collect()
    })
}

/// Endpoints of backends.
pub(super) fn endpoints() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Ok(socket) = admin_socket::find(&daemon()) else { return Vec::new() };
        let client = Client::new(socket);
        let all = in_time(async { client.backends().await.ok() }).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let new = all.iter().filter(|one| seen.insert(one.endpoint.clone()));
        new.map(|one| candidate(&one.endpoint, &one.backend)).collect()
    })
}

fn candidate(value: &str, help: &str) -> CompletionCandidate {
    CompletionCandidate::new(value).help((!help.is_empty()).then(|| safe(help).into()))
}

fn names_of(rows: &[Row]) -> Vec<CompletionCandidate> {
    let names: BTreeSet<_> = rows.iter().flat_map(|row| row.names.iter().map(|name| (name, &row.id))).collect();
    names.into_iter().map(|(name, id)| candidate(name, id)).collect()
}

fn rows() -> Vec<Row> {
    match ask_list() {
        Some(Reply::List { certificates, .. }) => certificates,
        _ => Vec::new(),
    }
}

fn ask_list() -> Option<Reply> {
    let daemon = daemon();
    // A storage that is not there yet is not made by a look.
    let there = || {
        let loaded = config::load(&config_file()).ok()?;
        let StorageConfig::File { path } = loaded.config.storage;
        path.exists().then_some(())
    };
    let socket = admin_socket::find(&daemon).ok()?;
    if !socket.exists() {
        there()?;
    }
    certs::ask(&daemon, Request::List).ok()
}

/// The daemon that the words so far name.
fn daemon() -> Daemon {
    Daemon { socket: word_after("--socket").map(Into::into), config: word_after("--config").map(Into::into) }
}

fn config_file() -> std::path::PathBuf {
    word_after("--config").map_or_else(|| Path::new(CONFIG_FILE).to_owned(), Into::into)
}

/// The value of an option among the words so far.
fn word_after(option: &str) -> Option<OsString> {
    static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();
    let words = WORDS.get_or_init(|| std::env::args_os().collect());
    value_of(words, option)
}

fn value_of(words: &[OsString], option: &str) -> Option<OsString> {
    let of = |(at, word): (usize, &OsString)| {
        if word == option {
            return words.get(at + 1).cloned();
        }
        word.to_str()?.strip_prefix(option)?.strip_prefix('=').map(Into::into)
    };
    words.iter().enumerate().find_map(of)
}

fn in_time<T>(asking: impl Future<Output = Option<T>>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await.ok().flatten() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_so_far_say_which_daemon_is_meant() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let of = |text: &str| value_of(&words(text), "--config");
        assert_eq!(of("doorward -- doorward certs show --config a.toml x").as_deref(), Some("a.toml".as_ref()));
        assert_eq!(of("doorward -- doorward certs show --config=b.toml").as_deref(), Some("b.toml".as_ref()));
        assert_eq!(of("doorward -- doorward certs show --configure c"), None);
        assert_eq!(of("doorward -- doorward certs show --config"), None);
    }
}
