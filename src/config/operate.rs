//! `[timeouts]`, `[limits]`, `[admin]`, `[metrics]` and `[log]`: how doorward is run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[timeouts]`: written as `"10s"`, `"5m"`, `"500ms"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `handshake`: from accept to the end of the TLS handshake, on-demand issuing included.
    pub handshake: Duration,
    /// `request_header`: from a request's first byte to the end of its head.
    pub request_header: Duration,
    /// `request_body`: the longest pause between two pieces of a request's body.
    pub request_body: Duration,
    /// `keep_alive`: how long a client's connection may stay idle between requests (and before the first).
    pub keep_alive: Duration,
    /// `connect`: to the backend.
    pub connect: Duration,
    /// `first_byte`: from the request sent to the head of the backend's answer.
    pub first_byte: Duration,
    /// `idle`: the longest pause within the backend's answer.
    pub idle: Duration,
    /// `write`: how long a client may take nothing of an answer that is ready for it.
    pub write: Duration,
    /// `tunnel_idle`: how long a WebSocket or other upgrade may carry nothing.
    pub tunnel_idle: Duration,
    /// `backend_keep_alive`: how long an unused connection to a backend is kept.
    pub backend_keep_alive: Duration,
    /// `drain`: how long what is under way may take to finish at a stop.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            handshake: seconds(10),
            request_header: seconds(10),
            request_body: seconds(30),
            keep_alive: seconds(60),
            connect: seconds(5),
            first_byte: seconds(60),
            idle: seconds(60),
            write: seconds(60),
            tunnel_idle: seconds(3600),
            backend_keep_alive: seconds(50),
            drain: seconds(30),
        }
    }
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `header_bytes`: of a request's head, request line included; over it: 431.
    pub header_bytes: usize,
    /// `header_count`: fields in a request's head; over it: 431.
    pub header_count: usize,
    /// `response_header_bytes`: of a backend's answer's head; over it: 502.
    pub response_header_bytes: usize,
    /// `request_body_bytes`: none: no bound; over it: 413.
    pub request_body_bytes: Option<u64>,
    /// `connections`: open client connections in the whole process; further ones wait in the kernel's queue.
    pub connections: usize,
    /// `handshakes`: TLS handshakes under way in the whole process.
    pub handshakes: usize,
    /// `h2_streams`: concurrent streams of one HTTP/2 connection (RFC 9113 §5.1.2).
    pub h2_streams: u32,
    /// `h2_resets`: streams that a client may have reset and doorward not yet let go of, before it is sent away.
    pub h2_resets: usize,
    /// `backend_idle_connections`: kept per endpoint and worker.
    pub backend_idle_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_count: 100,
            response_header_bytes: 64 * 1024,
            request_body_bytes: None,
            connections: 65_536,
            handshakes: 4096,
            h2_streams: 128,
            h2_resets: 64,
            backend_idle_connections: 128,
        }
    }
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `socket`: the unix socket that `doorward status` and its like talk to; mode 0660.
    pub socket: PathBuf,
}

impl Default for Admin {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/doorward/admin.sock") }
    }
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsListener {
    /// `address`: where `/metrics`, `/healthz` and `/readyz` answer over plain HTTP.
    pub address: SocketAddr,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// `format`.
    pub format: LogFormat,
    /// `access`.
    pub access: AccessLog,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `auto`: readable on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// `json`.
    Json,
    /// `text`.
    Text,
}

/// `access`: `true`, `false`, or a share of requests between 0 and 1 (server errors are always logged unless off).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AccessLog {
    /// No access log.
    Off,
    /// This share of requests, 1.0 for all.
    Share(f64),
}

impl Default for AccessLog {
    fn default() -> Self {
        Self::Share(1.0)
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: tracing::Level::INFO, format: LogFormat::Auto, access: AccessLog::default() }
    }
}
