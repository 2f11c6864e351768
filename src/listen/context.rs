//! What everything on one worker shares, and what all workers are given.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::IntCounter;
use tokio::time::Instant;

use super::handshakes::Handshakes;
use super::metrics::ListenMetrics;
use super::{Peers, Permits};
use crate::certs::{Challenges, Disabled};
use crate::drain::{self, Drain};
use crate::proxy::{AccessLog, Known, Proxy, ProxyMetrics, Settings};

/// How often the same complaint is logged.
const COMPLAINT: Duration = Duration::from_secs(5);

/// What all workers are given.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What a reload publishes.
    pub settings: Arc<ArcSwap<Settings>>,
    /// What HTTP-01 is answered with.
    pub challenges: Arc<Challenges>,
    /// Names whose HTTPS is switched off.
    pub disabled: Arc<Disabled>,
    /// Where requests are logged.
    pub access: AccessLog,
    /// What all workers together may have under way.
    pub permits: Permits,
    /// All workers, as they see each other.
    pub peers: Peers,
    /// Counts workers that had to be started again.
    pub restarts: IntCounter,
}

/// What everything on one worker shares.
pub(super) struct Context {
    /// Which worker this is.
    pub(super) index: usize,
    pub(super) shared: Shared,
    pub(super) proxy: Rc<Proxy>,
    pub(super) metrics: ListenMetrics,
    pub(super) drain: Drain,
    pub(super) handshakes: Handshakes,
    complained: Cell<Option<Instant>>,
}

impl Context {
    pub(super) fn new(index: usize, shared: Shared, metrics: ListenMetrics, proxy: ProxyMetrics) -> Self {
        let known = Known { challenges: Arc::clone(&shared.challenges), disabled: Arc::clone(&shared.disabled) };
        let proxy = Proxy::spawn(
            Arc::clone(&shared.settings),
            known,
            proxy,
            shared.access.clone(),
            shared.permits.requests.share(),
        );
        let (drain, _) = drain::channel();
        Self { index, shared, proxy, metrics, drain, handshakes: Handshakes::default(), complained: Cell::new(None) }
    }

    /// Whether a complaint that comes again and again is to be logged once more.
    pub(super) fn may_complain(&self) -> bool {
        let now = Instant::now();
        let due = self.complained.get().is_none_or(|last| now - last >= COMPLAINT);
        if due {
            self.complained.set(Some(now));
        }
        due
    }
}
