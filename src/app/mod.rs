//! The wiring: from a config to a running doorward. Floor 7.
//!
//! The data plane is a worker a core ([`crate::listen`]); the control plane is one small runtime, on which
//! certificates are watched, storage is followed, ACME runs, and signals, commands and reloads are served one
//! after the other by [`App::run_until_stopped`].

mod build;
mod certificates;
mod certs;
mod endpoints;
mod expiry;
mod logs;
mod names;
mod reload;
mod run;
mod status;
mod sticky;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus::IntGauge;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

pub use certificates::local_ca as own_ca_folder;
pub use certs::{Alone, Desk};

use crate::admin::api::BindError as AdminError;
use crate::admin::command::Inbox;
use crate::admin::observe::Readiness;
use crate::admin::view::ReloadView;
use crate::backend::{BackendUnusable, Registry};
use crate::certs::{LocalIssuer, OnDemand, Table};
use crate::config::{Config, ListenerProtocol, Log};
use crate::drain::Drain;
use crate::listen::{Listener, Shared, Worker, WorkerError};
use crate::net::BindError;
use crate::route::Conflict;
use crate::storage::{Storage, StorageError};
use crate::tls::Tickets;

/// Hears of the `[log]` of each config that is put in force.
pub type LogHook = Box<dyn Fn(&Log) + Send>;

/// What a config does not say.
#[derive(Default)]
pub struct Options {
    /// What certificates are served from; whoever makes some on demand shares it.
    pub table: Arc<Table>,
    /// Who is asked for a certificate that the table lacks.
    pub on_demand: Option<Arc<dyn OnDemand>>,
    /// Who issues from the local CA, and is kept going; none: one with a CA in the storage.
    pub local: Option<Arc<LocalIssuer>>,
    /// The storage in place of the config's.
    pub storage: Option<Arc<dyn Storage>>,
    /// The file that a reload reads; none: there is nothing to reload, and no admin socket.
    pub config_file: Option<PathBuf>,
    /// Whether log lines are for people rather than for programs.
    pub readable_log: bool,
    /// Who hears of changes to `[log]`.
    pub on_log_change: Option<LogHook>,
}

/// A running doorward.
pub struct App {
    runtime: Runtime,
    state: State,
    inbox: Inbox,
    logs: logs::Writer,
}

/// What the app's main loop changes.
struct State {
    config: Config,
    options: Options,
    started: SystemTime,
    shared: Shared,
    tickets: Tickets,
    listeners: Vec<Arc<Listener>>,
    backends: Arc<Registry>,
    names: Arc<names::Names>,
    insecure: IntGauge,
    /// Where metrics answer: as configured, and as bound.
    metrics: Option<(SocketAddr, SocketAddr)>,
    workers: Vec<Worker>,
    certificates: certificates::Sources,
    readiness: Readiness,
    /// Has what operators want looked at again.
    refresh: Arc<Notify>,
    reloads: reload::Reloads,
    last_reload: Option<ReloadView>,
    tried: reload::Tried,
    fixed: reload::Fixed,
    /// Ends the control plane's tasks.
    drain: Drain,
}

/// Why doorward does not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The address for metrics cannot be listened on.
    #[error("{0}")]
    Metrics(std::io::Error),
    /// The admin socket cannot be made.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The storage cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The storage is needed and not there.
    #[error(transparent)]
    NotDurable(#[from] certificates::NotDurable),
    /// Two routes take the same requests.
    #[error(transparent)]
    Routes(#[from] Conflict),
    /// A backend cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendUnusable),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A worker does not start.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The control plane does not start.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// A metric is there twice: a fault of doorward's.
    #[error("cannot register metrics: {0}")]
    Registry(#[from] prometheus::Error),
}

impl App {
    /// Starts everything that `config` asks for. It takes connections when this returns.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: Config, options: Options) -> Result<Self, StartError> {
        build::start(config, options)
    }

    /// Where it listens: the address as configured, as bound, and what is spoken there.
    #[must_use]
    pub fn listening(&self) -> Vec<(SocketAddr, SocketAddr, ListenerProtocol)> {
        self.state.listeners.iter().map(|l| (l.configured, l.bound, l.protocol())).collect()
    }

    /// Serves until a signal ends it. HUP reloads; TERM and INT drain, a second one forces.
    #[must_use]
    pub fn run_until_stopped(self) -> std::process::ExitCode {
        run::run(self)
    }
}
