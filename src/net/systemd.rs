//! What the service manager is told (sd_notify(3)): ready, reloading, stopping.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent. A manager that cannot be reached is logged,
//! never an error: doorward goes on without it.

use sd_notify::NotifyState;

/// Everything listens (`READY=1`); also said at the end of a reload, whatever its outcome.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins (`RELOADING=1` with `MONOTONIC_USEC`, which `Type=notify-reload` needs).
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        // Without the time the manager would take the reload for failed and end the service.
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The drain begins (`STOPPING=1`).
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
