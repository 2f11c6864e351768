//! The configuration: checked values that every room above reads.
//!
//! Floor 2. Each section has a file that holds its checked type, its defaults and its reading from TOML
//! side by side. What exists as a [`Config`] is sound: names are parsed, files that it names were there,
//! references resolve. Everything that is wrong is reported, not only the first thing.

mod acme;
mod backend;
mod backend_address;
mod backend_endpoint;
mod backend_health;
mod backend_load;
mod backend_tls;
mod balance;
mod certificates;
mod checks;
mod dns;
mod dns_provider;
mod fault;
mod fitting;
mod include;
mod issuer;
mod limits;
mod listener;
mod load;
mod machine;
mod modes;
mod on_demand;
mod operate;
mod reader;
mod route;
mod show;
mod source;
mod sticky;
mod storage;
#[cfg(test)]
mod tests;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use acme::{Acme, KeyType};
pub use backend::{Backend, BackendProtocol, ProxyVersion};
pub use backend_address::{BackendAddress, BackendError};
pub use backend_endpoint::{Addresses, Endpoint};
pub use backend_health::{Check, Ejection, Statuses};
pub use backend_load::{Queue, Retry};
pub use backend_tls::{BackendCa, BackendSni, BackendTls};
pub use balance::Balance;
pub use certificates::{CertificateId, Certificates};
pub use dns::{DEFAULT_PROPAGATION_TIMEOUT, DEFAULT_TTL, DnsSolver, DnsSolverError, parse_server};
pub use dns_provider::{DnsProvider, DnsSetting};
pub use fault::{Fault, Faults, Position};
pub use issuer::{Challenge, Eab, Issuer};
pub use limits::{CaLimits, Rate};
pub use listener::{Listener, ListenerProtocol, TlsOptions, TlsVersion};
pub use load::{Loaded, load, load_on, parse};
pub use machine::{Found, Machine};
pub use on_demand::OnDemand;
pub use operate::{AccessLog, Admin, Limits, Log, LogFormat, MetricsListener, Timeouts};
pub use route::{CertificateChoice, HttpsPolicy, Route, RouteHost, RouteMode};
pub use sticky::{SameSite, Sticky};
pub use storage::Storage;

/// Everything that a config file and its includes say, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The main file, as an absolute path.
    pub file: PathBuf,
    /// Every file that was read, the main one first; absolute paths.
    pub files: Vec<PathBuf>,
    /// The folders whose changes can change the config: those of `files`, of secrets' files, and every folder that
    /// an include pattern looks into. Each is to be watched by itself, not with all below it; all existed at the load.
    pub watched: Vec<PathBuf>,
    /// `[[listener]]`, in the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// `[certificates]`.
    pub certificates: Certificates,
    /// `[storage]`.
    pub storage: Storage,
    /// `[acme]`, where a route has `certificate = "auto"` or the section is written.
    pub acme: Option<Acme>,
    /// `[[backend]]`, of the main file first, then of the includes by path; those that no route uses as well.
    pub backends: Vec<Arc<Backend>>,
    /// `[on_demand]`.
    pub on_demand: Option<OnDemand>,
    /// `[[dns]]`, in the order of the file.
    pub dns: Vec<DnsSolver>,
    /// `resolvers`: whom to ask about DNS; those of the system where there are none.
    pub resolvers: Vec<SocketAddr>,
    /// `[[route]]`, of the main file first, then of the includes by path.
    pub routes: Vec<Arc<Route>>,
    /// `untrusted_headers`: names of fields that only trusted proxies may send, in lower case, besides those that
    /// doorward knows.
    pub untrusted_headers: Vec<String>,
    /// `[timeouts]`.
    pub timeouts: Timeouts,
    /// `[limits]`.
    pub limits: Limits,
    /// `[admin]`.
    pub admin: Admin,
    /// `[metrics]`: where `/metrics`, `/healthz` and `/readyz` answer; none where the section is absent.
    pub metrics: Option<MetricsListener>,
    /// `[log]`.
    pub log: Log,
    /// `workers`: data-plane threads; the number of cores where it is not written.
    pub workers: usize,
}

impl Default for Config {
    /// What holds where nothing is written. Without a listener: no file could say so little.
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            files: Vec::new(),
            watched: Vec::new(),
            listeners: Vec::new(),
            certificates: Certificates::default(),
            storage: Storage::default(),
            acme: None,
            backends: Vec::new(),
            on_demand: None,
            dns: Vec::new(),
            resolvers: Vec::new(),
            routes: Vec::new(),
            untrusted_headers: Vec::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            admin: Admin::default(),
            metrics: None,
            log: Log::default(),
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}
