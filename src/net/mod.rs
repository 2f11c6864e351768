//! Sockets and what travels over them. Floor 2.

mod deadline;
pub mod descriptors;
mod form;
mod https_client;
mod inbox;
pub mod memory;
mod outbox;
pub mod proxy_protocol;
pub mod resident;
mod room;
mod sockets;
pub(crate) mod spare;
pub mod systemd;
mod transport;

pub use deadline::{Deadline, Timer};
pub use form::{form, percent_encoded};
pub use https_client::{ClientTimeouts, HttpsClient, HttpsClientError, Roots};
pub use inbox::Inbox;
pub use outbox::Outbox;
pub use room::{Room, Share};
pub use sockets::{BindError, bind_tcp, has_route, port_of};
pub use transport::Transport;
