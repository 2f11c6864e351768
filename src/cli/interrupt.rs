//! [`Interrupt`]: Ctrl-C and SIGTERM while a command has something to clear away before it ends.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::FAILED;

/// Whether somebody wants the command ended.
#[derive(Debug)]
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Notes both signals from now on, within a runtime. A second one ends the process at once, with nothing cleared
    /// away.
    pub(super) fn note() -> Self {
        let (tell, told) = watch::channel(false);
        // Where nobody can listen to them, they end the process as they would otherwise.
        if let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        {
            tokio::spawn(async move {
                for came_before in [false, true] {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if came_before {
                        std::process::exit(FAILED.into());
                    }
                    // Whoever is not there any more has nothing to clear away.
                    let _ = tell.send(true);
                }
            });
        }
        Self(told)
    }

    /// Whether one came.
    pub(super) fn came(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for one.
    pub(super) async fn wait(&mut self) {
        if self.0.wait_for(|came| *came).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
