//! Which admin socket a verb talks to.

use std::path::{Path, PathBuf};

use super::Daemon;
use crate::config::Admin;
use crate::read;

/// Where a config says the socket is cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell the admin socket from {}: {reason}; name it with --socket PATH", file.display())]
pub(super) struct UnknownSocket {
    file: PathBuf,
    reason: String,
}

/// The socket that `daemon` names, or the default one.
///
/// A config is only looked into for `[admin] socket`: to ask how a daemon is has to work above all when its
/// config has just been broken.
///
/// # Errors
/// [`UnknownSocket`]: the config is no TOML, or takes the socket's path from elsewhere.
pub(super) fn find(daemon: &Daemon) -> Result<PathBuf, UnknownSocket> {
    match (&daemon.socket, &daemon.config) {
        (Some(socket), _) => Ok(socket.clone()),
        (None, Some(file)) => named_in(file).map_err(|reason| UnknownSocket { file: file.clone(), reason }),
        (None, None) => Ok(Admin::default().socket),
    }
}

fn named_in(file: &Path) -> Result<PathBuf, String> {
    let text = read::text(file, read::CONFIG).map_err(|error| error.to_string())?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let Some(socket) = table.get("admin").and_then(|admin| admin.get("socket")) else {
        return Ok(Admin::default().socket);
    };
    let socket = socket.as_str().ok_or("[admin] socket is no text")?;
    if socket.contains("${") || socket.starts_with("file:") {
        return Err("[admin] socket takes its value from elsewhere".to_owned());
    }
    // A relative path counts from the config's folder, as `config` has it.
    Ok(file.parent().unwrap_or(Path::new("")).join(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<PathBuf, UnknownSocket> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("doorward.toml");
        std::fs::write(&file, text).expect("written");
        let found = find(&Daemon { socket: None, config: Some(file) })?;
        Ok(found.strip_prefix(folder.path()).map(Path::to_owned).unwrap_or(found))
    }

    #[test]
    fn the_config_names_the_socket_however_wrong_it_is_otherwise() {
        assert_eq!(from("nonsense = 1\n[admin]\nsocket = \"/x/y.sock\"").expect("found"), Path::new("/x/y.sock"));
        assert_eq!(from("[admin]\nsocket = \"y.sock\"").expect("found"), Path::new("y.sock"));
        assert_eq!(from("").expect("found"), Admin::default().socket);
        assert!(from("[admin]\nsocket = 3").is_err());
        assert!(from("[admin]\nsocket = \"${X}\"").is_err());
        let error = from("= broken").expect_err("no TOML").to_string();
        assert!(error.contains("--socket PATH"), "{error}");
    }

    #[test]
    fn what_is_written_goes_before_the_default() {
        let daemon = Daemon { socket: Some("a".into()), config: None };
        assert_eq!(find(&daemon).expect("found"), Path::new("a"));
        assert_eq!(find(&Daemon::default()).expect("found"), Admin::default().socket);
    }
}
