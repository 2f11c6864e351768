//! The built doorward against real clients and real backends, one file a capability.

mod support;

mod acme;
mod backend_tls;
mod check;
mod dev;
mod directory;
mod drain;
mod failures;
mod framing;
mod headers;
mod observe;
mod operate;
mod plain;
mod proxy_out;
mod reload;
mod responses;
mod sni;
mod streaming;
mod tls;
mod websocket;
