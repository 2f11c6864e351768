//! Where doorward keeps what it made: accounts, orders, certificates, challenge answers, failures.
//!
//! Floor 3. [`Storage`] is small on purpose: values by [`Key`], one exclusive lock by name, and a watch.
//! Every value is whole or absent: what has to change together lives under one key. [`keys`] holds every
//! path; [`FileStorage`] is the one for a single node, [`MemoryStorage`] the one for tests.

mod api;
mod events;
mod file;
pub(crate) mod files;
pub mod keys;
mod memory;

pub use api::{Lease, Storage, StorageError};
pub use events::{Event, Events};
pub use file::{FileStorage, certs_in_storage};
pub use keys::Key;
pub use memory::MemoryStorage;
