//! The admin socket: what a running doorward tells and takes; and the metrics listener beside it. Floor 6.
//!
//! Both run on the control plane and ask the app through [`Commands`]; the data plane never waits for them.

mod accept;
pub mod api;
pub mod backends;
pub mod certs;
pub mod client;
pub mod command;
pub mod observe;
pub mod view;

pub use command::{Command, Commands, Inbox};
