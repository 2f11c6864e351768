//! [`Guard`]: what a client may cost that makes up names. Pure: no network, and the time is given.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::budget;
use crate::certs::OnDemandError;
use crate::config::{self, Rate};
use crate::names::Hostname;

/// The most names, networks or domains that are remembered of each kind.
const MOST: usize = 50_000;
/// Of the names under way, what part one client network can have, those that wait included: others get in beside it.
const NETWORK_SHARE: usize = 4;
/// How many times as many as can be under way may wait for their turn.
const LINE: usize = 32;

/// The bounds of `[on_demand]`, and what is used of them. It forgets at a restart: the CA's budget does not.
#[derive(Debug, Default)]
pub(super) struct Guard {
    allowed: Cache<Hostname, ()>,
    refused: Cache<Hostname, OnDemandError>,
    clients: Windows<Network>,
    domains: Windows<String>,
    under_way: HashMap<Network, usize>,
    all_under_way: usize,
}

/// The part of a client's address that stands for it: a /24 of IPv4, a /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network([u8; 6]);

/// A place among the names under way; it has to be given back.
#[derive(Debug)]
pub(super) struct Place(Network);

impl Network {
    pub(super) fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self([0xff, 0xff, 0xff, a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Self([a, b, c, d, e, f])
            }
        }
    }
}

impl Guard {
    /// Whether the name can be had at all, as far as is known without asking anybody.
    pub(super) fn look(
        &mut self,
        config: &config::OnDemand,
        name: &Hostname,
        now: SystemTime,
    ) -> Result<(), OnDemandError> {
        // An address has no registered domain that anybody could be asked about.
        if name.ip().is_some() || depth(name) > config.labels {
            return Err(OnDemandError::NotAllowed);
        }
        self.refused.get(name, now).map_or(Ok(()), Err)
    }

    /// Takes a place for a name that nobody is after yet.
    pub(super) fn enter(
        &mut self,
        config: &config::OnDemand,
        name: &Hostname,
        client: IpAddr,
        now: SystemTime,
    ) -> Result<Place, OnDemandError> {
        let network = Network::of(client);
        let own = self.under_way.get(&network).copied().unwrap_or(0);
        if self.all_under_way >= config.under_way * LINE || own >= (config.under_way / NETWORK_SHARE).max(1) {
            return Err(OnDemandError::Failed("too many names are under way".to_owned()));
        }
        // What was allowed lately is no news, and its orders have their own bounds.
        if self.allowed.get(name, now).is_none() && !self.clients.take(network, config.per_client, now) {
            return Err(OnDemandError::Failed("the client's network asked for too many names".to_owned()));
        }
        *self.under_way.entry(network).or_default() += 1;
        self.all_under_way += 1;
        Ok(Place(network))
    }

    /// Gives the place back.
    pub(super) fn leave(&mut self, place: &Place) {
        self.all_under_way = self.all_under_way.saturating_sub(1);
        if let Some(own) = self.under_way.get_mut(&place.0) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.under_way.remove(&place.0);
            }
        }
    }

    /// Whether the name was allowed lately.
    pub(super) fn is_allowed(&mut self, name: &Hostname, now: SystemTime) -> bool {
        self.allowed.get(name, now).is_some()
    }

    /// The name was allowed.
    pub(super) fn allow(&mut self, config: &config::OnDemand, name: &Hostname, now: SystemTime) {
        self.allowed.put(name.clone(), (), now + config.allowed_for, now);
    }

    /// The name was refused, or failed: so it is for `lasting`.
    pub(super) fn refuse(&mut self, name: &Hostname, error: OnDemandError, lasting: Duration, now: SystemTime) {
        self.refused.put(name.clone(), error, now + lasting, now);
    }

    /// Takes an order of the registered domain's.
    pub(super) fn take_order(
        &mut self,
        config: &config::OnDemand,
        name: &Hostname,
        now: SystemTime,
    ) -> Result<(), OnDemandError> {
        let domain = budget::registered(name.as_str());
        if self.domains.take(domain.clone(), config.per_domain, now) {
            return Ok(());
        }
        Err(OnDemandError::Failed(format!("{domain} had too many new names")))
    }
}

/// How many labels stand in front of the registered domain.
fn depth(name: &Hostname) -> usize {
    let registered = budget::registered(name.as_str());
    name.labels() - registered.split('.').count().min(name.labels())
}

/// Values for a time. Bounded: where it is full, what has run out goes, and else any.
#[derive(Debug)]
struct Cache<K, V>(HashMap<K, (SystemTime, V)>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    fn get(&mut self, key: &K, now: SystemTime) -> Option<V> {
        let (until, value) = self.0.get(key)?;
        if *until > now {
            return Some(value.clone());
        }
        self.0.remove(key);
        None
    }

    fn put(&mut self, key: K, value: V, until: SystemTime, now: SystemTime) {
        make_room(&mut self.0, |(until, _)| *until > now);
        self.0.insert(key, (until, value));
    }
}

/// When something happened, by key, as far back as a window goes.
#[derive(Debug)]
struct Windows<K>(HashMap<K, VecDeque<SystemTime>>);

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Windows<K> {
    /// Takes one where there is room in the window.
    fn take(&mut self, key: K, rate: Rate, now: SystemTime) -> bool {
        let inside = |at: &SystemTime| *at + rate.within > now;
        if !self.0.contains_key(&key) {
            make_room(&mut self.0, |times| times.back().is_some_and(inside));
        }
        let times = self.0.entry(key).or_default();
        while times.front().is_some_and(|at| !inside(at)) {
            times.pop_front();
        }
        let room = times.len() < usize::try_from(rate.most).unwrap_or(usize::MAX);
        if room {
            times.push_back(now);
        }
        room
    }
}

fn make_room<K: Clone + Eq + Hash, V>(map: &mut HashMap<K, V>, keep: impl Fn(&V) -> bool) {
    if map.len() < MOST {
        return;
    }
    map.retain(|_, value| keep(value));
    // Still full: an eighth goes, so that not each further one has to look at all.
    let gone: Vec<K> = if map.len() < MOST { Vec::new() } else { map.keys().take(MOST / 8).cloned().collect() };
    for key in gone {
        map.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn name(text: &str) -> Hostname {
        text.parse().expect("a name")
    }

    fn client(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n << 8).into()
    }

    #[test]
    fn depth_is_counted_from_the_registered_domain() {
        for (text, labels) in [("example.com", 0), ("www.example.co.uk", 1), ("www.www.www.example.com", 3), ("com", 0)]
        {
            assert_eq!(depth(&name(text)), labels, "{text}");
        }
        let (mut guard, config, now) = (Guard::default(), config::OnDemand::new("http://a"), SystemTime::now());
        assert_eq!(guard.look(&config, &name("a.b.example.com"), now), Ok(()));
        assert_eq!(guard.look(&config, &name("www.www.www.example.com"), now), Err(OnDemandError::NotAllowed));
        assert_eq!(guard.look(&config, &name("192.0.2.1"), now), Err(OnDemandError::NotAllowed));
    }

    #[test]
    fn one_network_uses_up_its_own_budget_and_no_other() {
        let (mut guard, now) = (Guard::default(), SystemTime::now());
        let config = config::OnDemand {
            per_client: Rate { most: 3, within: Duration::from_secs(60) },
            ..config::OnDemand::new("")
        };
        let mut enter = |host: &str, client: &str, now| {
            let place = guard.enter(&config, &name(host), client.parse().expect("an address"), now);
            place.map(|place| guard.leave(&place)).is_ok()
        };
        for (n, client) in ["192.0.2.1", "192.0.2.200", "::ffff:192.0.2.3"].into_iter().enumerate() {
            assert!(enter(&format!("{n}.test"), client, now));
        }
        assert!(!enter("x.test", "192.0.2.9", now), "the same /24");
        assert!(enter("x.test", "192.0.3.9", now), "another");
        for (n, client) in ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:ffff::1"].into_iter().enumerate() {
            assert!(enter(&format!("{n}.test"), client, now));
        }
        assert!(!enter("x.test", "2001:db8::2", now), "the same /48");
        assert!(enter("x.test", "2001:db8:1::2", now));
        assert!(enter("x.test", "192.0.2.9", now + Duration::from_secs(61)));
    }

    #[test]
    fn names_under_way_are_bounded_in_all_and_for_each_network() {
        let (mut guard, now) = (Guard::default(), SystemTime::now());
        let config = config::OnDemand { under_way: 8, ..config::OnDemand::new("") };
        let mut places = Vec::new();
        let mut refused = 0;
        for n in 0..40 {
            match guard.enter(&config, &name(&format!("{n}.test")), client(n % 10 / 5), now) {
                Ok(place) => places.push(place),
                Err(_) => refused += 1,
            }
        }
        assert_eq!((places.len(), refused), (4, 36), "two networks with two each");
        for n in 10..20 {
            places.extend(guard.enter(&config, &name(&format!("x{n}.test")), client(n), now));
        }
        assert_eq!(places.len(), 14, "others are let in beside them");
        for n in 100..2000 {
            places.extend(guard.enter(&config, &name(&format!("y{n}.test")), client(n), now));
        }
        assert_eq!(places.len(), 8 * LINE);
        places.iter().for_each(|place| guard.leave(place));
        assert!(guard.enter(&config, &name("y.test"), client(77), now).is_ok());
    }

    #[test]
    fn refusals_run_out_and_memory_is_bounded() {
        let (mut guard, config, now) = (Guard::default(), config::OnDemand::new(""), SystemTime::now());
        guard.refuse(&name("no.test"), OnDemandError::NotAllowed, config.refused_for, now);
        assert!(guard.look(&config, &name("no.test"), now).is_err());
        assert!(guard.look(&config, &name("no.test"), now + config.refused_for).is_ok());
        for n in 0..u32::try_from(MOST).expect("fits") + 20_000 {
            guard.refuse(&name(&format!("n{n}.test")), OnDemandError::NotAllowed, config.refused_for, now);
            let _place = guard.enter(&config, &name("a.test"), client(n), now).map(|place| guard.leave(&place));
        }
        assert!(guard.refused.0.len() <= MOST && guard.clients.0.len() <= MOST);
    }

    #[test]
    fn a_registered_domain_has_so_many_orders() {
        let (mut guard, now) = (Guard::default(), SystemTime::now());
        let config = config::OnDemand {
            per_domain: Rate { most: 2, within: Duration::from_secs(60) },
            ..config::OnDemand::new("")
        };
        for host in ["a.example.co.uk", "b.example.co.uk"] {
            guard.take_order(&config, &name(host), now).expect("room");
        }
        let error = guard.take_order(&config, &name("c.example.co.uk"), now).expect_err("none left");
        assert!(error.to_string().contains("example.co.uk"), "{error}");
        guard.take_order(&config, &name("c.other.co.uk"), now).expect("another's");
    }
}
