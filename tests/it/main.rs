//! The built doorward against real clients and real backends, one file a capability.

mod support;

mod abort;
mod acme;
mod check;
mod dev;
mod directory;
mod drain;
mod failures;
mod framing;
mod headers;
mod limits;
mod observe;
mod operate;
mod pipelining;
mod plain;
mod raw;
mod reload;
mod responses;
mod sni;
mod streaming;
mod timeouts;
mod tls;
mod upgrades;
mod websocket;
