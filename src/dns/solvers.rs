//! [`Solvers`]: everybody who can change zones, and the records that they wrote.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::propagation::{self, Sighting};
use super::{Change, DnsError, DnsProvider, Intent, Resolver, TxtRecord, connect, stored};
use crate::config::DnsSolver;
use crate::drain::Watch;
use crate::names::Hostname;
use crate::storage::{Events, Storage, StorageError, keys};

/// How often it is looked for records that nobody needs any more.
const SWEEP: Duration = Duration::from_secs(60);
/// How long the sweep waits for a record's lock: it is held while the record is needed.
const HELD: Duration = Duration::from_millis(250);
/// How long a record is remembered that cannot be removed, as its solver is gone.
const FORGET: Duration = Duration::from_secs(7 * 86_400);
/// How long records may be removed at the end.
const LAST_SWEEP: Duration = Duration::from_millis(1500);

/// A solver, ready for use or known not to be usable.
#[derive(Debug)]
pub struct Solver {
    /// What config or command say of it.
    pub config: DnsSolver,
    provider: Result<Arc<dyn DnsProvider>, String>,
}

/// A record that was written.
#[derive(Clone, Debug)]
pub struct Presented {
    /// By whom.
    pub solver: Arc<Solver>,
    /// What.
    pub record: TxtRecord,
    change: Option<Change>,
}

/// All solvers of this process.
#[derive(Debug)]
pub struct Solvers {
    storage: Arc<dyn Storage>,
    state: ArcSwap<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    resolver: Resolver,
    /// Those of the config.
    configured: Vec<Arc<Solver>>,
    /// Those that were added by command.
    stored: Vec<Arc<Solver>>,
}

/// Where a CA looks for the answer for a name, a wildcard's base too (RFC 8555 §8.4).
#[must_use]
pub fn challenge_name(base: &Hostname) -> Option<Hostname> {
    if base.ip().is_some() { None } else { Hostname::parse(&format!("_acme-challenge.{base}")).ok() }
}

impl Solver {
    fn new(config: DnsSolver, resolver: &Resolver) -> Self {
        let provider = connect(&config, resolver).map_err(|error| error.to_string());
        if let Err(error) = &provider {
            tracing::error!(solver = config.id, error, "a DNS solver cannot be used");
        }
        Self { config, provider }
    }

    fn provider(&self) -> Result<&Arc<dyn DnsProvider>, DnsError> {
        let setup = |reason: &String| DnsError::Setup { id: self.config.id.clone(), reason: reason.clone() };
        self.provider.as_ref().map_err(setup)
    }
}

impl Solvers {
    /// None yet; records are noted in `storage`.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, resolver: Resolver) -> Self {
        let state = State { resolver, configured: Vec::new(), stored: Vec::new() };
        Self { storage, state: ArcSwap::from_pointee(state), changes: watch::Sender::new(0) }
    }

    /// Takes up what the config says; solvers that stay the same keep their sessions.
    pub fn configure(&self, configured: &[DnsSolver], resolver: Resolver) {
        self.state.rcu(|state| {
            // Solvers have the resolver in them.
            let keep = |old: &[Arc<Solver>]| if state.resolver == resolver { old.to_vec() } else { Vec::new() };
            let stored: Vec<_> = state.stored.iter().map(|solver| solver.config.clone()).collect();
            State {
                resolver: resolver.clone(),
                configured: renewed(&keep(&state.configured), configured, &resolver),
                stored: renewed(&keep(&state.stored), &stored, &resolver),
            }
        });
        self.changes.send_modify(|count| *count += 1);
    }

    /// Takes up what is in the storage, and returns what [`Solvers::follow`] needs to keep up with it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn load(&self) -> Result<Events, StorageError> {
        let events = self.storage.watch(keys::DNS).await?;
        self.reload().await?;
        Ok(events)
    }

    /// Follows the storage, and removes what earlier processes and attempts left, until the drain begins.
    pub async fn follow(&self, mut events: Events, mut drain: Watch) {
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                event = events.next() => {
                    if event.is_none() {
                        return;
                    }
                    if let Err(error) = self.reload().await {
                        tracing::warn!(%error, "the DNS solvers cannot be read from the storage");
                    }
                }
                _ = sweep.tick() => self.sweep().await,
                _ = drain.signaled() => break,
            }
        }
        // Orders that were cut have let go of their locks by now, or will at once.
        let _late = tokio::time::timeout(LAST_SWEEP, self.sweep()).await;
    }

    /// A counter that goes up with every change of who can change which zones.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every solver: those of the config first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Solver>> {
        let state = self.state.load();
        state.configured.iter().chain(&state.stored).cloned().collect()
    }

    /// Whom to ask about DNS.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        self.state.load().resolver.clone()
    }

    /// The solver whose zone for `name` is the longest; of two with the same zone, the one of the config.
    #[must_use]
    pub fn covering(&self, name: &Hostname) -> Option<Arc<Solver>> {
        let length = |solver: &Arc<Solver>| solver.config.zone_of(name).map(|zone| zone.as_str().len());
        // The last of the longest is taken: the config's come last.
        let all = self.all();
        all.iter().rev().filter(|solver| length(solver).is_some()).max_by_key(|solver| length(solver)).cloned()
    }

    /// Whether somebody can answer for `base`, by itself or where its CNAME leads.
    pub async fn can_answer(&self, base: &Hostname) -> bool {
        !self.all().is_empty() && self.place(base).await.is_ok()
    }

    /// Where the answer for `base` is to be written, and by whom: the CNAMEs at its `_acme-challenge` are followed.
    ///
    /// # Errors
    /// [`DnsError::NoSolver`].
    pub async fn place(&self, base: &Hostname) -> Result<(Arc<Solver>, Hostname), DnsError> {
        let nobody = || DnsError::NoSolver(base.to_string());
        let asked = challenge_name(base).ok_or_else(nobody)?;
        let target = match self.resolver().follow(&asked).await {
            Ok(target) => target,
            Err(error) => {
                tracing::debug!(name = %asked, %error, "it cannot be told whether the name is a CNAME; taken for none");
                asked.clone()
            }
        };
        // The target may be in a zone that the solver for the name has access to as well.
        let solver = self.covering(&target).or_else(|| self.covering(&asked)).ok_or_else(nobody)?;
        Ok((solver, target))
    }

    /// Writes a record, noting it before. Whoever calls holds the lock `lock` until it is withdrawn.
    ///
    /// # Errors
    /// [`DnsError`]; the note stays, and the record will be removed.
    pub async fn present(
        &self,
        solver: Arc<Solver>,
        record: TxtRecord,
        token: &str,
        lock: &str,
    ) -> Result<Presented, DnsError> {
        let provider = solver.provider()?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (token, lock) = (token.to_owned(), lock.to_owned());
        let intent = Intent { token, lock, solver: solver.config.id.clone(), record: record.clone(), since };
        intent.save(&*self.storage).await?;
        let change = {
            let _lease = self.storage.lock(&record_lock(&record)).await?;
            provider.add(&record, solver.config.ttl).await?
        };
        tracing::info!(name = %record.name, solver = solver.config.id, "wrote a DNS record");
        Ok(Presented { solver, record, change })
    }

    /// Returns once the zone's servers have the record; by the provider's word first, then by theirs.
    ///
    /// # Errors
    /// [`DnsError::NotPropagated`] at the solver's deadline, and [`DnsError`] where nobody can be asked.
    pub async fn wait_for(&self, presented: &Presented) -> Result<Vec<Sighting>, DnsError> {
        let config = &presented.solver.config;
        let (begin, within) = (tokio::time::Instant::now(), config.propagation_timeout);
        if let Some(change) = &presented.change {
            let waited = tokio::time::timeout(within, presented.solver.provider()?.in_force(change)).await;
            let missing = "the provider has not put the change in force".to_owned();
            waited.map_err(|_| DnsError::NotPropagated {
                name: presented.record.name.to_string(),
                seconds: within.as_secs(),
                missing,
            })??;
        }
        let left = within.saturating_sub(begin.elapsed()).max(Duration::from_secs(1));
        let resolver = self.resolver();
        propagation::wait_for(&resolver, &presented.record, &config.nameservers, left).await
    }

    /// Removes a record and its note. That there is none is no error.
    ///
    /// # Errors
    /// [`DnsError`]; the note stays, and it is tried again later.
    pub async fn withdraw(&self, token: &str) -> Result<(), DnsError> {
        match Intent::load(&*self.storage, token).await? {
            Some(intent) => self.undo(&intent).await,
            None => Ok(()),
        }
    }

    /// Removes every record that was written under this lock, which whoever calls holds.
    pub async fn withdraw_all(&self, lock: &str) {
        for intent in self.intents().await.iter().filter(|intent| intent.lock == lock) {
            self.try_undo(intent).await;
        }
    }

    /// Removes every record whose lock nobody holds: those of processes that ended too early.
    pub async fn sweep(&self) {
        for intent in self.intents().await {
            let free = tokio::time::timeout(HELD, self.storage.lock(&intent.lock)).await;
            let Ok(Ok(_lease)) = free else { continue };
            // It may be gone since the list was made.
            if Intent::load(&*self.storage, &intent.token).await.is_ok_and(|now| now.as_ref() == Some(&intent)) {
                self.try_undo(&intent).await;
            }
        }
    }

    async fn intents(&self) -> Vec<Intent> {
        Intent::all(&*self.storage).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the notes of DNS records cannot be read");
            Vec::new()
        })
    }

    async fn try_undo(&self, intent: &Intent) {
        let Err(error) = self.undo(intent).await else { return };
        let (name, value, solver) = (&intent.record.name, &intent.record.value, &intent.solver);
        let since = UNIX_EPOCH + Duration::from_secs(intent.since);
        if matches!(error, DnsError::NoSolver(_)) && since.elapsed().is_ok_and(|age| age > FORGET) {
            tracing::error!(%name, value, solver, "a DNS record stays, as its solver is gone: remove it by hand");
            let _kept = intent.forget(&*self.storage).await;
        } else {
            tracing::warn!(%name, value, solver, %error, "a DNS record cannot be removed; it is tried again");
        }
    }

    async fn undo(&self, intent: &Intent) -> Result<(), DnsError> {
        let solver = self.all().into_iter().find(|solver| solver.config.id == intent.solver);
        // One of another name may have taken its place.
        let solver = solver.or_else(|| self.covering(&intent.record.name));
        let solver = solver.ok_or_else(|| DnsError::NoSolver(intent.record.name.to_string()))?;
        {
            let _lease = self.storage.lock(&record_lock(&intent.record)).await?;
            solver.provider()?.remove(&intent.record).await?;
        }
        tracing::info!(name = %intent.record.name, solver = solver.config.id, "removed a DNS record");
        Ok(intent.forget(&*self.storage).await?)
    }

    async fn reload(&self) -> Result<(), StorageError> {
        let found = stored::load_all(&*self.storage).await?;
        self.state.rcu(|state| State {
            resolver: state.resolver.clone(),
            configured: state.configured.clone(),
            stored: renewed(&state.stored, &found, &state.resolver),
        });
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Changes of one record come one after the other, also those of other nodes.
fn record_lock(record: &TxtRecord) -> String {
    format!("dns-{}", record.name)
}

fn renewed(old: &[Arc<Solver>], new: &[DnsSolver], resolver: &Resolver) -> Vec<Arc<Solver>> {
    let kept =
        |config: &DnsSolver| old.iter().find(|solver| solver.config == *config && solver.provider.is_ok()).cloned();
    new.iter().map(|config| kept(config).unwrap_or_else(|| Arc::new(Solver::new(config.clone(), resolver)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DnsProvider as Known;
    use crate::storage::MemoryStorage;

    fn solver(id: &str, zones: &[&str]) -> DnsSolver {
        let zones = zones.iter().map(|zone| zone.parse().expect("a zone")).collect();
        let settings = [("api_token".to_owned(), "x".to_owned())].into();
        DnsSolver::new(id.to_owned(), Known::find("cloudflare").expect("known"), zones, settings).expect("sound")
    }

    #[tokio::test]
    async fn the_longest_zone_wins_and_then_the_config() {
        let storage = Arc::new(MemoryStorage::new());
        let solvers = Solvers::new(storage.clone(), Resolver::new(&[]));
        let resolver = Resolver::new(&[]);
        solvers
            .configure(&[solver("org", &["example.org"]), solver("apps", &["apps.example.org", "a.test"])], resolver);
        stored::save(&*storage, &solver("same", &["example.org"])).await.expect("saves");
        stored::save(&*storage, &solver("deep", &["x.apps.example.org"])).await.expect("saves");
        solvers.load().await.expect("loads");
        let wins = |name: &str| solvers.covering(&name.parse().expect("a name")).map(|solver| solver.config.id.clone());
        assert_eq!(wins("example.org").as_deref(), Some("org"));
        assert_eq!(wins("_acme-challenge.b.example.org").as_deref(), Some("org"));
        assert_eq!(wins("apps.example.org").as_deref(), Some("apps"));
        assert_eq!(wins("y.x.apps.example.org").as_deref(), Some("deep"));
        assert_eq!(wins("badexample.org"), None);
        assert_eq!(wins("org"), None);
    }

    #[tokio::test]
    async fn sessions_outlive_a_reload() {
        let solvers = Solvers::new(Arc::new(MemoryStorage::new()), Resolver::new(&[]));
        let before = {
            solvers.configure(&[solver("1", &["a.test"])], Resolver::new(&[]));
            solvers.all()
        };
        solvers.configure(&[solver("1", &["a.test"]), solver("2", &["b.test"])], Resolver::new(&[]));
        assert!(Arc::ptr_eq(&before[0], &solvers.all()[0]));
    }
}
