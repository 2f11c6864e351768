//! Picking: the endpoints that could take a request now, and of them the one that the policy chooses.

use std::sync::Arc;

use super::balance::Candidate;
use super::{Backend, Endpoint, Member, Pools, balance};

impl Pools {
    /// The endpoint that takes the next request, by the backend's policy; `key` is asked for what hashes go by.
    /// Those of a higher tier are taken where none of a lower one can be. None: there is none that was not `tried`.
    pub fn pick<'a>(
        &self,
        backend: &'a Backend,
        key: impl FnOnce() -> Option<u64>,
        tried: &[u64],
    ) -> Option<&'a Arc<Endpoint>> {
        if let [only] = &*backend.members {
            // An only endpoint is not left alone: it may have recovered.
            return (!only.drain && tried.is_empty() && only.endpoint.takes_anybody()).then_some(&only.endpoint);
        }
        let mut list = self.candidates.take();
        list.clear();
        let mut best = None;
        for (index, member) in backend.members.iter().enumerate() {
            let endpoint = &member.endpoint;
            if member.drain || !endpoint.takes_anybody() || tried.contains(&endpoint.id) {
                continue;
            }
            let nowhere = endpoint.leads_nowhere();
            if nowhere && !tried.is_empty() {
                // What the last one said tells more.
                continue;
            }
            // One that is left alone gets one request when its time is over, as if it were not; but no second try.
            let ejected = endpoint.is_ejected() && !(tried.is_empty() && endpoint.has_trial());
            // Where all others are gone, one that fails requests is better than none, and one whose name leads nowhere
            // says at least that. Nobody waits for one place while another is free.
            let rank = (nowhere, ejected, member.tier, endpoint.room());
            if best.is_none_or(|best| rank < best) {
                best = Some(rank);
                list.clear();
            }
            if best == Some(rank) {
                list.push(self.candidate(backend, index, member));
            }
        }
        let chosen = match &*list {
            [] => None,
            [only] => Some(only.index),
            list => {
                // A retry takes nobody's turn: by turns of two, each request would begin with the same one.
                let turn = if tried.is_empty() { self.turn(backend) } else { fastrand::usize(..1 << 20) };
                balance::choose(&backend.balance, list, key(), turn)
            }
        };
        // It is used again, so that a request allocates nothing.
        self.candidates.replace(list);
        let chosen = &backend.members.get(chosen?)?.endpoint;
        chosen.take_trial();
        Some(chosen)
    }

    fn candidate(&self, backend: &Backend, index: usize, member: &Member) -> Candidate {
        let endpoint = &member.endpoint;
        Candidate {
            index,
            weight: f64::from(member.weight) * endpoint.share(),
            in_flight: if backend.balance.goes_by_load() { self.in_flight(endpoint) } else { 0 },
            hash: endpoint.hash,
        }
    }
}
