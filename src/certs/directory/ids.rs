//! What the certificates of the folders are called, where two have the same name.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::config::CertificateId;

/// All paths, grouped by the name that they would like to have.
#[derive(Default)]
pub(super) struct Ids {
    groups: HashMap<String, BTreeSet<Place>>,
}

/// Orders the members of a group: the first root, then the least depth, then the path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    root: usize,
    depth: usize,
    path: PathBuf,
}

impl Ids {
    /// Adds `path`, and returns what it is called, and what the one is called that was first until now.
    pub(super) fn add(&mut self, name: &str, path: &Path, roots: &[PathBuf]) -> Vec<(PathBuf, CertificateId)> {
        let group = self.groups.entry(name.to_owned()).or_default();
        let first = group.first().cloned();
        let place = Place::new(path, roots);
        group.insert(place.clone());
        let is_first = group.first() == Some(&place);
        let renamed = first.filter(|first| is_first && *first != place);
        let renamed = renamed.map(|first| (first.id(name, false, roots), first.path)).map(|(id, path)| (path, id));
        renamed.into_iter().chain([(place.path.clone(), place.id(name, is_first, roots))]).collect()
    }

    /// Takes `path` out, and returns what the one is called that is first from now on.
    pub(super) fn remove(&mut self, name: &str, path: &Path, roots: &[PathBuf]) -> Option<(PathBuf, CertificateId)> {
        let group = self.groups.get_mut(name)?;
        group.remove(&Place::new(path, roots));
        let Some(first) = group.first() else {
            self.groups.remove(name);
            return None;
        };
        Some((first.path.clone(), first.id(name, true, roots)))
    }
}

impl Place {
    fn new(path: &Path, roots: &[PathBuf]) -> Self {
        let root = roots.iter().position(|root| path.starts_with(root)).unwrap_or(roots.len());
        Self { root, depth: path.components().count(), path: path.to_owned() }
    }

    /// The first of a group has the name. Any other is called by its path below the first root, where that has a
    /// folder in it and so can be no name, else by all of its path.
    fn id(&self, name: &str, is_first: bool, roots: &[PathBuf]) -> CertificateId {
        if is_first {
            return CertificateId::new(name);
        }
        let below = roots.first().and_then(|root| self.path.strip_prefix(root).ok());
        let below = below.filter(|below| below.components().count() > 1);
        CertificateId::new(below.unwrap_or(&self.path).display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_twice_is_told_apart_by_the_path_always_alike() {
        let roots = [PathBuf::from("/a"), PathBuf::from("/b")];
        let paths = ["/a/site", "/a/site.pem", "/a/team/site", "/b/site", "/b/team/site"];
        let expected = ["site", "/a/site.pem", "team/site", "/b/site", "/b/team/site"];
        let mut backwards = paths;
        backwards.reverse();
        for order in [paths, backwards] {
            let mut ids = Ids::default();
            let mut called = std::collections::BTreeMap::new();
            for path in order {
                called.extend(ids.add("site", Path::new(path), &roots));
            }
            let called: Vec<_> = paths.iter().map(|path| called[Path::new(path)].as_str()).collect();
            assert_eq!(called, expected);
            let next = ids.remove("site", Path::new("/a/site"), &roots).expect("four are left");
            assert_eq!((next.0.to_str(), next.1.as_str()), (Some("/a/site.pem"), "site"));
        }
    }
}
