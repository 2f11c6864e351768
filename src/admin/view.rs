//! The JSON shapes of the admin API: written by the daemon, read by the command line and by scripts.
//!
//! Times are unix seconds. Fields are added, never renamed or removed; a reader ignores what it does not know.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `GET /status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// doorward's version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Whether it takes connections.
    pub state: RunState,
    /// When it started, unix seconds.
    pub started: u64,
    /// For how many seconds it has been up.
    pub uptime: u64,
    /// The main config file; none where there is none (`doorward dev`).
    pub config: Option<PathBuf>,
    /// The last reload; none where there has been none since the start.
    pub last_reload: Option<ReloadView>,
    /// What the config says that only a restart puts in force, a line each.
    #[serde(default)]
    pub after_restart: Vec<String>,
    /// Where it listens.
    pub listeners: Vec<ListenerView>,
    /// Data-plane threads.
    pub workers: usize,
    /// Routes in force.
    pub routes: usize,
    /// Open client connections.
    pub connections: u64,
    /// Every certificate that is served or should be.
    pub certificates: Vec<CertificateView>,
    /// What ACME keeps up, one entry a certificate.
    pub acme: Vec<AcmeView>,
    /// The endpoints of all backends.
    #[serde(default)]
    pub backends: Vec<EndpointView>,
    /// The issuers of `[acme]`, in the order in which they are asked.
    #[serde(default)]
    pub issuers: Vec<IssuerView>,
}

/// How an issuer fares. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerView {
    /// Its name in the config.
    pub issuer: String,
    /// Since when it is down; none: it is up, as far as is known.
    pub down_since: Option<u64>,
    /// When it is asked again whether it is up.
    pub next_probe: Option<u64>,
    /// Why it is taken for down.
    pub error: Option<String>,
}

/// Where a daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Not all listeners are open yet.
    Starting,
    /// Takes connections.
    Ready,
    /// Takes no new connections; finishes those under way.
    Draining,
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerView {
    /// The address as configured; its port may be 0.
    pub configured: SocketAddr,
    /// The address that was bound.
    pub address: SocketAddr,
    /// `https`, `http`, or `metrics`.
    pub protocol: String,
    /// The port that clients dial, where it is not the bound one.
    pub public_port: Option<u16>,
}

/// `GET /certificates` returns a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// The certificate's id: its folder's or file's name, or `cert-…`.
    pub id: String,
    /// The names that it is served for.
    pub names: Vec<String>,
    /// The end of its validity, unix seconds; none where nothing could be read.
    pub expires: Option<i64>,
    /// Its key's kind, as `ECDSA P-256`; none where nothing could be read.
    #[serde(default)]
    pub key: Option<String>,
    /// Whether it is served, and whether all is well with it.
    pub state: CertificateState,
    /// Where it comes from: a path, or `storage`.
    pub source: String,
    /// What is wrong and what to do about it.
    pub message: Option<String>,
}

/// How a certificate fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// Not served: what is in its place cannot be used.
    Failed,
    /// An older one is served; the newer one in its place cannot be used.
    Stale,
    /// Served, though it should not be any more or not be yet, or with something amiss.
    Warning,
    /// Served, and well.
    Served,
}

/// What ACME does for one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeView {
    /// The certificate's id.
    pub id: String,
    /// The names to be on it.
    pub names: Vec<String>,
    /// The issuer's name.
    pub issuer: String,
    /// What is going on.
    pub state: AcmeState,
    /// When something is tried next, unix seconds.
    pub next: Option<i64>,
    /// Failures since the last success.
    pub failures: u32,
    /// The last failure.
    pub message: Option<String>,
}

/// Where ACME is with one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcmeState {
    /// The last try failed; waits for the next.
    Failing,
    /// None yet, waits for its turn.
    Waiting,
    /// An order is under way.
    Ordering,
    /// A certificate is there; `next` is when its renewal begins.
    Issued,
}

/// `GET /backends` returns a list of these: one endpoint of one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// The backend's name; empty where it has none.
    pub backend: String,
    /// The endpoint's address, as the config has it; a target of a service by its host and port, and one of a
    /// name's addresses as `name:port@address`.
    pub endpoint: String,
    /// Whether it takes requests, and why not.
    pub state: EndpointState,
    /// Why it is down, for people, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is draining by the config's word, which no command changes.
    pub by_config: bool,
    /// Its share among the others.
    pub weight: u16,
    /// Whether it is used only where others cannot be.
    pub backup: bool,
    /// 0, or a higher number where it is used only as long as none of a lower one can be.
    pub tier: u16,
    /// Requests and raw connections under way.
    pub in_flight: u64,
    /// How many there may be at once; none: any number.
    pub max_connections: Option<u32>,
    /// Requests that wait for a place.
    pub queued: u32,
    /// Requests and raw connections so far.
    pub requests: u64,
    /// Those of them that got no connection or no answer.
    pub failures: u64,
    /// How often it was left alone for its failures.
    pub ejections: u64,
    /// Requests that got no place in time.
    pub refused: u64,
    /// TLS handshakes that failed, those of checks too.
    pub tls_failures: u64,
    /// Where its name leads, where it has one.
    pub addresses: Vec<IpAddr>,
}

/// Whether an endpoint takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It does.
    Up,
    /// It cannot: its checks say so, or its name leads nowhere.
    Down,
    /// It failed requests and is left alone for a time.
    Ejected,
    /// It takes those of clients that stick to it alone, as the config or an operator says.
    Draining,
    /// It takes none, as an operator says.
    Disabled,
}

/// `POST /reload`, and the last reload in [`StatusView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadView {
    /// When it ended, unix seconds.
    pub at: u64,
    /// How it ended.
    pub outcome: ReloadOutcome,
    /// What changed, a line each (`added route example.com`).
    pub changes: Vec<String>,
    /// What was wrong, each with file, line, key and remedy.
    pub faults: Vec<String>,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// The new config is in force.
    Applied,
    /// The new config is the same as the old.
    Unchanged,
    /// The config has faults; the old one stays in force.
    Refused,
    /// The config is sound, but could not be put in force (a port in use, say); the old one stays.
    Failed,
}

/// `POST /force`, asked: to serve the certificate that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForceView {
    /// The certificate's id.
    pub id: String,
}

/// What the API answers where it cannot do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    /// Why.
    pub error: String,
}
