//! [`Target`]: which app the command line names, and for which host.

use std::str::FromStr;

use crate::config::{BackendAddress, RouteHost};
use crate::names::{HostPattern, Hostname, NameError};

/// `3000`, `ADDR:PORT`, `HOST=PORT` or `HOST=ADDR:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// For which host; every host where none was written.
    pub(super) host: RouteHost,
    /// The app.
    pub(super) app: BackendAddress,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    /// The part before `=`.
    #[error("`{text}` is no host: {reason}; write it as in app.localhost=3000")]
    Host {
        /// What was written.
        text: String,
        /// Why not.
        reason: NameError,
    },
    /// The part behind `=`, or all of it.
    #[error(
        "`{text}` is no app: {reason}; write its port or its address, as in 3000, app.localhost=3000 or app.localhost=127.0.0.1:3000"
    )]
    App {
        /// What was written.
        text: String,
        /// Why not.
        reason: String,
    },
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (host, app) = match text.split_once('=') {
            Some(("*", app)) => (RouteHost::Any, app),
            Some((host, app)) => {
                let pattern =
                    HostPattern::parse(host).map_err(|reason| TargetError::Host { text: host.to_owned(), reason })?;
                (RouteHost::Pattern(pattern), app)
            }
            None => (RouteHost::Any, text),
        };
        Ok(Self { host, app: read_app(app)? })
    }
}

/// A port alone means `localhost`, not 127.0.0.1: many development servers listen on `::1` only, and of a name's
/// addresses doorward takes the one that answers.
fn read_app(text: &str) -> Result<BackendAddress, TargetError> {
    let error = |reason: String| TargetError::App { text: text.to_owned(), reason };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let port = text.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| error("a port is a number from 1 to 65535".to_owned()))?;
        let localhost = Hostname::parse("localhost").map_err(|reason| error(reason.to_string()))?;
        return Ok(BackendAddress::Name(localhost, port));
    }
    text.parse().map_err(|reason: crate::config::BackendError| error(reason.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_port_or_an_address_with_or_without_a_host() {
        for (text, host, app) in [
            ("3000", "*", "localhost:3000"),
            ("app.localhost=3000", "app.localhost", "localhost:3000"),
            ("API.localhost=127.0.0.1:4000", "api.localhost", "127.0.0.1:4000"),
            ("*.apps.localhost=[::1]:4000", "*.apps.localhost", "[::1]:4000"),
            ("*=web:80", "*", "web:80"),
            ("127.0.0.1:5000", "*", "127.0.0.1:5000"),
            ("http://localhost:5173/", "*", "localhost:5173"),
            ("127.0.0.1=3000", "127.0.0.1", "localhost:3000"),
        ] {
            let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((target.host.to_string().as_str(), target.app.to_string().as_str()), (host, app), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_says_how_one_is_written() {
        for text in
            ["", "0", "65536", "app.localhost", "app.localhost=", "=3000", "a b=3000", "a..b=3000", "x=https://y:1"]
        {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains("app.localhost=3000"), "{text}: {error}");
        }
    }
}
