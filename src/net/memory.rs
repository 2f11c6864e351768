//! How much memory this process may have, and what that leaves for clients.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// Kept for what is not a client's connection: the program, certificates, routes, buffers that threads share.
const RESERVED: u64 = 64 << 20;
/// What a connection is reckoned with, requests under way on it, their backend connections and the kernel's buffers
/// for them included. An idle one takes a tenth of it.
const CONNECTION: u64 = 256 << 10;
/// What a request over HTTP/2 is reckoned with: an answer or an upload that nobody takes, and its part of the windows of
/// its connection. Most take a twentieth of it.
const REQUEST: u64 = 320 << 10;
const CGROUPS: &str = "/sys/fs/cgroup";

/// The least of the limits that this process has by its cgroups (version 2, those above included), by RLIMIT_AS and by
/// RLIMIT_DATA, in bytes; none: there is no limit.
#[must_use]
pub fn limit() -> Option<u64> {
    let own = [Resource::As, Resource::Data].into_iter().filter_map(|resource| getrlimit(resource).current);
    let named = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    own.chain(cgroup_limit(Path::new(CGROUPS), &named)).min()
}

/// How many client connections so much memory is enough for.
#[must_use]
pub fn connections_within(bytes: u64) -> usize {
    let left = bytes.saturating_sub(RESERVED).max(bytes / 4);
    usize::try_from(left / CONNECTION).unwrap_or(usize::MAX).max(16)
}

/// How many requests at once, over HTTP/2, so much memory is enough for. Over HTTP/1.1 there is one a connection.
#[must_use]
pub fn requests_within(bytes: u64) -> usize {
    let left = bytes.saturating_sub(RESERVED).max(bytes / 4);
    usize::try_from(left / REQUEST).unwrap_or(usize::MAX).max(16)
}

/// The least limit on the way from the cgroup that `/proc/self/cgroup` names up to `root`.
fn cgroup_limit(root: &Path, named: &str) -> Option<u64> {
    let path = named.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = Path::new(path.trim_start_matches('/'));
    below
        .ancestors()
        .filter_map(|folder| fs::read_to_string(root.join(folder).join("memory.max")).ok())
        .filter_map(|text| text.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("system.slice/doorward.service");
        fs::create_dir_all(&inner).expect("folders");
        let limit = |named: &str| cgroup_limit(root.path(), named);
        assert_eq!(limit("0::/system.slice/doorward.service\n"), None);
        fs::write(inner.join("memory.max"), "max\n").expect("a file");
        fs::write(root.path().join("system.slice/memory.max"), "1073741824\n").expect("a file");
        assert_eq!(limit("1:cpu:/x\n0::/system.slice/doorward.service\n"), Some(1 << 30));
        fs::write(inner.join("memory.max"), "536870912\n").expect("a file");
        assert_eq!(limit("0::/system.slice/doorward.service\n"), Some(1 << 29));
        assert_eq!(limit("4:memory:/x\n"), None);
    }

    #[test]
    fn something_is_left_for_everything() {
        for (mebibytes, connections) in [(1, 16), (64, 64), (128, 256), (512, 1792), (4096, 16_128)] {
            assert_eq!(connections_within(mebibytes << 20), connections);
            let requests = requests_within(mebibytes << 20);
            assert!((16..=connections).contains(&requests) && requests >= connections / 2, "{requests}");
        }
    }
}
