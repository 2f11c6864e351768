//! Which names `doorward dev` has certificates for: made by the local CA when a client first asks for one.
//!
//! One certificate a name, because OpenSSL, and so curl, takes no wildcard directly under a top-level label:
//! `*.localhost` does not stand for `app.localhost` to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use super::banner::is_local;
use crate::certs::{LocalIssuer, LocalIssuerError, Table};
use crate::config::{CertificateId, Config, RouteHost};
use crate::names::{HostPattern, Hostname};

/// How many names a run issues for. Whoever can connect is on this machine, and may still be in a loop.
const NAMES: usize = 1000;

/// Issues from the CA in `ca` for `localhost`, every name under it, and the hosts of the routes. What clients can
/// ask for without saying a name (127.0.0.1 and \[::1\]), and `localhost`, is there when this returns.
pub(super) fn issuer(ca: PathBuf, table: Arc<Table>, config: &Config) -> Result<LocalIssuer, LocalIssuerError> {
    let hosts = config.routes.iter().flat_map(|route| &route.hosts);
    let hosts = hosts.filter_map(|host| match host {
        RouteHost::Pattern(pattern) => Some(pattern.clone()),
        RouteHost::Any => None,
    });
    let hosts: Vec<HostPattern> = hosts.collect();
    let allows = move |name: &str| is_local(name) || hosts.iter().any(|host| host.matches(name));
    let issuer = LocalIssuer::new(ca, table).on_demand(allows, NAMES);
    let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(Hostname::from);
    let names: Vec<_> = Hostname::parse("localhost").into_iter().chain(addresses).map(HostPattern::Exact).collect();
    issuer.demand(&CertificateId::new("local-localhost"), &names)?;
    Ok(issuer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::OnDemand as _;
    use crate::config::Route;

    #[tokio::test]
    async fn names_on_this_machine_are_issued_for_and_others_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = Arc::new(Table::new());
        let hosts = ["shop.test", "*.apps.test"].map(|h| RouteHost::Pattern(h.parse().expect("a host")));
        let routes = vec![Arc::new(Route::new(hosts.to_vec(), vec!["127.0.0.1:1".parse().expect("an address")]))];
        let config = Config { routes, ..Config::default() };
        let names = issuer(folder.path().to_owned(), table.clone(), &config).expect("issued");
        for there in ["localhost", "127.0.0.1", "::1"] {
            assert!(table.has(there), "{there}");
        }
        names.keep_only(&[]).expect("what the app does at its start");
        assert!(table.has("localhost"));
        for (name, allowed) in [
            ("app.localhost", true),
            ("a.b.localhost", true),
            ("shop.test", true),
            ("x.apps.test", true),
            ("apps.test", false),
            ("example.com", false),
            ("notlocalhost", false),
        ] {
            let answer = names.obtain(name.parse().expect("a name"), [127, 0, 0, 1].into()).await;
            assert_eq!((answer.is_ok(), table.has(name)), (allowed, allowed), "{name}: {answer:?}");
        }
    }
}
