//! `doorward check`: what `run` would load, loaded and judged, and nothing started.

mod certificates;

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::backend::{Registry, StickyKey};
use crate::config::{self, CertificateChoice, Config, DnsSolver, Fault, HttpsPolicy, Loaded, RouteHost, Storage};
use crate::dns;
use crate::names::HostPattern;
use crate::read;
use crate::storage::FileStorage;

pub use certificates::certificates;

/// Something that the config needs and that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What it is about: a path, or a route.
    pub subject: String,
    /// What is wrong, and the remedy.
    pub message: String,
    /// Whether doorward would run, and serve all that it should.
    pub severity: Severity,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is not served, or `run` would fail.
    Error,
    /// All is served; it should be looked at.
    Warning,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    exit: u8,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    problems: Vec<Problem>,
    #[serde(skip)]
    fine: String,
}

/// Checks the config file and what it needs. Writes what is wrong to stderr, or all as JSON to stdout.
/// 0: nothing but warnings; 1: the config is sound, but something that it needs is not; 2: faults in the config.
#[must_use]
pub fn run(config: &Path, json: bool) -> ExitCode {
    let report = Report::on(config);
    // That nobody reads the report changes nothing about the verdict.
    if json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        let _ = writeln!(std::io::stdout(), "{text}");
    } else {
        let _ = write!(std::io::stderr(), "{report}");
        let _ = write!(std::io::stdout(), "{}", report.fine);
    }
    ExitCode::from(report.exit)
}

impl Report {
    fn on(file: &Path) -> Self {
        let Loaded { config, warnings } = match config::load(file) {
            Ok(loaded) => loaded,
            Err(faults) => {
                let (faults, warnings) = (faults.faults, faults.warnings);
                return Self { exit: 2, faults, warnings, problems: Vec::new(), fine: String::new() };
            }
        };
        let mut problems = storage(&config);
        problems.extend(issuer(&config));
        problems.extend(backends(&config));
        problems.extend(certificates(&config));
        problems.extend(wildcards(&config));
        let sound = problems.iter().all(|problem| problem.severity == Severity::Warning);
        let (listeners, routes) = (config.listeners.len(), config.routes.len());
        let warned = match warnings.len() + problems.len() {
            0 => String::new(),
            1 => ", but for 1 warning".to_owned(),
            count => format!(", but for {count} warnings"),
        };
        let fine = format!("{}: fine{warned} (listeners: {listeners}, routes: {routes})\n", file.display());
        let (exit, fine) = if sound { (0, fine) } else { (1, String::new()) };
        Self { exit, faults: Vec::new(), warnings, problems, fine }
    }
}

/// Whether the storage could be written.
#[must_use]
pub fn storage(config: &Config) -> Vec<Problem> {
    let Storage::File { path } = &config.storage;
    let refused = |error: crate::storage::StorageError| {
        let message = format!("{error}; let doorward's user write there, or change [storage] path");
        Problem::error(path.display(), message)
    };
    FileStorage::check(path).map_err(refused).err().into_iter().collect()
}

/// Whether the issuer's own roots can be used.
#[must_use]
pub fn issuer(config: &Config) -> Vec<Problem> {
    let Some(trust) = config.acme.as_ref().and_then(|acme| acme.issuer.trust.as_ref()) else { return Vec::new() };
    let problem = |message: String| vec![Problem::error(trust.display(), message)];
    let bytes = match read::file(trust, read::SMALL) {
        Ok(bytes) => bytes,
        Err(error) => return problem(format!("cannot be read: {error}; let doorward's user read it")),
    };
    let blocks: Result<Vec<_>, _> = x509_parser::pem::Pem::iter_from_buffer(&bytes).collect();
    match blocks {
        Ok(blocks) if blocks.iter().any(|block| block.label == "CERTIFICATE" && block.parse_x509().is_ok()) => {
            Vec::new()
        }
        _ => problem("holds no certificate in PEM; put the CA's root there (-----BEGIN CERTIFICATE-----)".to_owned()),
    }
}

/// Whether TLS to the backends can be set up.
#[must_use]
pub fn backends(config: &Config) -> Vec<Problem> {
    let of_routes = config.routes.iter().map(|route| &route.backend).filter(|backend| backend.name.is_empty());
    let all = config.backends.iter().chain(of_routes);
    let unusable = |backend| Registry::new(StickyKey::new(&[])).backends([backend]).err();
    all.filter_map(unusable)
        .map(|unusable| Problem::error(format!("backend {}", unusable.backend), unusable.source.to_string()))
        .collect()
}

/// Wildcards from ACME for whose zones nobody is known who could write the answers.
#[must_use]
pub fn wildcards(config: &Config) -> Vec<Problem> {
    let auto = config.routes.iter().filter(|r| r.certificate == CertificateChoice::Auto && r.https != HttpsPolicy::Off);
    let hosts = auto.flat_map(|route| route.hosts.iter().filter_map(pattern)).filter(|host| host.is_wildcard());
    let hosts: Vec<&HostPattern> = hosts.collect();
    if hosts.is_empty() {
        return Vec::new();
    }
    let mut solvers = config.dns.clone();
    solvers.extend(stored_solvers(config));
    let covered = |host: &HostPattern| solvers.iter().any(|solver| solver.zone_of(host.base()).is_some());
    let bare = hosts.into_iter().filter(|host| !covered(host));
    let problem = |host: &HostPattern| match solvers.is_empty() {
        true => Problem::error(host, NO_SOLVER.to_owned()),
        false => Problem::warning(
            host,
            format!("{NO_SOLVER}; unless _acme-challenge.{} is a CNAME into the zone of one", host.base()),
        ),
    };
    bare.map(problem).collect()
}

const NO_SOLVER: &str = "certificate = \"auto\" gets a wildcard by DNS-01 only, and no DNS solver is for its zone: \
                         add a [[dns]], or one by `doorward dns PROVIDER add`";

/// The solvers that were added by command. Without a storage there are none, and none is made to look.
fn stored_solvers(config: &Config) -> Vec<DnsSolver> {
    let Storage::File { path } = &config.storage;
    if !path.is_dir() {
        return Vec::new();
    }
    let Ok(storage) = FileStorage::open(path) else { return Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.ok().and_then(|runtime| runtime.block_on(dns::load_all(&storage)).ok()).unwrap_or_default()
}

fn pattern(host: &RouteHost) -> Option<&HostPattern> {
    if let RouteHost::Pattern(pattern) = host { Some(pattern) } else { None }
}

impl Problem {
    fn error(subject: impl fmt::Display, message: String) -> Self {
        Self { subject: subject.to_string(), message, severity: Severity::Error }
    }

    fn warning(subject: impl fmt::Display, message: String) -> Self {
        Self { subject: subject.to_string(), message, severity: Severity::Warning }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{warning}{}: {}", self.subject, self.message)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))?;
        self.warnings.iter().try_for_each(|fault| writeln!(f, "warning: {fault}"))?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::testing::TestCa;

    /// A config with these lines, loaded from a folder that also holds `ca.pem` with this text.
    pub(super) fn config(folder: &Path, lines: &str, ca: &str) -> Config {
        let file = folder.join("doorward.toml");
        std::fs::write(folder.join("ca.pem"), ca).expect("a file");
        let text = format!("[[listener]]\naddress = \":443\"\n{lines}");
        std::fs::write(&file, text).expect("a file");
        config::load(&file).unwrap_or_else(|faults| panic!("{faults}")).config
    }

    pub(super) fn shown(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_exit_code_tells_faults_from_problems() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("doorward.toml");
        let state = folder.path().join("state");
        let storage = format!("[storage]\npath = \"{}\"\n", state.display());
        let sound = format!("[[listener]]\naddress = \":443\"\n{storage}");
        let report = |text: &str| {
            std::fs::write(&file, text).expect("a file");
            Report::on(&file)
        };
        let fine = report(&sound);
        assert_eq!((fine.exit, fine.to_string().as_str()), (0, ""));
        assert!(fine.fine.ends_with("fine (listeners: 1, routes: 0)\n"), "{}", fine.fine);

        let warned = report(&format!("trusted_proxies = [\"::/0\"]\n{sound}"));
        assert_eq!(warned.exit, 0);
        assert!(warned.to_string().starts_with("warning: "), "{warned}");

        std::fs::write(&state, "a file, not a folder").expect("a file");
        let problem = report(&sound);
        assert_eq!(problem.exit, 1, "{problem}");
        assert!(problem.to_string().contains("[storage] path"), "{problem}");

        let fault = report(&format!("{sound}[nothing]\nx = 1\n[log]\nlevel = 1\n"));
        assert_eq!((fault.exit, fault.faults.len()), (2, 2), "{fault}");
        let json: serde_json::Value = serde_json::to_value(&fault).expect("JSON");
        assert_eq!(json["faults"][0]["line"], 5);
        assert_eq!(json["faults"][0]["key"], "nothing");
        assert_eq!(json["exit"], 2);
    }

    #[test]
    fn wildcards_need_somebody_who_can_change_their_zone() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let route = |host: &str| format!("[[route]]\nhosts = [\"{host}\"]\nbackend = 1\ncertificate = \"auto\"\n");
        let storage = format!("[storage]\npath = \"{}\"\n", state.display());
        let text = format!("{storage}{}{}", route("*.a.example.org"), route("b.example.org"));
        let found = shown(&wildcards(&config(folder.path(), &text, "")));
        assert!(found.len() == 1 && found[0].starts_with("*.a.example.org: certificate = \"auto\""), "{found:?}");
        let dns = "[[dns]]\nid = \"1\"\nprovider = \"hetzner\"\nzones = [\"example.net\"]\napi_token = \"x\"\n";
        let other = config(folder.path(), &format!("{text}{dns}"), "");
        assert!(shown(&wildcards(&other))[0].starts_with("warning: *.a.example.org"));
        let solver = DnsSolver { zones: vec!["example.org".parse().expect("a zone")], ..other.dns[0].clone() };
        let storage = FileStorage::open(&state).expect("opens");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(dns::save(&storage, &solver)).expect("saves");
        assert_eq!(wildcards(&other), []);
    }

    #[test]
    fn the_roots_of_a_private_ca_have_to_be_certificates() {
        let folder = tempfile::tempdir().expect("a folder");
        let acme = "[acme]\ndirectory = \"https://localhost/dir\"\ntrust = \"ca.pem\"\n";
        let root = TestCa::new("check").root.pem();
        assert_eq!(issuer(&config(folder.path(), acme, &root)), []);
        for bad in
            ["", "no PEM", &root[..root.len() / 2], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            let problems = shown(&issuer(&config(folder.path(), acme, bad)));
            assert!(problems[0].contains("ca.pem: holds no certificate"), "{bad}: {problems:?}");
        }
    }
}
