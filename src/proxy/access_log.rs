//! The access log: a line a request, made on the worker, written by a thread of its own.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use prometheus::IntGauge;
use tokio::time::Instant;

use super::access_line::Line;
use super::access_queue::AccessLog;
use super::asked::Asked;
use super::client::Client;
use super::{Proxy, Settings, Snapshot};
use crate::backend::BackendAddress;
use crate::config;
use crate::http1::RequestHead;
use crate::route::Route;

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
            send(&proxy.access, &self.line(client, head, protocol, route, took));
        }
    }

    /// Counts and logs a connection that was passed on whole.
    pub(super) fn end_raw(&self, proxy: &Proxy, client: &Client, protocol: &'static str, outcome: &'static str) {
        let took = self.started.elapsed();
        let route = self.route.as_ref().map(|(settings, index)| &*settings.routes.routes()[*index]);
        proxy.metrics.raw_ended(route, outcome);
        if self.is_logged() {
            let head = RequestHead::default();
            let line = self.line(client, &head, protocol, route, took);
            send(&proxy.access, &Line { message: "connection", outcome: Some(outcome), method: "", ..line });
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
        took: Duration,
    ) -> Line<'a> {
        Line {
            at: SystemTime::now(),
            message: "request",
            id: self.id,
            client: super::headers::client_ip(head, client),
            method: head.method.as_str(),
            host: self.host.as_deref().unwrap_or(""),
            path: std::str::from_utf8(head.target()).unwrap_or(""),
            route: route.map_or("", |route| &route.name),
            backend: self.endpoint.as_ref(),
            status: (self.status != 0).then_some(self.status),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            took,
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

fn send(log: &AccessLog, line: &Line<'_>) {
    log.put(|out| if log.is_readable() { line.write_readable(out) } else { line.write_json(out) });
}
