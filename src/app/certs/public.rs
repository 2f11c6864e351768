//! Which names a public CA issues for.

use crate::names::HostPattern;

/// Whether the name can be looked up by everybody.
pub(super) fn is_public(pattern: &HostPattern) -> bool {
    let name = pattern.base().as_str();
    // RFC 6761, RFC 6762, RFC 7686, RFC 8375 and what ICANN reserved for private use.
    const SPECIAL: [&str; 11] =
        ["localhost", "local", "test", "example", "invalid", "onion", "internal", "home.arpa", "lan", "home", "corp"];
    let special = |end: &str| name == end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    name.contains('.') && !SPECIAL.iter().any(|end| special(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_private_networks_are_told_apart() {
        for (name, public) in [
            ("example.com", true),
            ("*.example.com", true),
            ("localhost", false),
            ("a.localhost", false),
            ("nas.local", false),
            ("mylocal.com", true),
            ("x.home.arpa", false),
            ("intranet", false),
        ] {
            assert_eq!(is_public(&name.parse().expect("a name")), public, "{name}");
        }
    }
}
