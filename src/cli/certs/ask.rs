//! From a request to its answer: by the admin socket, or where nobody listens there, on the storage.

use tokio::runtime::Runtime;

use crate::admin::certs::{Reply, Request};
use crate::admin::client::{Client, ClientError};
use crate::app::{Alone, Desk};
use crate::cli::interrupt::Interrupt;
use crate::cli::{CONFIG_FILE, Daemon, admin_socket};
use crate::config::{self, Config};

/// Asks the daemon; none where none runs, unless a socket is named.
pub(in crate::cli) fn ask_running(daemon: &Daemon, request: &Request) -> Result<Option<Reply>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let socket = admin_socket::find(daemon).map_err(|error| error.to_string())?;
    match runtime.block_on(Client::new(socket).certs(request)) {
        Ok(reply) => Ok(Some(reply)),
        Err(ClientError::NotRunning(_)) if daemon.socket.is_none() => Ok(None),
        Err(ClientError::Refused { message, .. }) => Err(message),
        Err(error) => Err(error.to_string()),
    }
}

/// Asks the daemon; where none runs, does it on the storage that the config names.
pub(in crate::cli) fn ask(daemon: &Daemon, request: Request) -> Result<Reply, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let socket = admin_socket::find(daemon).map_err(|error| error.to_string())?;
        match Client::new(socket).certs(&request).await {
            Ok(reply) => Ok(reply),
            // Its reason says it all.
            Err(ClientError::Refused { message, .. }) => Err(message),
            // Who names a socket means that daemon.
            Err(error @ ClientError::NotRunning(_)) if daemon.socket.is_some() => Err(error.to_string()),
            Err(ClientError::NotRunning(_)) => on_storage(daemon, request).await,
            Err(error) => Err(error.to_string()),
        }
    })
}

async fn on_storage(daemon: &Daemon, request: Request) -> Result<Reply, String> {
    let desk = Desk::offline(load(daemon)?).await.map_err(|error| error.to_string())?;
    desk.serve(request).await.map_err(|error| error.to_string())
}

/// The config, which is needed where nobody can be asked.
fn load(daemon: &Daemon) -> Result<Config, String> {
    let file = daemon.config.clone().unwrap_or_else(|| CONFIG_FILE.into());
    let loaded = config::load(&file).map_err(|faults| {
        format!(
            "no doorward is running, and without one the config has to say where the storage is (--config FILE):\n{faults}"
        )
    })?;
    Ok(loaded.config)
}

/// Questions and answers over some time, with whoever makes an order.
pub(super) struct Talk {
    runtime: Runtime,
    maker: Maker,
    interrupt: Interrupt,
}

/// Who makes an order.
enum Maker {
    /// The running doorward, and it goes on with it when this process has ended.
    Daemon(Client),
    /// This process itself, where none runs.
    Alone(Box<Alone>),
}

impl Talk {
    /// With the daemon; with this process where none runs, unless a socket is named.
    pub(super) fn begin(daemon: &Daemon) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        // Alone there may be something to clear away; a daemon's order goes on, which is worth to be said.
        let interrupt = runtime.block_on(async { Interrupt::note() });
        let maker = runtime.block_on(async {
            let client = Client::new(admin_socket::find(daemon).map_err(|error| error.to_string())?);
            match client.reach().await {
                Err(ClientError::NotRunning(_)) if daemon.socket.is_none() => {
                    let alone = Alone::start(load(daemon)?).await.map_err(|error| error.to_string())?;
                    Ok(Maker::Alone(Box::new(alone)))
                }
                Err(error) => Err(error.to_string()),
                Ok(()) => Ok(Maker::Daemon(client)),
            }
        })?;
        Ok(Self { runtime, maker, interrupt })
    }

    /// Asks.
    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, String> {
        match &mut self.maker {
            Maker::Daemon(client) => self.runtime.block_on(client.certs(&request)).map_err(|error| match error {
                // Its reason says it all.
                ClientError::Refused { message, .. } => message,
                error => error.to_string(),
            }),
            Maker::Alone(alone) => self.runtime.block_on(alone.serve(request)).map_err(|error| error.to_string()),
        }
    }

    /// Whether no doorward runs, so that nobody goes on with an order when this process has ended.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.maker, Maker::Alone(_))
    }

    /// Whether the operator wants it ended.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.came()
    }

    /// Ends it; `is_done`: what was ordered is there.
    pub(super) fn finish(self, is_done: bool) {
        if let Maker::Alone(alone) = self.maker {
            self.runtime.block_on(alone.finish(is_done));
        }
    }
}
