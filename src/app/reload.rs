//! Reload: load, check, build, swap. Until the swap nothing has changed, and the swap does not fail.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::{StartError, State, build, names};
use crate::admin::view::{ReloadOutcome, ReloadView};
use crate::certs::unix_now;
use crate::config::{self, Config};
use crate::listen::Listener;
use crate::net;

/// All that the new config needs besides what is there.
struct Prepared {
    config: Config,
    settings: crate::proxy::Settings,
    /// The new list of listeners, in the config's order.
    listeners: Vec<Arc<Listener>>,
    /// Those of them that stay, with what they serve from now on.
    kept: Vec<(Arc<Listener>, crate::listen::ListenerSettings)>,
    opened: Vec<(Arc<Listener>, Vec<std::net::TcpListener>)>,
}

/// What is counted of reloads.
pub(super) struct Reloads {
    outcomes: IntCounterVec,
    in_force: IntGauge,
    last: IntGauge,
}

impl Reloads {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outcomes = IntCounterVec::new(Opts::new("doorward_reloads_total", "Reloads, by outcome."), &["outcome"])?;
        let in_force = IntGauge::new(
            "doorward_config_in_force",
            "1 where the config files as last read are in force, 0 where they could not be.",
        )?;
        let last = IntGauge::new("doorward_config_last_read_seconds", "When the config was last read, unix seconds.")?;
        registry.register(Box::new(outcomes.clone()))?;
        registry.register(Box::new(in_force.clone()))?;
        registry.register(Box::new(last.clone()))?;
        in_force.set(1);
        last.set(unix_now());
        Ok(Self { outcomes, in_force, last })
    }

    fn count(&self, outcome: ReloadOutcome, label: &str) {
        self.outcomes.with_label_values(&[label]).inc();
        self.in_force.set(i64::from(matches!(outcome, ReloadOutcome::Applied | ReloadOutcome::Unchanged)));
        self.last.set(unix_now());
    }
}

/// What the config files said when they were last tried.
#[derive(Debug, PartialEq)]
pub(super) enum Tried {
    /// A sound config, whether or not it could be put in force.
    Config(Box<Config>),
    /// These faults.
    Faults(Vec<config::Fault>),
}

/// What stays for the process's life, as its start had it.
#[derive(Debug)]
pub(super) struct Fixed {
    workers: usize,
    storage: config::Storage,
    admin: config::Admin,
    metrics: Option<config::MetricsListener>,
    connections: usize,
    handshakes: usize,
}

impl From<&Result<config::Loaded, config::Faults>> for Tried {
    fn from(loaded: &Result<config::Loaded, config::Faults>) -> Self {
        match loaded {
            Ok(loaded) => Self::Config(Box::new(loaded.config.clone())),
            Err(faults) => Self::Faults(faults.faults.clone()),
        }
    }
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            workers: config.workers,
            storage: config.storage.clone(),
            admin: config.admin.clone(),
            metrics: config.metrics.clone(),
            connections: config.limits.connections,
            handshakes: config.limits.handshakes,
        }
    }
}

impl State {
    /// Whether the config files say something that was not tried yet, be it nonsense. What failed once is not
    /// tried again because some other file beside it changed (a log of ours, say, that tells of the failure).
    pub(super) fn has_changed(&self) -> bool {
        self.load().is_some_and(|loaded| self.tried != Tried::from(&loaded))
    }

    /// Puts in force what the config files say now, or says why not.
    pub(super) async fn reload(&mut self) -> ReloadView {
        let loaded = self.load();
        if let Some(loaded) = &loaded {
            self.tried = Tried::from(loaded);
        }
        let view = match loaded {
            None => self.ended(ReloadOutcome::Failed, Vec::new(), vec!["there is no config file to reload".to_owned()]),
            Some(Err(faults)) => {
                let faults = faults.faults.iter().map(ToString::to_string).collect();
                self.ended(ReloadOutcome::Refused, Vec::new(), faults)
            }
            Some(Ok(loaded)) if loaded.config == self.config => {
                self.ended(ReloadOutcome::Unchanged, Vec::new(), Vec::new())
            }
            Some(Ok(loaded)) => match self.prepare(loaded.config) {
                Ok(prepared) => {
                    let mut changes = changes(&self.config, &prepared.config);
                    self.swap(prepared).await;
                    changes.extend(self.after_a_restart());
                    self.ended(ReloadOutcome::Applied, changes, Vec::new())
                }
                Err(error) => self.ended(ReloadOutcome::Failed, Vec::new(), vec![error.to_string()]),
            },
        };
        self.last_reload = Some(view.clone());
        view
    }

    fn load(&self) -> Option<Result<config::Loaded, config::Faults>> {
        self.options.config_file.as_deref().map(config::load)
    }

    /// What the config says and this process cannot take up any more, a line each.
    pub(super) fn after_a_restart(&self) -> Vec<String> {
        let fixed = Fixed::of(&self.config);
        let differs = [
            ("workers", fixed.workers != self.fixed.workers),
            ("[storage]", fixed.storage != self.fixed.storage),
            ("[admin]", fixed.admin != self.fixed.admin),
            ("[metrics]", fixed.metrics != self.fixed.metrics),
            ("limits.connections", fixed.connections != self.fixed.connections),
            ("limits.handshakes", fixed.handshakes != self.fixed.handshakes),
        ];
        let differs = differs.into_iter().filter(|(_, differs)| *differs);
        differs.map(|(key, _)| format!("{key} changed: in force after a restart")).collect()
    }

    fn prepare(&self, config: Config) -> Result<Prepared, StartError> {
        self.certificates.check(&config)?;
        let (mut listeners, mut kept, mut opened) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in &config.listeners {
            let taken = |listener: &Arc<Listener>| listeners.iter().any(|other| Arc::ptr_eq(other, listener));
            // Several may be configured with port 0: each is kept once, in order.
            if let Some(listener) = self.listeners.iter().find(|l| l.configured == wanted.address && !taken(l)) {
                let challenges = &self.shared.challenges;
                let settings =
                    build::listener_settings(wanted, listener.bound, &self.options, &self.tickets, challenges)?;
                kept.push((Arc::clone(listener), settings));
                listeners.push(Arc::clone(listener));
            } else {
                // Those that are about to be closed as well.
                let own: Vec<SocketAddr> = self.listeners.iter().chain(&listeners).map(|own| own.bound).collect();
                let sockets = net::bind_tcp(wanted.address, self.workers.len(), &own)?;
                let listener = Arc::new(build::listener(
                    wanted,
                    &sockets[0],
                    &self.options,
                    &self.tickets,
                    &self.shared.challenges,
                )?);
                opened.push((Arc::clone(&listener), sockets));
                listeners.push(listener);
            }
        }
        let secure = build::secure_doors(&config, &listeners);
        let settings = build::settings(&config, &self.backends, secure)?;
        Ok(Prepared { config, settings, listeners, kept, opened })
    }

    async fn swap(&mut self, prepared: Prepared) {
        let Prepared { config, mut settings, listeners, kept, opened } = prepared;
        self.names.ask(&config.resolvers);
        if !self.backends.knows_names() {
            names::settle(&self.backends).await;
            // As it was built a moment ago, but for the endpoints that names lead to.
            let secure = settings.secure.clone();
            settings = build::settings(&config, &self.backends, secure).unwrap_or(settings);
        }
        // Certificates first: a new route's first handshake finds its own.
        self.certificates.update(&config).await;
        self.shared.settings.store(Arc::new(settings));
        build::warn_of_insecure(&config, &self.insecure);
        kept.into_iter().for_each(|(listener, settings)| listener.set(settings));
        for (listener, sockets) in opened {
            build::open(&self.workers, &listener, sockets);
            build::log_listening(&listener);
        }
        for gone in self.listeners.iter().filter(|old| !listeners.iter().any(|new| Arc::ptr_eq(new, old))) {
            self.workers.iter().for_each(|worker| worker.close(gone));
            tracing::info!(listener = %gone.configured, "no longer listening");
        }
        self.listeners = listeners;
        if let Some(on_log_change) = &self.options.on_log_change {
            on_log_change(&config.log);
        }
        self.config = config;
    }

    fn ended(&self, outcome: ReloadOutcome, changes: Vec<String>, faults: Vec<String>) -> ReloadView {
        let label = match outcome {
            ReloadOutcome::Applied => "applied",
            ReloadOutcome::Unchanged => "unchanged",
            ReloadOutcome::Refused => "refused",
            ReloadOutcome::Failed => "failed",
        };
        self.reloads.count(outcome, label);
        match outcome {
            ReloadOutcome::Applied | ReloadOutcome::Unchanged => {
                tracing::info!(
                    outcome = label,
                    changes = (!changes.is_empty()).then(|| changes.join("; ")),
                    "reloaded"
                );
            }
            ReloadOutcome::Refused | ReloadOutcome::Failed => {
                tracing::error!(
                    outcome = label,
                    faults = faults.join("\n"),
                    in_force = "the old config",
                    "reload failed"
                );
            }
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        ReloadView { at, outcome, changes, faults }
    }
}

/// What a reload changed, a line each.
fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    fn named<T, K: Ord + Display>(items: &[T], key: impl Fn(&T) -> K) -> BTreeSet<K> {
        items.iter().map(key).collect()
    }
    let (before, after) = (named(&old.routes, |r| r.name.clone()), named(&new.routes, |r| r.name.clone()));
    lines.extend(after.difference(&before).map(|name| format!("added route {name}")));
    lines.extend(before.difference(&after).map(|name| format!("removed route {name}")));
    for route in &new.routes {
        if old.routes.iter().any(|other| other.name == route.name && other != route) {
            lines.push(format!("changed route {}", route.name));
        }
    }
    let (before, after) = (named(&old.backends, |b| b.name.clone()), named(&new.backends, |b| b.name.clone()));
    lines.extend(after.difference(&before).map(|name| format!("added backend {name}")));
    lines.extend(before.difference(&after).map(|name| format!("removed backend {name}")));
    for backend in &new.backends {
        if old.backends.iter().any(|other| other.name == backend.name && other != backend) {
            lines.push(format!("changed backend {}", backend.name));
        }
    }
    let (before, after) = (named(&old.listeners, |l| l.address), named(&new.listeners, |l| l.address));
    lines.extend(after.difference(&before).map(|address| format!("opened listener {address}")));
    lines.extend(before.difference(&after).map(|address| format!("closed listener {address}")));
    for listener in &new.listeners {
        if old.listeners.iter().any(|other| other.address == listener.address && other != listener) {
            lines.push(format!("changed listener {}", listener.address));
        }
    }
    // What needs a restart is told of apart.
    let limits = |limits: &config::Limits| config::Limits { connections: 0, handshakes: 0, ..limits.clone() };
    for (section, changed) in [
        ("timeouts", old.timeouts != new.timeouts),
        ("limits", limits(&old.limits) != limits(&new.limits)),
        ("certificates", old.certificates != new.certificates),
        ("acme", old.acme != new.acme),
        ("log", old.log != new.log),
    ] {
        if changed {
            lines.push(format!("changed [{section}]"));
        }
    }
    lines
}
