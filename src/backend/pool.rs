//! [`Pools`]: the connections to backends that one worker keeps.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::Instant;

use super::balance::Candidate;
use super::{Backend, BackendAddress, BackendLimits, ConnectError, Endpoint, Member, Origin, Stream, Transport};
use super::{balance, connect, tls};
use crate::net::{Inbox, Outbox};

/// How often connections that were unused for too long are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// A connection to an endpoint, with what came over it and what has yet to go.
#[derive(Debug)]
pub struct Connection {
    /// The bytes, both ways.
    pub io: Stream,
    /// What came.
    pub inbox: Inbox,
    /// What has yet to go.
    pub outbox: Outbox,
    /// Counts as in flight while it lives.
    flight: Flight,
    /// Which of its transport's configs it was made with.
    generation: u64,
    /// Whether it has carried an exchange before: the backend may have closed it meanwhile.
    pub(super) reused: bool,
}

impl Connection {
    /// The endpoint at the other end.
    #[must_use]
    pub fn address(&self) -> &BackendAddress {
        &self.flight.0.endpoint.address
    }

    /// Who hears how it went with the endpoint.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict(Rc::clone(&self.flight.0))
    }
}

/// All connections of one worker that wait to be used again.
#[derive(Debug)]
pub struct Pools {
    endpoints: RefCell<HashMap<u64, Rc<Local>>>,
    /// By transport: the generation, and this worker's copy of that config with its own sessions.
    tls: RefCell<HashMap<u64, Session>>,
    limits: Cell<BackendLimits>,
    /// By backend: how many requests were shared out.
    turns: RefCell<HashMap<u64, usize>>,
}

/// What one worker knows of an endpoint.
#[derive(Debug)]
pub(super) struct Local {
    endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    in_flight: Cell<u32>,
}

/// How a request went with an endpoint.
#[derive(Debug)]
pub struct Verdict(Rc<Local>);

impl Verdict {
    /// It was answered.
    pub fn succeeded(&self) {
        self.0.endpoint.succeeded();
    }

    /// It was not, and that is the endpoint's fault.
    pub fn failed(&self) {
        self.0.endpoint.failed();
    }
}

/// One connection in use, counted until it is dropped.
#[derive(Debug)]
struct Flight(Rc<Local>);

impl Flight {
    fn begin(local: Rc<Local>) -> Self {
        local.in_flight.set(local.in_flight.get() + 1);
        Self(local)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

#[derive(Debug)]
struct Idle {
    io: Stream,
    inbox: Inbox,
    outbox: Outbox,
    generation: u64,
    until: Instant,
}

#[derive(Debug)]
struct Session {
    transport: std::sync::Weak<Transport>,
    generation: u64,
    config: Arc<ClientConfig>,
}

impl Pools {
    /// Empty pools for the current thread. A task on the current `LocalRuntime` closes what is unused too long.
    #[must_use]
    pub fn spawn(limits: BackendLimits) -> Rc<Self> {
        let this = Rc::new(Self {
            endpoints: RefCell::default(),
            tls: RefCell::default(),
            limits: Cell::new(limits),
            turns: RefCell::default(),
        });
        tokio::task::spawn_local(sweep(Rc::downgrade(&this)));
        this
    }

    /// What exchanges may take from now on, after a reload.
    pub fn set_limits(&self, limits: BackendLimits) {
        self.limits.set(limits);
        // The backends are others now.
        self.turns.borrow_mut().clear();
    }

    /// What exchanges may take.
    #[must_use]
    pub fn limits(&self) -> BackendLimits {
        self.limits.get()
    }

    /// The endpoint that takes the next request, by the backend's policy; `key` is asked for what hashes go by.
    /// Backups are taken where no other can be. None: there is none that was not `tried`.
    pub fn pick<'a>(
        &self,
        backend: &'a Backend,
        key: impl FnOnce() -> Option<u64>,
        tried: &[u64],
    ) -> Option<&'a Arc<Endpoint>> {
        if let [only] = &*backend.members {
            // An only endpoint is not left alone: it may have recovered.
            return (!only.drain && tried.is_empty() && !only.endpoint.health.is_down()).then_some(&only.endpoint);
        }
        let candidates = |backup: bool, ejected: bool| -> Vec<Candidate> {
            let members = backend.members.iter().enumerate();
            members
                .filter(|(_, member)| member.backup == backup && !member.drain)
                .filter(|(_, Member { endpoint, .. })| {
                    !endpoint.health.is_down()
                        && endpoint.health.is_ejected() == ejected
                        && !tried.contains(&endpoint.id)
                })
                .map(|(index, member)| Candidate {
                    index,
                    weight: f64::from(member.weight),
                    in_flight: self.in_flight(&member.endpoint),
                    hash: balance::hash(&member.endpoint.address),
                })
                .collect()
        };
        // Where all others are gone, one that fails requests is better than none.
        let tiers = [(false, false), (true, false), (false, true), (true, true)];
        let list =
            tiers.into_iter().map(|(backup, ejected)| candidates(backup, ejected)).find(|list| !list.is_empty())?;
        let turn = self.turn(backend);
        let chosen = balance::choose(&backend.balance, &list, key(), turn)?;
        backend.members.get(chosen).map(|member| &member.endpoint)
    }

    /// A kept connection to the endpoint that is still open, the one used last first.
    pub fn take(&self, endpoint: &Endpoint) -> Option<Connection> {
        let local = Rc::clone(self.endpoints.borrow().get(&endpoint.id)?);
        let now = Instant::now();
        loop {
            let mut idle = local.idle.borrow_mut().pop()?;
            if idle.until > now && idle.is_current(endpoint) && idle.is_quiet() {
                let Idle { io, inbox, outbox, generation, .. } = idle;
                let flight = Flight::begin(local);
                return Some(Connection { io, inbox, outbox, flight, generation, reused: true });
            }
        }
    }

    /// A new connection to the endpoint, for any protocol. `origin` is asked where the endpoint is told by the PROXY
    /// protocol whose connection it is; none: doorward's own.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        endpoint: &Arc<Endpoint>,
        origin: impl FnOnce() -> Option<Origin>,
    ) -> Result<Connection, ConnectError> {
        let (generation, config) = endpoint.transport.as_ref().map(|transport| self.session(transport)).unzip();
        let io = connect::connect(endpoint, config, origin).await?;
        let flight = Flight::begin(self.local(endpoint));
        let (inbox, outbox) = (Inbox::new(), Outbox::default());
        Ok(Connection { io, inbox, outbox, flight, generation: generation.unwrap_or(0), reused: false })
    }

    /// How many connections wait to be used again.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.endpoints.borrow().values().map(|local| local.idle.borrow().len()).sum()
    }

    /// Keeps a connection over which nothing is under way.
    pub(super) fn keep(&self, connection: Connection) {
        let limits = self.limits.get();
        debug_assert!(connection.inbox.is_empty() && connection.outbox.is_empty(), "something is under way");
        let Connection { io, inbox, outbox, flight, generation, .. } = connection;
        let local = &flight.0;
        if local.endpoint.proxy_protocol.is_some() {
            // It was opened in the name of one client's connection.
            return;
        }
        let mut list = local.idle.borrow_mut();
        if list.len() < limits.idle_connections {
            list.push(Idle { io, inbox, outbox, generation, until: Instant::now() + limits.keep_alive });
        }
    }

    fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        self.endpoints.borrow().get(&endpoint.id).map_or(0, |local| local.in_flight.get())
    }

    /// How many requests to the backend there were before. Workers start apart, so that they do not march in step.
    fn turn(&self, backend: &Backend) -> usize {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(backend.id).or_insert_with(|| fastrand::usize(..1 << 20));
        *turn += 1;
        *turn
    }

    fn local(&self, endpoint: &Arc<Endpoint>) -> Rc<Local> {
        let new =
            || Rc::new(Local { endpoint: Arc::clone(endpoint), idle: RefCell::default(), in_flight: Cell::new(0) });
        Rc::clone(self.endpoints.borrow_mut().entry(endpoint.id).or_insert_with(new))
    }

    /// The config that is in force, with the sessions of this worker.
    fn session(&self, transport: &Arc<Transport>) -> (u64, Arc<ClientConfig>) {
        let published = transport.current();
        let mut sessions = self.tls.borrow_mut();
        if let Some(session) = sessions.get(&transport.id())
            && session.generation == published.generation
        {
            return (session.generation, Arc::clone(&session.config));
        }
        let (generation, config) = (published.generation, tls::with_own_sessions(&published.config));
        let session = Session { transport: Arc::downgrade(transport), generation, config: Arc::clone(&config) };
        sessions.insert(transport.id(), session);
        (generation, config)
    }
}

impl Idle {
    /// Whether it was made as connections are made now.
    fn is_current(&self, endpoint: &Endpoint) -> bool {
        endpoint.transport.as_ref().is_none_or(|transport| transport.current().generation == self.generation)
    }

    /// Whether the backend has neither closed the connection nor sent anything, which it has no reason to.
    /// Asks what epoll has told already, so it makes no system call.
    fn is_quiet(&mut self) -> bool {
        if self.io.is_quiet() {
            return true;
        }
        // It may be stale, or be TLS's own (a ticket): only a read tells.
        let mut cx = Context::from_waker(Waker::noop());
        let quiet = self.inbox.poll_fill(&mut self.io, &mut cx).is_pending();
        if matches!(self.io, Stream::Tls(_)) {
            self.inbox.shrink();
        }
        quiet
    }
}

async fn sweep(pools: Weak<Pools>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pools) = pools.upgrade() else { return };
        let now = Instant::now();
        pools.endpoints.borrow_mut().retain(|_, local| {
            local.idle.borrow_mut().retain_mut(|idle| {
                // What a large answer needed is not kept for the next one, which may be long in coming.
                idle.inbox.shrink();
                idle.outbox.shrink();
                idle.until > now && idle.is_current(&local.endpoint) && idle.is_quiet()
            });
            // Whoever uses it will put it back.
            !local.idle.borrow().is_empty() || Rc::strong_count(local) > 1
        });
        pools.tls.borrow_mut().retain(|_, session| session.transport.strong_count() > 0);
    }
}
