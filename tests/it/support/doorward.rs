//! The built `doorward`, started on a config of the test's own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::ca::{ca, replace};
use super::setup::{HTTPS, METRICS, Setup};
use super::{Curl, within};

/// A doorward that runs; killed when it is dropped.
pub(crate) struct Doorward {
    /// Where `https` listens.
    pub(crate) https: SocketAddr,
    /// Where `http` listens.
    pub(crate) http: SocketAddr,
    https_listener: String,
    http_listener: String,
    home: TempDir,
    child: Child,
    log: Log,
}

/// What it wrote to stderr, a JSON value a line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Value>>>);

impl Doorward {
    /// A doorward with this config, whose first `https` listener is at `127.0.0.1:0`; what it keeps and the admin
    /// socket go to `home`.
    pub(crate) fn on(home: TempDir, config: &str) -> Self {
        let file = home.path().join("doorward.toml");
        let place = home.path().display();
        let text = format!(
            "{config}\n[storage]\npath = \"{place}/state\"\n[admin]\nsocket = \"{place}/admin.sock\"\n[log]\nformat = \"json\"\n"
        );
        replace(&file, &text);
        fs::write(home.path().join("ca.pem"), &ca().root_pem).expect("the root");
        Self::begin(home, &file, HTTPS.into(), HTTPS.into())
    }

    /// Starts it with this config and waits until it is ready.
    pub(super) fn begin(home: TempDir, config: &Path, https_listener: String, http_listener: String) -> Self {
        let (child, log) = spawn(config);
        let mut door = Self { https: unset(), http: unset(), https_listener, http_listener, home, child, log };
        door.wait_ready();
        door
    }

    /// One route for `app.example.test`.
    pub(crate) fn for_app(backend: SocketAddr) -> Self {
        Setup::new().host("app.example.test", backend).start()
    }

    /// curl, to any name at this doorward.
    pub(crate) fn curl(&self, url: &str) -> Curl {
        Curl::new(url, self.https, self.http, &self.home.path().join("ca.pem"))
    }

    /// Its folder: `certs`, `state`, `doorward.toml`, `ca.pem`.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder of a certificate.
    pub(crate) fn certs(&self, id: &str) -> PathBuf {
        self.home.path().join("certs").join(id)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address where `listener` of the config (such as `127.0.0.3:0`) was bound last.
    pub(crate) fn bound(&self, listener: &str) -> SocketAddr {
        self.wait_log(0, &format!("listening on {listener}"), |line| is_listening(line, listener));
        let lines = self.log.lines();
        let line = lines.iter().rfind(|line| is_listening(line, listener)).expect("it was there");
        line["address"].as_str().and_then(|text| text.parse().ok()).expect("an address in the log")
    }

    /// Where `/metrics` is.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.bound(METRICS)
    }

    /// The sum of the metrics whose lines begin so.
    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let text = self.scrape();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What `/metrics` answers.
    pub(crate) fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(self.metrics()).expect("metrics");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    /// Waits until a request is under way at a backend's endpoint.
    pub(crate) fn wait_open(&self, endpoint: &str) {
        let line = format!("endpoint=\"{endpoint}\"}} 1");
        within("a request there", || {
            let text = self.scrape();
            text.lines()
                .any(|seen| seen.starts_with("doorward_backend_in_flight") && seen.ends_with(&line))
                .then_some(())
        });
    }

    /// Changes the config file's text, and nothing else.
    pub(crate) fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let file = self.home.path().join("doorward.toml");
        let text = fs::read_to_string(&file).expect("the config");
        replace(&file, &change(text));
    }

    /// Sends HUP and waits until that reload is through; whether it was taken.
    pub(crate) fn reload(&self) -> bool {
        let from = self.mark();
        signal(self.pid(), "HUP");
        let line =
            self.wait_log(from, "an end of the reload", |line| line["message"] == "reloaded" || is_failed_reload(line));
        line["message"] == "reloaded"
    }

    /// Sends TERM and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        self.wait()
    }

    /// Waits for the process's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        within("the end of doorward", || self.child.try_wait().expect("it can be waited for"))
    }

    /// Kills it and starts it anew on the same folder.
    pub(crate) fn restart(mut self) -> Self {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        (self.child, self.log) = spawn(&self.home.path().join("doorward.toml"));
        self.wait_ready();
        self
    }

    /// A place in the log, for [`Doorward::wait_log`].
    pub(crate) fn mark(&self) -> usize {
        self.log.lines().len()
    }

    /// Waits for a line of the log that came after `from`.
    pub(crate) fn wait_log(&self, from: usize, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        within(&format!("{what}, in the log"), || {
            self.log.lines().iter().skip(from).find(|line| matches(line)).cloned()
        })
    }

    /// The access log's line of the request to this path.
    pub(crate) fn access(&self, path: &str) -> Value {
        self.wait_log(0, &format!("the access to {path}"), |line| {
            line.get("status").is_some()
                && line["path"].as_str().is_some_and(|seen| seen.split('?').next() == Some(path))
        })
    }

    /// All lines of the log up to now.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lines()
    }

    /// `doorward VERB…` to this doorward's admin socket.
    pub(crate) fn verb(&self, verb: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_doorward"))
            .args(verb)
            .arg("--socket")
            .arg(self.home.path().join("admin.sock"))
            .stdin(Stdio::null())
            .output()
            .expect("doorward runs")
    }

    fn wait_ready(&mut self) {
        within("doorward is ready", || {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                panic!("doorward ended with {status} before it was ready:\n{}", self.log.text());
            }
            self.log.lines().iter().any(|line| line["message"] == "ready").then_some(())
        });
        self.https = self.bound(&self.https_listener);
        self.http = self.bound(&self.http_listener);
    }
}

impl Drop for Doorward {
    fn drop(&mut self) {
        // It has ended already where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() || std::env::var_os("DOORWARD_TEST_LOG").is_some() {
            #[allow(clippy::print_stderr, reason = "a failed test shows what doorward said")]
            {
                eprintln!("--- the log of doorward {}:\n{}---", self.child.id(), self.log.text());
            }
        }
    }
}

impl Log {
    fn lines(&self) -> Vec<Value> {
        self.0.lock().expect("no reader panics").clone()
    }

    fn text(&self) -> String {
        self.lines().iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Sends a signal to a process of our own.
pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: a small image has no other.
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().expect("sh runs");
    assert!(status.success(), "kill -{name} {pid}");
}

/// Whether the line tells of a reload that changed nothing.
pub(crate) fn is_failed_reload(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|message| message.starts_with("reload failed"))
}

fn is_listening(line: &Value, listener: &str) -> bool {
    line["message"] == "listening" && line["listener"] == listener
}

fn spawn(config: &Path) -> (Child, Log) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("doorward starts");
    let log = Log::default();
    let (lines, stderr) = (log.clone(), child.stderr.take().expect("a pipe"));
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or_else(|_| serde_json::json!({ "raw": line }));
            lines.0.lock().expect("no reader panics").push(value);
        }
    });
    (child, log)
}

fn unset() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}
