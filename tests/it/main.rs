//! The built doorward against real clients and real backends, one file a capability.

mod support;

mod abort;
mod acme;
mod backend_tls;
mod balance;
mod ca;
mod certs_commands;
mod check;
mod dev;
mod directory;
mod drain;
mod failures;
mod framing;
mod generate;
mod headers;
mod health;
mod limits;
mod observe;
mod on_demand;
mod operate;
mod pipelining;
mod plain;
mod proxy_out;
mod raw;
mod reload;
mod responses;
mod sni;
mod streaming;
mod takeover;
mod timeouts;
mod tls;
mod upgrades;
mod websocket;
