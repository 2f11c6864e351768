//! [`Desk`]: every certificate that is looked after, in the order of time. Pure: the time is given.
//!
//! A certificate for which nothing is due costs an entry here and nothing else: no task, no timer. What the desk
//! knows is made anew from the storage after each start.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{AbortHandle, Id};

use super::Wanted;
use super::clock::from_unix;
use super::line::{Line, Rank, Waiting};
use super::tended::Tended;
use crate::config::CertificateId;

/// Over how long renewals are spread that waited for a CA which was down, and at most over a tenth of what they have
/// left.
const SPREAD: Duration = Duration::from_secs(12 * 3600);

/// All certificates that are looked after.
#[derive(Default)]
pub(super) struct Desk {
    entries: HashMap<CertificateId, Entry>,
    /// Those that are looked at at a time.
    due: BTreeSet<(SystemTime, CertificateId)>,
    /// Those whose CA is to be asked for its renewal window.
    asks: VecDeque<CertificateId>,
    /// Those that are to be ordered.
    pub(super) line: Line,
    /// Looks, and questions for renewal windows, that are under way.
    pub(super) looking: usize,
    pub(super) asking: usize,
}

struct Entry {
    tended: Arc<Tended>,
    stage: Stage,
    /// Whether something happened meanwhile, so that it has to be looked at again.
    again: bool,
    /// Whether its CA is being asked for its renewal window, or will be.
    asking: bool,
}

/// Where a certificate is.
enum Stage {
    /// Nothing is due, unless something changes.
    Idle,
    /// It is looked at then.
    Due(SystemTime),
    /// It waits for its order.
    InLine(Rank),
    /// It is looked at, or ordered.
    Busy(Option<AbortHandle>),
}

/// What follows from a look.
pub(super) enum Next {
    /// Nothing, unless something changes.
    Idle,
    /// Another look then.
    At(SystemTime),
    /// Another look then, and before that its CA is asked for its renewal window.
    Ask(SystemTime),
    /// An order, when its turn comes.
    Line(super::line::Class, Waiting),
    /// It is looked after no longer.
    Forget,
}

impl Desk {
    /// Looks after one more, from now on; one that is there stays as it is. Returns whether it is new.
    pub(super) fn add(&mut self, wanted: Wanted, now: SystemTime) -> bool {
        let id = wanted.id.clone();
        let is_new = !self.entries.contains_key(&id);
        if is_new {
            let (tended, stage) = (Arc::new(Tended::new(wanted)), Stage::Due(now));
            self.entries.insert(id.clone(), Entry { tended, stage, again: false, asking: false });
            self.due.insert((now, id));
        }
        is_new
    }

    /// Keeps those for which `stays`; what is under way for others is cut.
    pub(super) fn retain(&mut self, stays: impl Fn(&Wanted) -> bool) {
        let gone: Vec<_> = self.entries.values().filter(|entry| !stays(&entry.tended.wanted)).collect();
        let gone: Vec<_> = gone.into_iter().map(|entry| entry.tended.wanted.id.clone()).collect();
        gone.iter().for_each(|id| self.forget(id));
    }

    fn forget(&mut self, id: &CertificateId) {
        self.pull(id);
        if let Some(Entry { stage: Stage::Busy(Some(task)), .. }) = self.entries.remove(id) {
            task.abort();
        }
    }

    /// Takes it out of the queue or the line that it is in.
    fn pull(&mut self, id: &CertificateId) {
        match self.entries.get(id).map(|entry| &entry.stage) {
            Some(Stage::Due(at)) => drop(self.due.remove(&(*at, id.clone()))),
            Some(Stage::InLine(rank)) => {
                if let Some(waiting) = self.line.remove(*rank).filter(|waiting| waiting.forced) {
                    // What an operator asked for holds at the next look.
                    waiting.tended.force();
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, id: &CertificateId, stage: Stage) {
        self.pull(id);
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Stage::Due(at) = stage {
            self.due.insert((at, id.clone()));
        }
        entry.stage = stage;
    }

    /// Has it looked at now, or again where that is under way. Returns whether it is looked after.
    pub(super) fn poke(&mut self, id: &CertificateId, now: SystemTime) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        match &entry.stage {
            Stage::Busy(_) => entry.again = true,
            _ => self.put(id, Stage::Due(now)),
        }
        true
    }

    /// Has all looked at now for which `which`.
    pub(super) fn poke_all(&mut self, now: SystemTime, which: impl Fn(&Tended) -> bool) {
        let all = self.entries.values().filter(|entry| which(&entry.tended));
        let all: Vec<_> = all.map(|entry| entry.tended.wanted.id.clone()).collect();
        for id in &all {
            self.poke(id, now);
        }
    }

    /// The next that is due; it is busy from then on.
    pub(super) fn pop_due(&mut self, now: SystemTime) -> Option<Arc<Tended>> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&id)?;
        entry.stage = Stage::Busy(None);
        Some(Arc::clone(&entry.tended))
    }

    /// The next whose CA is to be asked.
    pub(super) fn pop_ask(&mut self) -> Option<Arc<Tended>> {
        while let Some(id) = self.asks.pop_front() {
            if let Some(entry) = self.entries.get(&id).filter(|entry| entry.asking) {
                return Some(Arc::clone(&entry.tended));
            }
        }
        None
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<SystemTime> {
        self.due.first().map(|(at, _)| *at)
    }

    /// It was taken from the line; one that nobody looks after is none of the desk's.
    pub(super) fn taken(&mut self, tended: &Arc<Tended>) {
        if let Some(entry) = self.ours(tended) {
            entry.stage = Stage::Busy(None);
        }
    }

    /// This task looks at it, or orders it, unless it has ended already.
    pub(super) fn begins(&mut self, tended: &Arc<Tended>, task: AbortHandle) {
        if let Some(entry) = self.ours(tended).filter(|entry| matches!(entry.stage, Stage::Busy(None))) {
            entry.stage = Stage::Busy(Some(task));
        }
    }

    /// The entry of this very certificate, not of one that came in its place.
    fn ours(&mut self, tended: &Arc<Tended>) -> Option<&mut Entry> {
        self.entries.get_mut(&tended.wanted.id).filter(|entry| Arc::ptr_eq(&entry.tended, tended))
    }

    /// A look, or an order, has ended; `forced`: an operator had asked for it.
    pub(super) fn settle(&mut self, tended: &Arc<Tended>, next: Next, forced: bool, now: SystemTime) {
        let Some(entry) = self.ours(tended) else { return };
        let id = &tended.wanted.id;
        if std::mem::take(&mut entry.again) {
            if forced {
                // By a config that is not the current one: it is asked for again.
                tended.force();
            }
            return self.put(id, Stage::Due(now));
        }
        match next {
            Next::Idle => self.put(id, Stage::Idle),
            Next::At(at) => self.put(id, Stage::Due(at)),
            Next::Ask(at) => {
                if !std::mem::replace(&mut entry.asking, true) {
                    self.asks.push_back(id.clone());
                }
                self.put(id, Stage::Due(at));
            }
            Next::Line(class, waiting) => {
                let rank = self.line.push(class, waiting);
                self.put(id, Stage::InLine(rank));
            }
            Next::Forget => self.forget(id),
        }
    }

    /// Its CA was asked: it is looked at again, unless that is under way.
    pub(super) fn asked(&mut self, tended: &Arc<Tended>, now: SystemTime) {
        let Some(entry) = self.ours(tended) else { return };
        entry.asking = false;
        if !matches!(entry.stage, Stage::InLine(_)) {
            self.poke(&tended.wanted.id, now);
        }
    }

    /// The task that looked at it, or ordered it, ended without a word: it is looked at again then.
    pub(super) fn lost(&mut self, tended: &Arc<Tended>, task: Id, at: SystemTime) {
        let Some(entry) = self.ours(tended) else { return };
        if matches!(&entry.stage, Stage::Busy(Some(own)) if own.id() == task) {
            self.put(&tended.wanted.id, Stage::Due(at));
        } else if std::mem::take(&mut entry.asking) {
            self.poke(&tended.wanted.id, at);
        }
    }

    /// The CA has come back. It is asked for one at first, and the renewals that have time are spread over hours,
    /// those nearest to their end first: else all that waited would be due in one hour ever after.
    pub(super) fn comes_back(&mut self, directory: &str, now: SystemTime) {
        self.line.begin_slowly(directory);
        let waiting = self.line.renewals(directory);
        let all = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        for (place, (end, id)) in (0..all).zip(waiting) {
            if let Ok(left) = from_unix(end).duration_since(now) {
                let window = SPREAD.min(left / 10);
                self.put(&id, Stage::Due(now + window.mul_f64(f64::from(place) / f64::from(all))));
            }
        }
    }

    /// One of them.
    pub(super) fn get(&self, id: &CertificateId) -> Option<&Arc<Tended>> {
        self.entries.get(id).map(|entry| &entry.tended)
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Tended>> {
        self.entries.values().map(|entry| &entry.tended)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::certificate_id;
    use crate::acme::line::Class;
    use crate::config::Acme;

    #[test]
    fn what_an_operator_asked_for_is_not_lost_to_a_change_that_comes_meanwhile() {
        let (mut desk, now) = (Desk::default(), SystemTime::UNIX_EPOCH);
        let names = vec!["app.test".parse().expect("a name")];
        let id = certificate_id(&names);
        desk.add(Wanted { id: id.clone(), names, self_signed_meanwhile: false, on_demand: false, asked: None }, now);
        let in_line = |tended: &Arc<Tended>| {
            let (tended, acme) = (Arc::clone(tended), Arc::new(Acme::default()));
            Next::Line(Class::New, Waiting { tended, acme, forced: true, done: None })
        };
        // The config changes during the look that took up the command.
        let tended = desk.pop_due(now).expect("due");
        desk.poke(&id, now);
        desk.settle(&tended, in_line(&tended), true, now);
        assert!(desk.pop_due(now).is_some() && tended.take_force(), "asked again, by the new config");
        // It changes while it waits for its order.
        desk.settle(&tended, in_line(&tended), true, now);
        assert!(!tended.take_force());
        desk.poke(&id, now);
        assert!(desk.pop_due(now).is_some() && tended.take_force());
        // Nothing else forces an order.
        desk.poke(&id, now);
        desk.settle(&tended, Next::Idle, false, now);
        assert!(desk.pop_due(now).is_some() && !tended.take_force());
    }
}
