//! From a checked config to running parts.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntGauge};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::reload::{Fixed, Reloads, Tried};
use super::{App, Options, StartError, State, certificates, endpoints, expiry, logs, names, sticky};
use crate::admin::command;
use crate::admin::observe::{self, Readiness};
use crate::admin::view::RunState;
use crate::admin::{api, api::AdminSocket};
use crate::backend::Registry;
use crate::certs::Challenges;
use crate::config::{self, Config, ListenerProtocol, MetricsListener};
use crate::drain;
use crate::listen::{Door, Listener, ListenerSettings, Peers, Permits, Shared, Worker};
use crate::metrics::Metrics;
use crate::net;
use crate::proxy::{AccessLog, Entrance, SecureDoor, Settings};
use crate::route::Table as Routes;
use crate::tls::{Acceptor, Tickets};

/// Threads of the control plane: it waits for most of its time.
const CONTROL_THREADS: usize = 2;

pub(super) fn start(config: Config, mut options: Options) -> Result<App, StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()?;
    // A file that may grow no further (LimitFSIZE) is a failed write, and no reason to end. A handler stays once it is
    // there; that nobody listens is all that is wanted.
    runtime.block_on(async { signal(SignalKind::from_raw(Signal::XFSZ.as_raw())) }).map(drop)?;
    // What can fail for reasons outside comes first: nothing is served half.
    let mut sockets = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let own: Vec<SocketAddr> = config.listeners[..index].iter().map(|before| before.address).collect();
        sockets.push(net::bind_tcp(listener.address, config.workers, &own)?);
    }
    let metrics_socket = match &config.metrics {
        Some(MetricsListener { address }) => Some((*address, observe::bind(*address).map_err(StartError::Metrics)?)),
        None => None,
    };
    let admin_socket = match &options.config_file {
        Some(_) => Some(AdminSocket::bind(&config.admin.socket)?),
        None => None,
    };

    let metrics = Metrics::default();
    let registry = metrics.registry();
    let (drain, watch) = drain::channel();
    let challenges = Arc::new(Challenges::new());
    let refresh = Arc::new(Notify::new());
    let given = certificates::Given { challenges: Arc::clone(&challenges), refresh: Arc::clone(&refresh) };
    let certificates = certificates::Sources::start(&runtime, &config, &options, given, &registry, &watch)?;
    options.on_demand.get_or_insert_with(|| certificates.on_demand());
    registry.register(Box::new(expiry::Expiry::new(Arc::clone(&options.table))?))?;
    let dropped = IntCounter::new("doorward_access_log_dropped_total", "Access log lines that were not written.")?;
    let restarts = IntCounter::new("doorward_worker_restarts_total", "Workers that panicked and were started again.")?;
    let insecure =
        IntGauge::new("doorward_insecure_backends", "Routes to a backend whose certificate is not checked.")?;
    let reloads = Reloads::new(&registry)?;
    registry.register(Box::new(dropped.clone()))?;
    registry.register(Box::new(restarts.clone()))?;
    let (access, sink) = AccessLog::new(options.readable_log, dropped);
    let logs = logs::Writer::start(sink)?;

    let tickets = Tickets::new().map_err(|error| StartError::Tls(error.to_string()))?;
    let mut listeners = Vec::new();
    for (config, sockets) in config.listeners.iter().zip(&sockets) {
        listeners.push(Arc::new(listener(config, &sockets[0], &options, &tickets, &challenges)?));
    }
    let backends = Arc::new(Registry::new(runtime.block_on(sticky::key(&**certificates.vault().storage()))));
    let mut settings = settings(&config, &backends, secure_doors(&config, &listeners))?;
    registry.register(Box::new(insecure.clone()))?;
    warn_of_insecure(&config, &insecure);
    runtime.spawn({
        let (backends, watch) = (Arc::clone(&backends), watch.clone());
        async move { backends.follow_files(watch).await }
    });
    runtime.spawn({
        let (backends, watch) = (Arc::clone(&backends), watch.clone());
        async move { backends.judge(watch).await }
    });
    let names = Arc::new(names::Names::default());
    names.ask(&config.resolvers);
    runtime.spawn({
        let (backends, names, watch) = (Arc::clone(&backends), Arc::clone(&names), watch.clone());
        async move { backends.follow_names(names, watch).await }
    });
    if !backends.knows_names() {
        runtime.block_on(names::settle(&backends));
        settings = self::settings(&config, &backends, settings.secure)?;
    }
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    registry.register(Box::new(endpoints::Endpoints::new(Arc::clone(&settings))?))?;
    let shared = Shared {
        settings,
        challenges,
        disabled: Arc::clone(options.table.disabled()),
        access,
        permits: Permits::new(most_connections(&config), config.limits.handshakes, room(config.workers)),
        peers: Peers::default(),
        restarts,
    };
    let mut workers = Vec::new();
    for index in 0..config.workers {
        workers.push(Worker::spawn(index, shared.clone(), &metrics.registry())?);
    }
    for (listener, sockets) in listeners.iter().zip(sockets) {
        open(&workers, listener, sockets);
    }

    let readiness = Readiness::starting();
    let (commands, inbox) = command::channel();
    if let Some(socket) = admin_socket {
        let mut watch = watch.clone();
        let serve = api::serve(socket, commands, async move {
            watch.signaled().await;
        });
        runtime.spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the admin socket stopped");
            }
        });
    }
    let mut metrics_address = None;
    if let Some((configured, socket)) = metrics_socket {
        let address = socket.local_addr()?;
        metrics_address = Some((configured, address));
        let _runtime = runtime.enter();
        let socket = tokio::net::TcpListener::from_std(socket)?;
        // Answers through the drain: who balances load wants to hear that this one goes.
        runtime.spawn(observe::serve(socket, metrics.clone(), readiness.clone(), std::future::pending()));
        tracing::info!(listener = %configured, %address, protocol = "metrics", "listening");
    }
    for listener in &listeners {
        log_listening(listener);
    }
    readiness.set(RunState::Ready);
    let started = SystemTime::now();
    let last_reload = None;
    let (tried, fixed) = (Tried::Config(Box::new(config.clone())), Fixed::of(&config));
    let state = State {
        config,
        options,
        started,
        shared,
        tickets,
        listeners,
        backends,
        names,
        insecure,
        metrics: metrics_address,
        workers,
        certificates,
        readiness,
        refresh,
        reloads,
        last_reload,
        tried,
        fixed,
        drain,
    };
    Ok(App { runtime, state, inbox, logs })
}

/// A listener on sockets that were bound for it.
pub(super) fn listener(
    config: &config::Listener,
    socket: &TcpListener,
    options: &Options,
    tickets: &Tickets,
    challenges: &Arc<Challenges>,
) -> Result<Listener, StartError> {
    let bound = socket.local_addr()?;
    Ok(Listener::new(config.address, bound, listener_settings(config, bound, options, tickets, challenges)?))
}

/// What a listener's connections are served by.
pub(super) fn listener_settings(
    config: &config::Listener,
    bound: SocketAddr,
    options: &Options,
    tickets: &Tickets,
    challenges: &Arc<Challenges>,
) -> Result<ListenerSettings, StartError> {
    let door = match config.protocol {
        ListenerProtocol::Http => Door::Http,
        ListenerProtocol::Tcp => Door::Tcp,
        ListenerProtocol::Https | ListenerProtocol::Tls => {
            let (default, table) = (config.default_certificate.clone(), Arc::clone(&options.table));
            let acceptor = Acceptor::new(&config.tls, default, table, options.on_demand.clone(), tickets);
            let acceptor = acceptor.map_err(|error| StartError::Tls(error.to_string()))?;
            let acceptor = acceptor.answering(Arc::clone(challenges)).with_default_host(config.default_host.clone());
            let acceptor = Arc::new(acceptor);
            if config.protocol == ListenerProtocol::Tls { Door::Tls(acceptor) } else { Door::Https(acceptor) }
        }
    };
    let entrance = Arc::new(Entrance {
        listener: config.address,
        port: config.forwarded_port(bound.port()),
        trusted_proxies: config.trusted_proxies.as_slice().into(),
        default_route: config.default_route.as_deref().map(Arc::from),
    });
    Ok(ListenerSettings {
        door,
        entrance,
        proxy_protocol: config.proxy_protocol,
        has_public_port: config.public_port.is_some(),
    })
}

/// Has every worker take connections on its socket.
pub(super) fn open(workers: &[Worker], listener: &Arc<Listener>, sockets: Vec<TcpListener>) {
    for (worker, socket) in workers.iter().zip(sockets) {
        worker.open(Arc::clone(listener), socket);
    }
}

/// What the config allows, or what the limits of open files and of memory leave room for.
fn most_connections(config: &Config) -> usize {
    let mut most = config.limits.connections;
    if let Some(descriptors) = net::descriptors::raise_limit() {
        let connections = net::descriptors::connections_within(descriptors);
        if connections < most {
            tracing::info!(
                connections,
                descriptors,
                "the open files limit has no room for [limits] connections; raise it (LimitNOFILE=, ulimit -n) or lower them"
            );
            most = connections;
        }
    }
    if let Some(bytes) = net::memory::limit() {
        let connections = net::memory::connections_within(bytes);
        if connections < most {
            tracing::info!(
                connections,
                memory_mib = bytes >> 20,
                "the memory limit has no room for [limits] connections; raise it (MemoryMax=, ulimit -d) or lower them"
            );
            most = connections;
        }
    }
    most
}

/// How many requests there may be at once over HTTP/2: what the limit of memory leaves room for.
fn room(workers: usize) -> net::Room {
    let most = net::memory::limit().map_or(usize::MAX, net::memory::requests_within);
    net::Room::new(most, workers)
}

/// What requests are served by.
pub(super) fn settings(config: &Config, backends: &Registry, secure: Vec<SecureDoor>) -> Result<Settings, StartError> {
    // Also those that no route uses yet: what is wrong with them is said now.
    let all = config.routes.iter().map(|route| &route.backend).chain(&config.backends);
    let backends = backends.backends(all)?;
    Ok(Settings {
        routes: Routes::new(&config.routes, &backends[..config.routes.len()])?,
        timeouts: config.timeouts.clone(),
        limits: config.limits.clone(),
        untrusted: config.untrusted_headers.iter().map(|name| crate::proxy::folded(name)).collect(),
        access: config.log.access,
        secure,
    })
}

/// Where redirects can lead to, by what the config says the listeners are to speak.
pub(super) fn secure_doors(config: &Config, listeners: &[Arc<Listener>]) -> Vec<SecureDoor> {
    let both = config.listeners.iter().zip(listeners).filter(|(config, _)| config.protocol.has_tls());
    both.map(|(config, listener)| SecureDoor {
        listener: config.address,
        port: config.forwarded_port(listener.bound.port()),
        https: config.protocol == ListenerProtocol::Https,
    })
    .collect()
}

/// Says which backends anybody could stand in for.
pub(super) fn warn_of_insecure(config: &Config, insecure: &IntGauge) {
    let routes = config.routes.iter().filter(|route| route.backend.is_insecure()).count();
    insecure.set(i64::try_from(routes).unwrap_or(i64::MAX));
    for route in config.routes.iter().filter(|route| route.backend.is_insecure()) {
        tracing::warn!(
            route = route.name,
            backend = route.backend.label(),
            "insecure = true: the backend's certificate is not checked"
        );
    }
}

/// The line that says where a listener is.
pub(super) fn log_listening(listener: &Listener) {
    let protocol = listener.protocol().as_str();
    tracing::info!(listener = %listener.configured, address = %listener.bound, protocol, "listening");
}
