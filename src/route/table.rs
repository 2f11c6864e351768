//! [`Table`]: host, then the longest path prefix.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Route, RouteMode};
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

impl Table {
    /// Makes the table.
    ///
    /// # Errors
    /// [`Conflict`]: one request could go two ways. A loaded config never has one.
    pub fn new(configs: &[Arc<config::Route>]) -> Result<Self, Conflict> {
        let mut this = Self::default();
        for (index, config) in configs.iter().enumerate() {
            let route = Arc::new(Route::new(index, config));
            for host in &config.hosts {
                this.add(host, &route)?;
            }
            this.names.insert(Arc::clone(&route.name), Arc::clone(&route));
            this.routes.push(route);
        }
        Ok(this)
    }

    /// The route for a canonical host and a path (a query behind it does not matter), on the listener configured
    /// with this address.
    #[must_use]
    pub fn find(&self, host: &str, path: &[u8], listener: SocketAddr) -> Option<&Arc<Route>> {
        self.hosts.find(host)?.iter().find(|route| route.has_path(path) && route.is_on(listener))
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
    use crate::config::{CertificateChoice, HttpsPolicy};

    fn route(name: &str, hosts: &[&str], path: &str) -> Arc<config::Route> {
        let host = |h: &&str| if *h == "*" { RouteHost::Any } else { RouteHost::Pattern(h.parse().expect("a host")) };
        Arc::new(config::Route {
            name: name.to_owned(),
            hosts: hosts.iter().map(host).collect(),
            mode: RouteMode::Http,
            listeners: Vec::new(),
            path: path.to_owned(),
            backend: Vec::new(),
            https: HttpsPolicy::Redirect,
            certificate: CertificateChoice::Directory,
            self_signed_until_issued: false,
            rewrite_host: None,
            forwarded: false,
            tls_headers: false,
        })
    }

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 443);

    #[test]
    fn a_route_can_belong_to_some_listeners_alone() {
        let other: SocketAddr = "127.0.0.1:8443".parse().expect("an address");
        let on = |name: &str, mode, listener| {
            Arc::new(config::Route { mode, listeners: vec![listener], ..(*route(name, &["x.test"], "/")).clone() })
        };
        let table = Table::new(&[on("one", RouteMode::Http, ANY), on("two", RouteMode::Passthrough, other)]);
        let table = table.expect("no conflict");
        assert_eq!(table.find("x.test", b"/", ANY).map(|route| &*route.name), Some("one"));
        assert_eq!(table.find_raw("x.test", other).map(|route| &*route.name), Some("two"));
        assert!(table.find_raw("x.test", ANY).is_none());
        assert!(Table::new(&[on("one", RouteMode::Http, ANY), route("all", &["x.test"], "/")]).is_err());
    }

    #[test]
    fn the_host_decides_then_the_longest_path() {
        let table = Table::new(&[
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
            ("example.com", "/api?x=1", Some("api")),
            ("example.com", "/api/x", Some("api")),
            ("example.com", "/api/admin", Some("api")),
            ("example.com", "/api/admin/x", Some("admin")),
            ("a.example.com", "/x", Some("wild")),
            ("a.b.example.com", "/x", Some("rest")),
            ("only.example.com", "/only/x", Some("only")),
            // The most specific host decides; its missing path is not looked for under another host.
            ("only.example.com", "/", None),
        ] {
            let found = table.find(host, path.as_bytes(), ANY).map(|route| route.name.to_string());
            assert_eq!(found.as_deref(), name, "{host}{path}");
        }
    }

    #[test]
    fn a_host_and_path_go_one_way() {
        let error = Table::new(&[route("a", &["x.test", "y.test"], "/"), route("b", &["y.test"], "/")]);
        assert_eq!(error.err().map(|e| (e.first, e.second, e.host)), Some(("a".into(), "b".into(), "y.test".into())));
    }
}
