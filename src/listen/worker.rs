//! [`Worker`]: a thread of the data plane.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::{IntGauge, Registry};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::context::Context;
use super::metrics::ListenMetrics;
use super::peers::{Peer, Taken};
use super::{Listener, Shared, tcp};
use crate::proxy::ProxyMetrics;

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No thread or no runtime to be had.
    #[error("cannot start a worker: {0}")]
    Io(#[from] std::io::Error),
    /// Two workers share a registry.
    #[error("cannot register a worker's metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The handle to a worker's thread. Dropping it ends the thread and what it serves.
#[derive(Debug)]
pub struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    open: IntGauge,
    thread: Option<JoinHandle<()>>,
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Order {
    Open(Arc<Listener>, std::net::TcpListener),
    Close(SocketAddr),
    /// Serve a connection that another worker took.
    Take(Taken),
    Drain(Duration, oneshot::Sender<bool>),
}

impl Worker {
    /// Starts a worker that counts in `registry`, which is its own.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn spawn(index: usize, shared: Shared, registry: &Registry) -> Result<Self, WorkerError> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let listen = ListenMetrics::new(index, registry)?;
        let open = listen.open.clone();
        shared.peers.join(&Peer { open: listen.load.clone(), orders: orders.downgrade() });
        let mut life =
            Life { index, shared, inbox, sockets: HashMap::new(), listen, proxy: ProxyMetrics::new(registry)? };
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || life.run())?;
        Ok(Self { orders, open, thread: Some(thread) })
    }

    /// Takes connections on this socket too.
    pub fn open(&self, listener: Arc<Listener>, socket: std::net::TcpListener) {
        self.send(Order::Open(listener, socket));
    }

    /// Takes no more connections on this listener; those that are open go on.
    pub fn close(&self, listener: &Listener) {
        self.send(Order::Close(listener.bound));
    }

    /// How many client connections are open.
    #[must_use]
    pub fn connections(&self) -> u64 {
        u64::try_from(self.open.get()).unwrap_or(0)
    }

    /// Takes no more connections at all, from this call on. The future waits until those that are open have
    /// ended, or `within` is over, and returns whether all ended.
    pub fn drain(&self, within: Duration) -> impl Future<Output = bool> + use<> {
        let (done, waiting) = oneshot::channel();
        self.send(Order::Drain(within, done));
        // A worker that is gone has nothing under way.
        async { waiting.await.unwrap_or(true) }
    }

    fn send(&self, order: Order) {
        // Only a worker that has ended takes no orders; there is nothing left to order then.
        let _ended = self.orders.send(order);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let (closed, _) = mpsc::unbounded_channel();
        self.orders = closed;
        if let Some(thread) = self.thread.take() {
            // A panic there was logged there.
            let _panicked = thread.join();
        }
    }
}

/// A worker's thread: what outlives a restart of its runtime.
struct Life {
    index: usize,
    shared: Shared,
    inbox: mpsc::UnboundedReceiver<Order>,
    /// By the bound address: no two sockets of a worker share one.
    sockets: HashMap<SocketAddr, (Arc<Listener>, std::net::TcpListener)>,
    listen: ListenMetrics,
    proxy: ProxyMetrics,
}

impl Life {
    /// Lives until the handle is gone. A panic outside a connection's own task, which would end the thread,
    /// starts it anew with the same sockets; connections of this worker are lost, those of others are not.
    fn run(&mut self) {
        while let Err(_panic) = std::panic::catch_unwind(AssertUnwindSafe(|| self.live())) {
            self.shared.restarts.inc();
            tracing::error!("a worker panicked and was started again");
        }
    }

    fn live(&mut self) {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "a worker has no runtime"),
        };
        runtime.block_on(async {
            let context =
                Rc::new(Context::new(self.index, self.shared.clone(), self.listen.clone(), self.proxy.clone()));
            let mut accepting = Accepting::default();
            for (listener, socket) in self.sockets.values() {
                accepting.open(&context, listener, socket);
            }
            loop {
                tokio::select! {
                    order = self.inbox.recv() => match order {
                        None => return,
                        Some(Order::Open(listener, socket)) => {
                            accepting.open(&context, &listener, &socket);
                            self.sockets.insert(listener.bound, (listener, socket));
                        }
                        Some(Order::Close(bound)) => {
                            self.sockets.remove(&bound);
                            accepting.stop.remove(&bound);
                        }
                        Some(Order::Take(taken)) => tcp::take(&context, taken),
                        Some(Order::Drain(within, done)) => {
                            self.shared.peers.close();
                            self.sockets.clear();
                            accepting.finish().await;
                            let mut drained = std::pin::pin!(context.drain.drain(within));
                            let all = loop {
                                tokio::select! {
                                    all = &mut drained => break all,
                                    order = self.inbox.recv() => match order {
                                        // Given before all were told; it is sent away like the others.
                                        Some(Order::Take(taken)) => tcp::take(&context, taken),
                                        Some(_) => {}
                                        // The handle is gone: what is still under way is cut.
                                        None => return,
                                    },
                                }
                            };
                            // Who asked may have stopped waiting.
                            let _unheard = done.send(all);
                        }
                    },
                    Some(ended) = accepting.tasks.join_next() => rethrow(ended),
                }
            }
        });
    }
}

/// The accept loops of one worker.
#[derive(Default)]
struct Accepting {
    tasks: JoinSet<()>,
    /// Dropping one ends its loop.
    stop: HashMap<SocketAddr, oneshot::Sender<()>>,
}

impl Accepting {
    fn open(&mut self, context: &Rc<Context>, listener: &Arc<Listener>, socket: &std::net::TcpListener) {
        // A copy of the descriptor: the original is for a restart.
        let socket = match socket.try_clone().and_then(tokio::net::TcpListener::from_std) {
            Ok(socket) => socket,
            Err(error) => return tracing::error!(address = %listener.bound, %error, "a worker cannot listen"),
        };
        let (stop, stopped) = oneshot::channel();
        self.stop.insert(listener.bound, stop);
        self.tasks.spawn_local(tcp::accept(Rc::clone(context), Arc::clone(listener), socket, stopped));
    }

    async fn finish(&mut self) {
        self.stop.clear();
        while let Some(ended) = self.tasks.join_next().await {
            rethrow(ended);
        }
    }
}

fn rethrow(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
