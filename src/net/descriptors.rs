//! How many descriptors this process may have, and what that leaves for clients.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Kept for what is not a client's connection: listeners, files, the admin socket, ACME, checks of backends.
const RESERVED: u64 = 64;

/// Raises the soft limit of open files to the hard one, as servers do that need many (the soft one is low for the sake
/// of programs that use select(2)). Returns what holds then; none: there is no limit.
#[must_use]
pub fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    // Where it may not be raised, the old one holds.
    if setrlimit(Resource::Nofile, limit).is_err() { before } else { limit.maximum }
}

/// How many client connections so many descriptors are enough for: each may need another one to a backend.
#[must_use]
pub fn connections_within(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(RESERVED).max(descriptors / 2);
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_left_for_everything() {
        for descriptors in [1, 20, 64, 200, 1024, 20_000, 1 << 20] {
            let connections = connections_within(descriptors) as u64;
            assert!(connections >= 1 && (descriptors < 4 || connections * 2 <= descriptors), "{descriptors}");
        }
        assert_eq!(connections_within(1024), 480);
    }
}
