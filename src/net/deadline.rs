//! [`Timer`]: many coarse deadlines for the price of one.
//!
//! A proxy sets a deadline several times a request and almost never reaches one. So setting is a store into
//! a slot, and one task a worker looks the slots over ten times a second, only when one can be due.
//! A deadline is thus met up to [`TICK`] late, never early. Where none is set any more the task sleeps until one is due:
//! an idle worker's core stays asleep.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

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
    /// The tick that has begun, or that had when the task went to sleep.
    now: Cell<u64>,
    /// Whether a deadline was set since the last look.
    stirred: Cell<bool>,
    /// Whether the task sleeps, and `now` stands still.
    asleep: Cell<bool>,
    wake: Rc<Notify>,
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
            stirred: Cell::new(false),
            asleep: Cell::new(false),
            wake: Rc::default(),
            next: Cell::new(OFF),
            list: RefCell::default(),
            free: RefCell::default(),
        });
        tokio::task::spawn_local(look_over(Rc::downgrade(&slots), Rc::clone(&slots.wake)));
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
        self.slots.stir();
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

impl Slots {
    /// A deadline is about to be set.
    fn stir(&self) {
        self.stirred.set(true);
        if self.asleep.replace(false) {
            self.now.set(self.tick());
            self.wake.notify_one();
        }
    }

    /// The tick that begins or goes on now.
    fn tick(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis() / TICK.as_millis()).unwrap_or(OFF - 1)
    }

    /// Wakes whoever is due; when to look again, none: when stirred.
    fn look(&self) -> Option<Instant> {
        let now = self.tick();
        self.now.set(now);
        if self.next.get() <= now {
            let mut next = OFF;
            let mut due = Vec::new();
            for slot in self.list.borrow_mut().iter_mut() {
                if slot.at <= now {
                    due.extend(slot.waker.take());
                } else {
                    next = next.min(slot.at);
                }
            }
            self.next.set(next);
            due.into_iter().for_each(Waker::wake);
        }
        let asleep = !self.stirred.replace(false);
        self.asleep.set(asleep);
        let again = if asleep { self.next.get() } else { now + 1 };
        let millis = u64::try_from(TICK.as_millis()).ok()?.checked_mul(again)?;
        self.started.checked_add(Duration::from_millis(millis))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // The task sees that it is over.
        self.wake.notify_one();
    }
}

async fn look_over(slots: Weak<Slots>, wake: Rc<Notify>) {
    while let Some(again) = slots.upgrade().map(|slots| slots.look()) {
        match again {
            Some(again) => tokio::select! {
                () = tokio::time::sleep_until(again) => {}
                () = wake.notified() => {}
            },
            None => wake.notified().await,
        }
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
    #[tokio::test(start_paused = true)]
    async fn what_is_set_after_a_long_sleep_is_neither_early_nor_late() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let timer = Timer::spawn();
                let (deadline, other) = (timer.deadline(), timer.deadline());
                for pause in [Duration::from_millis(1), Duration::from_secs(1), Duration::from_secs(86_400)] {
                    tokio::time::sleep(pause).await;
                    assert!(timer.slots.asleep.get() || pause < 2 * TICK, "the task looks at nothing after {pause:?}");
                    let begun = Instant::now();
                    other.set(Duration::from_secs(100));
                    deadline.set(Duration::from_secs(2));
                    deadline.passed().await;
                    let took = begun.elapsed();
                    assert!(took >= Duration::from_secs(2) && took <= Duration::from_secs(2) + 3 * TICK, "{took:?}");
                    deadline.clear();
                    other.passed().await;
                    let took = begun.elapsed();
                    assert!(took >= Duration::from_secs(100) && took <= Duration::from_secs(101), "{took:?}");
                    other.clear();
                }
            })
            .await;
    }
}
