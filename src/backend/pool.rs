//! [`Pools`]: the connections to backends that one worker keeps.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Backend, BackendAddress, BackendLimits, ConnectError, connect};
use crate::net::{Inbox, Outbox};

/// How often connections that were unused for too long are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// A connection to an endpoint, with what came over it and what has yet to go.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub io: TcpStream,
    /// What came.
    pub inbox: Inbox,
    /// What has yet to go.
    pub outbox: Outbox,
    pub(super) address: BackendAddress,
    /// Whether it has carried an exchange before: the backend may have closed it meanwhile.
    pub(super) reused: bool,
}

impl Connection {
    /// The endpoint at the other end.
    #[must_use]
    pub fn address(&self) -> &BackendAddress {
        &self.address
    }
}

/// All connections of one worker that wait to be used again.
#[derive(Debug)]
pub struct Pools {
    idle: RefCell<HashMap<BackendAddress, Vec<Idle>>>,
    limits: Cell<BackendLimits>,
    turn: Cell<usize>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pools {
    /// Empty pools for the current thread. A task on the current `LocalRuntime` closes what is unused too long.
    #[must_use]
    pub fn spawn(limits: BackendLimits) -> Rc<Self> {
        let this = Rc::new(Self { idle: RefCell::default(), limits: Cell::new(limits), turn: Cell::new(0) });
        tokio::task::spawn_local(sweep(Rc::downgrade(&this)));
        this
    }

    /// What exchanges may take from now on.
    pub fn set_limits(&self, limits: BackendLimits) {
        self.limits.set(limits);
    }

    /// What exchanges may take.
    #[must_use]
    pub fn limits(&self) -> BackendLimits {
        self.limits.get()
    }

    /// The endpoint whose turn it is, and the one after it where there are several.
    pub fn pick<'a>(&self, backend: &'a Backend) -> (&'a BackendAddress, Option<&'a BackendAddress>) {
        let endpoints = &backend.endpoints;
        let turn = if endpoints.len() > 1 { self.turn.replace(self.turn.get().wrapping_add(1)) } else { 0 };
        let at = turn % endpoints.len();
        let next = (at + 1) % endpoints.len();
        (&endpoints[at], (next != at).then(|| &endpoints[next]))
    }

    /// A kept connection to the endpoint that is still open, the one used last first.
    pub fn take(&self, address: &BackendAddress) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(address)?;
        let now = Instant::now();
        while let Some(Idle { mut connection, until }) = list.pop() {
            if until > now && is_quiet(&mut connection) {
                connection.reused = true;
                return Some(connection);
            }
        }
        None
    }

    /// A new connection to the endpoint.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, address: &BackendAddress) -> Result<Connection, ConnectError> {
        let io = connect::connect(address).await?;
        Ok(Connection { io, inbox: Inbox::new(), outbox: Outbox::default(), address: address.clone(), reused: false })
    }

    /// How many connections wait to be used again.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Keeps a connection over which nothing is under way.
    pub(super) fn keep(&self, connection: Connection) {
        let limits = self.limits.get();
        debug_assert!(connection.inbox.is_empty() && connection.outbox.is_empty(), "something is under way");
        let mut idle = self.idle.borrow_mut();
        if !idle.contains_key(&connection.address) {
            idle.insert(connection.address.clone(), Vec::new());
        }
        if let Some(list) = idle.get_mut(&connection.address)
            && list.len() < limits.idle_connections
        {
            list.push(Idle { connection, until: Instant::now() + limits.keep_alive });
        }
    }
}

/// Whether the backend has neither closed the connection nor sent anything, which it has no reason to.
/// Asks what epoll has told already, so it makes no system call.
fn is_quiet(connection: &mut Connection) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match connection.io.poll_read_ready(&mut cx) {
        Poll::Pending => true,
        // The flag may be stale: only a read tells.
        Poll::Ready(Ok(())) => connection.inbox.poll_fill(&mut connection.io, &mut cx).is_pending(),
        Poll::Ready(Err(_)) => false,
    }
}

async fn sweep(pools: Weak<Pools>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pools) = pools.upgrade() else { return };
        let now = Instant::now();
        pools.idle.borrow_mut().retain(|_, list| {
            list.retain_mut(|Idle { connection, until }| {
                // What a large answer needed is not kept for the next one, which may be long in coming.
                connection.inbox.shrink();
                connection.outbox.shrink();
                *until > now && is_quiet(connection)
            });
            !list.is_empty()
        });
    }
}
