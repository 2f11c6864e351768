//! A config for the built `doorward`, piece by piece.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::Doorward;
use super::ca::{Leaf, ca, replace};

/// The listeners' addresses in the config. They differ, so that the log tells which is which.
pub(super) const HTTPS: &str = "127.0.0.1:0";
const HTTP: &str = "127.0.0.2:0";
pub(super) const METRICS: &str = "127.0.0.3:0";

/// A config in the making: one `https` and one `http` listener, a certificate folder, a state folder.
pub(crate) struct Setup {
    home: TempDir,
    head: String,
    https: String,
    http: String,
    https_at: String,
    http_at: String,
    sections: String,
    routes: String,
    /// The listeners, routes and backends of an example, in place of ours.
    example: Option<String>,
}

impl Setup {
    /// No route and no certificate yet.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir(home.path().join("certs")).expect("a folder");
        fs::write(home.path().join("ca.pem"), &ca().root_pem).expect("the root");
        Self {
            home,
            head: String::new(),
            https: String::new(),
            http: String::new(),
            https_at: HTTPS.into(),
            http_at: HTTP.into(),
            sections: String::new(),
            routes: String::new(),
            example: None,
        }
    }

    /// A route for `host` to `backend`, and a certificate for it.
    pub(crate) fn host(self, host: &str, backend: SocketAddr) -> Self {
        self.host_with(host, backend, "")
    }

    /// As [`Setup::host`], with further keys of the route.
    pub(crate) fn host_with(self, host: &str, backend: SocketAddr, keys: &str) -> Self {
        let id = host.replace("*.", "wildcard.");
        let leaf = ca().leaf(&[host]).issue();
        self.certificate(&id, &leaf).route(&format!("hosts = [\"{host}\"]\nbackend = \"{backend}\"\n{keys}"))
    }

    /// A route by its keys.
    pub(crate) fn route(mut self, keys: &str) -> Self {
        write!(self.routes, "\n[[route]]\n{keys}\n").expect("text");
        self
    }

    /// A certificate in the watched folder.
    pub(crate) fn certificate(self, id: &str, leaf: &Leaf) -> Self {
        leaf.write(&self.home.path().join("certs").join(id));
        self
    }

    /// Keys of the `https` listener.
    pub(crate) fn https(mut self, keys: &str) -> Self {
        writeln!(self.https, "{keys}").expect("text");
        self
    }

    /// Keys of the `http` listener.
    pub(crate) fn http(mut self, keys: &str) -> Self {
        writeln!(self.http, "{keys}").expect("text");
        self
    }

    /// The `http` listener at a port that others know already.
    pub(crate) fn http_at(mut self, address: SocketAddr) -> Self {
        self.http_at = address.to_string();
        self
    }

    /// The same for the `https` listener.
    pub(crate) fn https_at(mut self, address: SocketAddr) -> Self {
        self.https_at = address.to_string();
        self
    }

    /// What `config/NAME.toml` says, with these texts replaced by others: listeners at the usual addresses, and
    /// certificates from the watched folder in place of ACME's.
    pub(crate) fn example(mut self, name: &str, replaced: &[(&str, String)]) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let mut text = fs::read_to_string(file).expect("an example");
        let usual = [("[::]:443", HTTPS), ("[::]:80", HTTP), ("certificate = \"auto\"", "certificate = \"directory\"")];
        let usual = usual.map(|(from, to)| (from, to.to_owned()));
        for (from, to) in replaced.iter().chain(&usual) {
            assert!(text.contains(from), "{from} is not in {name}");
            text = text.replace(from, to);
        }
        self.example = Some(text);
        self
    }

    /// A whole section, such as `[timeouts]`.
    pub(crate) fn section(mut self, text: &str) -> Self {
        writeln!(self.sections, "\n{text}").expect("text");
        self
    }

    /// Keys above all sections.
    pub(crate) fn head(mut self, keys: &str) -> Self {
        writeln!(self.head, "{keys}").expect("text");
        self
    }

    /// With `/metrics` and the health answers.
    pub(crate) fn metrics(self) -> Self {
        self.section(&format!("[metrics]\naddress = \"{METRICS}\""))
    }

    /// Its folder: `certs`, `state`, `doorward.toml`, `ca.pem`.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(self) -> Doorward {
        let config = self.write();
        Doorward::begin(self.home, &config, self.https_at, self.http_at)
    }

    /// Runs `doorward VERB… --config FILE` to its end.
    pub(crate) fn run(&self, verb: &[&str]) -> Output {
        let config = self.write();
        Command::new(env!("CARGO_BIN_EXE_doorward"))
            .args(verb)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .output()
            .expect("doorward runs")
    }

    /// Writes the config file.
    pub(crate) fn write(&self) -> PathBuf {
        let home = self.home.path().display();
        let Self { head, https, http, https_at, http_at, sections, routes, .. } = self;
        let listeners = format!(
            "[[listener]]\naddress = \"{https_at}\"\nprotocol = \"https\"\n{https}\n\
             [[listener]]\naddress = \"{http_at}\"\nprotocol = \"http\"\n{http}"
        );
        let listeners = self.example.as_ref().unwrap_or(&listeners);
        let file = self.home.path().join("doorward.toml");
        let text = format!(
            r#"workers = 2
{head}
{listeners}
[certificates]
directories = ["{home}/certs"]

[storage]
path = "{home}/state"

[admin]
socket = "{home}/admin.sock"

[log]
format = "json"
{sections}{routes}"#
        );
        replace(&file, &text);
        file
    }
}
