//! [`Room`]: how much of something there may be in the whole process, and a worker's [`Share`] of it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many places a worker takes at once, so that it seldom writes to what all workers share.
const HANDFUL: usize = 64;

/// Places that all workers share.
#[derive(Clone, Debug)]
pub struct Room {
    left: Arc<AtomicUsize>,
    handful: usize,
}

/// The places that a worker has at hand. They go back with it.
#[derive(Debug)]
pub struct Share {
    room: Room,
    spare: Cell<usize>,
}

impl Room {
    /// So many places, for so many workers.
    #[must_use]
    pub fn new(places: usize, workers: usize) -> Self {
        // What lies about with the others must not be most of it.
        let handful = (places / workers.max(1) / 8).clamp(1, HANDFUL);
        Self { left: Arc::new(AtomicUsize::new(places)), handful }
    }

    /// A worker's.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { room: self.clone(), spare: Cell::new(0) }
    }
}

impl Share {
    /// Takes a place; false: there is none.
    #[must_use]
    pub fn take(&self) -> bool {
        if self.spare.get() == 0 {
            let handful = self.room.handful;
            let taken = self.room.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                (left > 0).then(|| left - left.min(handful))
            });
            self.spare.set(taken.map_or(0, |left| left.min(handful)));
        }
        let spare = self.spare.get();
        self.spare.set(spare.saturating_sub(1));
        spare > 0
    }

    /// Gives one back.
    pub fn give(&self) {
        let (spare, handful) = (self.spare.get() + 1, self.room.handful);
        self.spare.set(spare);
        if spare > 2 * handful {
            self.spare.set(spare - handful);
            self.room.left.fetch_add(handful, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.spare.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_none_is_lost() {
        for places in [1, 7, 100, 5000] {
            let room = Room::new(places, 2);
            let (one, other) = (room.share(), room.share());
            let mut taken = 0;
            while one.take() {
                taken += 1;
            }
            assert!(taken == places && !other.take());
            for _ in 0..places {
                one.give();
            }
            // What is at hand with the one is little.
            let mut second = 0;
            while other.take() {
                second += 1;
            }
            assert!(second <= places && places - second <= 2 * room.handful, "{second} of {places}");
            (0..second).for_each(|_| other.give());
            drop((one, other));
            assert_eq!(room.left.load(Ordering::Relaxed), places);
        }
    }
}
