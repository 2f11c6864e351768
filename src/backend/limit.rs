//! [`Limit`]: how much an endpoint has under way at once, over all workers, and who waits for a place.
//!
//! Only endpoints with `max_connections` have one; requests to the others pass none of this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Queue;

/// An endpoint's places and its queue.
#[derive(Debug)]
pub(super) struct Limit {
    places: Arc<Semaphore>,
    most: u32,
    pub(super) queue: Queue,
    waiting: AtomicU32,
    refused: AtomicU64,
}

/// Whether there is a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Free,
    /// There will be: the queue has room.
    Queue,
    /// Neither.
    Full,
}

/// One of an endpoint's places; given back when it is dropped. One of an endpoint without a limit costs nothing.
#[derive(Debug, Default)]
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The endpoint has all that it may have under way, and its queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint is busy and its queue is full")]
pub struct Busy;

impl Limit {
    pub(super) fn new(most: u32, queue: Queue) -> Self {
        let places = Arc::new(Semaphore::new(most as usize));
        Self { places, most, queue, waiting: AtomicU32::new(0), refused: AtomicU64::new(0) }
    }

    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many were sent away, or waited in vain.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn room(&self) -> Room {
        if self.places.available_permits() > 0 {
            Room::Free
        } else if self.waiting() < self.queue.length {
            Room::Queue
        } else {
            Room::Full
        }
    }

    /// A place, where there is one now and nobody waits for it.
    pub(super) fn now(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Place { _permit: Some(permit) })
    }

    /// Waits for a place; whoever came first gets it first. Dropping the future leaves the queue, and counts as
    /// refused.
    pub(super) async fn wait(&self) -> Result<Place, Busy> {
        if let Some(place) = self.now() {
            return Ok(place);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut turn = Turn { limit: self, given: false };
        if before >= self.queue.length {
            return Err(Busy);
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Busy)?;
        turn.given = true;
        Ok(Place { _permit: Some(permit) })
    }
}

/// Somebody who waits.
struct Turn<'a> {
    limit: &'a Limit,
    given: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.limit.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.given {
            self.limit.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn places_are_given_in_turn_and_a_full_queue_refuses() {
        let limit = Limit::new(1, Queue { length: 1, wait: Duration::from_secs(1) });
        let first = limit.wait().await.expect("a place");
        assert_eq!((limit.room(), limit.now().is_none()), (Room::Queue, true));
        {
            let mut second = std::pin::pin!(limit.wait());
            assert!(futures_pending(second.as_mut()), "it waits");
            assert_eq!((limit.waiting(), limit.room()), (1, Room::Full));
            assert_eq!(limit.wait().await.expect_err("no room"), Busy);
            assert_eq!((limit.waiting(), limit.refused()), (1, 1));
            drop(first);
            assert!(limit.now().is_none(), "it is the second one's");
            let _second = second.await.expect("its turn");
        }
        assert_eq!((limit.waiting(), limit.room(), limit.refused()), (0, Room::Free, 1));
    }

    fn futures_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    }
}
