//! [`LocalNames`]: certificates of the local CA, for a name when a client first asks for it.
//!
//! One certificate a name, because OpenSSL, and so curl, takes no wildcard directly under a top-level label:
//! `*.localhost` does not stand for `app.localhost` to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::banner::is_local;
use crate::certs::{
    BoxFuture, Certificate, CertificateError, LocalCa, LocalCaError, MAX_LEAF_DAYS, OnDemand, OnDemandError, PemPart,
    PemParts, Table,
};
use crate::config::{CertificateId, Config, RouteHost};
use crate::names::{HostPattern, Hostname};

/// How many names a run issues for. Whoever can connect is on this machine, and may still be in a loop.
const NAMES: usize = 1000;

/// Issues for `localhost`, every name under it, and the hosts of the routes.
#[derive(Debug)]
pub(super) struct LocalNames {
    ca: LocalCa,
    table: Arc<Table>,
    hosts: Vec<HostPattern>,
    left: AtomicUsize,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalNameError {
    /// The CA did not issue.
    #[error(transparent)]
    Ca(#[from] LocalCaError),
    /// What it issued cannot be served.
    #[error("what the local CA issued cannot be served: {0}")]
    Certificate(#[from] CertificateError),
}

impl LocalNames {
    /// For the routes of `config`, into `table`. What clients can ask for without saying a name (127.0.0.1 and
    /// \[::1\]), and `localhost`, is there when this returns.
    ///
    /// # Errors
    /// [`LocalNameError`].
    pub(super) fn new(ca: LocalCa, table: Arc<Table>, config: &Config) -> Result<Self, LocalNameError> {
        let hosts = config.routes.iter().flat_map(|route| &route.hosts);
        let hosts = hosts.filter_map(|host| match host {
            RouteHost::Pattern(pattern) => Some(pattern.clone()),
            RouteHost::Any => None,
        });
        let this = Self { ca, table, hosts: hosts.collect(), left: AtomicUsize::new(NAMES) };
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(Hostname::from);
        let names = Hostname::parse("localhost").into_iter().chain(addresses);
        this.issue("localhost", &names.map(HostPattern::Exact).collect::<Vec<_>>())?;
        Ok(this)
    }

    fn allows(&self, name: &Hostname) -> bool {
        is_local(name.as_str()) || self.hosts.iter().any(|host| host.matches(name.as_str()))
    }

    fn issue(&self, name: &str, names: &[HostPattern]) -> Result<(), LocalNameError> {
        let pair = self.ca.issue(names, MAX_LEAF_DAYS)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let parts = PemParts {
            certificate: PemPart { file: "the local CA's certificate", bytes: pair.certificate.as_bytes() },
            key: PemPart { file: "the local CA's key", bytes: pair.key.as_bytes() },
            chain: None,
        };
        self.table.insert(Certificate::from_pem(CertificateId::new(format!("local-{name}")), parts, now)?);
        tracing::debug!(name, "issued by the local CA");
        Ok(())
    }
}

impl OnDemand for LocalNames {
    fn obtain(&self, name: Hostname) -> BoxFuture<'_, Result<(), OnDemandError>> {
        // A key and a signature are made in less than a millisecond: no need to leave the thread.
        Box::pin(async move {
            if !self.allows(&name) {
                return Err(OnDemandError::NotAllowed);
            }
            let one_less = |left: usize| left.checked_sub(1);
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).map_err(|_| {
                OnDemandError::Failed(format!("{NAMES} names have been issued for; start doorward dev again for more"))
            })?;
            let failed = |error: LocalNameError| OnDemandError::Failed(error.to_string());
            self.issue(name.as_str(), &[HostPattern::Exact(name.clone())]).map_err(failed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Route;

    #[tokio::test]
    async fn names_on_this_machine_are_issued_for_and_others_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = LocalCa::open_or_create(folder.path()).expect("a CA");
        let table = Arc::new(Table::new());
        let hosts = ["shop.test", "*.apps.test"].map(|h| RouteHost::Pattern(h.parse().expect("a host")));
        let routes = vec![Arc::new(Route::new(hosts.to_vec(), vec!["127.0.0.1:1".parse().expect("an address")]))];
        let config = Config { routes, ..Config::default() };
        let names = LocalNames::new(ca, table.clone(), &config).expect("issued");
        for there in ["localhost", "127.0.0.1", "::1"] {
            assert!(table.has(there), "{there}");
        }
        for (name, allowed) in [
            ("app.localhost", true),
            ("a.b.localhost", true),
            ("shop.test", true),
            ("x.apps.test", true),
            ("apps.test", false),
            ("example.com", false),
            ("notlocalhost", false),
        ] {
            let answer = names.obtain(name.parse().expect("a name")).await;
            assert_eq!((answer.is_ok(), table.has(name)), (allowed, allowed), "{name}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_loop_of_names_comes_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = LocalCa::open_or_create(folder.path()).expect("a CA");
        let names = LocalNames::new(ca, Arc::new(Table::new()), &Config::default()).expect("issued");
        names.left.store(1, Ordering::Relaxed);
        names.obtain("a.localhost".parse().expect("a name")).await.expect("the last one");
        let error = names.obtain("b.localhost".parse().expect("a name")).await.expect_err("none left");
        assert!(matches!(error, OnDemandError::Failed(_)), "{error}");
    }
}
