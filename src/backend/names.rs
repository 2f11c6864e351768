//! Where names lead: looked up in the control plane by their records' time to live, and read by all workers.
//!
//! Each of a name's addresses becomes an endpoint, and so does each target of a service (SRV). What is taken for one
//! endpoint all the same, with several addresses, is connected to at whichever answers. What was found last stays in
//! use while DNS fails.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::resolved::{Addresses, Subject, in_reach};
use super::{BackendAddress, Registry};
use crate::drain::Watch;
use crate::names::Hostname;
use crate::net::has_route;

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

enum Answer {
    Host(Vec<IpAddr>),
    Service(Vec<Target>),
}

impl Registry {
    /// All names in use.
    fn subjects(&self) -> HashSet<Subject> {
        self.known().subjects()
    }

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
                    let known = self.known().found.leads_somewhere(subject);
                    let stays = if known { "what was found last stays in use" } else { "nothing is known of it" };
                    tracing::warn!(%name, error, "cannot look up the backend's name: {stays}");
                }
                match subject {
                    Subject::Host(name) if !self.known().found.leads_somewhere(subject) => {
                        self.publish_host(name, Err(error))
                    }
                    Subject::Service(name) => self.note_unknown_service(name, error),
                    Subject::Host(_) => {}
                }
                AGAIN
            }
        }
    }

    fn publish_host(&self, name: &Hostname, addresses: Addresses) {
        let mut known = self.known();
        if known.found.hosts.get(name).is_some_and(|before| **before == addresses) {
            return;
        }
        if let Ok(list) = &addresses {
            let list: Vec<_> = list.iter().map(ToString::to_string).collect();
            tracing::info!(%name, addresses = list.join(", "), "the backend's name leads here");
        }
        let addresses = Arc::new(addresses);
        known.found.hosts.insert(name.clone(), Arc::clone(&addresses));
        for endpoint in known.endpoints() {
            if matches!(&endpoint.address, BackendAddress::Name(other, _) if other == name) {
                endpoint.standing.lead(&addresses);
            }
        }
        if known.has_endpoints_of(&Subject::Host(name.clone())) {
            self.endpoints_changed.notify_one();
        }
    }

    /// Nobody has to wait for what is not there; what was found before stays.
    fn note_unknown_service(&self, name: &Hostname, error: String) {
        let mut known = self.known();
        if known.found.leads_somewhere(&Subject::Service(name.clone())) {
            return;
        }
        let nowhere = Arc::new(Err(error.clone()));
        for endpoint in known.endpoints() {
            if matches!(&endpoint.address, BackendAddress::Service(other) if other == name) {
                endpoint.standing.lead(&nowhere);
            }
        }
        if known.found.services.insert(name.clone(), Err(error)).is_none() {
            // An endpoint that says so takes the place of none at all.
            self.endpoints_changed.notify_one();
        }
    }

    fn publish_service(&self, name: &Hostname, targets: Vec<Target>) {
        let mut known = self.known();
        if known.found.services.get(name).is_some_and(|known| known.as_ref() == Ok(&targets)) {
            return;
        }
        let list: Vec<_> = targets.iter().map(|target| format!("{}:{}", target.host, target.port)).collect();
        tracing::info!(%name, endpoints = list.join(", "), "the service has these endpoints");
        known.found.services.insert(name.clone(), Ok(targets));
        drop(known);
        self.endpoints_changed.notify_one();
    }
}

async fn ask(lookup: &dyn LookUp, subject: &Subject) -> Result<(Answer, Duration), String> {
    Ok(match subject {
        Subject::Host(name) => {
            let (addresses, ttl) = lookup.host(name).await?;
            (Answer::Host(in_reach(addresses, has_route)), ttl)
        }
        Subject::Service(name) => {
            let (mut targets, ttl) = lookup.service(name).await?;
            targets.sort_unstable();
            targets.dedup_by(|a, b| a.host == b.host && a.port == b.port);
            (Answer::Service(targets), ttl)
        }
    })
}
