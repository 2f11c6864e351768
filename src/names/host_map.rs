//! [`HostMap`]: the one matcher, exact → wildcard → default.

use std::collections::HashMap;

use super::hostname::parent;
use super::{HostPattern, Hostname};

/// Values by host. A look-up tries the exact name, then the wildcard one label up, then the default.
#[derive(Clone, Debug)]
pub struct HostMap<T> {
    exact: HashMap<Hostname, T>,
    wildcard: HashMap<Hostname, T>,
    default: Option<T>,
}

impl<T> HostMap<T> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), default: None }
    }

    /// Puts `value` under `pattern` and returns what was there.
    pub fn insert(&mut self, pattern: HostPattern, value: T) -> Option<T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.insert(name, value),
            HostPattern::Wildcard(base) => self.wildcard.insert(base, value),
        }
    }

    /// Sets what answers where nothing else matches, and returns what did before.
    pub fn set_default(&mut self, value: T) -> Option<T> {
        self.default.replace(value)
    }

    /// The value under exactly this pattern.
    #[must_use]
    pub fn get(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name.as_str()),
            HostPattern::Wildcard(base) => self.wildcard.get(base.as_str()),
        }
    }

    /// The value that serves the canonical `host`, or the default.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&T> {
        self.find_named(host).or(self.default.as_ref())
    }

    /// As [`HostMap::find`], but never the default.
    #[must_use]
    pub fn find_named(&self, host: &str) -> Option<&T> {
        self.exact.get(host).or_else(|| {
            if self.wildcard.is_empty() { None } else { parent(host).and_then(|base| self.wildcard.get(base)) }
        })
    }

    /// The default.
    #[must_use]
    pub fn default_value(&self) -> Option<&T> {
        self.default.as_ref()
    }

    /// Every value, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values()).chain(self.default.as_ref())
    }
}

impl<T: Default> HostMap<T> {
    /// The value under exactly this pattern, to change it; a default one is put there first where there is none.
    pub fn entry(&mut self, pattern: HostPattern) -> &mut T {
        match pattern {
            HostPattern::Exact(name) => self.exact.entry(name).or_default(),
            HostPattern::Wildcard(base) => self.wildcard.entry(base).or_default(),
        }
    }

    /// As [`HostMap::entry`], for what answers where nothing else matches.
    pub fn default_mut(&mut self) -> &mut T {
        self.default.get_or_insert_default()
    }
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_wins_over_wildcard_over_default() {
        let mut map = HostMap::new();
        for (pattern, value) in [("*.example.com", 1), ("a.example.com", 2), ("example.com", 3), ("192.0.2.1", 4)] {
            map.insert(pattern.parse().expect("a pattern"), value);
        }
        assert_eq!(map.find("a.example.com"), Some(&2));
        assert_eq!(map.find("b.example.com"), Some(&1));
        assert_eq!(map.find("example.com"), Some(&3));
        assert_eq!(map.find("192.0.2.1"), Some(&4));
        assert_eq!(map.find("a.b.example.com"), None);
        map.set_default(9);
        assert_eq!(map.find("a.b.example.com"), Some(&9));
        assert_eq!(map.find_named("a.b.example.com"), None);
    }
}
