//! Names of backends: looked up in DNS, which stands above the backends, and handed down to them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::{State, build};
use crate::backend::{LookUp, Registry, Target};
use crate::dns::Resolver;
use crate::names::Hostname;

/// How long a start or a reload waits for the first answers: until then, a service's routes answer 503.
const FIRST_ANSWER: Duration = Duration::from_secs(3);
/// How often it is looked whether they are there.
const LOOK: Duration = Duration::from_millis(10);
/// How long what only the system's own way of looking up finds (nsswitch.conf) holds.
const SYSTEM_TTL: Duration = Duration::from_secs(30);

/// Looks names up at the resolvers that the config names, or else as the system does.
#[derive(Debug, Default)]
pub(super) struct Names {
    resolvers: ArcSwap<Vec<SocketAddr>>,
}

impl Names {
    /// Asks these from now on; those of the system where there are none.
    pub(super) fn ask(&self, resolvers: &[SocketAddr]) {
        self.resolvers.store(Arc::new(resolvers.to_vec()));
    }

    /// Made anew each time: the system's may change.
    fn resolver(&self) -> Resolver {
        Resolver::new(&self.resolvers.load())
    }
}

#[async_trait]
impl LookUp for Names {
    async fn host(&self, name: &Hostname) -> Result<(Vec<IpAddr>, Duration), String> {
        let found = self.resolver().host(name.as_str()).await;
        match found {
            Ok(Some(found)) => return Ok(found),
            // Whom to ask is said, so nobody else is.
            _ if !self.resolvers.load().is_empty() => {}
            _ => {
                let addresses = tokio::net::lookup_host((name.as_str(), 0)).await.into_iter().flatten();
                let addresses: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
                if !addresses.is_empty() {
                    return Ok((addresses, SYSTEM_TTL));
                }
            }
        }
        Err(found.map_or_else(|error| error.to_string(), |_| "it has no address in DNS".to_owned()))
    }

    async fn service(&self, name: &Hostname) -> Result<(Vec<Target>, Duration), String> {
        let none = || "it has no SRV record in DNS".to_owned();
        let (services, ttl) =
            self.resolver().service(name.as_str()).await.map_err(|error| error.to_string())?.ok_or_else(none)?;
        let target = |service: crate::dns::Service| {
            let host = Hostname::parse(&service.host).map_err(|error| format!("{name}: {}: {error}", service.host))?;
            Ok(Target { priority: service.priority, weight: service.weight, host, port: service.port })
        };
        Ok((services.into_iter().map(target).collect::<Result<_, String>>()?, ttl))
    }
}

/// Waits until the names that are in use were looked up, for a time.
pub(super) async fn settle(backends: &Registry) {
    let known = async {
        while !backends.knows_names() {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(FIRST_ANSWER, known).await.is_err() {
        tracing::warn!("not every backend's name could be looked up yet: its routes answer 502 or 503 until it is");
    }
}

impl State {
    /// Has the workers use the endpoints that names lead to now.
    pub(super) fn take_up_endpoints(&self) {
        match build::settings(&self.config, &self.backends, self.shared.settings.load().secure.clone()) {
            Ok(settings) => self.shared.settings.store(Arc::new(settings)),
            Err(error) => tracing::error!(%error, "the endpoints that names lead to cannot be taken up"),
        }
    }
}
