//! Real PowerDNS with its HTTP API: a process on free ports of loopback, primary for one zone, ended by its own id.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use doorward::dns::{RecordType, Resolver};
use serde_json::json;

use crate::acme::ports::free;

/// What its API takes.
pub const API_KEY: &str = "not a secret at all, only a test";
/// The zone.
pub const ZONE: &str = "pdns.example.org";

pub struct Pdns {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    api: u16,
}

impl Pdns {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, api) = (free("127.0.0.1").port(), free("127.0.0.1").port());
        let path = folder.path().display();
        let config = format!(
            "launch=gsqlite3\ngsqlite3-database={path}/zones.sqlite\nsocket-dir={path}\n\
             local-address=127.0.0.1\nlocal-port={port}\ncache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n\
             zone-cache-refresh-interval=0\napi=yes\napi-key={API_KEY}\nwebserver=yes\nwebserver-address=127.0.0.1\n\
             webserver-port={api}\nwebserver-allow-from=127.0.0.1\ndaemon=no\nguardian=no\nsecurity-poll-suffix=\n"
        );
        std::fs::write(folder.path().join("pdns.conf"), config).expect("writes");
        let schema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
        let make = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())";
        let database = folder.path().join("zones.sqlite");
        let made = Command::new("python3").args(["-c", make]).arg(database).arg(schema).status().expect("python3 runs");
        assert!(made.success(), "no schema in {schema}: `apt-get install pdns-backend-sqlite3`");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new(pdns_server());
        command.arg(format!("--config-dir={path}"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a copy")).stderr(log);
        let child = command.spawn().expect("PowerDNS starts; install it with `apt-get install pdns-server`");
        let this = Self { child, folder, port, api };
        this.make_zone().await;
        this
    }

    /// The zone, with an address for every name in it.
    async fn make_zone(&self) {
        let records = |name: &str, kind: &str, content: &str| json!({ "name": name, "type": kind, "ttl": 1, "records": [{ "content": content, "disabled": false }] });
        let zone = json!({
            "name": format!("{ZONE}."), "kind": "Native",
            "rrsets": [
                records(&format!("{ZONE}."), "NS", &format!("ns.{ZONE}.")),
                records(&format!("ns.{ZONE}."), "A", "127.0.0.1"),
                records(&format!("*.{ZONE}."), "A", "127.0.0.1"),
            ],
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let made = || {
            let mut curl = Command::new("curl");
            curl.args(["-sf", "-o", "/dev/null", "-H", &format!("X-API-Key: {API_KEY}"), "-d", &zone.to_string()]);
            curl.arg(format!("{}/api/v1/servers/localhost/zones", self.endpoint()))
                .status()
                .expect("curl runs")
                .success()
        };
        while !made() {
            assert!(Instant::now() < deadline, "PowerDNS does not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where its API is.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The TXT values at a name, as it answers them.
    pub async fn values(&self, name: &str) -> Vec<String> {
        let found = Resolver::new(&[self.address()]).look_up(name, RecordType::TXT).await.expect("answers");
        let mut values: Vec<_> = found.iter().filter_map(doorward::dns::txt).collect();
        values.sort();
        values
    }
}

impl Drop for Pdns {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Debian keeps it where users do not look.
fn pdns_server() -> PathBuf {
    let there = Path::new("/usr/sbin/pdns_server");
    if there.exists() { there.to_owned() } else { PathBuf::from("pdns_server") }
}
