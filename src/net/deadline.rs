//! [`Timer`]: many coarse deadlines for the price of one.
//!
//! A proxy sets a deadline several times a request and almost never reaches one. So setting is a store into
//! a slot, and one task a worker looks the slots over ten times a second, only when one can be due.
//! A deadline is thus met up to [`TICK`] late, never early.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// How often the slots are looked over.
const TICK: Duration = Duration::from_millis(100);

/// All deadlines of one worker.
#[derive(Clone, Debug)]
pub struct Timer {
    slots: Rc<Slots>,
}

/// One deadline, off until it is set. Dropping it frees its slot.
#[derive(Debug)]
pub struct Deadline {
    slots: Rc<Slots>,
    index: usize,
}

#[derive(Debug)]
struct Slots {
    started: Instant,
    /// The tick that has begun.
    now: Cell<u64>,
    /// No slot is due before this tick.
    next: Cell<u64>,
    list: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
}

#[derive(Debug)]
struct Slot {
    at: u64,
    waker: Option<Waker>,
}

/// A tick that never comes.
const OFF: u64 = u64::MAX;

impl Timer {
    /// A timer for the current thread, whose task runs on the current `LocalRuntime` or `LocalSet`
    /// until the timer and all its deadlines are gone.
    #[must_use]
    pub fn spawn() -> Self {
        let slots = Rc::new(Slots {
            started: Instant::now(),
            now: Cell::new(0),
            next: Cell::new(OFF),
            list: RefCell::default(),
            free: RefCell::default(),
        });
        tokio::task::spawn_local(tick(Rc::downgrade(&slots)));
        Self { slots }
    }

    /// A new deadline that is off.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let mut list = self.slots.list.borrow_mut();
        let index = self.slots.free.borrow_mut().pop().unwrap_or_else(|| {
            list.push(Slot { at: OFF, waker: None });
            list.len() - 1
        });
        Deadline { slots: Rc::clone(&self.slots), index }
    }
}

impl Deadline {
    /// Sets it to `after` from now.
    pub fn set(&self, after: Duration) {
        // One tick more: the current one has partly gone by.
        let ticks = u64::try_from(after.as_millis().div_ceil(TICK.as_millis())).unwrap_or(OFF / 2);
        let at = self.slots.now.get().saturating_add(ticks).saturating_add(1);
        self.slots.list.borrow_mut()[self.index].at = at;
        self.slots.next.set(self.slots.next.get().min(at));
    }

    /// Turns it off.
    pub fn clear(&self) {
        self.slots.list.borrow_mut()[self.index].at = OFF;
    }

    /// Whether it has passed; if not, the task is woken when it does.
    pub fn poll_passed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let slot = &mut self.slots.list.borrow_mut()[self.index];
        if slot.at <= self.slots.now.get() {
            return Poll::Ready(());
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => slot.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for it to pass.
    pub async fn passed(&self) {
        poll_fn(|cx| self.poll_passed(cx)).await;
    }

    /// Waits for `future`, or for this to pass: then none.
    ///
    /// It is pinned by the caller, who so has it once: an `async fn` keeps what it is given beside where it pins it.
    pub async fn bound<F: Future + Unpin>(&self, mut future: F) -> Option<F::Output> {
        poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_passed(cx).map(|()| None),
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.slots.list.borrow_mut()[self.index] = Slot { at: OFF, waker: None };
        self.slots.free.borrow_mut().push(self.index);
    }
}

async fn tick(slots: Weak<Slots>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let instant = interval.tick().await;
        let Some(slots) = slots.upgrade() else { return };
        let now = u64::try_from((instant - slots.started).as_millis() / TICK.as_millis()).unwrap_or(OFF - 1);
        slots.now.set(now);
        if slots.next.get() > now {
            continue;
        }
        let mut next = OFF;
        let mut due = Vec::new();
        for slot in slots.list.borrow_mut().iter_mut() {
            if slot.at <= now {
                due.extend(slot.waker.take());
            } else {
                next = next.min(slot.at);
            }
        }
        slots.next.set(next);
        due.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_once_due_and_not_before() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let timer = Timer::spawn();
                let deadline = timer.deadline();
                let begun = Instant::now();
                deadline.set(Duration::from_secs(5));
                deadline.set(Duration::from_secs(2));
                deadline.passed().await;
                let took = begun.elapsed();
                assert!(took >= Duration::from_secs(2) && took <= Duration::from_secs(2) + 3 * TICK, "{took:?}");
                deadline.clear();
                assert_eq!(deadline.bound(pin!(tokio::time::sleep(Duration::from_secs(60)))).await, Some(()));
                deadline.set(Duration::from_secs(1));
                assert_eq!(deadline.bound(std::future::pending::<()>()).await, None);
            })
            .await;
    }
}
