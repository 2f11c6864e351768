//! [`Crew`]: the tasks that serve streams, which are used again.
//!
//! A task is the largest thing that a request needs. A stream that comes takes one that has nothing to do; only where
//! there is none is one made. So most requests neither allocate a task nor register it with the runtime.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use super::Open;
use super::stream::Stream;

/// How many tasks are kept that have nothing to do; each has about 3 KiB. More are only there while they serve.
const KEPT: usize = 64;

/// A worker's tasks.
#[derive(Default)]
pub(in crate::proxy) struct Crew {
    waiting: RefCell<Vec<Rc<Hand>>>,
}

/// A task that waits for a stream.
#[derive(Default)]
struct Hand {
    given: RefCell<Option<(Stream, Open)>>,
    waker: RefCell<Option<Waker>>,
}

impl Crew {
    /// Serves a stream, in a task of its own as long as that takes.
    pub(super) fn serve(self: &Rc<Self>, stream: Stream, open: Open) {
        let Some(hand) = self.waiting.borrow_mut().pop() else {
            tokio::task::spawn_local(work(Rc::downgrade(self), stream, open));
            return;
        };
        *hand.given.borrow_mut() = Some((stream, open));
        if let Some(waker) = hand.waker.take() {
            waker.wake();
        }
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
}

impl Hand {
    /// Waits for the next stream.
    async fn next(&self) -> (Stream, Open) {
        poll_fn(|cx| match self.given.take() {
            Some(given) => Poll::Ready(given),
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
        (stream, open) = hand.next().await;
    }
}
