//! [`Table`]: what is served, by name.
//!
//! Readers take no lock. Writers take turns, and copy only the small shard that a name falls into, so a change
//! costs in proportion to the names that it touches.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::certificate::SignatureScheme;
use super::{Certificate, Disabled};
use crate::config::CertificateId;
use crate::names::{HostMap, HostPattern, Hostname};

/// With a million names a shard holds a thousand, and copying one takes tens of microseconds.
const SHARDS: usize = 1024;

/// What is served. Shared by all workers as an `Arc`.
pub struct Table {
    names: Vec<ArcSwap<Names>>,
    ids: Vec<ArcSwap<HashMap<CertificateId, Arc<Certificate>>>>,
    pins: ArcSwap<HostMap<Option<CertificateId>>>,
    disabled: Arc<Disabled>,
    hasher: RandomState,
    writer: Mutex<()>,
    version: watch::Sender<u64>,
}

/// One shard. Wildcards are kept by their base name.
#[derive(Clone, Default)]
struct Names {
    exact: HashMap<Hostname, Candidates>,
    wildcard: HashMap<Hostname, Candidates>,
}

/// The certificates for one name: nearly always one, at most a handful.
type Candidates = Arc<[Arc<Certificate>]>;

/// What a handshake knows when it asks for a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The canonical name that the client asked for; none: no SNI, or an address.
    pub sni: Option<&'a str>,
    /// The address that the client dialled.
    pub local: IpAddr,
    /// What the client can verify, less what its cipher suites rule out.
    pub schemes: &'a [SignatureScheme],
    /// The listener's default certificate.
    pub default: Option<&'a CertificateId>,
    /// Unix seconds.
    pub now: i64,
}

/// The table's answer.
#[derive(Clone, Debug)]
pub enum Choice {
    /// A certificate for the name, or for the address where no name was asked for.
    Named(Arc<Certificate>),
    /// The listener's default, for want of anything better.
    Default(Arc<Certificate>),
    /// Nothing for this SNI, and the listener has no default: `unrecognized_name` (RFC 6066 §3).
    UnknownName,
    /// The client asked for no name, and there is nothing for the address and no default.
    Nothing,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            names: std::iter::repeat_with(Default::default).take(SHARDS).collect(),
            ids: std::iter::repeat_with(Default::default).take(SHARDS).collect(),
            pins: ArcSwap::from_pointee(HostMap::new()),
            disabled: Arc::default(),
            hasher: RandomState::new(),
            writer: Mutex::new(()),
            version: watch::Sender::new(0),
        }
    }

    /// Serves `certificate` from the next handshake on, in place of the one with the same id, which is returned.
    pub fn insert(&self, certificate: impl Into<Arc<Certificate>>) -> Option<Arc<Certificate>> {
        self.change(&[], vec![certificate.into()]).pop()
    }

    /// As [`Table::insert`] for many: each shard is copied once for all of them.
    pub fn extend(&self, certificates: impl IntoIterator<Item = Arc<Certificate>>) {
        self.change(&[], certificates.into_iter().collect());
    }

    /// Serves the certificate no longer, and returns it.
    pub fn remove(&self, id: &CertificateId) -> Option<Arc<Certificate>> {
        self.change(std::slice::from_ref(id), Vec::new()).pop()
    }

    /// The certificate with this id.
    #[must_use]
    pub fn get(&self, id: &CertificateId) -> Option<Arc<Certificate>> {
        self.ids[self.shard(id.as_str())].load().get(id).map(Arc::clone)
    }

    /// All that is served, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Certificate>> {
        let mut all: Vec<_> =
            self.ids.iter().flat_map(|shard| shard.load().values().cloned().collect::<Vec<_>>()).collect();
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// Whether a certificate is there for the canonical `host`, by its name or a wildcard.
    #[must_use]
    pub fn has(&self, host: &str) -> bool {
        self.names[self.shard(host)].load().exact.contains_key(host)
            || host
                .split_once('.')
                .is_some_and(|(_, base)| self.names[self.shard(base)].load().wildcard.contains_key(base))
    }

    /// Every certificate for the canonical `host`, by its exact name or the wildcard one label up.
    #[must_use]
    pub fn all_for(&self, host: &str) -> Vec<Arc<Certificate>> {
        let exact = self.names[self.shard(host)].load();
        let mut all = exact.exact.get(host).map(|all| all.to_vec()).unwrap_or_default();
        if let Some((_, base)) = host.split_once('.')
            && let Some(wildcard) = self.names[self.shard(base)].load().wildcard.get(base)
        {
            all.extend(wildcard.iter().cloned());
        }
        all
    }

    /// Hosts whose routes name the certificate that is to be served for them, whatever else there is; and hosts whose
    /// routes do not, below wildcards whose routes do.
    pub fn set_pins(&self, pins: HostMap<Option<CertificateId>>) {
        self.pins.store(Arc::new(pins));
        self.version.send_modify(|version| *version += 1);
    }

    /// The names whose HTTPS is switched off: [`Table::choose`] answers them with [`Choice::UnknownName`].
    #[must_use]
    pub fn disabled(&self) -> &Arc<Disabled> {
        &self.disabled
    }

    /// The id that a route names for the canonical `host`.
    #[must_use]
    pub fn pin(&self, host: &str) -> Option<CertificateId> {
        self.pins.load().find(host).cloned().flatten()
    }

    /// A counter that goes up with every change.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The certificate for a handshake.
    ///
    /// For a name: the pinned one, else the best of those under the exact name and under the wildcard one label
    /// up. One that the client can verify and that is valid now goes before one that is not; then the exact name
    /// before the wildcard, one that a CA vouches for before a self-signed one, ECDSA before RSA, the newest,
    /// and last the lowest id, so that the answer is always the same.
    #[must_use]
    pub fn choose(&self, ask: &Ask<'_>) -> Choice {
        if ask.sni.is_some_and(|sni| self.disabled.contains(sni)) {
            return Choice::UnknownName;
        }
        self.meant(ask)
    }

    /// The same, were no name's HTTPS switched off.
    #[must_use]
    pub fn meant(&self, ask: &Ask<'_>) -> Choice {
        let Some(sni) = ask.sni else {
            let local = Hostname::from(ask.local.to_canonical());
            return match self.best(local.as_str(), ask) {
                Some(certificate) => Choice::Named(certificate),
                None => self.default(ask).map_or(Choice::Nothing, Choice::Default),
            };
        };
        match self.pinned(sni).or_else(|| self.best(sni, ask)) {
            Some(certificate) => Choice::Named(certificate),
            None => self.default(ask).map_or(Choice::UnknownName, Choice::Default),
        }
    }

    fn pinned(&self, host: &str) -> Option<Arc<Certificate>> {
        self.get(self.pins.load().find(host)?.as_ref()?)
    }

    fn default(&self, ask: &Ask<'_>) -> Option<Arc<Certificate>> {
        self.get(ask.default?)
    }

    fn best(&self, host: &str, ask: &Ask<'_>) -> Option<Arc<Certificate>> {
        let exact = self.names[self.shard(host)].load();
        let base = host.split_once('.').map(|(_, base)| base);
        let wildcard = base.map(|base| (self.names[self.shard(base)].load(), base));
        let exact = exact.exact.get(host).into_iter().flat_map(|all| all.iter()).map(|c| (c, true));
        let wildcard = wildcard.iter().filter_map(|(shard, base)| shard.wildcard.get(*base));
        let all = exact.chain(wildcard.flat_map(|all| all.iter()).map(|c| (c, false)));
        all.max_by_key(|(certificate, exact)| rank(certificate, *exact, ask))
            .map(|(certificate, _)| Arc::clone(certificate))
    }

    fn shard(&self, key: &str) -> usize {
        // The low bits of a keyed hash are as good as any.
        (self.hasher.hash_one(key) as usize) % SHARDS
    }

    /// Takes out, puts in, publishes; returns what was replaced or taken out.
    fn change(&self, out: &[CertificateId], new: Vec<Arc<Certificate>>) -> Vec<Arc<Certificate>> {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut draft = Draft { table: self, names: BTreeMap::new(), ids: BTreeMap::new() };
        let mut old: Vec<_> = out.iter().filter_map(|id| draft.remove(id)).collect();
        old.extend(new.into_iter().filter_map(|certificate| draft.insert(certificate)));
        draft.publish();
        self.version.send_modify(|version| *version += 1);
        old
    }
}

/// What makes one certificate better than another; the greatest is served.
fn rank<'a>(certificate: &'a Certificate, exact: bool, ask: &Ask<'_>) -> impl Ord + use<'a> {
    (
        certificate.allowed_by(ask.schemes),
        certificate.is_valid_at(ask.now),
        exact,
        !certificate.is_self_signed(),
        !matches!(certificate.key_kind(), super::KeyKind::Rsa(_)),
        certificate.not_before(),
        Reverse(certificate.id()),
    )
}

/// The shards that a change touches, as they will be.
struct Draft<'a> {
    table: &'a Table,
    names: BTreeMap<usize, Names>,
    ids: BTreeMap<usize, HashMap<CertificateId, Arc<Certificate>>>,
}

impl Draft<'_> {
    fn insert(&mut self, certificate: Arc<Certificate>) -> Option<Arc<Certificate>> {
        let old = self.ids(certificate.id()).insert(certificate.id().clone(), Arc::clone(&certificate));
        for name in certificate.names() {
            let others = self.candidates(name).filter(|other| other.id() != certificate.id()).collect::<Vec<_>>();
            self.set(name, others.into_iter().chain([Arc::clone(&certificate)]).collect());
        }
        if let Some(old) = &old {
            let gone = old.names().iter().filter(|name| !certificate.names().contains(name));
            gone.for_each(|name| self.take_out(name, old.id()));
        }
        old
    }

    fn remove(&mut self, id: &CertificateId) -> Option<Arc<Certificate>> {
        let old = self.ids(id).remove(id)?;
        old.names().iter().for_each(|name| self.take_out(name, id));
        Some(old)
    }

    fn take_out(&mut self, name: &HostPattern, id: &CertificateId) {
        let others = self.candidates(name).filter(|other| other.id() != id).collect();
        self.set(name, others);
    }

    fn candidates(&mut self, name: &HostPattern) -> impl Iterator<Item = Arc<Certificate>> + use<> {
        let shard = self.names(name);
        let candidates = match name {
            HostPattern::Exact(host) => shard.exact.get(host),
            HostPattern::Wildcard(base) => shard.wildcard.get(base),
        };
        candidates.map(|all| all.to_vec()).unwrap_or_default().into_iter()
    }

    fn set(&mut self, name: &HostPattern, candidates: Vec<Arc<Certificate>>) {
        let shard = self.names(name);
        let (map, key) = match name {
            HostPattern::Exact(host) => (&mut shard.exact, host),
            HostPattern::Wildcard(base) => (&mut shard.wildcard, base),
        };
        if candidates.is_empty() {
            map.remove(key);
        } else {
            map.insert(key.clone(), candidates.into());
        }
    }

    fn names(&mut self, name: &HostPattern) -> &mut Names {
        let index = self.table.shard(name.base().as_str());
        self.names.entry(index).or_insert_with(|| Names::clone(&self.table.names[index].load()))
    }

    fn ids(&mut self, id: &CertificateId) -> &mut HashMap<CertificateId, Arc<Certificate>> {
        let index = self.table.shard(id.as_str());
        self.ids.entry(index).or_insert_with(|| HashMap::clone(&self.table.ids[index].load()))
    }

    fn publish(self) {
        for (index, names) in self.names {
            self.table.names[index].store(Arc::new(names));
        }
        for (index, ids) in self.ids {
            self.table.ids[index].store(Arc::new(ids));
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates: usize = self.ids.iter().map(|shard| shard.load().len()).sum();
        f.debug_struct("Table").field("certificates", &certificates).finish_non_exhaustive()
    }
}

impl Choice {
    /// The certificate, where there is one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        match self {
            Self::Named(certificate) | Self::Default(certificate) => Some(certificate),
            Self::UnknownName | Self::Nothing => None,
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
