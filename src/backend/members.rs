//! [`Backend`] and its [`Member`]s: what all workers share of them. Made in the control plane, by [`super::Registry`].

use std::sync::Arc;

use super::Endpoint;
use super::budget::Budget;
use super::resolved::Subject;
use super::standing::next_id;
use super::sticky::{Sticking, StickyKey};
use crate::config::{Balance, Retry, Sticky};

/// An app: one or more endpoints that answer alike.
#[derive(Debug)]
pub struct Backend {
    /// Its name in the config; empty where it has none.
    pub name: Arc<str>,
    /// None only where a service has no endpoint that is known.
    pub members: Vec<Member>,
    /// Which of them takes the next request.
    pub balance: Balance,
    /// Told from every other by this, for as long as the process lives.
    pub(super) id: u64,
    pub(super) sticking: Option<Sticking>,
    pub(super) budget: Budget,
    label: Arc<str>,
    /// The names that lead to its endpoints; they are looked up for as long as somebody holds them here.
    _follows: Vec<Arc<Subject>>,
}

/// An endpoint, and its part in a backend.
#[derive(Clone, Debug)]
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its share among the others.
    pub weight: u16,
    /// 0, or a higher number where it is used only as long as none of a lower one can be.
    pub tier: u16,
    /// Whether it takes no new requests, by the config.
    pub drain: bool,
}

impl Backend {
    /// A backend of these endpoints.
    #[must_use]
    pub fn new(name: &str, members: Vec<Member>, balance: Balance) -> Self {
        let budget = Budget::new(Retry::default(), 0);
        let name: Arc<str> = name.into();
        let label = Arc::clone(&name);
        Self { name, members, balance, id: next_id(), sticking: None, budget, label, _follows: Vec::new() }
    }

    /// The same, whose clients stay with their endpoints.
    #[must_use]
    pub fn sticking(mut self, sticky: &Sticky, key: &StickyKey) -> Self {
        self.sticking = Some(Sticking::new(sticky, &self.name, &self.members, key));
        self
    }

    /// The same, with endpoints that these names lead to.
    pub(super) fn following(mut self, names: Vec<Arc<Subject>>) -> Self {
        self._follows = names;
        self
    }

    /// The same, called so in metrics.
    pub(super) fn labelled(mut self, label: &str) -> Self {
        self.label = label.into();
        self
    }

    /// The same, with another measure for retries.
    #[must_use]
    pub fn retrying(mut self, retry: Retry) -> Self {
        self.budget = Budget::new(retry, self.requests());
        self
    }

    /// The same in the place of one whose endpoints were others: its retries are not given anew.
    pub(super) fn in_place_of(mut self, before: &Self) -> Self {
        self.id = before.id;
        self.budget = before.budget.handed_on(before.requests(), self.requests());
        self
    }

    /// How often one request may be tried again.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.budget.retry().attempts
    }

    /// Takes a retry from the budget, where there is one.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.budget.spend(self.requests(), tokio::time::Instant::now())
    }

    /// What it is called in metrics: its name, or else its first address, both as in the config.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Requests of all its endpoints so far.
    fn requests(&self) -> u64 {
        self.members.iter().map(|member| member.endpoint.standing.tally.requests()).sum()
    }
}
