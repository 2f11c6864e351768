//! What the ACME tests stand on: real pebble, a front that can misbehave, and a node to test.

#![allow(dead_code)] // Each test binary uses a part of it.

pub mod filling;
pub mod front;
pub mod hooked;
pub mod net;
#[allow(dead_code)] // tests/dns.rs uses it as well, another part of it
pub mod node;
pub mod pausing;
pub mod pebble;
#[path = "../common/ports.rs"]
pub mod ports;

use std::time::Duration;

/// The longest that anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Waits until `probe` gives something, looking often.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
