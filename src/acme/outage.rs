//! [`Outages`]: which CAs are down. One that is is left alone by all certificates together: it is asked by one
//! small question in growing intervals, and the next issuer takes its place meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus::{IntGaugeVec, Opts, Registry};
use serde::{Deserialize, Serialize};

use super::backoff::{Pace, settings_of};
use super::ca::Ca;
use super::clock::{Clock, from_unix, is_to_come, unix};
use super::{AcmeError, short_hash};
use crate::config;
use crate::storage::{Storage, keys};

/// The longest interval between two questions: they cost next to nothing.
const LONGEST: Duration = Duration::from_secs(900);
/// The most that a Retry-After of a CA that is down is believed: certificates of days must not wait for weeks.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// The CAs that are down, by the URL of their directory.
pub(super) struct Outages {
    storage: Arc<dyn Storage>,
    clock: Clock,
    pace: Pace,
    gauge: IntGaugeVec,
    down: Mutex<BTreeMap<String, Outage>>,
    /// One at a time finds out whether a CA is down.
    turn: tokio::sync::Mutex<()>,
}

/// A CA that is down, as it is kept in the storage too. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outage {
    issuer: String,
    since: u64,
    /// When it was asked last.
    asked: u64,
    /// When it is asked again.
    next: u64,
    questions: u32,
    error: String,
    /// By which settings it was asked.
    settings: String,
    #[serde(skip)]
    asking: bool,
}

impl Outage {
    /// When it is asked again: now, where the clock was ahead when it was asked last.
    fn due(&self, now: SystemTime) -> SystemTime {
        if is_to_come(self.asked, now) { now } else { from_unix(self.next) }
    }
}

/// How an issuer fares. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStatus {
    /// Its name in the config.
    pub issuer: String,
    /// Since when it is down; none: it is up, as far as is known.
    pub down_since: Option<u64>,
    /// When it is asked again whether it is up.
    pub next_probe: Option<u64>,
    /// Why it is taken for down.
    pub error: Option<String>,
}

impl Outages {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        clock: Clock,
        pace: Pace,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let options = Opts::new("doorward_acme_issuer_up", "Whether the CA answers (1), or is left alone (0)");
        let gauge = IntGaugeVec::new(options, &["issuer"])?;
        registry.register(Box::new(gauge.clone()))?;
        let (down, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { storage, clock, pace, gauge, down, turn })
    }

    /// Takes up the issuers of the config. What was down with other settings is asked anew.
    pub(super) async fn take_up(&self, acme: Option<&config::Acme>) {
        let mut found = BTreeMap::new();
        for issuer in acme.into_iter().flat_map(config::Acme::issuers) {
            let settings = acme.map(|acme| settings_of(&acme.asking(issuer))).unwrap_or_default();
            let kept = self.storage.read(&key(&issuer.directory)).await.ok().flatten();
            let kept = kept.and_then(|kept| serde_json::from_slice::<Outage>(&kept).ok());
            if let Some(outage) = kept.filter(|outage| outage.settings == settings) {
                found.insert(issuer.directory.clone(), outage);
            }
            self.gauge.with_label_values(&[&issuer.name]).set(i64::from(!found.contains_key(&issuer.directory)));
        }
        *self.lock() = found;
    }

    /// Whether this CA is down.
    pub(super) fn is_down(&self, directory: &str) -> bool {
        self.lock().contains_key(directory)
    }

    /// Why this CA is not asked; none where it is.
    pub(super) fn refusal(&self, directory: &str) -> Option<AcmeError> {
        let down = self.lock();
        let outage = down.get(directory)?;
        Some(AcmeError::Down { error: outage.error.clone(), until: from_unix(outage.next) })
    }

    /// Why none of the issuers is asked, where all of them are down; when they were asked last, and are
    /// asked again.
    pub(super) fn all_down(&self, acme: &config::Acme) -> Option<(String, u64, u64)> {
        let down = self.lock();
        let all: Option<Vec<_>> =
            acme.issuers().map(|issuer| Some((&issuer.name, down.get(&issuer.directory)?))).collect();
        let all = all?;
        let text = match all.as_slice() {
            [(_, one)] => one.error.clone(),
            several => {
                several.iter().map(|(name, one)| format!("{name}: {}", one.error)).collect::<Vec<_>>().join("; ")
            }
        };
        let asked = all.iter().map(|(_, one)| one.asked).max()?;
        let next = all.iter().map(|(_, one)| one.next).min()?;
        Some((text, asked, next))
    }

    /// Whether an order failed because the CA is down, by asking it a small question. One that said when to come
    /// back is not asked.
    pub(super) async fn is_why(&self, ca: &dyn Ca, acme: &config::Acme, error: &AcmeError) -> bool {
        if !error.may_be_an_outage() {
            return false;
        }
        let _turn = self.turn.lock().await;
        let issuer = &acme.issuer;
        if self.is_down(&issuer.directory) {
            return true;
        }
        let (why, retry_after) = match error.retry_after() {
            Some(until) => (error.to_string(), Some(until)),
            None => match ca.probe(acme).await {
                Ok(()) => return false,
                Err(probed) => (probed.to_string(), probed.retry_after()),
            },
        };
        let now = self.clock.now();
        let next = self.next(1, retry_after, now);
        tracing::error!(
            issuer = issuer.name, error = why, next_attempt = %humantime::format_rfc3339_seconds(from_unix(next)),
            "the CA is down: no certificate is asked of it until it answers again"
        );
        let settings = settings_of(acme);
        let (name, since) = (issuer.name.clone(), unix(now));
        let outage =
            Outage { issuer: name, since, asked: since, next, questions: 1, error: why, settings, asking: false };
        self.gauge.with_label_values(&[&issuer.name]).set(0);
        self.save(&issuer.directory, &outage).await;
        self.lock().insert(issuer.directory.clone(), outage);
        true
    }

    /// A CA that is to be asked now whether it is up again; it is taken as being asked.
    pub(super) fn to_ask(&self, now: SystemTime) -> Option<String> {
        let mut down = self.lock();
        let (directory, outage) = down.iter_mut().find(|(_, one)| !one.asking && one.due(now) <= now)?;
        outage.asking = true;
        Some(directory.clone())
    }

    /// When the next one is to be asked.
    pub(super) fn next_question(&self) -> Option<SystemTime> {
        let now = self.clock.now();
        self.lock().values().filter(|one| !one.asking).map(|one| one.due(now)).min()
    }

    /// An operator wants it now: whoever is down is asked at once.
    pub(super) fn hurry(&self, acme: &config::Acme) {
        let now = unix(self.clock.now());
        let mut down = self.lock();
        for issuer in acme.issuers() {
            if let Some(outage) = down.get_mut(&issuer.directory) {
                outage.next = outage.next.min(now);
            }
        }
    }

    /// Asks whether the CA is up again; returns whether it is.
    pub(super) async fn ask(&self, ca: &dyn Ca, acme: Option<&config::Acme>, directory: &str) -> bool {
        let own = acme.and_then(|acme| Some(acme.asking(acme.issuer_at(directory)?)));
        let Some(own) = own else {
            // The config has it no longer.
            self.lock().remove(directory);
            self.forget(directory).await;
            return true;
        };
        let answer = ca.probe(&own).await;
        let now = self.clock.now();
        let Some(mut outage) = self.lock().get(directory).cloned() else { return true };
        match answer {
            Ok(()) => {
                let lasted = humantime::format_duration(Duration::from_secs(unix(now).saturating_sub(outage.since)));
                tracing::info!(issuer = own.issuer.name, %lasted, "the CA answers again");
                self.gauge.with_label_values(&[&own.issuer.name]).set(1);
                self.lock().remove(directory);
                self.forget(directory).await;
                true
            }
            Err(error) => {
                outage.questions = outage.questions.saturating_add(1);
                outage.asked = unix(now);
                outage.next = self.next(outage.questions, error.retry_after(), now);
                outage.error = error.to_string();
                outage.asking = false;
                tracing::debug!(issuer = own.issuer.name, %error, "the CA is still down");
                self.save(directory, &outage).await;
                self.lock().insert(directory.to_owned(), outage);
                false
            }
        }
    }

    /// How each issuer fares.
    pub(super) fn status(&self, acme: &config::Acme) -> Vec<IssuerStatus> {
        let down = self.lock();
        let status = |issuer: &config::Issuer| {
            let outage = down.get(&issuer.directory);
            IssuerStatus {
                issuer: issuer.name.clone(),
                down_since: outage.map(|outage| outage.since),
                next_probe: outage.map(|outage| outage.next),
                error: outage.map(|outage| outage.error.clone()),
            }
        };
        acme.issuers().map(status).collect()
    }

    fn next(&self, questions: u32, retry_after: Option<SystemTime>, now: SystemTime) -> u64 {
        let pace = Pace { first: self.pace.first, longest: self.pace.longest.min(LONGEST) };
        let at = now + pace.delay(questions, fastrand::f64());
        let at = retry_after.map_or(at, |asked| asked.min(now + LONGEST_RETRY_AFTER).max(at));
        // A full second later, as fractions are cut off: never before the CA's time.
        unix(at + Duration::from_millis(999))
    }

    async fn save(&self, directory: &str, outage: &Outage) {
        // Plain fields: serialising them cannot fail.
        let value = serde_json::to_vec(outage).unwrap_or_default();
        if let Err(error) = self.storage.write(&key(directory), &value).await {
            tracing::warn!(issuer = outage.issuer, %error, "it cannot be written down that the CA is down");
        }
    }

    async fn forget(&self, directory: &str) {
        if let Err(error) = self.storage.delete(&key(directory)).await {
            tracing::warn!(directory, %error, "it cannot be written down that the CA is up");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outage>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(directory: &str) -> crate::storage::Key {
    keys::outage(&short_hash([directory]))
}
