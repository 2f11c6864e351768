//! doorward: a TLS-terminating SNI edge proxy.
//!
//! The folders are the architecture, and imports go down its floors only; `docs/architecture.md` tells
//! how a connection and a certificate travel through them.

pub mod acme;
pub mod admin;
pub mod app;
pub mod backend;
pub mod certs;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dns;
pub mod drain;
pub mod http1;
pub mod listen;
pub mod metrics;
pub mod names;
pub mod net;
pub mod proxy;
pub mod read;
pub mod route;
pub mod storage;
pub mod tls;
