//! [`Peers`]: the workers of one process as they see each other, so that a connection is served where there is room.
//!
//! The kernel shares connections out by a hash of their addresses. It knows neither how many a worker has nor how long
//! they last, and where they last long (HTTP/2, WebSockets, databases) one core may hold most of them while another
//! idles. So whoever takes a connection looks at one other worker, by chance, and gives the connection away where that
//! one has clearly fewer. A look at one, rather than at all, costs the same with two cores as with a hundred, and
//! brings the loads nearly as close together (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing").

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::WeakUnboundedSender;

use super::Listener;
use super::worker::Order;

/// All workers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    list: Arc<ArcSwap<Vec<Peer>>>,
    closing: Arc<AtomicBool>,
}

/// One worker as others see it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its open connections, those included that were given to it and that it has not seen yet.
    pub(super) open: IntGauge,
    /// Where it is given things. Weak: it ends once its owner lets go of it.
    pub(super) orders: WeakUnboundedSender<Order>,
}

/// A connection that was taken off a listener. On its way from one worker to another it belongs to no runtime.
#[derive(Debug)]
pub(super) struct Taken<S = TcpStream> {
    pub(super) listener: Arc<Listener>,
    pub(super) stream: S,
    pub(super) peer: SocketAddr,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl<S> Taken<S> {
    /// With its stream in another form.
    ///
    /// # Errors
    /// What `change` says; the connection is gone then.
    pub(super) fn try_map<T, E>(self, change: impl FnOnce(S) -> Result<T, E>) -> Result<Taken<T>, E> {
        let Self { listener, stream, peer, permit } = self;
        Ok(Taken { listener, stream: change(stream)?, peer, permit })
    }
}

impl Peers {
    /// One more worker: those before it have lower indices.
    pub(super) fn join(&self, peer: &Peer) {
        self.list.rcu(|list| list.iter().chain([peer]).cloned().collect::<Vec<_>>());
    }

    /// From now on each keeps what it takes: who is about to end is given nothing.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Another worker that has clearly fewer connections than the one with this index, which asks.
    pub(super) fn with_room(&self, index: usize) -> Option<Peer> {
        let list = self.list.load();
        if list.len() < 2 || self.closing.load(Ordering::Acquire) {
            return None;
        }
        let (own, other) = (&list[index], &list[(index + fastrand::usize(1..list.len())) % list.len()]);
        has_room(own.open.get(), other.open.get()).then(|| other.clone())
    }
}

impl Peer {
    /// Gives it a connection.
    ///
    /// # Errors
    /// The connection: the worker has ended.
    pub(super) fn give(&self, taken: Taken) -> Result<(), Taken> {
        let Some(orders) = self.orders.upgrade() else { return Err(taken) };
        self.open.inc();
        orders.send(Order::Take(taken)).map_err(|refused| {
            self.open.dec();
            let Order::Take(taken) = refused.0 else { unreachable!("what is refused is what was sent") };
            taken
        })
    }
}

/// Whether a worker with `theirs` has clearly more room than one with `ours`: at once where it has none, by three while
/// there are few, by a quarter more where there are many. Short connections are not passed about for nothing: to give
/// one away costs a tenth of a handshake.
fn has_room(ours: i64, theirs: i64) -> bool {
    theirs + theirs / 4 + theirs.min(2) < ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_come_close_wherever_the_kernel_puts_connections() {
        // All come to the first of eight workers, and none ever ends.
        let peers = Peers::default();
        let (sender, _receiver) = tokio::sync::mpsc::unbounded_channel();
        let all: Vec<IntGauge> = (0..8)
            .map(|i| {
                let open = IntGauge::new(format!("worker_{i}"), "open").expect("a gauge");
                peers.join(&Peer { open: open.clone(), orders: sender.downgrade() });
                open
            })
            .collect();
        for _ in 0..4000 {
            match peers.with_room(0) {
                Some(peer) => peer.open.inc(),
                None => all[0].inc(),
            }
        }
        let loads: Vec<i64> = all.iter().map(IntGauge::get).collect();
        let (least, most) = (loads.iter().min().expect("some"), loads.iter().max().expect("some"));
        assert!(*most <= 2 * *least, "{loads:?}");
        peers.close();
        assert!((0..8).all(|index| peers.with_room(index).is_none()), "given away while all are about to end");
    }

    #[test]
    fn one_more_is_enough_where_there_are_few_and_not_where_there_are_many() {
        assert!(has_room(1, 0) && has_room(3, 1) && !has_room(0, 0) && !has_room(2, 1) && !has_room(4, 2));
        assert!(has_room(5, 2) && !has_room(110, 100) && has_room(128, 100));
    }
}
