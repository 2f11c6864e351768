//! [`keep`]: the one task that looks after all certificates. It sleeps until something is due, and starts looks,
//! questions and orders, each as a task of its own, so many at once and no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::desk::Next;
use super::line::{Class, Waiting};
use super::tended::Tended;
use super::tending::{Shared, Turned};
use super::{Clock, State};
use crate::config;
use crate::drain::Watch;

/// Certificates that are looked at in the storage at once.
const LOOKS: usize = 16;
/// Questions for a renewal window at once: apart from the orders, which must never wait for them.
const ASKS: usize = 4;

type Acme = Option<Arc<config::Acme>>;

/// Looks after all certificates of the desk until the drain begins; an order under way is left so that the next
/// start goes on with it.
pub(super) async fn keep(shared: Arc<Shared>, acme: watch::Receiver<Acme>, mut drain: Watch) {
    let keeper = Keeper { shared, tasks: JoinSet::new(), known: HashMap::new() };
    tokio::select! {
        () = keeper.run(acme) => {}
        _ = drain.signaled() => {}
    }
}

struct Keeper {
    shared: Arc<Shared>,
    /// Cut with the keeper.
    tasks: JoinSet<()>,
    /// What each task is for, so that a certificate is not lost with a task that panics.
    known: HashMap<Id, Arc<Tended>>,
}

impl Keeper {
    async fn run(mut self, mut acme: watch::Receiver<Acme>) {
        let shared = Arc::clone(&self.shared);
        let mut zones = shared.services.dns.changed();
        let mut current = acme.borrow_and_update().clone();
        shared.outages.take_up(current.as_deref()).await;
        loop {
            let wake = self.start_what_is_due(&current);
            tokio::select! {
                () = sleep(&shared.services.clock, wake) => {}
                () = shared.wake.notified() => {}
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.ended(done),
                // What failed for want of a solver need not wait its turn.
                Ok(()) = zones.changed() => shared.desk().poke_all(shared.now(), |one| one.state() == State::Failing),
                changed = acme.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    current = acme.borrow_and_update().clone();
                    shared.outages.take_up(current.as_deref()).await;
                    shared.desk().poke_all(shared.now(), |_| true);
                }
            }
        }
    }

    /// Starts all that is due and has room; returns when there may be more.
    fn start_what_is_due(&mut self, acme: &Acme) -> Option<SystemTime> {
        let shared = Arc::clone(&self.shared);
        let (now, outages) = (shared.now(), &shared.outages);
        while let Some(directory) = outages.to_ask(now) {
            self.start_probe(acme.clone(), directory);
        }
        loop {
            let mut desk = shared.desk();
            let full = desk.looking >= LOOKS;
            let Some(tended) = (if full { None } else { desk.pop_due(now) }) else { break };
            desk.looking += 1;
            drop(desk);
            self.start_look(acme.clone(), tended);
        }
        loop {
            let mut desk = shared.desk();
            let full = desk.asking >= ASKS;
            let Some(tended) = (if full { None } else { desk.pop_ask() }) else { break };
            desk.asking += 1;
            drop(desk);
            self.start_ask(acme.clone(), tended);
        }
        for turned_away in shared.desk().line.turn_away(|directory| outages.is_down(directory)) {
            let why = outages.all_down(&turned_away.acme).map_or_else(String::new, |(why, ..)| why);
            turned_away.answer(Err(why));
        }
        loop {
            let next = shared.desk().line.next(|directory| outages.is_down(directory));
            let Some((directory, (class, _), waiting)) = next else { break };
            self.start_order(directory, class, waiting);
        }
        let desk = shared.desk();
        shared.waiting.set(i64::try_from(desk.line.len()).unwrap_or(i64::MAX));
        let due = desk.next_due().filter(|_| desk.looking < LOOKS);
        [due, outages.next_question()].into_iter().flatten().min()
    }

    fn start_probe(&mut self, acme: Acme, directory: String) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            if shared.outages.ask(&*shared.ca, acme.as_deref(), &directory).await {
                let now = shared.now();
                shared.desk().comes_back(&directory, now);
            }
            shared.wake.notify_one();
        });
    }

    fn start_look(&mut self, acme: Acme, tended: Arc<Tended>) {
        let slot = Slot { shared: Arc::clone(&self.shared), what: What::Look };
        let own = Arc::clone(&tended);
        let task = self.tasks.spawn(async move {
            let forced = own.take_force();
            tended_look(&slot.shared, acme, &own, forced, false).await;
        });
        self.known.insert(task.id(), Arc::clone(&tended));
        self.shared.desk().begins(&tended, task);
    }

    fn start_ask(&mut self, acme: Acme, tended: Arc<Tended>) {
        let slot = Slot { shared: Arc::clone(&self.shared), what: What::Ask };
        let own = Arc::clone(&tended);
        let task = self.tasks.spawn(async move {
            let shared = &slot.shared;
            shared.ask_ca(own.wanted.acme(acme.as_ref()).as_deref(), &own.wanted.id).await;
            let now = shared.now();
            shared.desk().asked(&own, now);
        });
        self.known.insert(task.id(), tended);
    }

    fn start_order(&mut self, directory: String, class: Class, waiting: Waiting) {
        let slot = Slot { shared: Arc::clone(&self.shared), what: What::Order(directory, class) };
        let tended = Arc::clone(&waiting.tended);
        let own = Arc::clone(&tended);
        self.shared.desk().taken(&tended);
        let task = self.tasks.spawn(async move {
            let (shared, mut waiting) = (Arc::clone(&slot.shared), waiting);
            let turned = shared.take_turn(&waiting.acme, &own, waiting.forced).await;
            drop(slot);
            if let Some(done) = waiting.done.take() {
                return answer(done, &shared, &waiting, turned);
            }
            let now = shared.now();
            match turned {
                Ok(Turned::Done) => {
                    let acme = shared.acme();
                    tended_look(&shared, acme, &own, own.take_force(), true).await;
                }
                Ok(Turned::Down) => {
                    let forced = waiting.forced;
                    shared.settle(&own, Next::Line(class, waiting), forced, now);
                }
                Err(error) => {
                    tracing::error!(certificate = %own.wanted.id, %error, "what came of the order cannot be written down");
                    // Not at once again: the storage is what failed.
                    shared.settle(&own, Next::At(now + shared.services.pace.first), false, now);
                }
            }
        });
        self.known.insert(task.id(), Arc::clone(&tended));
        self.shared.desk().begins(&tended, task);
    }

    /// Nothing is lost with a task that panicked: its certificate is looked at again in a while.
    fn ended(&mut self, done: Result<(Id, ()), JoinError>) {
        let id = match &done {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let tended = self.known.remove(&id);
        if let (Err(error), Some(tended)) = (done, tended) {
            if error.is_panic() {
                tracing::error!(certificate = %tended.wanted.id, %error, "a fault in doorward cut its attempt");
            }
            let later = self.shared.now() + self.shared.services.pace.first;
            self.shared.desk().lost(&tended, id, later);
        }
    }
}

/// Looks at a certificate, and settles what follows.
async fn tended_look(shared: &Shared, acme: Acme, tended: &Arc<Tended>, forced: bool, ordered: bool) {
    let next = shared.visit(tended, acme.as_ref(), forced, ordered).await;
    let now = shared.now();
    shared.settle(tended, next, forced, now);
}

/// Tells who waits for a certificate on demand.
fn answer(
    done: tokio::sync::oneshot::Sender<Result<(), String>>,
    shared: &Shared,
    waiting: &Waiting,
    turned: Result<Turned, crate::storage::StorageError>,
) {
    let outcome = match turned {
        Ok(Turned::Done) => Ok(()),
        Ok(Turned::Down) => {
            Err(shared.outages.all_down(&waiting.acme).map_or_else(|| "the CA is down".to_owned(), |(why, ..)| why))
        }
        Err(error) => Err(error.to_string()),
    };
    // Nobody may be waiting any more.
    let _gone = done.send(outcome);
}

async fn sleep(clock: &Clock, until: Option<SystemTime>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// One of the things that are bounded; its place is free again however it ends.
struct Slot {
    shared: Arc<Shared>,
    what: What,
}

enum What {
    Look,
    Ask,
    Order(String, Class),
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut desk = self.shared.desk();
            match &self.what {
                What::Look => desk.looking = desk.looking.saturating_sub(1),
                What::Ask => desk.asking = desk.asking.saturating_sub(1),
                What::Order(directory, class) => desk.line.leave(directory, *class),
            }
        }
        self.shared.wake.notify_one();
    }
}
