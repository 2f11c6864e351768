//! [`Known`]: what a [`super::Registry`] knows, and how a config becomes a backend by it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};

use super::resolved::{Found, Subject, spread};
use super::{Backend, BackendAddress, Duty, Endpoint, Member, StickyKey, Target, Transport, TransportError};
use crate::config::{self, Addresses, BackendTls};

#[derive(Debug, Default)]
pub(super) struct Known {
    /// The latest last. An older one is in use as long as a request is, or where the config of the latest was refused.
    endpoints: HashMap<Identity, Vec<Made>>,
    backends: HashMap<Arc<config::Backend>, Weak<Backend>>,
    /// The backends of each config that somebody still uses, the latest last.
    generations: Vec<Vec<Weak<Backend>>>,
    /// How many there were.
    times_made: u64,
    transports: HashMap<BackendTls, Weak<Transport>>,
    /// The names that some backend holds on to.
    follows: HashMap<Subject, Weak<Subject>>,
    pub(super) found: Found,
    /// What an operator has said, by the backend's name and the address: it holds for endpoints that are made anew.
    duties: HashMap<(String, BackendAddress), Duty>,
}

/// What makes an endpoint the same over reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    /// Its backend's name; empty where it has none.
    backend: String,
    address: BackendAddress,
    /// Backends without a name can have one address and differ: how many of that kind come before it in the config.
    nth: usize,
}

#[derive(Debug)]
struct Made {
    settings: Arc<config::Backend>,
    endpoint: Weak<Endpoint>,
}

/// Makes the backends of one config.
pub(super) struct Making<'k> {
    known: &'k mut Known,
    sticky: &'k StickyKey,
    /// The kinds that there are of an address.
    kinds: HashMap<(String, BackendAddress), Vec<Arc<config::Backend>>>,
}

/// An address that a config leads to.
struct Spot {
    address: BackendAddress,
    weight: u16,
    /// Those that are greater stand in for the others: the operator's word, the service's, the address's family.
    rank: (bool, usize, u8),
    drain: bool,
}

impl Known {
    pub(super) fn making<'k>(&'k mut self, sticky: &'k StickyKey) -> Making<'k> {
        Making { known: self, sticky, kinds: HashMap::new() }
    }

    pub(super) fn forget_unused(&mut self) {
        self.endpoints.retain(|_, made| {
            made.retain(|made| made.endpoint.strong_count() > 0);
            !made.is_empty()
        });
        self.backends.retain(|_, backend| backend.strong_count() > 0);
        self.generations.retain(|backends| is_in_use(backends));
        self.transports.retain(|_, transport| transport.strong_count() > 0);
        self.follows.retain(|_, name| name.strong_count() > 0);
    }

    /// Notes the backends of a config.
    pub(super) fn made(&mut self, backends: &[Arc<Backend>]) {
        self.generations.push(backends.iter().map(Arc::downgrade).collect());
        self.times_made += 1;
    }

    /// Changes with every config whose backends are made.
    pub(super) fn times_made(&self) -> u64 {
        self.times_made
    }

    /// The endpoints of the config in force, each once: the latest that was not given up again. Those of earlier ones
    /// finish what they have, and nobody needs to know how they are.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let generation = self.generations.iter().rfind(|backends| is_in_use(backends));
        let backends: Vec<_> = generation.into_iter().flatten().filter_map(Weak::upgrade).collect();
        let endpoints = backends.iter().flat_map(|backend| &backend.members).map(|member| &member.endpoint);
        let mut seen = HashSet::new();
        endpoints.filter(|endpoint| seen.insert(endpoint.standing.id)).cloned().collect()
    }

    /// All transports in use.
    pub(super) fn transports(&self) -> Vec<Arc<Transport>> {
        self.transports.values().filter_map(Weak::upgrade).collect()
    }

    /// All names in use.
    pub(super) fn subjects(&self) -> HashSet<Subject> {
        self.follows.values().filter_map(Weak::upgrade).map(|subject| (*subject).clone()).collect()
    }

    /// Whether some backend's endpoints depend on what is found for this name.
    pub(super) fn has_endpoints_of(&self, subject: &Subject) -> bool {
        let mut in_use = self.backends.iter().filter(|(_, backend)| backend.strong_count() > 0);
        in_use.any(|(config, _)| {
            config.endpoints.iter().any(|written| match (&written.address, subject) {
                (BackendAddress::Service(name), Subject::Service(other)) => name == other,
                (BackendAddress::Name(name, _), Subject::Host(other)) => {
                    name == other && written.addresses == Addresses::Each
                }
                _ => false,
            })
        })
    }

    /// Notes what an operator has said of an endpoint, and of its name where he said `words` of that.
    pub(super) fn set_duty(&mut self, backend: &str, address: &BackendAddress, words: &str, duty: Duty) {
        let mut note = |address: BackendAddress| self.duties.insert((backend.to_owned(), address), duty);
        note(address.clone());
        if let BackendAddress::At(name, socket) = address {
            let name = BackendAddress::Name(name.clone(), socket.port());
            if name.to_string() == words {
                note(name);
            }
        }
    }

    fn duty(&self, backend: &str, address: &BackendAddress) -> Option<Duty> {
        let noted = |address: BackendAddress| self.duties.get(&(backend.to_owned(), address)).copied();
        noted(address.clone()).or_else(|| match address {
            BackendAddress::At(name, socket) => noted(BackendAddress::Name(name.clone(), socket.port())),
            _ => None,
        })
    }

    fn follow(&mut self, subject: Subject) -> Arc<Subject> {
        let known = self.follows.get(&subject).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let held = Arc::new(subject.clone());
            self.follows.insert(subject, Arc::downgrade(&held));
            held
        })
    }

    fn transport(&mut self, settings: &BackendTls) -> Result<Arc<Transport>, TransportError> {
        if let Some(transport) = self.transports.get(settings).and_then(Weak::upgrade) {
            return Ok(transport);
        }
        let transport = Arc::new(Transport::new(settings.clone())?);
        self.transports.insert(settings.clone(), Arc::downgrade(&transport));
        Ok(transport)
    }

    /// Where an endpoint of the config is, or the endpoints that its name leads to.
    fn spots(&mut self, written: &config::Endpoint, spots: &mut Vec<Spot>, follows: &mut Vec<Arc<Subject>>) {
        let drain = written.drain || written.weight == 0;
        let mut add = |address, weight, order, family| {
            spots.push(Spot { address, weight, rank: (written.backup, order, family), drain });
        };
        match &written.address {
            BackendAddress::Service(name) => {
                follows.push(self.follow(Subject::Service(name.clone())));
                let targets = match self.found.services.get(name).cloned() {
                    Some(Ok(targets)) => targets,
                    // One that takes no connection, so that there is something that says why.
                    Some(Err(_)) => {
                        add(written.address.clone(), written.weight, 0, 0);
                        return;
                    }
                    None => return,
                };
                let priorities: BTreeSet<u16> = targets.iter().map(|target| target.priority).collect();
                for Target { priority, weight, host, port } in targets {
                    follows.push(self.follow(Subject::Host(host.clone())));
                    // A weight of 0 is the smallest there is (RFC 2782).
                    let weight = weight.max(1).saturating_mul(written.weight.max(1));
                    add(BackendAddress::Name(host, port), weight, priorities.range(..priority).count(), 0);
                }
            }
            BackendAddress::Name(name, port) => {
                follows.push(self.follow(Subject::Host(name.clone())));
                let found = self.found.hosts.get(name).and_then(|found| found.as_ref().as_ref().ok());
                let each = found.filter(|_| written.addresses == Addresses::Each).map(|found| spread(found));
                match each.filter(|each| !each.is_empty()) {
                    Some(each) => {
                        for (ip, family) in each {
                            add(BackendAddress::At(name.clone(), (ip, *port).into()), written.weight, 0, family);
                        }
                    }
                    None => add(written.address.clone(), written.weight, 0, 0),
                }
            }
            address => add(address.clone(), written.weight, 0, 0),
        }
    }
}

impl Making<'_> {
    /// The backend that a config means. Nothing changes for those that are in force.
    pub(super) fn backend(&mut self, config: &Arc<config::Backend>) -> Result<Arc<Backend>, TransportError> {
        let transport = if config.protocol.is_tls() { Some(self.known.transport(&config.tls)?) } else { None };
        let (mut spots, mut follows) = (Vec::new(), Vec::new());
        for written in &config.endpoints {
            self.known.spots(written, &mut spots, &mut follows);
        }
        let settings = Arc::new(of_endpoints(config));
        let ranks: BTreeSet<_> = spots.iter().map(|spot| spot.rank).collect();
        let mut members = Vec::new();
        for Spot { address, weight, rank, drain } in spots {
            let endpoint = self.endpoint(&settings, address, transport.as_ref());
            let tier = u16::try_from(ranks.range(..rank).count()).unwrap_or(u16::MAX);
            members.push(Member { endpoint, weight, tier, drain });
        }
        let mut backend = Backend::new(&config.name, members, config.balance.clone())
            .retrying(config.retry.clone())
            .labelled(&config.label())
            .following(follows);
        if let Some(sticky) = &config.sticky {
            backend = backend.sticking(sticky, self.sticky);
        }
        if let Some(before) = self.known.backends.get(config).and_then(Weak::upgrade) {
            backend = backend.in_place_of(&before);
        }
        let backend = Arc::new(backend);
        self.known.backends.insert(Arc::clone(config), Arc::downgrade(&backend));
        Ok(backend)
    }

    fn endpoint(
        &mut self,
        settings: &Arc<config::Backend>,
        address: BackendAddress,
        transport: Option<&Arc<Transport>>,
    ) -> Arc<Endpoint> {
        let kinds = self.kinds.entry((settings.name.clone(), address.clone())).or_default();
        let nth = kinds.iter().position(|kind| kind == settings).unwrap_or_else(|| {
            kinds.push(Arc::clone(settings));
            kinds.len() - 1
        });
        let identity = Identity { backend: settings.name.clone(), address, nth };
        let made = self.known.endpoints.entry(identity.clone()).or_default();
        let before = latest(made);
        if let Some(before) = &before
            && made.last().is_some_and(|made| made.settings == *settings && made.endpoint.strong_count() > 0)
        {
            return Arc::clone(before);
        }
        let address = identity.address.clone();
        let mut endpoint = Endpoint::new(address.clone(), transport.cloned(), settings.proxy_protocol)
            .judged_by(settings.check.clone(), settings.ejection.clone())
            .limited_to(settings.max_connections, &settings.queue)
            .starting_over(settings.slow_start);
        match before {
            Some(before) => endpoint = endpoint.in_place_of(&before),
            None => {
                if let Some(duty) = self.known.duty(&settings.name, &address) {
                    endpoint.set_duty(duty);
                }
                if let Some(addresses) = self.known.found.addresses(&address) {
                    endpoint.standing.lead(&addresses);
                }
            }
        }
        let endpoint = Arc::new(endpoint);
        endpoint.rule();
        let made = Made { settings: Arc::clone(settings), endpoint: Arc::downgrade(&endpoint) };
        self.known.endpoints.entry(identity).or_default().push(made);
        endpoint
    }
}

/// What a config says of its endpoints: how requests are shared out among them is none of theirs.
fn of_endpoints(config: &config::Backend) -> config::Backend {
    config::Backend {
        endpoints: Vec::new(),
        balance: config::Balance::default(),
        sticky: None,
        retry: config::Retry::default(),
        ..config.clone()
    }
}

fn is_in_use(backends: &[Weak<Backend>]) -> bool {
    backends.is_empty() || backends.iter().any(|backend| backend.strong_count() > 0)
}

fn latest(made: &[Made]) -> Option<Arc<Endpoint>> {
    made.iter().rev().find_map(|made| made.endpoint.upgrade())
}
