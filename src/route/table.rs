//! [`Table`]: host, then the longest path prefix.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Route, RouteMode, paths};
use crate::backend::Backend;
use crate::config::{self, RouteHost};
use crate::names::HostMap;

/// All routes of one config.
#[derive(Debug, Default)]
pub struct Table {
    /// Per host, the routes with the longest path first.
    hosts: HostMap<Vec<Arc<Route>>>,
    routes: Vec<Arc<Route>>,
    names: HashMap<Arc<str>, Arc<Route>>,
}

/// Two routes for the same host and path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("routes {first:?} and {second:?} both have host {host} and path {path}")]
pub struct Conflict {
    /// The name of the first route.
    pub first: String,
    /// The name of the second.
    pub second: String,
    /// The host.
    pub host: String,
    /// The path.
    pub path: String,
}

/// A path that leads to one route as it is written, and to another once it is decoded or normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path leads to one route as it is written, and to another once it is decoded or normalised")]
pub struct AmbiguousPath;

impl Table {
    /// Makes the table. `backends` are those of `configs`, one each.
    ///
    /// # Errors
    /// [`Conflict`]: one request could go two ways. A loaded config never has one.
    pub fn new(configs: &[Arc<config::Route>], backends: &[Arc<Backend>]) -> Result<Self, Conflict> {
        debug_assert_eq!(configs.len(), backends.len(), "a backend for each route");
        let mut this = Self::default();
        for (index, (config, backend)) in configs.iter().zip(backends).enumerate() {
            let route = Arc::new(Route::new(index, config, backend));
            for host in &config.hosts {
                this.add(host, &route)?;
            }
            this.names.insert(Arc::clone(&route.name), Arc::clone(&route));
            this.routes.push(route);
        }
        Ok(this)
    }

    /// The route for a canonical host and a path (without its query), on the listener configured with this address.
    ///
    /// # Errors
    /// [`AmbiguousPath`], where an app that decodes or normalises the path would take it for one of another route.
    pub fn find(&self, host: &str, path: &[u8], listener: SocketAddr) -> Result<Option<&Arc<Route>>, AmbiguousPath> {
        let Some(routes) = self.hosts.find(host) else { return Ok(None) };
        let among = |path: &[u8]| routes.iter().find(|route| route.has_path(path) && route.is_on(listener));
        let found = among(path);
        // Where all paths lead to one route they may look as they like.
        let by_path = routes.iter().any(|route| route.path != "/");
        let same = |reading: &[u8]| among(reading).map(Arc::as_ptr) == found.map(Arc::as_ptr);
        if by_path && !paths::is_plain(path, same) { Err(AmbiguousPath) } else { Ok(found) }
    }

    /// The route of a whole connection, for the name that its client asks for (SNI).
    #[must_use]
    pub fn find_raw(&self, sni: &str, listener: SocketAddr) -> Option<&Arc<Route>> {
        self.hosts.find(sni)?.iter().find(|route| route.mode != RouteMode::Http && route.is_on(listener))
    }

    /// The route with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Route>> {
        self.names.get(name)
    }

    /// All routes, in the order of the config.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    fn add(&mut self, host: &RouteHost, route: &Arc<Route>) -> Result<(), Conflict> {
        let list = match host {
            RouteHost::Any => self.hosts.default_mut(),
            RouteHost::Pattern(pattern) => self.hosts.entry(pattern.clone()),
        };
        if let Some(other) = list.iter().find(|other| other.path == route.path && other.shares_a_listener(route)) {
            return Err(Conflict {
                first: other.name.to_string(),
                second: route.name.to_string(),
                host: host.to_string(),
                path: route.path.clone(),
            });
        }
        list.push(Arc::clone(route));
        list.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, hosts: &[&str], path: &str) -> Arc<config::Route> {
        let host = |h: &&str| if *h == "*" { RouteHost::Any } else { RouteHost::Pattern(h.parse().expect("a host")) };
        let route = config::Route::new(hosts.iter().map(host).collect(), []);
        Arc::new(config::Route { name: name.to_owned(), path: path.to_owned(), ..route })
    }

    fn table(routes: &[Arc<config::Route>]) -> Result<Table, Conflict> {
        let backend = Arc::new(Backend::new("", Vec::new(), config::Balance::default()));
        Table::new(routes, &vec![backend; routes.len()])
    }

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 443);

    #[test]
    fn a_route_can_belong_to_some_listeners_alone() {
        let other: SocketAddr = "127.0.0.1:8443".parse().expect("an address");
        let on = |name: &str, mode, listener| {
            Arc::new(config::Route { mode, listeners: vec![listener], ..(*route(name, &["x.test"], "/")).clone() })
        };
        let made = table(&[on("one", RouteMode::Http, ANY), on("two", RouteMode::Passthrough, other)]);
        let made = made.expect("no conflict");
        assert_eq!(made.find("x.test", b"/", ANY).ok().flatten().map(|route| &*route.name), Some("one"));
        assert_eq!(made.find_raw("x.test", other).map(|route| &*route.name), Some("two"));
        assert!(made.find_raw("x.test", ANY).is_none());
        assert!(table(&[on("one", RouteMode::Http, ANY), route("all", &["x.test"], "/")]).is_err());
    }

    #[test]
    fn the_host_decides_then_the_longest_path() {
        let table = table(&[
            route("root", &["example.com"], "/"),
            route("api", &["example.com"], "/api"),
            route("admin", &["example.com"], "/api/admin/"),
            route("wild", &["*.example.com"], "/"),
            route("rest", &["*"], "/"),
            route("only", &["only.example.com"], "/only"),
        ])
        .expect("no conflict");
        for (host, path, name) in [
            ("example.com", "/", Some("root")),
            ("example.com", "/apix", Some("root")),
            ("example.com", "/api", Some("api")),
            ("example.com", "/api/x", Some("api")),
            ("example.com", "/api/admin", Some("api")),
            ("example.com", "/api/admin/x", Some("admin")),
            ("a.example.com", "/x", Some("wild")),
            ("a.b.example.com", "/x", Some("rest")),
            ("only.example.com", "/only/x", Some("only")),
            // The most specific host decides; its missing path is not looked for under another host.
            ("only.example.com", "/", None),
        ] {
            let found = table.find(host, path.as_bytes(), ANY).expect("one way");
            assert_eq!(found.map(|route| &*route.name), name, "{host}{path}");
        }
        for (host, path, ambiguous) in [
            ("example.com", "/api/../x", true),
            ("example.com", "/%61pi", true),
            ("example.com", "/api%2fadmin%2fx", true),
            ("example.com", "/api/x%2fy", false),
            ("example.com", "/x//y/../z;a=b", false),
            ("only.example.com", "/only/..;/x", true),
            ("a.example.com", "/api/../%2e%2e/x", false),
        ] {
            assert_eq!(table.find(host, path.as_bytes(), ANY).is_err(), ambiguous, "{host}{path}");
        }
    }

    #[test]
    fn a_host_and_path_go_one_way() {
        let error = table(&[route("a", &["x.test", "y.test"], "/"), route("b", &["y.test"], "/")]);
        assert_eq!(error.err().map(|e| (e.first, e.second, e.host)), Some(("a".into(), "b".into(), "y.test".into())));
    }
}
