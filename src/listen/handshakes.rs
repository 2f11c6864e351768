//! [`Handshakes`]: the TLS handshakes that are under way on one worker.
//!
//! Where there are as many as may be, a new one does not wait for the deadline of those that do nothing: the oldest
//! of the worker gives way. An honest client is through within a few round trips; whoever holds thousands of
//! connections half open loses the oldest of them for each that comes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The handshakes of one worker, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    list: RefCell<BTreeMap<u64, Rc<Entry>>>,
    next: Cell<u64>,
}

#[derive(Debug, Default)]
struct Entry {
    gives_way: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One handshake's place; dropping it frees it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    handshakes: &'a Handshakes,
    number: u64,
    entry: Rc<Entry>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Handshakes {
    /// Takes a place; where there is none, the oldest handshake of this worker is made to give way.
    pub(super) async fn begin(&self, permits: &Arc<Semaphore>) -> Place<'_> {
        let permit = match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.oldest_gives_way();
                // The semaphore is never closed.
                Arc::clone(permits).acquire_owned().await.ok()
            }
        };
        let number = self.next.get();
        self.next.set(number + 1);
        let entry = Rc::new(Entry::default());
        self.list.borrow_mut().insert(number, Rc::clone(&entry));
        Place { handshakes: self, number, entry, _permit: permit }
    }

    fn oldest_gives_way(&self) {
        // Out of the list at once: the next that comes takes the next.
        if let Some((_, entry)) = self.list.borrow_mut().pop_first() {
            entry.gives_way.set(true);
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Place<'_> {
    /// Waits for `future`; none: this handshake gives way to another.
    pub(super) async fn hold<F: Future + Unpin>(&self, mut future: F) -> Option<F::Output> {
        poll_fn(|cx| {
            if self.entry.gives_way.get() {
                return Poll::Ready(None);
            }
            let poll = Pin::new(&mut future).poll(cx).map(Some);
            if poll.is_pending() {
                *self.entry.waker.borrow_mut() = Some(cx.waker().clone());
            }
            poll
        })
        .await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handshakes.list.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_gives_way() {
        let (handshakes, permits) = (Handshakes::default(), Arc::new(Semaphore::new(2)));
        let held = async || {
            let place = handshakes.begin(&permits).await;
            place.hold(std::future::pending::<()>()).await
        };
        let new = async {
            tokio::task::yield_now().await;
            let place = handshakes.begin(&permits).await;
            place.hold(std::future::ready(())).await
        };
        let (first, new) = tokio::join!(held(), async {
            tokio::select! {
                _ = held() => panic!("the second is not the oldest"),
                new = new => new,
            }
        });
        assert_eq!((first, new), (None, Some(())));
        assert_eq!(permits.available_permits(), 2);
        assert!(handshakes.list.borrow().is_empty());
    }
}
