//! Host names: what a client may ask for, and how a name finds what serves it.
//!
//! Floor 1. Routes and certificates match by the same rule, so it lives here once:
//! exact name, then a wildcard exactly one label up, then the default.

mod host_map;
mod hostname;

pub use host_map::HostMap;
pub use hostname::{HostPattern, Hostname, NameError, Normalized};
