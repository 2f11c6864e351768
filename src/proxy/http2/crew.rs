//! [`Crew`]: the tasks that serve streams, which are used again.
//!
//! A task is the largest thing that a request needs. A stream that comes takes one that has nothing to do; only where
//! there is none is one made. So most requests neither allocate a task nor register it with the runtime.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Open;
use super::stream::Stream;

/// How many tasks are kept that have nothing to do; each has about 3 KiB. More are only there while they serve.
const KEPT: usize = 512;
/// How often half of those that had nothing to do in between are let go.
const SWEEP: Duration = Duration::from_secs(10);

/// A worker's tasks.
#[derive(Default)]
pub(in crate::proxy) struct Crew {
    /// The one that waited last is the first to be taken.
    waiting: RefCell<Vec<Rc<Hand>>>,
    /// The fewest that waited since the last sweep: so many had nothing to do all the time.
    spare: Cell<usize>,
}

/// A task that waits for a stream.
#[derive(Default)]
struct Hand {
    given: RefCell<Option<(Stream, Open)>>,
    leaves: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Crew {
    /// None yet, for the current thread, which runs a `LocalRuntime` or `LocalSet`.
    pub(in crate::proxy) fn spawn() -> Rc<Self> {
        let this = Rc::default();
        tokio::task::spawn_local(sweep(Rc::downgrade(&this)));
        this
    }

    /// Serves a stream, in a task of its own as long as that takes.
    pub(super) fn serve(self: &Rc<Self>, stream: Stream, open: Open) {
        let Some(hand) = self.waiting.borrow_mut().pop() else {
            tokio::task::spawn_local(work(Rc::downgrade(self), stream, open));
            return;
        };
        self.spare.set(self.spare.get().min(self.waiting.borrow().len()));
        *hand.given.borrow_mut() = Some((stream, open));
        hand.wake();
    }

    /// Waits with the others, unless there are enough.
    fn wait(&self, hand: &Rc<Hand>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let needed = waiting.len() < KEPT;
        if needed {
            waiting.push(Rc::clone(hand));
        }
        needed
    }

    /// Lets half of those go that had nothing to do since the last time.
    fn shrink(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let gone = self.spare.get().min(waiting.len()).div_ceil(2);
        for hand in waiting.drain(..gone) {
            hand.leaves.set(true);
            hand.wake();
        }
        self.spare.set(waiting.len());
    }
}

impl Hand {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for the next stream; none: it is let go.
    async fn next(&self) -> Option<(Stream, Open)> {
        poll_fn(|cx| match self.given.take() {
            Some(given) => Poll::Ready(Some(given)),
            None if self.leaves.get() => Poll::Ready(None),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// Serves one stream after the other. A panic ends this task and the stream that it served, no other.
async fn work(crew: Weak<Crew>, mut stream: Stream, mut open: Open) {
    let hand = Rc::default();
    loop {
        stream.serve(open).await;
        if !crew.upgrade().is_some_and(|crew| crew.wait(&hand)) {
            return;
        }
        let Some(next) = hand.next().await else { return };
        (stream, open) = next;
    }
}

async fn sweep(crew: Weak<Crew>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(crew) = crew.upgrade() else { return };
        crew.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_had_nothing_to_do_are_let_go_by_halves() {
        let crew = Crew::default();
        let hands: Vec<Rc<Hand>> = (0..10).map(|_| Rc::default()).collect();
        assert!(hands.iter().all(|hand| crew.wait(hand)));
        let left =
            |crew: &Crew| hands.iter().filter(|hand| !hand.leaves.get()).count().min(crew.waiting.borrow().len());
        // Nobody knows yet that they had nothing to do.
        crew.shrink();
        assert_eq!(left(&crew), 10);
        crew.shrink();
        assert_eq!(left(&crew), 5);
        crew.shrink();
        crew.shrink();
        assert_eq!(left(&crew), 1);
        crew.shrink();
        assert_eq!((left(&crew), crew.waiting.borrow().len()), (0, 0));
    }

    #[test]
    fn no_more_are_kept_than_are_worth_it() {
        let crew = Crew::default();
        let kept = (0..2 * KEPT).filter(|_| crew.wait(&Rc::default())).count();
        assert_eq!(kept, KEPT);
    }
}
