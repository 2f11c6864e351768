//! What was found out about names: [`Found`] in the control plane, [`Resolved`] at an endpoint for all workers, and which
//! endpoints a name's addresses are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::{BackendAddress, Target};
use crate::names::Hostname;

/// A name that is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Host(Hostname),
    Service(Hostname),
}

/// What was found out about names.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) hosts: HashMap<Hostname, Arc<Addresses>>,
    pub(super) services: HashMap<Hostname, Result<Vec<Target>, String>>,
}

/// A name's addresses, or why there are none.
pub(super) type Addresses = Result<Vec<IpAddr>, String>;

/// The addresses of one endpoint's name.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    current: ArcSwapOption<Addresses>,
    /// Whether these are none. Beside them, as every request that may choose asks.
    nowhere: AtomicBool,
    /// Wakes those who came before the first answer.
    first: Notify,
}

impl Resolved {
    pub(super) fn publish(&self, addresses: Arc<Addresses>) {
        self.nowhere.store(addresses.is_err(), Ordering::Relaxed);
        self.current.store(Some(addresses));
        self.first.notify_waiters();
    }

    /// The addresses; waits for the first answer.
    pub(super) async fn wait(&self) -> Arc<Addresses> {
        loop {
            let first = self.first.notified();
            if let Some(addresses) = &*self.current.load() {
                return Arc::clone(addresses);
            }
            first.await;
        }
    }

    /// Those that are known now.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.current.load().as_ref().and_then(|addresses| addresses.as_ref().as_ref().ok().cloned()).unwrap_or_default()
    }

    /// Whether the name is known to lead nowhere.
    pub(super) fn leads_nowhere(&self) -> bool {
        self.nowhere.load(Ordering::Relaxed)
    }

    /// Why it does.
    pub(super) fn error(&self) -> Option<String> {
        self.current.load().as_ref().and_then(|addresses| addresses.as_ref().as_ref().err().cloned())
    }

    /// Whether the name still leads to this address, as far as is known.
    pub(super) fn leads_to(&self, ip: IpAddr) -> bool {
        self.current.load().as_ref().is_none_or(|addresses| match &**addresses {
            Ok(list) => list.contains(&ip),
            Err(_) => true,
        })
    }
}

impl Found {
    /// Whether the name was looked up, with success or without.
    pub(super) fn has(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Host(name) => self.hosts.contains_key(name),
            Subject::Service(name) => self.services.contains_key(name),
        }
    }

    /// Where an endpoint's name leads, or why it leads nowhere, as far as that is known.
    pub(super) fn addresses(&self, endpoint: &BackendAddress) -> Option<Arc<Addresses>> {
        match endpoint {
            BackendAddress::Name(name, _) => self.hosts.get(name).cloned(),
            // Its targets are endpoints of their own.
            BackendAddress::Service(name) => Some(Arc::new(Err(self.services.get(name)?.as_ref().err()?.clone()))),
            _ => None,
        }
    }

    /// Whether anything was found for the name before.
    pub(super) fn leads_somewhere(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Host(name) => self.hosts.get(name).is_some_and(|addresses| addresses.is_ok()),
            Subject::Service(name) => self.services.get(name).is_some_and(|targets| targets.is_ok()),
        }
    }
}

/// The endpoints that a name's addresses are, and which of them stand in for the others (1): those of IPv4 where there
/// are some of IPv6 too, for the same machines have both. None where all addresses are one endpoint: there is none, or
/// one of each family, which is one machine.
pub(super) fn spread(addresses: &[IpAddr]) -> Vec<(IpAddr, u8)> {
    let six = addresses.iter().filter(|ip| ip.is_ipv6()).count();
    if (six, addresses.len()) == (1, 2) {
        return Vec::new();
    }
    addresses.iter().map(|ip| (*ip, u8::from(six > 0 && ip.is_ipv4()))).collect()
}

/// Those addresses that this machine has a route to, as most have none for IPv6; all of them where it has none at all.
/// In their order: DNS shuffles them, and a change of order alone is none.
pub(super) fn in_reach(mut addresses: Vec<IpAddr>, has_route: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.iter().any(|ip| has_route(*ip)) {
        addresses.retain(|ip| has_route(*ip));
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().expect("an address")).collect()
    }

    #[test]
    fn each_address_is_an_endpoint_but_one_of_each_family_is_one_machine() {
        let of = |list: &[&str]| spread(&ips(list)).into_iter().map(|(_, tier)| tier).collect::<Vec<_>>();
        assert_eq!(of(&["10.0.0.5"]), [0]);
        assert_eq!(of(&["10.0.0.5", "10.0.0.6"]), [0, 0]);
        assert_eq!(of(&["fd00::5", "fd00::6"]), [0, 0]);
        assert!(of(&["10.0.0.5", "fd00::5"]).is_empty() && of(&[]).is_empty());
        assert_eq!(of(&["10.0.0.5", "10.0.0.6", "fd00::5"]), [1, 1, 0]);
    }

    #[test]
    fn addresses_without_a_route_are_left_out_where_there_are_others() {
        let all = ips(&["fd00::5", "10.0.0.6", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(in_reach(all.clone(), |ip| ip.is_ipv4()), ips(&["10.0.0.5", "10.0.0.6"]));
        assert_eq!(in_reach(all, |_| false), ips(&["10.0.0.5", "10.0.0.6", "fd00::5"]));
    }
}
