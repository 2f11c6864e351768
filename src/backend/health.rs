//! Which endpoints can serve: decided here, in the control plane, and read by all workers.
//!
//! A check asks each endpoint again and again; `rise` and `fall` answers in a row change the verdict. Besides,
//! workers count the failures of their requests, and an endpoint with too many in a row is left alone for a time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::{Endpoint, connect};
use crate::config::{Check, Ejection};

/// How often it is looked whether something is due, where something can be.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Wakes those who judge: an endpoint failed that had not. One for the process: endpoints do not know who judges them.
static FAILED: Notify = Notify::const_new();

/// How often the endpoints are listed anew, although no others were made: a config may have been given up again.
pub(super) const LIST: Duration = Duration::from_secs(1);

/// What is known of an endpoint's health.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The checks say that it cannot serve.
    down: AtomicBool,
    /// Why they do, for people: no request asks.
    why: ArcSwapOption<String>,
    /// Too many requests failed there.
    ejected: AtomicBool,
    /// It is, and one request may find out whether it has recovered.
    trial: AtomicBool,
    /// Requests that failed in a row, of all workers.
    failures: AtomicU32,
}

impl Health {
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// What the checks say from now on: why it cannot serve, or that it can.
    pub(super) fn judged(&self, why: Option<String>) {
        if self.is_down() != why.is_some() {
            self.down.store(why.is_some(), Ordering::Relaxed);
            self.why.store(why.map(Arc::new));
        }
    }

    /// Why the checks say that it cannot serve.
    pub(super) fn why(&self) -> Option<String> {
        self.why.load().as_deref().cloned()
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    /// Whether one request may try it.
    pub(super) fn has_trial(&self) -> bool {
        self.trial.load(Ordering::Relaxed)
    }

    /// One does.
    pub(super) fn take_trial(&self) {
        // Written only where there is something: no core takes the line from another for each request.
        if self.has_trial() {
            self.trial.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.load(Ordering::Relaxed) != 0
    }

    pub(super) fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) == 0 {
            FAILED.notify_waiters();
        }
    }

    pub(super) fn succeeded(&self) {
        // Written only where there was something: no core takes the line from another for a success.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }
}

/// Waits until an endpoint fails that had not failed since it answered last.
pub(super) fn failure() -> Notified<'static> {
    FAILED.notified()
}

/// The judge of one endpoint, however it is used; lives in the control plane.
#[derive(Debug)]
pub(super) struct Judge {
    /// By which check it judges.
    check: Option<Check>,
    due: Instant,
    running: Option<tokio::task::JoinHandle<io::Result<()>>>,
    /// Answers in a row against the verdict that holds.
    against: u32,
    ejected: Option<Ejected>,
}

/// An endpoint that is left alone.
#[derive(Debug)]
struct Ejected {
    until: Instant,
    /// As many failures as there were when one request was let through, where one was: with one more it failed too.
    tried: Option<u32>,
}

impl Judge {
    pub(super) fn new(now: Instant) -> Self {
        Self { check: None, due: now, running: None, against: 0, ejected: None }
    }

    /// Does what is due. Called every [`TICK`], on the control plane's runtime.
    pub(super) async fn tick(&mut self, endpoint: &Arc<Endpoint>, now: Instant) {
        self.eject(endpoint, &endpoint.ejection, now);
        if self.check != endpoint.check {
            // The verdict stays until the new check has another one; what the old one would say does not count.
            (self.check, self.due, self.running, self.against) = (endpoint.check.clone(), now, None, 0);
        }
        let Some(check) = &endpoint.check else { return };
        if self.running.as_ref().is_some_and(tokio::task::JoinHandle::is_finished)
            && let Some(running) = self.running.take()
        {
            let result = running.await.unwrap_or_else(|_| Err(io::Error::other("the check broke off")));
            self.judge(endpoint, check, result);
        }
        if self.running.is_none() && now >= self.due {
            // Spread, so that the endpoints are not all asked at once.
            self.due = now + check.interval.mul_f64(0.9 + 0.2 * fastrand::f64());
            let endpoint = Arc::clone(endpoint);
            self.running = Some(tokio::spawn(async move {
                let Some(check) = &endpoint.check else { return Ok(()) };
                let late = |_| Err(io::ErrorKind::TimedOut.into());
                tokio::time::timeout(check.timeout, ask(&endpoint, check)).await.unwrap_or_else(late)
            }));
        }
    }

    fn judge(&mut self, endpoint: &Endpoint, check: &Check, result: io::Result<()>) {
        let health = &endpoint.standing.health;
        let down = health.is_down();
        if result.is_err() == down {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against < if down { check.rise } else { check.fall } {
            return;
        }
        self.against = 0;
        health.judged(result.as_ref().err().map(ToString::to_string));
        let address = &endpoint.address;
        match result {
            Ok(()) => {
                endpoint.standing.came_up();
                tracing::info!(endpoint = %address, "the endpoint is up again");
            }
            Err(error) => tracing::warn!(endpoint = %address, %error, "the endpoint is down"),
        }
    }

    /// Leaves an endpoint alone that fails, and lets one request through when the time is over: what an address that
    /// answers nothing costs is one client's wait each time.
    fn eject(&mut self, endpoint: &Endpoint, ejection: &Ejection, now: Instant) {
        let health = &endpoint.standing.health;
        let failures = health.failures.load(Ordering::Relaxed);
        let Some(ejected) = &mut self.ejected else {
            if ejection.failures > 0 && failures >= ejection.failures {
                self.ejected = Some(Ejected { until: now + ejection.time, tried: None });
                health.ejected.store(true, Ordering::Relaxed);
                endpoint.standing.tally.ejected();
                let seconds = ejection.time.as_secs_f64();
                tracing::warn!(endpoint = %endpoint.address, seconds, "the endpoint fails requests and is left alone");
            }
            return;
        };
        match ejected.tried {
            Some(before) if failures < before => {
                self.ejected = None;
                health.trial.store(false, Ordering::Relaxed);
                health.ejected.store(false, Ordering::Relaxed);
                endpoint.standing.came_up();
                tracing::info!(endpoint = %endpoint.address, "the endpoint answers again");
            }
            Some(before) if failures > before => {
                *ejected = Ejected { until: now + ejection.time, tried: None };
                health.trial.store(false, Ordering::Relaxed);
                endpoint.standing.tally.ejected();
            }
            // Also where nothing came of the request that was let through: its client has gone.
            _ if now >= ejected.until => {
                let before = failures.max(1);
                *ejected = Ejected { until: now + ejection.time, tried: Some(before) };
                health.failures.store(before, Ordering::Relaxed);
                health.trial.store(true, Ordering::Relaxed);
                tracing::debug!(endpoint = %endpoint.address, "the endpoint is tried again");
            }
            _ => {}
        }
    }
}

/// One check.
async fn ask(endpoint: &Endpoint, check: &Check) -> io::Result<()> {
    let config = endpoint.transport.as_ref().map(|transport| Arc::clone(&transport.current().config));
    let (mut stream, _) = connect::connect(endpoint, config, || None).await.map_err(io::Error::other)?;
    let Some(path) = &check.path else { return Ok(()) };
    let host = check.host.clone().or_else(|| endpoint.address.host()).unwrap_or_else(|| "localhost".to_owned());
    let host = if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: doorward-check\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    // `HTTP/1.1 200`: more is not asked for.
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    let status: Option<u16> =
        start.strip_prefix(b"HTTP/1.").and_then(|rest| std::str::from_utf8(rest.get(2..)?).ok()?.parse().ok());
    match status {
        Some(status) if check.status.contains(status) => Ok(()),
        Some(status) => Err(io::Error::other(format!("it answers {status}"))),
        None => Err(io::Error::other("its answer is no HTTP/1")),
    }
}
