//! The demo app: a small web app behind the proxy that shows what an app sees. Floor 6.
//!
//! It listens on a loopback port of its own, and doorward forwards to it as to any app: what it shows came
//! over the wire, by the header contract, and nothing is handed to it on the side.

mod accept;
mod notes;
mod page;
mod seen;
mod server;
mod text;

pub use server::{Demo, start};
