//! The proxy: one request from the client's door to the backend and back. Floor 5.
//!
//! [`http1`] and [`http2`] are the doors: they know how a client speaks. [`forward`] knows neither: it takes a
//! parsed head and a body, and gives back an answer. Everything here belongs to one worker.

mod access_line;
mod access_log;
mod access_queue;
mod asked;
mod attempts;
mod client;
#[cfg(test)]
mod contract_tests;
mod failure;
mod fate;
mod forward;
mod headers;
mod http1;
mod http2;
mod json;
mod lazy;
#[doc(hidden)]
pub mod measured;
mod metrics;
mod pace;
mod page;
mod raw;
mod redirect;
mod tunnel;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};

pub use access_queue::{AccessLog, AccessSink};
pub use client::{Client, Entrance, Tls};
pub(crate) use fate::folded;
pub use metrics::ProxyMetrics;
pub use raw::RawRoute;

use crate::backend::{BackendLimits, Pools};
use crate::certs::{Challenges, Disabled};
use crate::config::{self, Limits, Timeouts};
use crate::net::{Share, Timer, Transport};
use crate::route::Table;

/// How often the same complaint is logged.
const COMPLAINT: Duration = Duration::from_secs(5);

/// What a reload changes about how requests are served: made whole, published, never changed.
#[derive(Debug, Default)]
pub struct Settings {
    /// The routes.
    pub routes: Table,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How large things may be.
    pub limits: Limits,
    /// Fields that only trusted peers may send, besides those that are known; folded.
    pub untrusted: Vec<String>,
    /// Which requests are logged.
    pub access: config::AccessLog,
    /// The listeners that end or pass on TLS, in the order of the config: where redirects can lead to.
    pub secure: Vec<SecureDoor>,
}

/// A listener that a redirect can lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecureDoor {
    /// Its address as configured: what routes know it by.
    pub listener: SocketAddr,
    /// The port that clients dial.
    pub port: u16,
    /// Whether it speaks HTTPS; if not, it has TLS and routes that pass it on.
    pub https: bool,
}

/// A worker's hold on settings: requests share it by a count of the worker's own, which no other core writes to.
#[derive(Debug)]
pub struct Snapshot(Arc<Settings>);

/// What the control plane publishes besides settings, as it happens.
#[derive(Clone, Debug)]
pub struct Known {
    /// What HTTP-01 is answered with.
    pub challenges: Arc<Challenges>,
    /// Names whose HTTPS is switched off.
    pub disabled: Arc<Disabled>,
}

/// One worker's part of the data plane.
pub struct Proxy {
    published: RefCell<Cache<Arc<ArcSwap<Settings>>, Arc<Settings>>>,
    current: RefCell<Rc<Snapshot>>,
    pools: Rc<Pools>,
    timer: Timer,
    known: Known,
    metrics: ProxyMetrics,
    access: AccessLog,
    /// What serves HTTP/2's streams.
    crew: Rc<http2::Crew>,
    /// How many there may be, and when it was said last that there are.
    room: Rc<Share>,
    complained: Cell<Option<Instant>>,
    /// The next request's id; starts at random, so that ids of two runs do not meet.
    next_id: Cell<u64>,
}

impl Proxy {
    /// For the current thread, which runs a `LocalRuntime`.
    #[must_use]
    pub fn spawn(
        settings: Arc<ArcSwap<Settings>>,
        known: Known,
        metrics: ProxyMetrics,
        access: AccessLog,
        room: Share,
    ) -> Rc<Self> {
        let mut published = Cache::new(settings);
        let current = Arc::clone(published.load());
        Rc::new(Self {
            pools: Pools::spawn(backend_limits(&current)),
            current: RefCell::new(Rc::new(Snapshot(current))),
            published: RefCell::new(published),
            timer: Timer::spawn(),
            known,
            metrics,
            access,
            crew: http2::Crew::spawn(),
            room: Rc::new(room),
            complained: Cell::new(None),
            next_id: Cell::new(fastrand::u64(..)),
        })
    }

    /// The worker's timer.
    #[must_use]
    pub fn timer(&self) -> &Timer {
        &self.timer
    }

    /// The worker's metrics.
    #[must_use]
    pub fn metrics(&self) -> &ProxyMetrics {
        &self.metrics
    }

    /// The settings as last published. Costs a few nanoseconds and touches nothing that cores share.
    #[must_use]
    pub fn settings(&self) -> Rc<Snapshot> {
        let mut published = self.published.borrow_mut();
        let latest = published.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(latest, &current.0) {
            *current = Rc::new(Snapshot(Arc::clone(latest)));
            self.pools.set_limits(backend_limits(latest));
            self.metrics.forget_routes();
        }
        Rc::clone(&current)
    }

    /// Serves HTTP/1.1 over a connection until it ends.
    pub fn serve_http1<IO: Transport>(
        self: &Rc<Self>,
        client: Rc<Client>,
        io: IO,
        drain: crate::drain::Watch,
    ) -> impl Future<Output = ()> {
        http1::serve(self, client, io, drain)
    }

    /// Answers plain HTTP that came to a TLS port, and closes.
    pub async fn refuse_plain<IO: Transport>(self: &Rc<Self>, client: &Client, io: IO) {
        http1::refuse_plain(self, client, io).await;
    }

    /// Serves HTTP/2 over a connection until it ends.
    pub fn serve_http2<IO: Transport + 'static>(
        self: &Rc<Self>,
        client: Rc<Client>,
        io: IO,
        drain: crate::drain::Watch,
    ) -> impl Future<Output = ()> {
        http2::serve(self, client, io, drain)
    }

    /// A request over HTTP/2 found no room.
    fn refused(&self) {
        self.metrics.refused.inc();
        if self.complained.get().is_none_or(|last| last.elapsed() >= COMPLAINT) {
            self.complained.set(Some(Instant::now()));
            tracing::warn!(
                "as many requests over HTTP/2 are under way as the memory limit has room for: others are refused; raise it (MemoryMax=, ulimit -d)"
            );
        }
    }

    fn request_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        // Spread, so that ids neither tell how many requests there are nor share a prefix (SplitMix64's odd constant).
        id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Deref for Snapshot {
    type Target = Settings;
    fn deref(&self) -> &Settings {
        &self.0
    }
}

fn backend_limits(settings: &Settings) -> BackendLimits {
    BackendLimits {
        header_bytes: settings.limits.response_header_bytes,
        idle_connections: settings.limits.backend_idle_connections,
        keep_alive: settings.timeouts.backend_keep_alive,
    }
}
