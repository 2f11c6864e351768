//! From a request to its answer: by the admin socket, or where nobody listens there, on the storage.

use super::Offline;
use crate::admin::certs::{Reply, Request};
use crate::admin::client::{Client, ClientError};
use crate::app::Desk;
use crate::cli::{CONFIG_FILE, Daemon, admin_socket};
use crate::config;

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

/// Asks the daemon; where none runs and `offline` allows it, does it on the storage that the config names.
pub(in crate::cli) fn ask(daemon: &Daemon, offline: Offline, request: Request) -> Result<Reply, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let socket = admin_socket::find(daemon).map_err(|error| error.to_string())?;
        match Client::new(socket).certs(&request).await {
            Ok(reply) => Ok(reply),
            // Its reason says it all.
            Err(ClientError::Refused { message, .. }) => Err(message),
            // Who names a socket means that daemon.
            Err(error @ ClientError::NotRunning(_)) if offline == Offline::No || daemon.socket.is_some() => {
                Err(error.to_string())
            }
            Err(ClientError::NotRunning(_)) => on_storage(daemon, request).await,
            Err(error) => Err(error.to_string()),
        }
    })
}

async fn on_storage(daemon: &Daemon, request: Request) -> Result<Reply, String> {
    let file = daemon.config.clone().unwrap_or_else(|| CONFIG_FILE.into());
    let loaded = config::load(&file).map_err(|faults| {
        format!(
            "no doorward is running, and without one the config has to say where the storage is (--config FILE):\n{faults}"
        )
    })?;
    let desk = Desk::offline(loaded.config).await.map_err(|error| error.to_string())?;
    desk.serve(request).await.map_err(|error| error.to_string())
}
