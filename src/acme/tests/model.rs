//! The CA of the simulation: it has outages, moods and an incident, issues what it is asked for, and keeps its own
//! books of who asked for how much.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{DAY, HOUR, NOTICE, SECOND, SEED, YEARS};
use crate::acme::ca::{Ca, Job, RenewalInfo};
use crate::acme::certificate::{Issued, Meta, Summary, digest};
use crate::acme::clock::unix;
use crate::acme::{AcmeError, Clock};
use crate::config::{self, CaLimits, CertificateId};
use crate::storage::{MemoryStorage, Storage, keys};

/// The CA's own books. It refuses nothing by its limits: it writes down who would have been refused.
pub(super) struct Model {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Clock,
    pub(super) start: SystemTime,
    /// From when to when it is down.
    pub(super) outages: Vec<(SystemTime, SystemTime)>,
    /// When it answers 429 out of the blue.
    pub(super) moods: Vec<(SystemTime, SystemTime)>,
    /// When it wants everything renewed that was issued before.
    pub(super) incident: SystemTime,
    pub(super) limits: CaLimits,
    pub(super) books: Mutex<Books>,
}

pub(super) struct Books {
    pub(super) random: fastrand::Rng,
    pub(super) orders: VecDeque<SystemTime>,
    pub(super) domains: HashMap<String, VecDeque<SystemTime>>,
    pub(super) sets: HashMap<CertificateId, VecDeque<SystemTime>>,
    pub(super) issued: HashMap<CertificateId, Vec<(SystemTime, SystemTime)>>,
    pub(super) by_hour: BTreeMap<u64, u32>,
    pub(super) renewals: u32,
    pub(super) replaced: u32,
    pub(super) refused: u32,
    pub(super) faults: Vec<String>,
    pub(super) impatient: u32,
    /// Orders and small questions while it was down.
    pub(super) asked_in_vain: (u32, u32),
    /// Orders to the second CA.
    pub(super) second: u32,
    pub(super) rests: HashMap<CertificateId, SystemTime>,
}

impl Model {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("not poisoned")
    }

    fn is(&self, when: &[(SystemTime, SystemTime)], now: SystemTime) -> bool {
        when.iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    fn is_down(&self, directory: &str, now: SystemTime) -> bool {
        directory != SECOND && self.is(&self.outages, now)
    }

    /// A time between these two in which it was up for so long that a certificate which was due could be had. With
    /// much time left that is up to a tenth of it later, and after a 429 its Retry-After and up to an eighth.
    pub(super) fn chance(&self, from: SystemTime, to: SystemTime) -> Option<(SystemTime, SystemTime)> {
        let after = |moody: bool, at: SystemTime| {
            let left = to.duration_since(at).unwrap_or_default();
            // It has come back, and those that have time are spread; or it said when to come back.
            NOTICE + if moody { HOUR.max(left / 8) } else { (12 * HOUR).min(left / 10) }
        };
        let spans = |spans: &[(SystemTime, SystemTime)], moody| spans.iter().map(|s| (*s, moody)).collect::<Vec<_>>();
        let mut down = [spans(&self.outages, false), spans(&self.moods, true)].concat();
        down.sort();
        let (mut at, mut moody) = (from, false);
        for ((start, end), mood) in down {
            let until = start.min(to);
            if until.duration_since(at).is_ok_and(|up| up > after(moody, at)) {
                return Some((at, until));
            }
            if end > at {
                (at, moody) = (end, mood || (moody && start <= at));
            }
        }
        to.duration_since(at).is_ok_and(|up| up > after(moody, at)).then_some((at, to))
    }

    pub(super) fn is_old(&self, not_before: SystemTime, now: SystemTime) -> bool {
        now >= self.incident && not_before < self.incident
    }
}

/// By name: short.test lasts 6 days, mid.test 45, all others 90.
pub(super) fn lifetime(name: &str) -> Duration {
    match name {
        name if name.contains("short") => 6 * DAY,
        name if name.contains("mid") => 45 * DAY,
        _ => 90 * DAY,
    }
}

pub(super) fn registered(name: &str) -> String {
    name.split_once('.').map_or(name, |(_, domain)| domain).to_owned()
}

/// Counts one; returns whether it is one too many.
fn count(times: &mut VecDeque<SystemTime>, rate: Option<config::Rate>, now: SystemTime) -> bool {
    let Some(rate) = rate else { return false };
    while times.front().is_some_and(|at| *at + rate.within < now) {
        times.pop_front();
    }
    times.push_back(now);
    times.len() > usize::try_from(rate.most).expect("fits")
}

#[async_trait]
impl Ca for Model {
    async fn resume(&self, _job: &Job<'_>) -> Result<bool, AcmeError> {
        Ok(false)
    }

    async fn order(&self, job: &Job<'_>) -> Result<(), AcmeError> {
        let (name, now) = (job.names[0].to_string(), self.clock.now());
        let takes = Duration::from_millis(self.books().random.u64(500..20_000));
        *self.books().by_hour.entry(now.duration_since(self.start).expect("later").as_secs() / 3600).or_default() += 1;
        let directory = job.acme.issuer.directory.clone();
        if self.is_down(&directory, now) {
            self.books().asked_in_vain.0 += 1;
            return Err(AcmeError::Unavailable { status: 503, directory, retry_after: None });
        }
        if directory == SECOND {
            self.books().second += 1;
        } else if self.is(&self.moods, now) {
            let mut books = self.books();
            books.refused += 1;
            let impatient = books.rests.insert(job.id.clone(), now + HOUR).is_some_and(|until| until > now);
            books.impatient += u32::from(impatient);
            return Err(AcmeError::Refused {
                kind: "rateLimited".to_owned(),
                detail: "not now".to_owned(),
                status: 429,
                retry_after: Some(now + HOUR),
            });
        }
        {
            let mut books = self.books();
            let renewal = books.issued.contains_key(job.id);
            let mut faults = Vec::new();
            if job.replaces.is_some() {
                books.replaced += 1;
            } else if count(books.sets.entry(job.id.clone()).or_default(), self.limits.duplicates, now) {
                faults.push(format!("duplicates of {name}"));
            }
            if renewal {
                books.renewals += 1;
            } else {
                if count(&mut books.orders, self.limits.orders, now) {
                    faults.push("orders".to_owned());
                }
                if count(books.domains.entry(registered(&name)).or_default(), self.limits.per_domain, now) {
                    faults.push(format!("certificates for {}", registered(&name)));
                }
            }
            books.faults.extend(faults);
        }
        // The process may end here.
        tokio::time::sleep(takes).await;
        let (not_before, not_after) = (self.clock.now(), self.clock.now() + lifetime(&name));
        let serial = format!("{:016x}", self.books().random.u64(..));
        let bundle = format!("{name} {serial}");
        let summary = Summary {
            bundle: digest(bundle.as_bytes()),
            names: job.names.iter().map(ToString::to_string).collect(),
            not_before: unix(not_before),
            not_after: unix(not_after),
            serial: serial.clone(),
            ari: Some(("authority".to_owned(), serial)),
        };
        let meta = Meta {
            issuer: job.acme.issuer.name.clone(),
            directory,
            profile: None,
            issued: unix(not_before),
            ari: None,
            summary: Some(summary),
            revoked: None,
        };
        meta.save(&*self.storage, job.id).await?;
        self.storage.write(&keys::certificate(job.id), bundle.as_bytes()).await?;
        self.books().issued.entry(job.id.clone()).or_default().push((not_before, not_after));
        Ok(())
    }

    async fn probe(&self, acme: &config::Acme) -> Result<(), AcmeError> {
        let directory = acme.issuer.directory.clone();
        if self.is_down(&directory, self.clock.now()) {
            self.books().asked_in_vain.1 += 1;
            return Err(AcmeError::Unavailable { status: 503, directory, retry_after: None });
        }
        Ok(())
    }

    async fn renewal_info(&self, _acme: &config::Acme, issued: &Issued) -> Result<Option<RenewalInfo>, AcmeError> {
        // The CA speaks of renewals to some only: each of them asks every day.
        if !issued.summary.names[0].starts_with("ari") {
            return Ok(None);
        }
        let (now, validity) = (self.clock.now(), issued.validity());
        if self.is(&self.outages, now) {
            return Err(AcmeError::Ended("down"));
        }
        let usual = validity.not_before + validity.lifetime() / 3 * 2;
        let start = if self.is_old(validity.not_before, now) { self.incident } else { usual };
        let end = start + validity.lifetime() / 50;
        Ok(Some(((unix(start), unix(end)), DAY)))
    }
}

/// Outages or moods, spread over the time.
pub(super) fn spans(
    random: &mut fastrand::Rng,
    start: SystemTime,
    count: u32,
    longest: Duration,
) -> Vec<(SystemTime, SystemTime)> {
    let mut span = |n: u32| {
        let at = start + YEARS / count * n + DAY * 10 + (YEARS / count / 3).mul_f64(random.f64());
        (at, at + HOUR + longest.mul_f64(random.f64()))
    };
    (0..count).map(&mut span).collect()
}

pub(super) fn model(
    start: SystemTime,
    outages: Vec<(SystemTime, SystemTime)>,
    moods: Vec<(SystemTime, SystemTime)>,
) -> Arc<Model> {
    Arc::new(Model {
        storage: Arc::new(MemoryStorage::new()),
        clock: Clock::of_tokio(start),
        start,
        outages,
        moods,
        incident: start + 300 * DAY,
        limits: config::Issuer::default().limits,
        books: Mutex::new(Books {
            random: fastrand::Rng::with_seed(SEED + 1),
            orders: VecDeque::new(),
            domains: HashMap::new(),
            sets: HashMap::new(),
            issued: HashMap::new(),
            by_hour: BTreeMap::new(),
            renewals: 0,
            replaced: 0,
            refused: 0,
            faults: Vec::new(),
            impatient: 0,
            asked_in_vain: (0, 0),
            second: 0,
            rests: HashMap::new(),
        }),
    })
}
