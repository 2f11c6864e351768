//! What the tests drive doorward with: the built binary, backends, a CA and real clients.
//!
//! Everything runs on loopback addresses and ports that the kernel picks, or [`free`] ones. Nothing sleeps for a while and
//! hopes: [`within`] waits for a condition and fails at a deadline.

mod ca;
mod curl;
mod doorward;
mod h2client;
mod named;
mod nginx;
mod origin;
mod pebble;
#[path = "../../common/ports.rs"]
mod ports;
mod program;
mod rawh2;
mod said;
mod secure;
mod setup;
mod tls;
mod wire;

use std::time::{Duration, Instant};

pub(crate) use ca::{Leaf, TestCa, ca, replace};
pub(crate) use curl::{Answer, Curl, openssl};
pub(crate) use doorward::{Doorward, is_failed_reload, signal};
pub(crate) use h2client::H2;
pub(crate) use named::Named;
pub(crate) use nginx::Nginx;
pub(crate) use origin::{Origin, cut, drain, nobody};
pub(crate) use pebble::Pebble;
pub(crate) use ports::free;
pub(crate) use program::Program;
pub(crate) use rawh2::RawH2;
pub(crate) use said::{json, ok, refused};
pub(crate) use setup::Setup;
pub(crate) use tls::{Tls, client_config, client_config_of, tcp};
pub(crate) use wire::{Ended, Reply, read_reply};

/// How long anything that should happen may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Tries until there is something, and fails with `what` where there is nothing within [`PATIENCE`].
pub(crate) fn within<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
