//! Where names lead: looked up in the control plane by their records' time to live, and read by all workers.
//!
//! A name with addresses stays one endpoint, and a connection goes to whichever address answers; a service (SRV)
//! becomes an endpoint a target. What was found last stays in use while DNS fails.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Registry;
use crate::drain::Watch;
use crate::names::Hostname;

/// A time to live is kept within these: neither a flood of questions nor an answer for good.
const TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// When DNS is asked again after it failed.
const AGAIN: Duration = Duration::from_secs(2);

/// Whoever can look names up; the app brings it along.
#[async_trait]
pub trait LookUp: Send + Sync {
    /// A host's addresses, at least one, and for how long they hold.
    ///
    /// # Errors
    /// Why there are none, for people.
    async fn host(&self, name: &Hostname) -> Result<(Vec<IpAddr>, Duration), String>;

    /// A service's targets, at least one, and for how long they hold.
    ///
    /// # Errors
    /// Why there are none, for people.
    async fn service(&self, name: &Hostname) -> Result<(Vec<Target>, Duration), String>;
}

/// A record of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Lower ones first: those with a higher number stand in where no other can serve.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
    /// The host.
    pub host: Hostname,
    /// Its port.
    pub port: u16,
}

/// A name that is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Host(Hostname),
    Service(Hostname),
}

/// What was found out about names.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) hosts: HashMap<Hostname, Arc<Addresses>>,
    pub(super) services: HashMap<Hostname, Vec<Target>>,
}

/// A name's addresses, or why there are none.
pub(super) type Addresses = Result<Vec<IpAddr>, String>;

/// The addresses of one endpoint's name.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    current: ArcSwapOption<Addresses>,
    /// Wakes those who came before the first answer.
    first: Notify,
}

enum Answer {
    Host(Vec<IpAddr>),
    Service(Vec<Target>),
}

impl Resolved {
    pub(super) fn publish(&self, addresses: Arc<Addresses>) {
        self.current.store(Some(addresses));
        self.first.notify_waiters();
    }

    /// The addresses; waits for the first answer.
    pub(super) async fn wait(&self) -> Arc<Addresses> {
        loop {
            let first = self.first.notified();
            if let Some(addresses) = &*self.current.load() {
                return Arc::clone(addresses);
            }
            first.await;
        }
    }

    /// Those that are known now.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.current.load().as_ref().and_then(|addresses| addresses.as_ref().as_ref().ok().cloned()).unwrap_or_default()
    }

    /// Whether the name still leads to this address, as far as is known.
    pub(super) fn leads_to(&self, ip: IpAddr) -> bool {
        self.current.load().as_ref().is_none_or(|addresses| match &**addresses {
            Ok(list) => list.contains(&ip),
            Err(_) => true,
        })
    }
}

impl Registry {
    /// Keeps up with all names until the drain.
    pub async fn follow_names(&self, lookup: Arc<dyn LookUp>, mut drain: Watch) {
        let mut due: HashMap<Subject, Instant> = HashMap::new();
        let mut asked = JoinSet::new();
        let mut failing: HashSet<Subject> = HashSet::new();
        loop {
            let (wanted, now) = (self.subjects(), Instant::now());
            due.retain(|subject, _| wanted.contains(subject));
            failing.retain(|subject| wanted.contains(subject));
            for subject in wanted {
                if due.get(&subject).is_none_or(|due| *due <= now) {
                    // Until its answer is there.
                    due.insert(subject.clone(), now + TTL.1 * 2);
                    let lookup = Arc::clone(&lookup);
                    asked.spawn(async move {
                        let answer = ask(&*lookup, &subject).await;
                        (subject, answer)
                    });
                }
            }
            let next = due.values().min().copied().unwrap_or(now + TTL.1);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.names_wanted.notified() => {}
                Some(Ok((subject, answer))) = asked.join_next(), if !asked.is_empty() => {
                    let ttl = self.take_up_name(&subject, answer, &mut failing);
                    due.insert(subject, Instant::now() + ttl);
                }
                _ = drain.signaled() => return,
            }
        }
    }

    /// Puts an answer in force; when to ask again.
    fn take_up_name(
        &self,
        subject: &Subject,
        answer: Result<(Answer, Duration), String>,
        failing: &mut HashSet<Subject>,
    ) -> Duration {
        let (Subject::Host(name) | Subject::Service(name)) = subject;
        match answer {
            Ok((answer, ttl)) => {
                if failing.remove(subject) {
                    tracing::info!(%name, "the backend's name can be looked up again");
                }
                match answer {
                    Answer::Host(addresses) => self.publish_host(name, Ok(addresses)),
                    Answer::Service(targets) => self.publish_service(name, targets),
                }
                ttl.clamp(TTL.0, TTL.1)
            }
            Err(error) => {
                if failing.insert(subject.clone()) {
                    let known = self.knows(subject);
                    let stays = if known { "what was found last stays in use" } else { "nothing is known of it" };
                    tracing::warn!(%name, error, "cannot look up the backend's name: {stays}");
                }
                match subject {
                    Subject::Host(name) if !self.knows(subject) => self.publish_host(name, Err(error)),
                    Subject::Service(name) => self.note_unknown_service(name),
                    Subject::Host(_) => {}
                }
                AGAIN
            }
        }
    }
}

async fn ask(lookup: &dyn LookUp, subject: &Subject) -> Result<(Answer, Duration), String> {
    Ok(match subject {
        Subject::Host(name) => {
            let (mut addresses, ttl) = lookup.host(name).await?;
            // DNS shuffles them: a change of order alone is none.
            addresses.sort_unstable();
            addresses.dedup();
            (Answer::Host(addresses), ttl)
        }
        Subject::Service(name) => {
            let (mut targets, ttl) = lookup.service(name).await?;
            targets.sort_unstable();
            targets.dedup_by(|a, b| a.host == b.host && a.port == b.port);
            (Answer::Service(targets), ttl)
        }
    })
}
