//! What many certificates cost: the start, the memory, and one change among them, measured on the built program
//! from outside. `cargo bench --bench certificates`, or with another number: `… -- 1000`.
//!
//! Each certificate is a folder as certbot leaves it (P-256, `privkey.pem` + `fullchain.pem` with an intermediate).
//! They are made anew for every run, in Cargo's target folder.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Certificates, where the command line names no number.
const CERTIFICATES: usize = 10_000;
/// Changes that are timed.
const CHANGES: usize = 15;
/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the CPU is watched after a change, and without one.
const WATCHED: Duration = Duration::from_secs(2);

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(CERTIFICATES);
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let ca = Ca::new();
    let certs = home.path().join("certs");
    fs::create_dir(&certs).expect("a folder");

    let empty = Doorward::start(home.path());
    let memory_of_none = empty.memory();
    drop(empty);

    let began = Instant::now();
    make_all(&ca, &certs, count);
    println!("{:<52}{count} in {:.1} s", "certificates made", began.elapsed().as_secs_f64());

    let doorward = Doorward::start(home.path());
    let memory = doorward.memory();
    println!("{:<52}{:.2} s", "from exec to ready", doorward.start.as_secs_f64());
    println!("{:<52}{:.2} s", "  of it CPU, all threads", doorward.cpu_at_ready.as_secs_f64());
    println!("{:<52}{:.1} MiB ({:.1} MiB with none)", "resident memory", mib(memory), mib(memory_of_none));
    let each = (memory.saturating_sub(memory_of_none)) as f64 / count.max(1) as f64;
    println!("{:<52}{:.1} KiB", "  for each certificate", each / 1024.0);

    let client = ca.client();
    for n in [0, count / 2, count - 1] {
        assert_eq!(served(&client, doorward.address, n), leaf_on_disk(&certs, n), "certificate {n}");
    }

    let mut times: Vec<Duration> = (0..CHANGES)
        .map(|change| change * count / CHANGES)
        .map(|n| {
            replace(&ca, &certs, n);
            let (changed, new) = (Instant::now(), leaf_on_disk(&certs, n));
            while served(&client, doorward.address, n) != new {
                assert!(changed.elapsed() < PATIENCE, "certificate {n} is not served");
            }
            changed.elapsed()
        })
        .collect();
    times.sort();
    let [first, middle, last] = [times[0], times[CHANGES / 2], times[CHANGES - 1]].map(|time| time.as_millis());
    println!("{:<52}{middle} ms median, {first} to {last} ms", "one replaced on disk, until a handshake gets it");

    // The quiet time before takes in what settling of the last change remains.
    std::thread::sleep(WATCHED);
    let idle = doorward.cpu_during(|| {});
    let one = doorward.cpu_during(|| replace(&ca, &certs, count / 3));
    println!(
        "{:<52}{:.2} ms ({:.2} ms without a change)",
        format!("CPU of one change, watched for {} s", WATCHED.as_secs()),
        one.as_secs_f64() * 1e3,
        idle.as_secs_f64() * 1e3
    );
    println!("{:<52}{:.1} MiB", "resident memory after the changes", mib(doorward.memory()));
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn name(n: usize) -> String {
    format!("app-{n}.customer-{}.example.com", n % 100)
}

fn folder(certs: &Path, n: usize) -> PathBuf {
    certs.join(name(n))
}

/// A root, and an intermediate that issues.
struct Ca {
    root: CertificateDer<'static>,
    intermediate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            (params, KeyPair::generate().expect("a key"))
        };
        let (root_params, root_key) = authority("benchmark root");
        let root = root_params.self_signed(&root_key).expect("a root");
        let root_issuer = Issuer::new(root_params, root_key);
        let (params, key) = authority("benchmark intermediate");
        let intermediate = params.signed_by(&key, &root_issuer).expect("an intermediate");
        Self { root: root.der().clone(), intermediate_pem: intermediate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A new key and certificate, PEM.
    fn leaf(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        (key.serialize_pem(), leaf.pem() + &self.intermediate_pem)
    }

    /// A client that trusts the root and resumes nothing.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }
}

fn make_all(ca: &Ca, certs: &Path, count: usize) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for n in (thread..count).step_by(threads) {
                    let (key, chain) = ca.leaf(&name(n));
                    let folder = folder(certs, n);
                    fs::create_dir(&folder).expect("a folder");
                    fs::write(folder.join("privkey.pem"), key).expect("a key file");
                    fs::write(folder.join("fullchain.pem"), chain).expect("a certificate file");
                }
            });
        }
    });
}

/// As a deployer does it: each file beside the old one, then renamed over it.
fn replace(ca: &Ca, certs: &Path, n: usize) {
    let (key, chain) = ca.leaf(&name(n));
    for (file, text) in [("privkey.pem", key), ("fullchain.pem", chain)] {
        let path = folder(certs, n).join(file);
        let beside = path.with_extension("new");
        fs::write(&beside, text).expect("a file");
        fs::rename(beside, path).expect("a file");
    }
}

fn leaf_on_disk(certs: &Path, n: usize) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder(certs, n).join("fullchain.pem")).expect("a certificate")
}

/// The certificate that a full handshake for this name gets.
fn served(client: &Arc<ClientConfig>, address: SocketAddr, n: usize) -> CertificateDer<'static> {
    let name = ServerName::try_from(name(n)).expect("a name");
    let mut connection = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut stream = TcpStream::connect(address).expect("doorward listens");
    stream.set_nodelay(true).expect("no delay");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).expect("a handshake");
    }
    connection.peer_certificates().expect("certificates")[0].clone()
}

/// The program under test; killed when it is dropped.
struct Doorward {
    child: Child,
    address: SocketAddr,
    start: Duration,
    cpu_at_ready: Duration,
}

impl Doorward {
    fn start(home: &Path) -> Self {
        let config = home.join("doorward.toml");
        fs::write(
            &config,
            "listener = [{ address = \"127.0.0.1:0\" }]\n\
             route = [{ hosts = [\"*\"], backend = 9 }]\n\
             certificates.directories = [\"certs\"]\n\
             storage.path = \"state\"\n\
             admin.socket = \"admin.sock\"\n",
        )
        .expect("the config");
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
            .args(["run", "--config"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("doorward starts");
        let mut address = None;
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        loop {
            let line = lines.next().expect("doorward gets ready").expect("text");
            let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
            match line["message"].as_str() {
                Some("listening") => address = line["address"].as_str().and_then(|address| address.parse().ok()),
                Some("ready") => break,
                _ => {}
            }
        }
        let start = began.elapsed();
        // Nobody else reads what it logs, and a full pipe would hold it up.
        std::thread::spawn(move || lines.for_each(drop));
        let mut doorward =
            Self { child, address: address.expect("an address"), start, cpu_at_ready: Duration::default() };
        doorward.cpu_at_ready = doorward.cpu_of_process();
        doorward
    }

    /// A file of its folder in /proc.
    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("Linux's /proc")
    }

    /// Resident, in bytes.
    fn memory(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// User and system time since its start, threads that have ended included; to 10 ms.
    fn cpu_of_process(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|n| fields[*n].parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// CPU time of the threads that live, to the nanosecond.
    fn cpu_of_threads(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux's /proc");
        tasks
            .filter_map(|task| fs::read_to_string(task.expect("a thread").path().join("schedstat")).ok())
            .filter_map(|stat| stat.split_whitespace().next()?.parse().ok())
            .map(Duration::from_nanos)
            .sum()
    }

    /// CPU time that it takes in the time watched, for what `work` has it do.
    fn cpu_during(&self, work: impl FnOnce()) -> Duration {
        let before = self.cpu_of_threads();
        work();
        std::thread::sleep(WATCHED);
        self.cpu_of_threads().saturating_sub(before)
    }
}

impl Drop for Doorward {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
