//! Picking: the endpoints that could take a request now, and of them the one that the policy chooses.

use std::sync::Arc;

use super::balance::Candidate;
use super::limit::Room;
use super::{Backend, Endpoint, Member, Pools, balance};

impl Pools {
    /// The endpoint that takes the next request, by the backend's policy; `key` is asked for what hashes go by.
    /// Backups are taken where no other can be. None: there is none that was not `tried`.
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
        let can = |member: &&Member, backup: bool, ejected: bool| {
            let endpoint = &member.endpoint;
            member.backup == backup
                && !member.drain
                && endpoint.takes_anybody()
                && endpoint.health.is_ejected() == ejected
                && !tried.contains(&endpoint.id)
        };
        // Where all others are gone, one that fails requests is better than none.
        let tiers = [(false, false), (true, false), (false, true), (true, true)];
        let (backup, ejected) = tiers
            .into_iter()
            .find(|(backup, ejected)| backend.members.iter().any(|member| can(&member, *backup, *ejected)))?;
        let with = |room: Room| -> Vec<Candidate> {
            let members = backend.members.iter().enumerate();
            members
                .filter(|(_, member)| can(member, backup, ejected) && member.endpoint.room() == room)
                .map(|(index, member)| self.candidate(index, member))
                .collect()
        };
        // Nobody waits for one place while another is free.
        let list = [Room::Free, Room::Queue, Room::Full].into_iter().map(with).find(|list| !list.is_empty())?;
        // A retry takes nobody's turn: by turns of two, each request would begin with the same one.
        let turn = if tried.is_empty() { self.turn(backend) } else { fastrand::usize(..1 << 20) };
        let chosen = balance::choose(&backend.balance, &list, key(), turn)?;
        backend.members.get(chosen).map(|member| &member.endpoint)
    }

    fn candidate(&self, index: usize, member: &Member) -> Candidate {
        let endpoint = &member.endpoint;
        Candidate {
            index,
            weight: f64::from(member.weight) * endpoint.share(),
            in_flight: self.in_flight(endpoint),
            hash: balance::hash(&endpoint.address),
        }
    }
}
