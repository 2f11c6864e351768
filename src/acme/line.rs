//! [`Line`]: whose turn it is to be ordered. Pure: no clock, no network, no storage.
//!
//! Renewals go first, those nearest to their end before the others; then new names, then names on demand, each in
//! the order in which they came. How many are under way at once is bounded for each CA, and after an outage that
//! bound grows from one with each order that ended, so that a CA that has just come back is not run over.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::tended::Tended;
use crate::config::{self, CertificateId};

/// Orders that are under way at one CA at once.
const ORDERS: usize = 8;
/// Those of them for names without a certificate: renewals never wait behind these.
const FRESH: usize = 6;
/// Those of them for names in the config: a handshake never waits behind a million of these.
const NEW: usize = 5;

/// Who goes before whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A certificate that there is, and its end in unix seconds.
    Renewal(u64),
    /// A name in the config.
    New,
    /// A name that waits in a handshake.
    OnDemand,
}

/// A place in the line; the number keeps those of a class in the order in which they came.
pub(super) type Rank = (Class, u64);

/// A certificate whose turn has not come yet.
pub(super) struct Waiting {
    pub(super) tended: Arc<Tended>,
    pub(super) acme: Arc<config::Acme>,
    pub(super) forced: bool,
    /// Who waits for the outcome; none: the certificate is looked after.
    pub(super) done: Option<oneshot::Sender<Result<(), String>>>,
}

impl Waiting {
    /// Tells who waits, where somebody does.
    pub(super) fn answer(self, outcome: Result<(), String>) {
        if let Some(done) = self.done {
            // Nobody may be waiting any more.
            let _gone = done.send(outcome);
        }
    }
}

/// All that wait for an order, by the directories of the CAs that may be asked, in their order.
#[derive(Default)]
pub(super) struct Line {
    groups: BTreeMap<Vec<String>, BTreeMap<Rank, Waiting>>,
    busy: HashMap<String, Busy>,
    numbers: u64,
}

/// What is under way at one CA.
#[derive(Clone, Copy, Debug)]
struct Busy {
    renewals: usize,
    new: usize,
    on_demand: usize,
    /// How many may be at once.
    most: usize,
}

impl Default for Busy {
    fn default() -> Self {
        Self { renewals: 0, new: 0, on_demand: 0, most: ORDERS }
    }
}

impl Busy {
    fn of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Renewal(_) => &mut self.renewals,
            Class::New => &mut self.new,
            Class::OnDemand => &mut self.on_demand,
        }
    }

    fn admits(self, class: Class) -> bool {
        let fresh = self.new + self.on_demand;
        fresh + self.renewals < self.most
            && match class {
                Class::Renewal(_) => true,
                Class::New => fresh < FRESH && self.new < NEW,
                Class::OnDemand => fresh < FRESH,
            }
    }
}

impl Line {
    /// Takes a place at the end of its class.
    pub(super) fn push(&mut self, class: Class, waiting: Waiting) -> Rank {
        let group = waiting.acme.issuers().map(|issuer| issuer.directory.clone()).collect();
        self.numbers += 1;
        let rank = (class, self.numbers);
        self.groups.entry(group).or_default().insert(rank, waiting);
        rank
    }

    /// Leaves the line.
    pub(super) fn remove(&mut self, rank: Rank) -> Option<Waiting> {
        let found = self.groups.values_mut().find_map(|group| group.remove(&rank));
        self.groups.retain(|_, group| !group.is_empty());
        found
    }

    /// The next whose turn it is, and at which CA: the first of its CAs that is not down. Who takes it gives the
    /// place back by [`Line::leave`].
    pub(super) fn next(&mut self, is_down: impl Fn(&str) -> bool) -> Option<(String, Rank, Waiting)> {
        for (directories, group) in &mut self.groups {
            let Some(directory) = directories.iter().find(|directory| !is_down(directory)) else { continue };
            let busy = self.busy.entry(directory.clone()).or_default();
            let first = |class: Class| group.range((class, 0)..).next().map(|(rank, _)| *rank);
            let ranks = [first(Class::Renewal(0)), first(Class::New), first(Class::OnDemand)];
            let Some(rank) = ranks.into_iter().flatten().find(|(class, _)| busy.admits(*class)) else { continue };
            let Some(waiting) = group.remove(&rank) else { continue };
            *busy.of(rank.0) += 1;
            return Some((directory.clone(), rank, waiting));
        }
        self.groups.retain(|_, group| !group.is_empty());
        None
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, directory: &str, class: Class) {
        if let Some(busy) = self.busy.get_mut(directory) {
            let count = busy.of(class);
            *count = count.saturating_sub(1);
            busy.most = (busy.most + 1).min(ORDERS);
        }
    }

    /// The CA has come back: it is asked for one at first.
    pub(super) fn begin_slowly(&mut self, directory: &str) {
        self.busy.entry(directory.to_owned()).or_default().most = 1;
    }

    /// The renewals that wait for this CA, with their ends in unix seconds, those nearest to it first. One that an
    /// operator asked for is not among them.
    pub(super) fn renewals(&self, directory: &str) -> Vec<(u64, CertificateId)> {
        let groups = self.groups.iter().filter(|(directories, _)| directories.iter().any(|one| one == directory));
        let all = groups.flat_map(|(_, group)| group).filter(|(_, waiting)| !waiting.forced);
        let renewal = |(rank, waiting): (&Rank, &Waiting)| match rank.0 {
            Class::Renewal(end) => Some((end, waiting.tended.wanted.id.clone())),
            _ => None,
        };
        let mut all: Vec<_> = all.filter_map(renewal).collect();
        all.sort();
        all
    }

    /// Takes out those on demand that nobody can issue for now: a handshake does not last as long as an outage.
    pub(super) fn turn_away(&mut self, is_down: impl Fn(&str) -> bool) -> Vec<Waiting> {
        let down = self.groups.iter_mut().filter(|(directories, _)| directories.iter().all(|one| is_down(one)));
        down.flat_map(|(_, group)| group.split_off(&(Class::OnDemand, 0)).into_values()).collect()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.groups.values().map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::{Wanted, certificate_id};
    use crate::config::{Acme, Issuer};

    fn waiting(name: &str, issuers: &[&str]) -> Waiting {
        let names = vec![name.parse().expect("a name")];
        let id = certificate_id(&names);
        let wanted = Wanted { id, names, self_signed_meanwhile: false, on_demand: false, asked: None };
        let mut issuers = issuers.iter().map(|name| Issuer::new(*name, format!("https://{name}/")));
        let issuer = issuers.next().expect("one");
        let acme = Acme { issuer, fallback: issuers.collect(), ..Acme::default() };
        Waiting { tended: Arc::new(Tended::new(wanted)), acme: Arc::new(acme), forced: false, done: None }
    }

    fn take(line: &mut Line, down: &[&str]) -> Option<(String, String)> {
        let (directory, _, waiting) = line.next(|directory| down.iter().any(|down| directory.contains(down)))?;
        Some((directory, waiting.tended.names()))
    }

    #[test]
    fn renewals_by_their_end_then_new_names_then_those_on_demand() {
        let mut line = Line::default();
        line.push(Class::OnDemand, waiting("d.test", &["one"]));
        line.push(Class::New, waiting("n1.test", &["one"]));
        line.push(Class::New, waiting("n2.test", &["one"]));
        line.push(Class::Renewal(900), waiting("late.test", &["one"]));
        line.push(Class::Renewal(100), waiting("soon.test", &["one"]));
        let order: Vec<_> = std::iter::from_fn(|| take(&mut line, &[])).map(|(_, name)| name).collect();
        assert_eq!(order, ["soon.test", "late.test", "n1.test", "n2.test", "d.test"]);
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn what_is_under_way_is_bounded_for_each_ca_and_each_class() {
        let mut line = Line::default();
        for n in 0..20 {
            line.push(Class::New, waiting(&format!("n{n}.test"), &["one"]));
            line.push(Class::OnDemand, waiting(&format!("d{n}.test"), &["one"]));
            line.push(Class::New, waiting(&format!("m{n}.test"), &["two"]));
        }
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut line, &[])).collect();
        let count = |directory: &str, name: &str| {
            taken.iter().filter(|(at, who)| at.contains(directory) && who.starts_with(name)).count()
        };
        assert_eq!((count("one", "n"), count("one", "d"), count("two", "m")), (NEW, 1, NEW));
        // Renewals have room all the same, up to the bound.
        for n in 0..20 {
            line.push(Class::Renewal(n), waiting(&format!("r{n}.test"), &["one"]));
        }
        assert_eq!(std::iter::from_fn(|| take(&mut line, &[])).count(), ORDERS - FRESH);
        line.leave("https://one/", Class::New);
        assert_eq!(take(&mut line, &[]).map(|(_, name)| name).as_deref(), Some("r2.test"));
    }

    #[test]
    fn a_ca_that_is_down_is_passed_by_and_begins_slowly() {
        let mut line = Line::default();
        for n in 0..20 {
            line.push(Class::Renewal(n), waiting(&format!("r{n}.test"), &["one"]));
        }
        line.push(Class::Renewal(7), waiting("both.test", &["one", "two"]));
        line.push(Class::OnDemand, waiting("d.test", &["one"]));
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut line, &["one"])).collect();
        assert_eq!(taken, [("https://two/".to_owned(), "both.test".to_owned())]);
        assert_eq!(line.turn_away(|directory| directory.contains("one")).len(), 1, "the one on demand");
        line.begin_slowly("https://one/");
        assert_eq!(std::iter::from_fn(|| take(&mut line, &[])).count(), 1);
        line.leave("https://one/", Class::Renewal(0));
        assert_eq!(std::iter::from_fn(|| take(&mut line, &[])).count(), 2);
    }

    #[test]
    fn a_place_can_be_given_up() {
        let mut line = Line::default();
        let rank = line.push(Class::New, waiting("n.test", &["one"]));
        assert!(line.remove(rank).is_some() && line.remove(rank).is_none());
        assert_eq!(take(&mut line, &[]), None);
    }
}
