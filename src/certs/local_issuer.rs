//! [`LocalIssuer`]: keeps certificates of the local CA in the table, and renews them.
//!
//! For routes with `certificate = "self-signed"`, for those that wait for their first one from ACME, and, in
//! `doorward dev`, for names as they are first asked for. Leaves live in memory alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    BoxFuture, Certificate, CertificateError, LocalCa, LocalCaError, OnDemand, OnDemandError, PemPart, PemParts, Table,
    unix_now,
};
use crate::config::CertificateId;
use crate::drain::Watch;
use crate::names::{HostPattern, Hostname};

/// How long a leaf lasts, and after which part of that it is renewed.
const DAYS: u32 = 30;
const RENEW_AFTER: i64 = 20 * 86_400;
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Issues from the local CA into the table.
pub struct LocalIssuer {
    dir: PathBuf,
    table: Arc<Table>,
    /// Which names are issued at their first handshake, and how many at most.
    on_demand: Option<Allowed>,
    state: Mutex<State>,
}

struct Allowed {
    name: Box<dyn Fn(&str) -> bool + Send + Sync>,
    most: usize,
}

#[derive(Default)]
struct State {
    ca: Option<LocalCa>,
    kept: HashMap<CertificateId, Kept>,
}

struct Kept {
    names: Vec<HostPattern>,
    on_demand: bool,
    /// Unix seconds.
    renew_at: i64,
}

/// Why no certificate came of it.
#[derive(Debug, thiserror::Error)]
pub enum LocalIssuerError {
    /// The CA failed.
    #[error(transparent)]
    Ca(#[from] LocalCaError),
    /// What it issued is not usable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl LocalIssuer {
    /// Issues from the CA in the folder `dir`, which is made at the first need.
    #[must_use]
    pub fn new(dir: PathBuf, table: Arc<Table>) -> Self {
        Self { dir, table, on_demand: None, state: Mutex::default() }
    }

    /// Also issues for up to `most` canonical host names that `allow` lets pass, when they are first asked for.
    #[must_use]
    pub fn on_demand(mut self, allow: impl Fn(&str) -> bool + Send + Sync + 'static, most: usize) -> Self {
        self.on_demand = Some(Allowed { name: Box::new(allow), most });
        self
    }

    /// Keeps a certificate for `names` in the table under `id`. Again with the same names changes nothing.
    ///
    /// # Errors
    /// [`LocalIssuerError`].
    pub fn keep(&self, id: &CertificateId, names: &[HostPattern]) -> Result<(), LocalIssuerError> {
        let mut state = self.state();
        if state.kept.get(id).is_some_and(|kept| kept.names == names) {
            return Ok(());
        }
        self.issue(&mut state, id, names, false)
    }

    /// Keeps a certificate for `names` as if they had been asked for: [`LocalIssuer::keep_only`] leaves it alone.
    ///
    /// # Errors
    /// [`LocalIssuerError`].
    pub fn demand(&self, id: &CertificateId, names: &[HostPattern]) -> Result<(), LocalIssuerError> {
        self.issue(&mut self.state(), id, names, true)
    }

    /// Keeps these and, but for those made on demand, no others.
    ///
    /// # Errors
    /// The first [`LocalIssuerError`]; the other certificates are kept all the same.
    pub fn keep_only(&self, wanted: &[(CertificateId, Vec<HostPattern>)]) -> Result<(), LocalIssuerError> {
        let gone: Vec<_> = {
            let state = self.state();
            let unwanted = |id: &CertificateId| wanted.iter().all(|(wanted, _)| wanted != id);
            state.kept.iter().filter(|(id, kept)| !kept.on_demand && unwanted(id)).map(|(id, _)| id.clone()).collect()
        };
        gone.iter().for_each(|id| self.withdraw(id));
        let mut first = Ok(());
        for (id, names) in wanted {
            // Each for itself, also after one that failed.
            if let (Err(error), Ok(())) = (self.keep(id, names), &first) {
                first = Err(error);
            }
        }
        first
    }

    /// Renews `id` no longer. It stays in the table until something takes its place there.
    pub fn release(&self, id: &CertificateId) {
        self.state().kept.remove(id);
    }

    /// Serves `id` no longer, where it is one of these.
    pub fn withdraw(&self, id: &CertificateId) {
        if self.state().kept.remove(id).is_some() {
            self.table.remove(id);
        }
    }

    /// Whether the certificate is one of these.
    #[must_use]
    pub fn keeps(&self, id: &CertificateId) -> bool {
        self.state().kept.contains_key(id)
    }

    /// When the certificate is renewed, unix seconds; none where it is not one of these.
    #[must_use]
    pub fn renews_at(&self, id: &CertificateId) -> Option<i64> {
        self.state().kept.get(id).map(|kept| kept.renew_at)
    }

    /// Renews the certificate now. Returns whether it is one of these.
    ///
    /// # Errors
    /// [`LocalIssuerError`]; the one before is served on.
    pub fn renew(&self, id: &CertificateId) -> Result<bool, LocalIssuerError> {
        let mut state = self.state();
        let Some((names, on_demand)) = state.kept.get(id).map(|kept| (kept.names.clone(), kept.on_demand)) else {
            return Ok(false);
        };
        self.issue(&mut state, id, &names, on_demand).map(|()| true)
    }

    /// Renews what is due, until the drain begins.
    pub async fn run(&self, mut drain: Watch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => self.renew_due(unix_now()),
                _ = drain.signaled() => return,
            }
        }
    }

    fn renew_due(&self, now: i64) {
        let mut state = self.state();
        let due = state.kept.iter().filter(|(_, kept)| kept.renew_at <= now);
        let due: Vec<_> = due.map(|(id, kept)| (id.clone(), kept.names.clone(), kept.on_demand)).collect();
        for (id, names, on_demand) in due {
            if let Err(error) = self.issue(&mut state, &id, &names, on_demand) {
                tracing::error!(certificate = %id, %error, "a certificate of the local CA cannot be renewed");
            }
        }
    }

    fn issue(
        &self,
        state: &mut State,
        id: &CertificateId,
        names: &[HostPattern],
        on_demand: bool,
    ) -> Result<(), LocalIssuerError> {
        let ca = match &mut state.ca {
            Some(ca) => ca,
            none => none.insert(LocalCa::open_or_create(&self.dir)?),
        };
        let pair = ca.issue(names, DAYS)?;
        let file = format!("the local CA's certificate {id}");
        let parts = PemParts {
            certificate: PemPart::new(&file, pair.certificate.as_bytes()),
            key: PemPart::new("its key", pair.key.as_bytes()),
            chain: None,
        };
        self.table.insert(Certificate::from_pem(id.clone(), parts, unix_now())?);
        let kept = Kept { names: names.to_vec(), on_demand, renew_at: unix_now() + RENEW_AFTER };
        state.kept.insert(id.clone(), kept);
        Ok(())
    }

    /// Holding this is what makes two handshakes for one new name issue once.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obtain_now(&self, name: &Hostname) -> Result<(), OnDemandError> {
        let allowed = self.on_demand.as_ref().filter(|allowed| (allowed.name)(name.as_str()));
        let Some(most) = allowed.map(|allowed| allowed.most) else { return Err(OnDemandError::NotAllowed) };
        let id = CertificateId::new(format!("local-{name}"));
        let mut state = self.state();
        if state.kept.contains_key(&id) {
            return Ok(());
        }
        if state.kept.values().filter(|kept| kept.on_demand).count() >= most {
            return Err(OnDemandError::Failed(format!("there are {most} certificates on demand already")));
        }
        let names = [HostPattern::Exact(name.clone())];
        self.issue(&mut state, &id, &names, true).map_err(|e| OnDemandError::Failed(e.to_string()))
    }
}

impl OnDemand for LocalIssuer {
    /// Takes less than a millisecond once the CA is there, so it is done on the spot.
    fn obtain(&self, name: Hostname, _client: IpAddr) -> BoxFuture<'_, Result<(), OnDemandError>> {
        let done = self.obtain_now(&name);
        Box::pin(std::future::ready(done))
    }
}

impl std::fmt::Debug for LocalIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalIssuer").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Hostname {
        text.parse().expect("a name")
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_name_is_issued_once_and_only_where_allowed() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = Arc::new(Table::new());
        let local = |name: &str| name == "::1" || name.ends_with(".localhost");
        let issuer = Arc::new(LocalIssuer::new(folder.path().join("ca"), Arc::clone(&table)).on_demand(local, 2));
        for refused in ["example.com", "localhost.example.com", "127.0.0.2"] {
            assert_eq!(issuer.obtain(name(refused), CLIENT).await, Err(OnDemandError::NotAllowed), "{refused}");
        }
        assert!(!folder.path().join("ca").exists(), "refusals cost nothing");
        let both =
            tokio::join!(issuer.obtain(name("app.localhost"), CLIENT), issuer.obtain(name("app.localhost"), CLIENT));
        assert_eq!(both, (Ok(()), Ok(())));
        let first = table.get(&CertificateId::new("local-app.localhost")).expect("served");
        issuer.obtain(name("app.localhost"), CLIENT).await.expect("there already");
        let again = table.get(&CertificateId::new("local-app.localhost")).expect("served");
        assert_eq!(first.serial(), again.serial());
        issuer.obtain(name("::1"), CLIENT).await.expect("an address");
        assert!(matches!(issuer.obtain(name("third.localhost"), CLIENT).await, Err(OnDemandError::Failed(_))));
    }

    #[test]
    fn what_is_kept_is_renewed_and_what_is_not_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = Arc::new(Table::new());
        let issuer = LocalIssuer::new(folder.path().into(), Arc::clone(&table));
        let id = CertificateId::new("route");
        let names = vec![HostPattern::parse("*.a.test").expect("a name")];
        issuer.keep_only(&[(id.clone(), names.clone())]).expect("issues");
        let asked = CertificateId::new("asked");
        issuer.demand(&asked, &names).expect("issues");
        let serial = |id| table.get(id).map(|c| c.serial().to_owned());
        let first = serial(&id);
        issuer.keep_only(&[(id.clone(), names)]).expect("nothing to do");
        assert_eq!(serial(&id), first);
        issuer.renew_due(unix_now());
        assert_eq!(serial(&id), first);
        issuer.renew_due(unix_now() + RENEW_AFTER);
        assert_ne!(serial(&id), first);
        issuer.keep_only(&[]).expect("removes");
        assert_eq!((serial(&id), serial(&asked).is_some()), (None, true));
    }
}
