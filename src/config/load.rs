//! [`load`]: from a file to a [`Config`], or to everything that is wrong with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use toml::de::DeTable;

use super::reader::{Item, Reading, Section};
use super::source::{Place, Source};
use super::{Config, Fault, Faults, Machine};
use super::{
    acme, backend, certificates, checks, dns, fitting, include, issuer, listener, modes, on_demand, operate, route,
    storage,
};
use crate::read;

/// The most syntax errors of one file that are worth reading: one mistake can cause a series.
const MAX_SYNTAX_FAULTS: usize = 10;

/// A sound config, and what is worth a word about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// What works, but is probably not meant so.
    pub warnings: Vec<Fault>,
}

/// Loads a config file, and the files that it includes, on this machine.
///
/// # Errors
/// Every fault that was found, in the order of the files.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_on(path, Machine::this())
}

/// As [`load`], as if on another machine. The config files themselves are read from this one.
///
/// # Errors
/// As [`load`].
pub fn load_on(path: &Path, machine: Machine) -> Result<Loaded, Faults> {
    let text = read_text(path).map_err(|fault| Faults { faults: vec![fault], warnings: Vec::new() })?;
    finish(path, text, machine)
}

/// Parses a config that is in no file: nothing besides the text and what it includes is looked at.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str) -> Result<Loaded, Faults> {
    finish(Path::new("doorward.toml"), text.to_owned(), Machine::assumed())
}

fn finish(path: &Path, text: String, machine: Machine) -> Result<Loaded, Faults> {
    // Only the working directory can be missing for this; then the path is as good as it gets.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let reading = Reading::new(machine);
    let source = Rc::new(Source::new(path, folder, 0, text));
    let config = read_main(&reading, &source, &absolute);
    let report = reading.finish();
    match config {
        Some(config) if report.faults.is_empty() => Ok(Loaded { config, warnings: report.warnings }),
        _ => Err(report),
    }
}

/// What the main file and its includes add to.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) routes: Vec<route::Placed>,
    pub(super) backends: Vec<backend::Placed>,
    pub(super) issuers: Vec<issuer::Placed>,
    pub(super) files: Vec<PathBuf>,
    pub(super) watched: BTreeSet<PathBuf>,
}

impl Gathered {
    /// The keys that every file can have.
    pub(super) fn take(&mut self, root: &mut Section<'_>) {
        for section in sections(root, "route") {
            self.routes.extend(route::read(section));
        }
        for section in sections(root, "backend") {
            self.backends.extend(backend::read_named(section));
        }
        for section in sections(root, "issuer") {
            self.issuers.extend(issuer::read(section));
        }
    }

    pub(super) fn add_file(&mut self, file: PathBuf) {
        self.watched.extend(file.parent().map(Path::to_owned));
        self.files.push(file);
    }
}

fn read_main(reading: &Reading, source: &Rc<Source>, file: &Path) -> Option<Config> {
    let table = read_table(reading, source)?;
    let mut root = Section::root(reading, source, &table);
    let mut config = Config { file: file.to_owned(), ..Config::default() };

    let mut trusted: Vec<IpNet> = Vec::new();
    root.set("workers", &mut config.workers, |item| item.integer(1..=1024));
    root.set("trusted_proxies", &mut trusted, listener::read_networks);
    root.set("untrusted_headers", &mut config.untrusted_headers, |item| {
        item.list("[\"X-Our-Client\"]", Item::field_name)
    });
    let before = reading.fault_count();
    let mut listeners: Vec<_> =
        sections(&mut root, "listener").into_iter().filter_map(|section| listener::read(section, &trusted)).collect();
    let listeners_known = reading.fault_count() == before;

    let mut gathered = Gathered::default();
    gathered.add_file(file.to_owned());
    gathered.take(&mut root);
    root.optional("include", |item| include::read(item, &mut gathered));

    issuer::check_names(reading, &gathered.issuers);
    let mut challenges_written = false;
    if let Some(read) = root.optional("acme", |item| item.section().map(|s| acme::read(s, &gathered.issuers))) {
        (config.acme, challenges_written) = (Some(read.acme), read.challenges_written);
    }
    let solvers = sections(&mut root, "dns");
    config.dns = dns::read_all(reading, solvers);
    root.set("resolvers", &mut config.resolvers, dns::read_servers);
    root.set("certificates", &mut config.certificates, |item| item.section().map(certificates::read));
    root.set("storage", &mut config.storage, |item| item.section().map(storage::read));
    root.set("timeouts", &mut config.timeouts, |item| item.section().map(operate::read_timeouts));
    root.set("limits", &mut config.limits, |item| item.section().map(operate::read_limits));
    root.set("admin", &mut config.admin, |item| item.section().map(operate::read_admin));
    let metrics = root.optional("metrics", |item| item.section().and_then(operate::read_metrics));
    root.set("log", &mut config.log, |item| item.section().map(operate::read_log));

    let on_demand_written = root.place_of_name("on_demand").is_some();
    config.on_demand =
        root.optional("on_demand", |item| item.section().and_then(|s| on_demand::read(s, config.timeouts.handshake)));
    if config.acme.is_none() && gathered.routes.iter().any(|placed| checks::is_from_acme(&placed.route)) {
        config.acme = Some(acme::Acme::default());
    }
    if let Some(acme) = config.acme.as_mut().filter(|_| !challenges_written) {
        acme.challenges = checks::challenges(&listeners);
    }
    let missing = root.place_of("listener");
    root.finish();
    checks::routes(reading, &gathered.routes, on_demand_written);
    backend::check_names(reading, &gathered.backends);
    if listeners_known {
        fitting::loops(reading, &listeners, &gathered);
    }
    config.backends = fitting::resolve(reading, &mut gathered);
    if listeners_known && listeners.is_empty() {
        checks::no_listener(reading, &missing);
    }
    checks::listeners(reading, &listeners, metrics.as_ref());
    if listeners_known {
        checks::together(reading, &listeners, &gathered.routes, config.acme.as_ref());
        modes::default_hosts(reading, &mut listeners, &gathered.routes);
    }

    config.metrics = metrics.map(|(metrics, _)| metrics);
    config.listeners = listeners.into_iter().map(|placed| Arc::new(placed.listener)).collect();
    config.routes = gathered.routes.into_iter().map(|placed| Arc::new(placed.route)).collect();
    config.files = gathered.files;
    let secrets = reading.secrets.borrow();
    gathered.watched.extend(secrets.iter().filter_map(|file| file.parent().map(Path::to_owned)));
    config.watched = gathered.watched.into_iter().collect();
    Some(config)
}

/// The tables of `[[key]]`.
pub(super) fn sections<'a>(root: &mut Section<'a>, key: &'static str) -> Vec<Section<'a>> {
    root.item(key).as_ref().map(Item::sections).unwrap_or_default()
}

/// A file's text, or why there is none.
pub(super) fn read_text(path: &Path) -> Result<String, Fault> {
    let whole = |message: String, remedy: &str| Fault {
        file: path.to_owned(),
        position: None,
        key: String::new(),
        message,
        remedy: remedy.to_owned(),
    };
    let bytes = read::file(path, read::CONFIG).map_err(|error| {
        whole(format!("the file cannot be read: {error}"), "put the path right, or let doorward's user read the file")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + memchr::memchr_iter(b'\n', &error.as_bytes()[..error.utf8_error().valid_up_to()]).count();
        whole(format!("the file is not UTF-8, first in line {line}"), "save it as UTF-8")
    })
}

/// A file's TOML; none where its syntax is wrong: what it says then is anybody's guess.
pub(super) fn read_table<'s>(reading: &Reading, source: &'s Rc<Source>) -> Option<DeTable<'s>> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    for error in errors.iter().take(MAX_SYNTAX_FAULTS) {
        let offset = error.span().map_or(0, |span| span.start);
        let place = Place { source: source.clone(), offset, key: String::new() };
        let duplicate = error.message().contains("duplicate key");
        let remedy = if duplicate {
            "write each key once in a table, and each [table] once; lists of tables are [[name]]"
        } else {
            "put the TOML right: strings stand in quotes, tables are [name], lists of tables [[name]]"
        };
        reading.fault(&place, error.message().replace('\n', " "), remedy);
    }
    errors.is_empty().then(|| table.into_inner())
}
