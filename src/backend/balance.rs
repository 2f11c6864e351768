//! Which endpoint takes the next request: pure, so that it can be tested without any.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::Balance;

/// An endpoint that could take a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place in the backend.
    pub(super) index: usize,
    /// Its share; more than zero.
    pub(super) weight: f64,
    /// What this worker has under way there.
    pub(super) in_flight: u32,
    /// The hash of its address.
    pub(super) hash: u64,
}

/// How much more than its share an endpoint may have under way before a hash leads past it.
const BOUND: f64 = 1.25;
/// The golden ratio's fraction: its multiples spread evenly over any shares.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Chooses one, by its `index`; none where there is none. `turn` counts the worker's requests to this backend,
/// `key` is what hashes go by; without one they take turns.
pub(super) fn choose(balance: &Balance, candidates: &[Candidate], key: Option<u64>, turn: usize) -> Option<usize> {
    if candidates.len() < 2 {
        return candidates.first().map(|only| only.index);
    }
    let chosen = match (balance, key) {
        (Balance::HashClient | Balance::HashHeader(_) | Balance::HashCookie(_), Some(key)) => hashed(candidates, key),
        (Balance::Least, _) => {
            let start = turn % candidates.len();
            let rotated = candidates[start..].iter().chain(&candidates[..start]);
            rotated.min_by(|a, b| load(a).total_cmp(&load(b)))
        }
        (Balance::RandomTwo, _) => {
            let one = at_share(candidates, fastrand::f64(), None);
            let two = at_share(candidates, fastrand::f64(), one.map(|one| one.index));
            one.into_iter().chain(two).min_by(|a, b| load(a).total_cmp(&load(b)))
        }
        _ => in_turn(candidates, turn),
    };
    chosen.map(|chosen| chosen.index)
}

/// The hash of whatever requests are told apart by.
#[must_use]
pub fn hash(what: impl Hash) -> u64 {
    // Its keys are fixed: all workers agree.
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn load(candidate: &Candidate) -> f64 {
    (f64::from(candidate.in_flight) + 1.0) / candidate.weight
}

fn in_turn(candidates: &[Candidate], turn: usize) -> Option<&Candidate> {
    let equal = candidates.windows(2).all(|two| (two[0].weight - two[1].weight).abs() < f64::EPSILON);
    if equal {
        return candidates.get(turn % candidates.len());
    }
    #[expect(clippy::cast_precision_loss, reason = "only the fraction matters")]
    let position = ((turn % (1 << 32)) as f64 * GOLDEN).fract();
    at_share(candidates, position, None)
}

/// The candidate at a position from 0 to 1 where each takes its share of the line, but for the one with this index.
fn at_share(candidates: &[Candidate], position: f64, but: Option<usize>) -> Option<&Candidate> {
    let others = || candidates.iter().filter(|candidate| Some(candidate.index) != but);
    let mut left = position * others().map(|candidate| candidate.weight).sum::<f64>();
    let here = |candidate: &&Candidate| {
        left -= candidate.weight;
        left < 0.0
    };
    others().find(here).or_else(|| others().next_back())
}

/// Rendezvous hashing with weights: a change of the endpoints moves only those keys that it has to. An endpoint
/// with far more than its share under way is passed by.
fn hashed(candidates: &[Candidate], key: u64) -> Option<&Candidate> {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
    let score = |candidate: &Candidate| {
        let unit = ((hash((key, candidate.hash)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -candidate.weight / unit.ln()
    };
    let all = f64::from(candidates.iter().map(|candidate| candidate.in_flight).sum::<u32>()) + 1.0;
    let weights: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let has_room = |candidate: &Candidate| {
        f64::from(candidate.in_flight) + 1.0 <= (BOUND * all * candidate.weight / weights).ceil()
    };
    let ranked = candidates.iter().map(|candidate| ((has_room(candidate), score(candidate)), candidate));
    let best = ranked.max_by(|((room, a), _), ((other, b), _)| room.cmp(other).then(a.total_cmp(b)));
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let one = |(index, weight): (usize, &u32)| Candidate {
            index,
            weight: f64::from(*weight),
            in_flight: 0,
            hash: hash(index),
        };
        weights.iter().enumerate().map(one).collect()
    }

    fn shares(balance: &Balance, weights: &[u32], turns: usize) -> Vec<usize> {
        let candidates = candidates(weights);
        let mut shares = vec![0; weights.len()];
        for turn in 0..turns {
            shares[choose(balance, &candidates, Some(hash(turn)), turn).expect("one")] += 1;
        }
        shares
    }

    #[test]
    fn equals_take_turns_and_weights_their_share() {
        let three = candidates(&[1, 1, 1]);
        let turns: Vec<_> = (0..6).filter_map(|turn| choose(&Balance::RoundRobin, &three, None, turn)).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
        for balance in [Balance::RoundRobin, Balance::HashClient] {
            let shares = shares(&balance, &[1, 2, 5], 8000);
            for (share, expected) in shares.iter().zip([1000, 2000, 5000]) {
                assert!(share.abs_diff(expected) < 200, "{balance:?}: {shares:?}");
            }
        }
        assert_eq!(choose(&Balance::RoundRobin, &[], None, 0), None);
    }

    #[test]
    fn the_least_busy_for_its_weight_is_chosen() {
        let mut three = candidates(&[1, 1, 4]);
        for (candidate, in_flight) in three.iter_mut().zip([2, 1, 4]) {
            candidate.in_flight = in_flight;
        }
        for turn in 0..3 {
            assert_eq!(choose(&Balance::Least, &three, None, turn), Some(2));
        }
        // Of random two, the busiest of three is never the better one.
        three[0].in_flight = 100;
        assert!((0..200).all(|turn| choose(&Balance::RandomTwo, &three, None, turn) != Some(0)));
    }

    #[test]
    fn a_hash_stays_where_it_was_when_others_go_and_passes_the_overloaded_by() {
        let four = candidates(&[1, 1, 1, 1]);
        let by_key = |candidates: &[Candidate]| -> Vec<_> {
            (0..1000u64).map(|key| choose(&Balance::HashClient, candidates, Some(hash(key)), 0).expect("one")).collect()
        };
        let (before, after) = (by_key(&four), by_key(&four[..3]));
        assert!(before.iter().zip(&after).all(|(before, after)| *before == 3 || before == after));
        let mut busy = four.clone();
        busy[1].in_flight = 10;
        assert!(by_key(&busy).iter().all(|index| *index != 1));
    }
}
