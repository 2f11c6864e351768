//! `[timeouts]`, `[limits]`, `[admin]`, `[metrics]` and `[log]`: how doorward is run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Item, Section};
use super::source::Place;

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
    /// `tunnel_idle`: how long a WebSocket, another upgrade or a raw connection may carry nothing.
    pub tunnel_idle: Duration,
    /// `half_closed`: the same, once one side has ended.
    pub half_closed: Duration,
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
            half_closed: seconds(60),
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
    /// `upload_rate`: bytes a second that a client has to send of a request's body, on average; 0: any.
    pub upload_rate: u64,
    /// `download_rate`: bytes a second that a client has to take of an answer, on average; 0: any.
    pub download_rate: u64,
    /// `connections`: open client connections in the whole process; further ones wait in the kernel's queue.
    pub connections: usize,
    /// `handshakes`: TLS handshakes under way in the whole process; beyond, the oldest give way.
    pub handshakes: usize,
    /// `h2_streams`: concurrent streams of one HTTP/2 connection (RFC 9113 §5.1.2).
    pub h2_streams: u32,
    /// `h2_resets`: requests that a client may take back at once before it is sent away.
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
            upload_rate: 256,
            download_rate: 256,
            connections: 65_536,
            handshakes: 4096,
            h2_streams: 128,
            h2_resets: 128,
            backend_idle_connections: 512,
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

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The least that any timeout can be: zero would cut everything.
const LEAST: Duration = Duration::from_millis(1);
/// The longest path that a unix socket can have (`sun_path` in unix(7), without its closing zero).
const MAX_SOCKET_PATH: usize = 107;

/// The words of `level`.
pub(super) const LEVELS: [(&str, tracing::Level); 5] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];
/// The words of [`LogFormat`].
pub(super) const FORMATS: [(&str, LogFormat); 3] =
    [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)];

impl Timeouts {
    /// Each key, its value, and the most that it can be.
    pub(super) fn fields(&mut self) -> [(&'static str, &mut Duration, Duration); 12] {
        [
            ("handshake", &mut self.handshake, DAY),
            ("request_header", &mut self.request_header, DAY),
            ("request_body", &mut self.request_body, DAY),
            ("keep_alive", &mut self.keep_alive, DAY),
            ("connect", &mut self.connect, DAY),
            ("first_byte", &mut self.first_byte, DAY),
            ("idle", &mut self.idle, DAY),
            ("write", &mut self.write, DAY),
            ("tunnel_idle", &mut self.tunnel_idle, 30 * DAY),
            ("half_closed", &mut self.half_closed, DAY),
            ("backend_keep_alive", &mut self.backend_keep_alive, DAY),
            ("drain", &mut self.drain, DAY),
        ]
    }
}

/// Reads `[timeouts]`.
pub(super) fn read_timeouts(mut section: Section<'_>) -> Timeouts {
    let mut this = Timeouts::default();
    for (key, value, most) in this.fields() {
        section.set(key, value, |item| item.duration(LEAST..=most));
    }
    section.finish();
    this
}

/// Reads `[limits]`.
pub(super) fn read_limits(mut section: Section<'_>) -> Limits {
    const HEAD: std::ops::RangeInclusive<u64> = 256..=(16 << 20);
    let mut this = Limits::default();
    section
        .set("header_bytes", &mut this.header_bytes, |item| item.size(HEAD))
        .set("header_count", &mut this.header_count, |item| item.integer(1..=256))
        .set("response_header_bytes", &mut this.response_header_bytes, |item| item.size(HEAD))
        .set("request_body_bytes", &mut this.request_body_bytes, read_body_limit)
        .set("upload_rate", &mut this.upload_rate, |item| item.size(0..=(1 << 30)))
        .set("download_rate", &mut this.download_rate, |item| item.size(0..=(1 << 30)))
        .set("connections", &mut this.connections, |item| item.integer(1..=10_000_000))
        .set("handshakes", &mut this.handshakes, |item| item.integer(1..=1_000_000))
        .set("h2_streams", &mut this.h2_streams, |item| item.integer(1..=65_536))
        .set("h2_resets", &mut this.h2_resets, |item| item.integer(1..=65_536))
        .set("backend_idle_connections", &mut this.backend_idle_connections, |item| item.integer(0..=65_536));
    section.finish();
    this
}

fn read_body_limit(item: &Item<'_>) -> Option<Option<u64>> {
    if item.written() == "unlimited" { Some(None) } else { item.size(1..=(1 << 50)).map(Some) }
}

/// Reads `[admin]`.
pub(super) fn read_admin(mut section: Section<'_>) -> Admin {
    let mut this = Admin::default();
    section.set("socket", &mut this.socket, |item| {
        let path = item.path()?;
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            let message = format!("the path has {length} bytes, and a unix socket's can have {MAX_SOCKET_PATH}");
            return item.fault(message, "choose a shorter one, as in \"/run/doorward/admin.sock\"");
        }
        Some(path)
    });
    section.finish();
    this
}

/// Reads `[metrics]`, and says where the address is written.
pub(super) fn read_metrics(mut section: Section<'_>) -> Option<(MetricsListener, Place)> {
    let address =
        section.required("address", "\"127.0.0.1:9464\"", |item| Some((item.listen_address()?, item.place())));
    section.finish();
    address.map(|(address, place)| (MetricsListener { address }, place))
}

/// Reads `[log]`.
pub(super) fn read_log(mut section: Section<'_>) -> Log {
    let mut this = Log::default();
    section
        .set("level", &mut this.level, |item| item.choice(&LEVELS))
        .set("format", &mut this.format, |item| item.choice(&FORMATS))
        .set("access", &mut this.access, read_access);
    section.finish();
    this
}

fn read_access(item: &Item<'_>) -> Option<AccessLog> {
    let share = match item.value.get_ref() {
        DeValue::Boolean(on) => f64::from(u8::from(*on)),
        DeValue::Float(float) => float.as_str().parse().unwrap_or(f64::NAN),
        DeValue::Integer(_) => item.as_integer().map_or(f64::NAN, |value| if value == 0 { 0.0 } else { value as f64 }),
        _ => return item.wrong_type("true, false or a share of requests", "0.1"),
    };
    if share == 0.0 {
        Some(AccessLog::Off)
    } else if share > 0.0 && share <= 1.0 {
        Some(AccessLog::Share(share))
    } else {
        item.out_of_range("0.0", "1.0")
    }
}
