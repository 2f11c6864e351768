//! Debian's pebble, a real ACME server, which validates names at doorward's `http` listener.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::{ca, free, within};

/// A CA and the DNS that it asks; both killed when it is dropped.
pub(crate) struct Pebble {
    api: SocketAddr,
    dns: String,
    management: String,
    _home: TempDir,
    processes: Vec<Child>,
}

/// Where a CA is to listen and to validate.
pub(crate) struct PebblePlan {
    home: TempDir,
    api: SocketAddr,
    http: SocketAddr,
    tls: u16,
    seconds: u64,
    bad_nonces: &'static str,
}

impl Pebble {
    /// A CA that will validate at `http` and issue certificates of this many seconds; not started yet.
    pub(crate) fn plan(http: SocketAddr, seconds: u64) -> PebblePlan {
        PebblePlan {
            home: tempfile::tempdir().expect("a folder"),
            api: free("127.0.0.1"),
            http,
            tls: 1,
            seconds,
            bad_nonces: "15",
        }
    }

    /// The DNS server that it asks.
    pub(crate) fn dns(&self) -> &str {
        &self.dns
    }

    /// Puts a CAA record into that DNS.
    pub(crate) fn forbid(&self, host: &str, ca: &str) {
        let body = json!({ "host": format!("{host}."), "policies": [{ "tag": "issue", "value": ca }] }).to_string();
        let url = format!("http://{}/add-caa", self.management);
        within("the record is taken", || {
            let status = Command::new("curl").args(["-sf", "-d", &body, &url]).status().expect("curl runs");
            status.success().then_some(())
        });
    }

    /// The config that has doorward use it.
    pub(crate) fn sections(directory: &str, trust: &str) -> String {
        format!(
            "[acme]\nissuer = \"pebble\"\ncontact = [\"ops@example.test\"]\n\n\
             [[issuer]]\nname = \"pebble\"\ndirectory = \"{directory}\"\ntrust = \"{trust}\""
        )
    }
}

impl PebblePlan {
    /// Where doorward has to answer plain HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Validating by handshakes too, at this port of the same address.
    pub(crate) fn tls(mut self, port: u16) -> Self {
        self.tls = port;
        self
    }

    /// Without the bad nonces that doorward has to cope with: other clients give up sooner.
    pub(crate) fn patient(mut self) -> Self {
        self.bad_nonces = "0";
        self
    }

    /// The directory's URL.
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.api)
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(self) -> Pebble {
        let file = |name: &str| -> PathBuf { self.home.path().join(name) };
        let leaf = ca().leaf(&["127.0.0.1", "localhost"]).issue();
        fs::write(file("api.pem"), leaf.full_chain()).expect("a file");
        fs::write(file("api.key"), &leaf.key_pem).expect("a file");
        let config = json!({ "pebble": {
            "listenAddress": self.api.to_string(),
            "managementListenAddress": free("127.0.0.1").to_string(),
            "certificate": file("api.pem"),
            "privateKey": file("api.key"),
            "httpPort": self.http.port(),
            "tlsPort": self.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": self.seconds,
        }});
        fs::write(file("pebble.json"), config.to_string()).expect("a file");
        let dns = free("127.0.0.1");
        let ip = self.http.ip().to_string();
        let run = |program: &str, args: &[&str]| {
            Command::new(program)
                .args(args)
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_WFE_NONCEREJECT", self.bad_nonces)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|fault| panic!("{program}, of Debian's package pebble: {fault}"))
        };
        let (dns, management) = (dns.to_string(), free("127.0.0.1").to_string());
        let names = ["-defaultIPv4", &ip, "-defaultIPv6", "", "-dns01", &dns, "-management", &management];
        let nothing_else = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
        let processes = vec![
            run("pebble-challtestsrv", &[names.as_slice(), &nothing_else].concat()),
            run("pebble", &["-config", &file("pebble.json").display().to_string(), "-dnsserver", &dns]),
        ];
        let pebble =
            Pebble { api: self.api, dns: dns.clone(), management: management.clone(), _home: self.home, processes };
        within("pebble listens", || TcpStream::connect(pebble.api).ok());
        pebble
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
