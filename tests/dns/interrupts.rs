//! Commands that are ended half-way: the records that they have written are taken back.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::acme::pebble::{Options, Pebble};
use crate::commands::doorward;
use crate::support::bind::{Bind, KEY, ZONE};

/// A zone whose records never get to all of its servers, so that whoever writes one waits; and a config that knows it.
struct Waiting {
    bind: Bind,
    behind: Bind,
    pebble: Pebble,
    folder: tempfile::TempDir,
}

impl Waiting {
    async fn start() -> Self {
        let (bind, behind) = tokio::join!(Bind::start(), Bind::start());
        let pebble = Pebble::start(Options { dns: Some(bind.address()), ..Options::default() }).await;
        let this = Self { folder: tempfile::tempdir().unwrap(), behind, pebble, bind };
        let text = format!(
            "resolvers = [\"{}\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\n[storage]\npath = \"state\"\n\
             [admin]\nsocket = \"admin.sock\"\n[acme]\ndirectory = \"https://localhost:{}/dir\"\ntrust = \"{}\"\n",
            this.bind.address(),
            this.pebble.address().port(),
            this.pebble.trust().display()
        );
        std::fs::write(this.folder.path().join("doorward.toml"), text).unwrap();
        let (server, config) = (this.bind.address().to_string(), this.config());
        let servers = format!("{server},{}", this.behind.address());
        let add = ["dns", "rfc2136", "add", "--config", &config, "--id", "ns", "--dns-zones", ZONE];
        let settings = ["--server", &server, "--nameservers", &servers, "--tsig-key", "-"];
        let (code, _, said) = doorward(&[&add[..], &settings].concat(), KEY);
        assert_eq!(code, 0, "{said}");
        this
    }

    fn config(&self) -> String {
        self.folder.path().join("doorward.toml").display().to_string()
    }

    fn begin(&self, words: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.args(words).args(["--config", &self.config()]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    async fn values(&self) -> Vec<String> {
        self.bind.values(&format!("_acme-challenge.{ZONE}")).await
    }

    /// Ends the command by a signal once it has written a record; what it said.
    async fn end(&self, child: Child, signal: &str) -> (i32, String) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.values().await.is_empty() {
            assert!(Instant::now() < deadline, "no record was written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), said)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_of_a_solver_that_is_interrupted_takes_its_record_back() {
    let waiting = Waiting::start().await;
    for signal in ["INT", "TERM"] {
        let (code, said) = waiting.end(waiting.begin(&["dns", "test", "ns", ZONE]), signal).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("FAILED seen") && said.contains("interrupted") && said.contains("ok removed"), "{said}");
        assert_eq!(waiting.values().await, [""; 0], "after {signal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_without_a_doorward_that_is_interrupted_takes_its_records_back() {
    let waiting = Waiting::start().await;
    for signal in ["INT", "TERM"] {
        let generate = waiting.begin(&["certs", "generate", "*.example.org"]);
        let (code, said) = waiting.end(generate, signal).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("is not there yet; the same command"), "{said}");
        assert_eq!(waiting.values().await, [""; 0], "after {signal}");
    }
}
