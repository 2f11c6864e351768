//! [`Pools`]: the connections to backends that one worker keeps.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::Instant;

use super::balance::Candidate;
use super::standing::{Open, Standing};
use super::tally::Counts;
use super::{Backend, BackendAddress, BackendLimits, ConnectError, Endpoint, Origin, Place, Stream, Transport};
use super::{connect, tls};
use crate::net::{Inbox, Outbox};

/// How often connections that were unused for too long are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// A connection to an endpoint, with what came over it and what has yet to go.
#[derive(Debug)]
pub struct Connection {
    link: Box<Link>,
    /// Counts as in flight while it lives.
    flight: Flight,
    /// Whether it has carried an exchange before: the backend may have closed it meanwhile.
    pub(super) reused: bool,
}

/// What of a connection outlives a request. On the heap, as it goes into the pool and out of it with each.
#[derive(Debug)]
pub struct Link {
    /// The bytes, both ways.
    pub io: Stream,
    /// What came.
    pub inbox: Inbox,
    /// What has yet to go.
    pub outbox: Outbox,
    /// Counts as open while it lives.
    open: Open,
    /// Which of its transport's configs it was made with.
    generation: u64,
    /// To which of a name's addresses it was made.
    peer: Option<IpAddr>,
}

/// What counts a connection as open and in flight while it lives.
#[derive(Debug)]
pub struct InFlight {
    _flight: Flight,
    _open: Open,
}

impl Connection {
    /// Where the endpoint at the other end listens.
    #[must_use]
    pub fn address(&self) -> &BackendAddress {
        &self.flight.local.endpoint.address
    }

    /// Who hears how it went with the endpoint.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict(Rc::clone(&self.flight.local))
    }

    /// The connection itself, for another protocol: the bytes, what came, what has yet to go, and what counts it.
    #[must_use]
    pub fn into_parts(self) -> (Stream, Inbox, Outbox, InFlight) {
        let Link { io, inbox, outbox, open, .. } = *self.link;
        (io, inbox, outbox, InFlight { _flight: self.flight, _open: open })
    }
}

impl Deref for Connection {
    type Target = Link;
    fn deref(&self) -> &Link {
        &self.link
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.link
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
    /// Room for those that a request could go to, lent to whoever picks.
    pub(super) candidates: RefCell<Vec<Candidate>>,
}

/// What one worker knows of an endpoint.
#[derive(Debug)]
pub(super) struct Local {
    endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    counts: Arc<Counts>,
    /// Closes unused connections that have to give way to new ones.
    yielding: tokio::task::AbortHandle,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.yielding.abort();
        self.endpoint.standing.tally.leave(&self.counts);
    }
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
struct Flight {
    local: Rc<Local>,
    place: Place,
}

impl Flight {
    fn begin(local: Rc<Local>, place: Place) -> Self {
        local.counts.begin(place.is_counted());
        Self { local, place }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.local.counts.end(self.place.is_counted());
    }
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
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
            candidates: RefCell::default(),
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

    /// A kept connection to the endpoint that is still open, the one used last first. None as well where the
    /// endpoint has as much under way as it may: then there is none before [`Endpoint::admit`].
    pub fn take(&self, endpoint: &Endpoint) -> Option<Connection> {
        self.take_at(endpoint, endpoint.place()?).ok()
    }

    /// As [`Pools::take`], for whoever has a place; where there is none, the place is given back.
    ///
    /// # Errors
    /// The place.
    pub fn take_at(&self, endpoint: &Endpoint, place: Place) -> Result<Connection, Place> {
        let local = self.endpoints.borrow().get(&endpoint.id).map(Rc::clone);
        let Some(local) = local else { return Err(place) };
        let now = Instant::now();
        loop {
            let Some(Idle { mut link, until }) = local.idle.borrow_mut().pop() else { return Err(place) };
            if until > now && link.is_current(endpoint) && link.is_quiet() {
                return Ok(Connection { link, flight: Flight::begin(local, place), reused: true });
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
        place: Place,
        origin: impl FnOnce() -> Option<Origin>,
    ) -> Result<Connection, ConnectError> {
        let (generation, config) = endpoint.transport.as_ref().map(|transport| self.session(transport)).unzip();
        let open = Open::one_more(&endpoint.standing, endpoint.max_connections);
        let (io, peer) = connect::connect(endpoint, config, origin).await?;
        let flight = Flight::begin(self.local(endpoint), place);
        let (inbox, outbox) = (Inbox::new(), Outbox::default());
        let link = Box::new(Link { io, open, inbox, outbox, generation: generation.unwrap_or(0), peer });
        Ok(Connection { link, flight, reused: false })
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
        let Connection { link, flight, .. } = connection;
        let local = &flight.local;
        if local.endpoint.proxy_protocol.is_some() {
            // It was opened in the name of one client's connection.
            return;
        }
        let mut list = local.idle.borrow_mut();
        if list.len() < limits.idle_connections {
            list.push(Idle { link, until: Instant::now() + limits.keep_alive });
        }
    }

    pub(super) fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        self.endpoints.borrow().get(&endpoint.id).map_or(0, |local| local.counts.in_flight())
    }

    /// How many requests to the backend there were before. Workers start apart, so that they do not march in step.
    pub(super) fn turn(&self, backend: &Backend) -> usize {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(backend.id).or_insert_with(|| fastrand::usize(..1 << 20));
        *turn += 1;
        *turn
    }

    fn local(&self, endpoint: &Arc<Endpoint>) -> Rc<Local> {
        let new = || {
            let (counts, standing) = (endpoint.standing.tally.join(), Arc::clone(&endpoint.standing));
            Rc::new_cyclic(|local: &Weak<Local>| {
                let yielding = tokio::task::spawn_local(give_way(standing, Weak::clone(local))).abort_handle();
                Local { endpoint: Arc::clone(endpoint), idle: RefCell::default(), counts, yielding }
            })
        };
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

impl Link {
    /// Whether it was made as connections are made now.
    fn is_current(&self, endpoint: &Endpoint) -> bool {
        endpoint.transport.as_ref().is_none_or(|transport| transport.current().generation == self.generation)
            && endpoint.standing.resolved.as_ref().zip(self.peer).is_none_or(|(resolved, ip)| resolved.leads_to(ip))
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

/// Closes the connection that was unused for the longest time, each time that one has to give way.
async fn give_way(standing: Arc<Standing>, local: Weak<Local>) {
    loop {
        standing.too_many.notified().await;
        let Some(local) = local.upgrade() else { return };
        let mut idle = local.idle.borrow_mut();
        if !idle.is_empty() {
            idle.remove(0);
        }
    }
}

async fn sweep(pools: Weak<Pools>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pools) = pools.upgrade() else { return };
        let now = Instant::now();
        pools.endpoints.borrow_mut().retain(|_, local| {
            local.idle.borrow_mut().retain_mut(|Idle { link, until }| {
                // What a large answer needed is not kept for the next one, which may be long in coming.
                link.inbox.shrink();
                link.outbox.shrink();
                *until > now && link.is_current(&local.endpoint) && link.is_quiet()
            });
            // Whoever uses it will put it back.
            !local.idle.borrow().is_empty() || Rc::strong_count(local) > 1
        });
        pools.tls.borrow_mut().retain(|_, session| session.transport.strong_count() > 0);
    }
}
