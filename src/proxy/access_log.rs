//! The access log: a line a request, made on the worker, written by a thread of its own.

use std::io::Write;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use prometheus::{IntCounter, IntGauge};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::asked::Asked;
use super::client::Client;
use super::{Proxy, Settings, Snapshot};
use crate::backend::BackendAddress;
use crate::config;
use crate::http1::RequestHead;
use crate::route::Route;

/// Lines that may wait for the writer; further ones are dropped and counted, so that a full disk stops nobody.
const WAITING: usize = 16 * 1024;
/// Lines are written together up to so many bytes.
const BATCH: usize = 64 * 1024;

/// Where lines go: cheap to clone, one a worker.
#[derive(Clone, Debug)]
pub struct AccessLog {
    sender: SyncSender<Vec<u8>>,
    readable: bool,
    dropped: IntCounter,
}

/// The writing end.
#[derive(Debug)]
pub struct AccessSink {
    receiver: Receiver<Vec<u8>>,
}

/// What is found out about a request while it is served.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) started: Instant,
    pub(super) route: Option<(Rc<Snapshot>, usize)>,
    pub(super) endpoint: Option<BackendAddress>,
    /// Found out where the request may be logged.
    pub(super) host: Option<String>,
    access: config::AccessLog,
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// A word and more for what went wrong.
    pub(super) error: Option<(&'static str, Option<String>)>,
    /// Who ended a connection that was passed on whole.
    pub(super) ended_by: Option<&'static str>,
    _under_way: UnderWay,
}

/// Counts a request or connection as under way until it is dropped, however it ends.
#[derive(Debug)]
struct UnderWay(IntGauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    request_id: String,
    client: std::net::IpAddr,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    /// None for a connection that was passed on whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: f64,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    /// How a connection ended that was passed on whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl AccessLog {
    /// A log, readable for people or as JSON lines; `dropped` counts the lines that were not written.
    #[must_use]
    pub fn new(readable: bool, dropped: IntCounter) -> (Self, AccessSink) {
        let (sender, receiver) = sync_channel(WAITING);
        (Self { sender, readable, dropped }, AccessSink { receiver })
    }
}

impl AccessLog {
    fn send(&self, line: &Line<'_>) {
        let text = if self.readable { line.readable() } else { line.json() };
        if self.sender.try_send(text).is_err() {
            self.dropped.inc();
        }
    }
}

impl AccessSink {
    /// Writes lines until every [`AccessLog`] is gone; runs on a thread of its own. A line is written at once, and those
    /// that come within `rest` after it together: a worker that serves many requests does not wake this thread for each.
    pub fn write_to(self, mut writer: impl Write, rest: Duration) {
        while let Ok(mut batch) = self.receiver.recv() {
            while batch.len() < BATCH
                && let Ok(line) = self.receiver.try_recv()
            {
                batch.extend_from_slice(&line);
            }
            // Nobody is left to tell where the log itself cannot be written.
            let _unwritten = writer.write_all(&batch).and_then(|()| writer.flush());
            if batch.len() < BATCH {
                std::thread::sleep(rest);
            }
        }
    }
}

impl Record {
    pub(super) fn begin(proxy: &Proxy, settings: &Settings) -> Self {
        Self::counted(proxy, settings, proxy.metrics.under_way.clone())
    }

    /// The record of a connection that is passed on whole.
    pub(super) fn begin_raw(proxy: &Proxy, route: (Rc<Snapshot>, usize)) -> Self {
        let open = proxy.metrics.raw_open(&route.0.routes.routes()[route.1]);
        let record = Self::counted(proxy, &route.0, open);
        Self { route: Some(route), ..record }
    }

    fn counted(proxy: &Proxy, settings: &Settings, gauge: IntGauge) -> Self {
        gauge.inc();
        Self {
            id: proxy.request_id(),
            started: Instant::now(),
            route: None,
            endpoint: None,
            host: None,
            access: settings.access,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            error: None,
            ended_by: None,
            _under_way: UnderWay(gauge),
        }
    }

    pub(super) fn asked(&mut self, asked: &Asked<'_>) {
        if self.access != config::AccessLog::Off {
            self.host = Some(asked.host.as_str().to_owned());
        }
    }

    /// Counts and logs the request.
    pub(super) fn end(self, proxy: &Proxy, client: &Client, head: &RequestHead, protocol: &'static str) {
        let took = self.started.elapsed();
        let route = self.route.as_ref().map(|(settings, index)| &*settings.routes.routes()[*index]);
        proxy.metrics.ended(route, self.status, took);
        if self.is_logged() {
            let line = self.line(client, head, protocol, route, took.as_secs_f64() * 1000.0);
            proxy.access.send(&line);
        }
    }

    /// Counts and logs a connection that was passed on whole.
    pub(super) fn end_raw(&self, proxy: &Proxy, client: &Client, protocol: &'static str, outcome: &'static str) {
        let took = self.started.elapsed();
        let route = self.route.as_ref().map(|(settings, index)| &*settings.routes.routes()[*index]);
        proxy.metrics.raw_ended(route, outcome);
        if self.is_logged() {
            let head = RequestHead::default();
            let line = self.line(client, &head, protocol, route, took.as_secs_f64() * 1000.0);
            proxy.access.send(&Line { message: "connection", outcome: Some(outcome), method: "", ..line });
        }
    }

    /// Whether this one belongs to the share that is logged.
    fn is_logged(&self) -> bool {
        match self.access {
            config::AccessLog::Off => false,
            config::AccessLog::Share(share) => {
                self.status >= 500 || self.status == 0 || share >= 1.0 || fastrand::f64() < share
            }
        }
    }

    fn line<'a>(
        &'a self,
        client: &'a Client,
        head: &'a RequestHead,
        protocol: &'static str,
        route: Option<&'a Route>,
        duration_ms: f64,
    ) -> Line<'a> {
        Line {
            timestamp: OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default(),
            level: "INFO",
            message: "request",
            request_id: format!("{:016x}", self.id),
            client: super::headers::client_ip(head, client),
            method: head.method.as_str(),
            host: self.host.as_deref().unwrap_or(""),
            path: std::str::from_utf8(head.target()).unwrap_or(""),
            route: route.map_or("", |route| &route.name),
            backend: self.endpoint.as_ref().map(ToString::to_string),
            status: (self.status != 0).then_some(self.status),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_ms: (duration_ms * 1000.0).round() / 1000.0,
            protocol,
            tls: client.tls.as_ref().map(|tls| tls.version),
            sni: client.tls.as_ref().and_then(|tls| tls.sni.as_ref()).map(crate::names::Hostname::as_str),
            outcome: None,
            ended_by: self.ended_by,
            error: self.error.as_ref().map(|(code, _)| *code),
            detail: self.error.as_ref().and_then(|(_, detail)| detail.as_deref()),
        }
    }
}

impl Line<'_> {
    fn json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn readable(&self) -> Vec<u8> {
        let time = self.timestamp.get(11..19).unwrap_or("");
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let Self { method, host, path, bytes_in, bytes_out, duration_ms, protocol, route, .. } = self;
        let to = self.backend.as_deref().unwrap_or("-");
        let error = match (self.error, self.detail) {
            (Some(error), Some(detail)) => format!("  {error}: {detail}"),
            (Some(error), None) => format!("  {error}"),
            _ => String::new(),
        };
        let Some(status) = self.status else {
            let tls = if self.tls.is_some() { "tls → " } else { "" };
            let ended = self.ended_by.map_or_else(String::new, |side| format!("  ended by the {side}"));
            return format!("{time} --- {route}  {bytes_in} B in, {bytes_out} B out in {duration_ms:.1} ms  {tls}{protocol} → {to}{ended}{error}\n")
                .into_bytes();
        };
        format!("{time} {status} {method} {scheme}://{host}{path}  {bytes_out} B in {duration_ms:.1} ms  {protocol} → {to}{error}\n")
            .into_bytes()
    }
}
