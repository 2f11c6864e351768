//! [`Limit`]: how much an endpoint has under way at once, over all workers, and who waits for a place.
//!
//! Only endpoints with `max_connections` are held to one; requests to the others pass none of this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::Semaphore;

/// As many places as there are without `max_connections`.
const ALL: u32 = u32::MAX;

/// An endpoint's places and its queue.
#[derive(Debug)]
pub(super) struct Limit {
    places: Semaphore,
    most: AtomicU32,
    /// Places that are in use and are not to come back: there were more of them before.
    surplus: AtomicU32,
    /// Places kept back for requests that were under way before there was a limit, and took none.
    withheld: AtomicU32,
    waiting: AtomicU32,
    refused: AtomicU64,
}

/// Whether there is a place; the better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
pub struct Place(Option<Arc<Limit>>);

impl Place {
    /// Whether it is one at all: there is a limit.
    pub(super) fn is_counted(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(limit) = self.0.take() {
            limit.give_back();
        }
    }
}

/// The endpoint has all that it may have under way, and its queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint is busy and its queue is full")]
pub struct Busy;

impl Default for Limit {
    fn default() -> Self {
        Self {
            places: Semaphore::new(ALL as usize),
            most: AtomicU32::new(ALL),
            surplus: AtomicU32::default(),
            withheld: AtomicU32::default(),
            waiting: AtomicU32::default(),
            refused: AtomicU64::default(),
        }
    }
}

impl Limit {
    /// Has so many places from now on; none: any number. Who has one keeps it. Called by the control plane alone.
    pub(super) fn resize(&self, most: Option<u32>) {
        let most = most.unwrap_or(ALL);
        if self.most.load(Ordering::Relaxed) == most {
            return;
        }
        let before = self.most.swap(most, Ordering::Relaxed);
        if most < before {
            self.take(before - most);
        } else {
            self.put(most - before);
        }
    }

    /// Keeps places back for so many that are under way without one. Where there is a limit the control plane says this
    /// again and again: so the requests themselves have nothing to do with it, those of endpoints without a limit either.
    pub(super) fn withhold(&self, unplaced: u32) {
        let most = self.most.load(Ordering::Relaxed);
        let now = if most == ALL { 0 } else { unplaced.min(most) };
        let before = self.withheld.swap(now, Ordering::Relaxed);
        match now.checked_sub(before) {
            Some(0) => {}
            Some(more) => self.take(more),
            None => self.put(before - now),
        }
    }

    /// So many places fewer.
    fn take(&self, fewer: u32) {
        // Those that are not free are given up by whoever has them. No more than u32 were asked for.
        let forgotten = u32::try_from(self.places.forget_permits(fewer as usize)).unwrap_or(fewer);
        self.surplus.fetch_add(fewer - forgotten, Ordering::Relaxed);
    }

    /// So many more.
    fn put(&self, more: u32) {
        // Those that were to be given up are kept first.
        let keep = |surplus: u32| Some(surplus.saturating_sub(more));
        let surplus = self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep).unwrap_or(0);
        self.places.add_permits(more.saturating_sub(surplus) as usize);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many were sent away, or waited in vain.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether there is a place, or one of a queue of this length.
    pub(super) fn room(&self, queue: u32) -> Room {
        if self.places.available_permits() > 0 {
            Room::Free
        } else if self.waiting() < queue {
            Room::Queue
        } else {
            Room::Full
        }
    }

    /// A place, where there is one now and nobody waits for it.
    pub(super) fn now(self: &Arc<Self>) -> Option<Place> {
        self.places.try_acquire().ok().map(|permit| {
            permit.forget();
            Place(Some(Arc::clone(self)))
        })
    }

    /// Waits for a place in a queue of this length; whoever came first gets it first. Dropping the future leaves the
    /// queue, and counts as refused.
    pub(super) async fn wait(self: &Arc<Self>, queue: u32) -> Result<Place, Busy> {
        if let Some(place) = self.now() {
            return Ok(place);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut turn = Turn { limit: self, given: false };
        if before >= queue {
            return Err(Busy);
        }
        // The semaphore is never closed.
        self.places.acquire().await.map_err(|_| Busy)?.forget();
        turn.given = true;
        Ok(Place(Some(Arc::clone(self))))
    }

    fn give_back(&self) {
        if !self.takes_surplus() {
            self.places.add_permits(1);
        }
    }

    /// Does away with one place of those that are too many, where there are any.
    fn takes_surplus(&self) -> bool {
        let fewer = |surplus: u32| surplus.checked_sub(1);
        self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
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
    use super::*;

    fn limit(most: u32) -> Arc<Limit> {
        let limit = Arc::new(Limit::default());
        limit.resize(Some(most));
        limit
    }

    #[tokio::test]
    async fn places_are_given_in_turn_and_a_full_queue_refuses() {
        let limit = limit(1);
        let first = limit.wait(1).await.expect("a place");
        assert_eq!((limit.room(1), limit.now().is_none()), (Room::Queue, true));
        {
            let mut second = std::pin::pin!(limit.wait(1));
            assert!(futures_pending(second.as_mut()), "it waits");
            assert_eq!((limit.waiting(), limit.room(1)), (1, Room::Full));
            assert_eq!(limit.wait(1).await.expect_err("no room"), Busy);
            assert_eq!((limit.waiting(), limit.refused()), (1, 1));
            drop(first);
            assert!(limit.now().is_none(), "it is the second one's");
            let _second = second.await.expect("its turn");
        }
        assert_eq!((limit.waiting(), limit.room(1), limit.refused()), (0, Room::Free, 1));
    }

    #[tokio::test]
    async fn a_change_takes_no_place_from_whoever_has_one() {
        let limit = limit(3);
        let mut held: Vec<Place> = (0..3).filter_map(|_| limit.now()).collect();
        limit.resize(Some(1));
        held.truncate(1);
        assert_eq!((held.len(), limit.room(0)), (1, Room::Full), "two were given up");
        held.clear();
        held.extend(limit.now());
        assert_eq!((held.len(), limit.room(0)), (1, Room::Full));
        // Up again before those that were too many came back.
        limit.resize(Some(4));
        held.extend((0..5).filter_map(|_| limit.now()));
        assert_eq!(held.len(), 4);
        limit.resize(Some(2));
        limit.resize(Some(3));
        drop(held);
        assert_eq!((0..9).map_while(|_| limit.now()).collect::<Vec<_>>().len(), 3);
        // Without a limit whoever waits waits no longer.
        let _held: Vec<Place> = (0..3).filter_map(|_| limit.now()).collect();
        let mut waits = std::pin::pin!(limit.wait(1));
        assert!(futures_pending(waits.as_mut()));
        limit.resize(None);
        waits.await.expect("a place");
    }

    #[tokio::test]
    async fn what_was_under_way_before_there_was_a_limit_keeps_places_until_it_ends() {
        let free = |limit: &Arc<Limit>| (0..9).map_while(|_| limit.now()).collect::<Vec<_>>();
        let limit = limit(3);
        limit.withhold(2);
        let held = free(&limit);
        assert_eq!(held.len(), 1);
        // More of them than places, and one place that is held.
        limit.withhold(7);
        drop(held);
        assert_eq!(limit.room(0), Room::Full);
        limit.withhold(3);
        assert_eq!(limit.room(0), Room::Full);
        let mut waits = std::pin::pin!(limit.wait(1));
        assert!(futures_pending(waits.as_mut()));
        limit.withhold(2);
        drop(waits.await.expect("its turn"));
        limit.resize(Some(1));
        limit.withhold(2);
        assert_eq!(limit.room(0), Room::Full);
        limit.withhold(0);
        assert_eq!(free(&limit).len(), 1);
        // Without a limit nothing is kept back.
        limit.withhold(1);
        limit.resize(None);
        limit.withhold(1);
        limit.resize(Some(2));
        assert_eq!(free(&limit).len(), 2);
    }

    fn futures_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    }
}
