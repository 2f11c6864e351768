//! Real BIND: a process on a free port of loopback, primary for two zones, ended by its own id.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use doorward::config::{DnsProvider, DnsSolver};
use doorward::dns::{RecordType, Resolver};

use crate::acme::ports::free;

/// The key that may update TXT records of both zones.
pub const KEY: &str = "hmac-sha256:acme:bm90IGEgc2VjcmV0IGF0IGFsbCwgb25seSBhIHRlc3Q=";
/// The zones.
pub const ZONE: &str = "example.org";
pub const OTHER: &str = "acme.example.net";

pub struct Bind {
    child: Child,
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Bind {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free("127.0.0.1").port();
        let (_, secret) = KEY.rsplit_once(':').expect("a key");
        let zone = |name: &str| {
            format!(
                "zone \"{name}\" {{ type primary; file \"{name}.zone\"; update-policy {{ grant acme zonesub TXT; }}; }};\n"
            )
        };
        let config = format!(
            "options {{ directory \"{}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             pid-file none; recursion yes; dnssec-validation no; allow-query {{ any; }}; session-keyfile \"session.key\"; }};\n\
             controls {{ }};\n\
             key \"acme\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n{}{}",
            folder.path().display(),
            zone(ZONE),
            zone(OTHER),
        ) + "zone \".\" { type primary; file \"root.zone\"; };\n";
        let head =
            "$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n@ A 127.0.0.1\n* A 127.0.0.1\n";
        let more = format!(
            "_acme-challenge.delegated CNAME delegated.{OTHER}.\nedge A 127.0.0.2\nedge AAAA ::1\nalias CNAME edge\n\
             forbidden CAA 0 issue \"other.test\"\n\
             account CAA 0 issue \"pebble.test; accounturi=https://other.test/1\"\n"
        );
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
        write("named.conf", &config);
        // It resolves what it has, CNAMEs between its zones too, and asks nobody else: the root is empty.
        write("root.zone", "$TTL 60\n@ SOA a. a. 1 3600 600 86400 1\n@ NS a.\na. A 127.0.0.1\n");
        write(&format!("{ZONE}.zone"), &format!("{head}{more}"));
        write(&format!("{OTHER}.zone"), head);
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new(named());
        command.arg("-g").arg("-n").arg("1").arg("-c").arg(folder.path().join("named.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("BIND starts; install it with `apt-get install bind9`");
        let this = Self { child, folder, port };
        this.answers().await;
        this
    }

    async fn answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains("running") || std::net::TcpStream::connect(self.address()).is_err() {
            assert!(Instant::now() < deadline, "BIND does not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A resolver that asks it; it is also where the zones' NS records lead.
    pub fn resolver(&self) -> Resolver {
        Resolver::new(&[self.address()]).with_authority_port(self.port)
    }

    /// A solver with the right key.
    pub fn solver(&self, id: &str, zones: &[&str]) -> DnsSolver {
        self.solver_with(id, zones, KEY)
    }

    pub fn solver_with(&self, id: &str, zones: &[&str], key: &str) -> DnsSolver {
        let settings = [("server", self.address().to_string()), ("tsig_key", key.to_owned())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        let zones = zones.iter().map(|zone| zone.parse().expect("a zone")).collect();
        let provider = DnsProvider::find("rfc2136").expect("known");
        let mut solver = DnsSolver::new(id.to_owned(), provider, zones, settings).expect("sound");
        solver.propagation_timeout = Duration::from_secs(10);
        solver
    }

    /// The TXT values at a name, as it answers them.
    pub async fn values(&self, name: &str) -> Vec<String> {
        let found = self.resolver().look_up(name, RecordType::TXT).await.expect("answers");
        let mut values: Vec<_> = found.iter().filter_map(doorward::dns::txt).collect();
        values.sort();
        values
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Debian keeps it where users do not look.
fn named() -> PathBuf {
    let there = Path::new("/usr/sbin/named");
    if there.exists() { there.to_owned() } else { PathBuf::from("named") }
}
