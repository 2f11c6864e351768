//! [`Plan`]: what `dev` was told, as the config that `run` would have read from a file.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::target::Target;
use crate::config::{BackendAddress, Config, HttpsPolicy, Listener, ListenerProtocol, Route, RouteHost, Storage};

/// How long Ctrl-C waits for what is under way. A development server's WebSocket never ends by itself.
const DRAIN: Duration = Duration::from_secs(1);

/// What `dev` was told.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    /// The apps; none: the demo.
    pub(super) targets: &'a [Target],
    /// Where the demo listens, where it is what is forwarded to.
    pub(super) demo: Option<SocketAddr>,
    /// The port for TLS.
    pub(super) https_port: u16,
    /// The port without.
    pub(super) http_port: u16,
    /// What the port without TLS does.
    pub(super) https: HttpsPolicy,
    /// Whether `[::1]` is there to listen on.
    pub(super) ipv6: bool,
    /// Where things are kept.
    pub(super) folder: &'a Path,
}

/// Why a plan is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanError {
    /// Two apps for one host.
    #[error("`{0}` is there twice; give each app a host of its own, as in app.localhost=3000 api.localhost=4000")]
    SameHost(String),
    /// One port for two protocols.
    #[error("--https-port and --http-port are both {0}; choose two ports")]
    SamePort(u16),
}

impl Plan<'_> {
    /// The config.
    ///
    /// # Errors
    /// [`PlanError`].
    pub(super) fn config(&self) -> Result<Config, PlanError> {
        if self.https_port == self.http_port && self.https_port != 0 {
            return Err(PlanError::SamePort(self.https_port));
        }
        let mut config = Config {
            listeners: self.listeners(),
            routes: self.routes()?,
            storage: Storage::File { path: self.folder.join("state") },
            ..Config::default()
        };
        config.timeouts.drain = DRAIN;
        Ok(config)
    }

    fn listeners(&self) -> Vec<Arc<Listener>> {
        let both = [(ListenerProtocol::Https, self.https_port), (ListenerProtocol::Http, self.http_port)];
        both.into_iter()
            .flat_map(|(protocol, port)| {
                let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                // With port 0 the two addresses would get different ports, and a name could not stand for both.
                let v6 = (self.ipv6 && port != 0).then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
                [Some(v4), v6].into_iter().flatten().map(move |address| Arc::new(Listener::new(address, protocol)))
            })
            .collect()
    }

    fn routes(&self) -> Result<Vec<Arc<Route>>, PlanError> {
        let demo = self.demo.map(|address| Target { host: RouteHost::Any, app: BackendAddress::Socket(address) });
        let mut hosts = HashSet::new();
        self.targets
            .iter()
            .chain(&demo)
            .map(|target| {
                if !hosts.insert(&target.host) {
                    return Err(PlanError::SameHost(target.host.to_string()));
                }
                let mut route = Route::new(vec![target.host.clone()], vec![target.app.clone()]);
                route.https = self.https;
                route.tls_headers = self.demo.is_some();
                if self.demo.is_some() {
                    route.name = "demo".to_owned();
                }
                Ok(Arc::new(route))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|text| text.parse().expect("a target")).collect()
    }

    fn plan(targets: &[Target]) -> Plan<'_> {
        Plan {
            targets,
            demo: None,
            https_port: 8443,
            http_port: 8080,
            https: HttpsPolicy::Redirect,
            ipv6: true,
            folder: Path::new("/data"),
        }
    }

    #[test]
    fn tls_and_plain_listen_on_both_loopbacks_and_nowhere_else() {
        let config = plan(&targets(&["3000"])).config().expect("sound");
        let shown: Vec<_> = config.listeners.iter().map(|l| (l.address.to_string(), l.protocol)).collect();
        let (https, http) = (ListenerProtocol::Https, ListenerProtocol::Http);
        let expected =
            [("127.0.0.1:8443", https), ("[::1]:8443", https), ("127.0.0.1:8080", http), ("[::1]:8080", http)];
        assert_eq!(shown, expected.map(|(address, protocol)| (address.to_owned(), protocol)));
        let free = Plan { https_port: 0, http_port: 0, ..plan(&[]) }.config().expect("sound");
        assert_eq!(free.listeners.len(), 2, "port 0 is taken once for each protocol");
        let old = Plan { ipv6: false, ..plan(&[]) }.config().expect("sound");
        assert!(old.listeners.iter().all(|l| l.address.is_ipv4()));
    }

    #[test]
    fn each_app_has_its_host_and_the_demo_all_of_them() {
        let several = targets(&["app.localhost=3000", "api.localhost=127.0.0.1:4000"]);
        let config = plan(&several).config().expect("sound");
        let shown: Vec<_> = config.routes.iter().map(|r| (r.name.as_str(), r.backend[0].to_string())).collect();
        assert_eq!(
            shown,
            [("app.localhost", "localhost:3000".to_owned()), ("api.localhost", "127.0.0.1:4000".to_owned())]
        );
        assert!(config.routes.iter().all(|r| r.https == HttpsPolicy::Redirect && !r.tls_headers));

        let demo = Plan { demo: Some(([127, 0, 0, 1], 9).into()), https: HttpsPolicy::Both, ..plan(&[]) };
        let config = demo.config().expect("sound");
        assert_eq!((config.routes.len(), &config.routes[0].hosts[..]), (1, &[RouteHost::Any][..]));
        assert!(config.routes[0].tls_headers && config.routes[0].https == HttpsPolicy::Both);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let twice = targets(&["3000", "4000"]);
        assert_eq!(plan(&twice).config(), Err(PlanError::SameHost("*".to_owned())));
        let twice = targets(&["a.localhost=3000", "A.localhost=4000"]);
        assert_eq!(plan(&twice).config(), Err(PlanError::SameHost("a.localhost".to_owned())));
        let same = Plan { http_port: 8443, ..plan(&[]) };
        assert_eq!(same.config(), Err(PlanError::SamePort(8443)));
    }

    #[test]
    fn all_that_is_kept_is_in_the_folder() {
        let config = plan(&[]).config().expect("sound");
        assert_eq!(config.storage, Storage::File { path: "/data/state".into() });
        assert_eq!(config.limits, crate::config::Limits::default());
        assert!(config.watched.is_empty() && config.acme.is_none() && config.metrics.is_none());
    }
}
