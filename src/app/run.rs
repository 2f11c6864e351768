//! The main loop: signals, commands and changed files, one after the other.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{App, State, status, watch};
use crate::admin::command::{Command, Inbox};
use crate::admin::view::RunState;
use crate::net::{resident, systemd};

/// A signal that comes so soon after the first is the same one: some supervisors (timeout(1), say) send it to the
/// process and then to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(250);
/// How often what orders and commands have left in memory is let go of.
const TIDY: Duration = Duration::from_secs(3600);
/// How long the control plane's tasks may take to end.
const CONTROL_PLANE: Duration = Duration::from_secs(2);

pub(super) fn run(app: App) -> ExitCode {
    let App { runtime, mut state, inbox, logs } = app;
    let code = runtime.block_on(async {
        match serve(&mut state, inbox).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "stopped");
                ExitCode::FAILURE
            }
        }
    });
    // Ends the workers, and with them the last who could log a request.
    drop(state);
    runtime.shutdown_timeout(Duration::from_secs(1));
    logs.finish();
    code
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for a signal to stop that is another one than that of `first`.
    async fn second(&mut self, first: Instant) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if first.elapsed() >= SAME_SIGNAL {
                return;
            }
        }
    }
}

async fn serve(state: &mut State, mut inbox: Inbox) -> std::io::Result<()> {
    let mut signals = Signals::new()?;
    let refresh = Arc::clone(&state.refresh);
    let backends = Arc::clone(&state.backends);
    let mut files = watch::Files::new(&state.config, state.options.config_file.is_some());
    systemd::ready(&summary(state));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        routes = state.config.routes.len(),
        workers = state.workers.len(),
        "ready"
    );
    let mut tidy = tokio::time::interval(TIDY);
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => drop(reload(state, &mut files).await),
            () = files.changed() => {
                // An editor's or a deployer's write may be the same again, or not be finished yet.
                if state.has_changed() {
                    drop(reload(state, &mut files).await);
                } else {
                    tracing::debug!("something changed beside the config files, which say nothing new");
                }
            }
            Some(command) = inbox.recv() => match command {
                // Whoever asked may have gone meanwhile.
                Command::Status(answer) => drop(answer.send(status::view(state))),
                Command::Reload(answer) => drop(answer.send(reload(state, &mut files).await)),
                Command::Force(id, answer) => drop(answer.send(state.force(&id))),
                Command::Backends(request, answer) => drop(answer.send(state.set_duty(&request))),
                Command::Certs(request, answer) => {
                    // On a task of its own: some of it waits for a lock or for a CA.
                    let desk = state.desk();
                    tokio::spawn(async move { drop(answer.send(desk.serve(*request).await)) });
                }
            },
            () = backends.endpoints_changed() => state.take_up_endpoints(),
            () = refresh.notified() => state.certificates.update(&state.config).await,
            _ = tidy.tick() => resident::let_go_of_code(),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    stop(state, &mut signals, inbox).await;
    Ok(())
}

async fn reload(state: &mut State, files: &mut watch::Files) -> crate::admin::view::ReloadView {
    systemd::reloading();
    let view = state.reload().await;
    files.watch(&state.config);
    systemd::ready(&summary(state));
    view
}

/// Takes no more connections, lets what is under way finish, up to the deadline or a second signal.
async fn stop(state: &mut State, signals: &mut Signals, mut inbox: Inbox) {
    let (within, began) = (state.config.timeouts.drain, Instant::now());
    state.readiness.set(RunState::Draining);
    systemd::stopping();
    tracing::info!(deadline_seconds = within.as_secs(), "draining: takes no more connections");
    let drains: Vec<_> = state.workers.iter().map(|worker| worker.drain(within)).collect();
    let drained = async {
        let mut all = true;
        for drain in drains {
            all &= drain.await;
        }
        all
    };
    let asked = async {
        while let Some(command) = inbox.recv().await {
            // Whoever asks for anything else hears that doorward is stopping.
            if let Command::Status(answer) = command {
                drop(answer.send(status::view(state)));
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = asked => {}
        all = drained => match all {
            true => tracing::info!("stopped: all connections have ended"),
            false => tracing::warn!("stopped at the deadline: some connections were cut"),
        },
        () = signals.second(began) => tracing::warn!("stopped at once by a second signal"),
    }
    state.certificates.stop();
    // The control plane has nothing that must not be cut: what it writes is written whole or not at all.
    if !state.drain.drain(CONTROL_PLANE).await {
        tracing::warn!("some of the control plane's tasks did not end by themselves");
    }
}

fn summary(state: &State) -> String {
    format!("{} routes, {} listeners", state.config.routes.len(), state.listeners.len())
}
