//! Properties of names and routes, for any input, against a reference that is slow and plain.

use std::net::SocketAddr;
use std::sync::Arc;

use doorward::backend::Backend;
use doorward::config::{self, Balance, RouteHost};
use doorward::names::{HostMap, HostPattern, Hostname};
use doorward::route::Table;
use proptest::prelude::*;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 443);

/// Names from few labels, so that they meet.
fn host() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(&["a", "b", "xn--c", "test"][..]), 1..5)
        .prop_map(|labels| labels.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    (host(), any::<bool>()).prop_map(|(host, wild)| if wild { format!("*.{host}") } else { host })
}

/// RFC 6125 §6.4.3, by the letter: a wildcard is one whole label, and never none.
fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len() && pattern.iter().zip(&host).all(|(p, h)| *p == "*" || p == h)
}

/// The pattern that decides: exact, then the wildcard.
fn best<'a>(patterns: &'a [String], host: &str) -> Option<&'a String> {
    patterns.iter().find(|p| *p == host).or_else(|| patterns.iter().find(|p| matches(p, host)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wildcard_is_exactly_one_label(pattern in pattern(), host in host()) {
        let parsed = HostPattern::parse(&pattern).expect("a pattern");
        prop_assert_eq!(parsed.matches(&host), matches(&pattern, &host));
    }

    #[test]
    fn exact_wins_over_wildcard(patterns in proptest::collection::btree_set(pattern(), 0..8), host in host()) {
        let patterns: Vec<String> = patterns.into_iter().collect();
        let mut map = HostMap::new();
        for pattern in &patterns {
            map.insert(HostPattern::parse(pattern).expect("a pattern"), pattern.clone());
        }
        prop_assert_eq!(map.find(&host), best(&patterns, &host));
    }

    #[test]
    fn names_have_one_canonical_form(text in "[ -~]{0,40}|[a-zA-Z0-9._-]{1,70}|[0-9.]{1,20}|[0-9a-f:\\[\\]]{1,40}") {
        if let Ok(name) = Hostname::parse(&text) {
            prop_assert_eq!(Hostname::parse(name.as_str()), Ok(name.clone()), "of itself");
            prop_assert_eq!(Hostname::parse(&text.to_ascii_uppercase()), Ok(name.clone()), "of any case");
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.:".contains(&b)));
            prop_assert!(!name.as_str().ends_with('.') && !name.as_str().is_empty());
            if !text.ends_with('.') && name.ip().is_none() {
                prop_assert_eq!(Hostname::parse(&format!("{text}.")), Ok(name), "with a dot at the end");
            }
        }
    }

    #[test]
    fn a_request_goes_to_the_longest_path_of_the_best_host(
        routes in proptest::collection::btree_set((pattern(), "(/[ab]{1,2}){0,3}"), 1..10),
        host in host(),
        path in "(/[abc]{1,2}){1,4}",
    ) {
        let routes: Vec<(String, String)> =
            routes.into_iter().map(|(host, path)| (host, if path.is_empty() { "/".to_owned() } else { path })).collect();
        let configs: Vec<_> = routes.iter().enumerate().map(|(n, (host, path))| {
            let host = RouteHost::Pattern(host.parse().expect("a host"));
            Arc::new(config::Route { name: n.to_string(), path: path.clone(), ..config::Route::new(vec![host], []) })
        }).collect();
        let backend = Arc::new(Backend::new("", Vec::new(), Balance::default()));
        let table = Table::new(&configs, &vec![backend; configs.len()]).expect("no conflict");
        let found = table.find(&host, path.as_bytes(), ANY).expect("one way").map(|route| route.index);
        let hosts: Vec<String> = routes.iter().map(|(host, _)| host.clone()).collect();
        let asked = path;
        let segments = |text: &str| text.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let expected = best(&hosts, &host).and_then(|decides| {
            routes.iter().enumerate()
                .filter(|(_, (host, path))| host == decides && segments(&asked).starts_with(&segments(path)))
                .max_by_key(|(_, (_, path))| segments(path).len())
                .map(|(n, _)| n)
        });
        prop_assert_eq!(found, expected);
    }

    /// However an app's path is spelled behind another's, it never goes to that other.
    #[test]
    fn no_path_leads_out_of_its_route(
        paths in proptest::collection::btree_set("(/[ab]{1,2}){1,2}", 1..6),
        decoy in "(/[ab]{1,2}){1,3}",
        meant in "(/[abc]{1,2}){1,3}",
        slash in prop_oneof![Just("/"), Just("%2f"), Just("%2F"), Just("\\"), Just("//"), Just("/./"), Just("%5c"), Just("/;x/")],
        up in prop_oneof![Just(".."), Just("%2e%2e"), Just(".%2E"), Just("%252e%252e"), Just("..;"), Just("..;a=b"), Just("..%3b")],
    ) {
        let configs: Vec<_> = paths.into_iter().chain(["/".to_owned()]).map(|path| {
            let host = RouteHost::Pattern("a.test".parse().expect("a host"));
            Arc::new(config::Route { name: path.clone(), path, ..config::Route::new(vec![host], []) })
        }).collect();
        let backend = Arc::new(Backend::new("", Vec::new(), Balance::default()));
        let table = Table::new(&configs, &vec![backend; configs.len()]).expect("no conflict");
        let find = |path: &str| table.find("a.test", path.as_bytes(), ANY).map(|route| route.map(|route| route.index));
        let back = format!("{slash}{up}").repeat(decoy.matches('/').count());
        let asked = format!("{decoy}{back}{}", meant.replace('/', slash));
        let found = find(&asked);
        prop_assert!(found.is_err() || found == find(&meant), "{asked}: {found:?}, {meant}: {:?}", find(&meant));
    }
}
