//! Two years of the manager in seconds: real plans, locks, back-off, memory and budget over a storage in memory;
//! the time is tokio's, which jumps to whatever is waited for next, and the CA is a model that keeps its own
//! books. `DOORWARD_SIMULATION_NAMES=10000` says for how many names.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use super::super::ca::{Ca, Job, RenewalInfo};
use super::super::certificate::{Issued, Meta, Summary, digest};
use super::super::clock::unix;
use super::super::{AcmeError, Clock, Pace, Services, State, Wanted, certificate_id};
use super::Manager;
use crate::certs::{Challenges, LocalIssuer, Table};
use crate::config::{self, CaLimits, CertificateId};
use crate::storage::{MemoryStorage, Storage, keys};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEARS: Duration = Duration::from_secs(730 * 86_400);
/// How soon a CA that is up again is asked for a certificate that is due: the longest interval of questions whether
/// it is up, and a while for those that go before; after a 429 its Retry-After of an hour as well.
const NOTICE: Duration = Duration::from_secs(45 * 60);
/// Without optimisation each order takes many times as long.
const CERTIFICATES: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
const SEED: u64 = 20_261_121;
const SECOND: &str = "https://second.test/dir";

/// The CA's own books. It refuses nothing by its limits: it writes down who would have been refused.
struct Model {
    storage: Arc<dyn Storage>,
    clock: Clock,
    start: SystemTime,
    /// From when to when it is down.
    outages: Vec<(SystemTime, SystemTime)>,
    /// When it answers 429 out of the blue.
    moods: Vec<(SystemTime, SystemTime)>,
    /// When it wants everything renewed that was issued before.
    incident: SystemTime,
    limits: CaLimits,
    books: Mutex<Books>,
}

struct Books {
    random: fastrand::Rng,
    orders: VecDeque<SystemTime>,
    domains: HashMap<String, VecDeque<SystemTime>>,
    sets: HashMap<CertificateId, VecDeque<SystemTime>>,
    issued: HashMap<CertificateId, Vec<(SystemTime, SystemTime)>>,
    by_hour: BTreeMap<u64, u32>,
    renewals: u32,
    replaced: u32,
    refused: u32,
    faults: Vec<String>,
    impatient: u32,
    /// Orders and small questions while it was down.
    asked_in_vain: (u32, u32),
    /// Orders to the second CA.
    second: u32,
    rests: HashMap<CertificateId, SystemTime>,
}

impl Model {
    fn books(&self) -> MutexGuard<'_, Books> {
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
    fn chance(&self, from: SystemTime, to: SystemTime) -> Option<(SystemTime, SystemTime)> {
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

    fn is_old(&self, not_before: SystemTime, now: SystemTime) -> bool {
        now >= self.incident && not_before < self.incident
    }
}

/// By name: short.test lasts 6 days, mid.test 45, all others 90.
fn lifetime(name: &str) -> Duration {
    match name {
        name if name.contains("short") => 6 * DAY,
        name if name.contains("mid") => 45 * DAY,
        _ => 90 * DAY,
    }
}

fn registered(name: &str) -> String {
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

fn names() -> Vec<String> {
    let certificates =
        std::env::var("DOORWARD_SIMULATION_NAMES").ok().and_then(|n| n.parse().ok()).unwrap_or(CERTIFICATES);
    let name = |n: usize| {
        let kind = match n % 100 {
            0..2 => "short",
            2..14 => "mid",
            _ => "long",
        };
        let ari = if n % 50 == 3 { "ari-" } else { "" };
        // Four names in a registered domain.
        format!("{ari}{kind}{n}.d{}.com", n / 4)
    };
    (0..certificates).map(name).collect()
}

struct Node {
    manager: Manager,
    _drain: crate::drain::Drain,
}

fn node(model: &Arc<Model>, acme: &config::Acme, wanted: &[Wanted], folder: &tempfile::TempDir) -> Node {
    node_of(model, Some(acme), wanted.to_vec(), folder)
}

fn node_of(model: &Arc<Model>, acme: Option<&config::Acme>, wanted: Vec<Wanted>, folder: &tempfile::TempDir) -> Node {
    let table = Arc::new(Table::new());
    let services = Services {
        storage: Arc::clone(&model.storage),
        table: Arc::clone(&table),
        challenges: Arc::new(Challenges::new()),
        dns: Arc::new(crate::dns::Solvers::new(Arc::clone(&model.storage), crate::dns::Resolver::new(&[]))),
        local: Arc::new(LocalIssuer::new(folder.path().join("ca"), table)),
        clock: model.clock.clone(),
        pace: Pace::default(),
    };
    let (drain, watch) = crate::drain::channel();
    let ca = Arc::clone(model) as Arc<dyn Ca>;
    let manager = Manager::with(services, ca, Vec::new(), &prometheus::Registry::new(), watch).expect("a manager");
    manager.update(acme.cloned(), wanted, &[]);
    Node { manager, _drain: drain }
}

/// Outages or moods, spread over the time.
fn spans(
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

fn model(
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

fn wanted(all: &[String]) -> Vec<Wanted> {
    let one = |name: &String| {
        let names = vec![name.parse().expect("a name")];
        Wanted { id: certificate_id(&names), names, self_signed_meanwhile: false, on_demand: false, asked: None }
    };
    all.iter().map(one).collect()
}

#[tokio::test(start_paused = true)]
async fn two_years_go_by_and_nothing_ends_that_could_have_been_renewed() {
    let began = std::time::Instant::now();
    let start = UNIX_EPOCH + 20_800 * DAY;
    let mut random = fastrand::Rng::with_seed(SEED);
    // Outages of hours and of days, the longest longer than the spare time of a certificate of 6 days.
    let (outages, moods) = (spans(&mut random, start, 24, 4 * DAY), spans(&mut random, start, 10, DAY));
    let model = model(start, outages, moods);
    let acme = config::Acme::default();
    let wanted = wanted(&names());
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = node(&model, &acme, &wanted, &folder);
    let mut restarts = 0;
    while model.clock.now() < start + YEARS {
        // Some follow each other within minutes, in the midst of orders.
        let soon = restarts % 4 == 3;
        tokio::time::sleep(if soon { HOUR / 4 } else { DAY * 60 }.mul_f64(random.f64())).await;
        drop(running);
        running = node(&model, &acme, &wanted, &folder);
        restarts += 1;
    }
    judge(&model, &wanted, &running.manager);
    let books = model.books();
    println!(
        "{} names, {} orders of which {} are renewals ({} by ARI), {} refused, {restarts} restarts: {:?}",
        wanted.len(),
        books.issued.values().map(Vec::len).sum::<usize>(),
        books.renewals,
        books.replaced,
        books.refused,
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_issuer_takes_over_while_the_first_is_down_for_weeks() {
    let start = UNIX_EPOCH + 20_800 * DAY;
    let model = model(start, vec![(start + 20 * DAY, start + 50 * DAY)], Vec::new());
    let second = config::Issuer::new("second", SECOND);
    let acme = config::Acme { fallback: vec![second], ..config::Acme::default() };
    // Of 6 days all of them.
    let wanted = wanted(&(0..300).map(|n| format!("short{n}.d{n}.com")).collect::<Vec<_>>());
    let folder = tempfile::tempdir().expect("a folder");
    let running = node(&model, &acme, &wanted, &folder);
    tokio::time::sleep(30 * DAY).await;
    let issuers = running.manager.issuers();
    assert!(issuers[0].down_since.is_some() && issuers[0].next_probe.is_some(), "{issuers:?}");
    assert_eq!(issuers[1].down_since, None);
    // A restart knows that it is down.
    let before = model.books().asked_in_vain.0;
    drop(running);
    let running = node(&model, &acme, &wanted, &folder);
    tokio::time::sleep(15 * DAY).await;
    assert_eq!(model.books().asked_in_vain.0, before, "it was asked no more than whether it is up");
    tokio::time::sleep(15 * DAY).await;
    let books = model.books();
    assert!(before <= 8, "{before} orders to a CA that is down");
    assert!(books.second >= 300 * 30 / 4 - 300, "{} by the second", books.second);
    assert_eq!(running.manager.issuers()[0].down_since, None, "the first is back");
    let back = books.issued.values().filter(|all| all.last().is_some_and(|(from, _)| *from > start + 50 * DAY));
    assert!(back.count() > 290);
    for (id, issued) in &books.issued {
        let gap = issued.windows(2).find(|pair| pair[1].0 > pair[0].1);
        assert_eq!(gap, None, "{id} ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_is_back_is_asked_for_those_nearest_to_their_end_first_and_slowly() {
    let start = UNIX_EPOCH + 20_800 * DAY;
    // All of them are due while it is down.
    let outage = (start + 20 * DAY + HOUR, start + 40 * DAY);
    let model = model(start, vec![outage], Vec::new());
    let acme = config::Acme::default();
    let wanted = wanted(&(0..200).map(|n| format!("mid{n}.d{n}.com")).collect::<Vec<_>>());
    let folder = tempfile::tempdir().expect("a folder");
    let running = node(&model, &acme, &wanted, &folder);
    tokio::time::sleep(38 * DAY).await;
    let status = running.manager.status();
    let waiting = status.iter().filter(|one| one.state == State::Failing).collect::<Vec<_>>();
    assert!(waiting.len() == 200, "{} wait", waiting.len());
    assert!(waiting.iter().all(|one| one.failures == 0 && one.next_attempt.is_some()), "{:?}", waiting[0]);
    assert!(waiting[0].last_error.as_deref().is_some_and(|error| error.contains("503")), "{:?}", waiting[0]);
    let (orders, probes) = model.books().asked_in_vain;
    assert!(orders <= 8, "{orders} orders in vain");
    assert!((90..18 * 96 + 20).contains(&probes), "{probes} questions in 18 days");
    tokio::time::sleep(3 * DAY).await;
    let books = model.books();
    let mut renewed: Vec<_> = books.issued.values().map(|all| (all[1].0, all[0].1)).collect();
    renewed.sort();
    assert!(renewed[0].0 < outage.1 + NOTICE, "{:?} after {:?}", renewed[0].0, outage.1);
    let last = renewed[199].0.duration_since(renewed[0].0).expect("later");
    assert!(last > 10 * HOUR && last < 13 * HOUR, "they are spread over {last:?}");
    // By their ends, but for those that were under way side by side.
    let early: Vec<_> = renewed[..50].iter().map(|(_, end)| *end).collect();
    let late: Vec<_> = renewed[66..].iter().map(|(_, end)| *end).collect();
    assert!(early.iter().max() <= late.iter().min(), "those nearest to their end go first");
}

#[tokio::test(start_paused = true)]
#[ignore = "measures; run alone"]
async fn what_a_certificate_that_is_looked_after_costs() {
    const MANY: usize = 500_000;
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    };
    let model = model(UNIX_EPOCH + 20_800 * DAY, Vec::new(), Vec::new());
    let folder = tempfile::tempdir().expect("a folder");
    let before = resident();
    let wanted = wanted(&(0..MANY).map(|n| format!("app{n}.customer{n}.com")).collect::<Vec<_>>());
    // No `[acme]`: each is looked at, and nothing is due.
    let node = node_of(&model, None, wanted, &folder);
    while node
        .manager
        .status_one(&certificate_id(&["app7.customer7.com".parse().expect("a name")]))
        .is_some_and(|one| one.state == State::Starting)
    {
        tokio::time::sleep(DAY).await;
    }
    println!("{} bytes for each of {MANY}, with its name and id", (resident() - before) / MANY);
}

fn judge(model: &Model, wanted: &[Wanted], manager: &Manager) {
    let books = model.books();
    assert_eq!(books.faults, Vec::<String>::new(), "no limit was exceeded");
    assert_eq!(books.impatient, 0, "Retry-After is honoured");
    let now = model.clock.now();
    let mut ended = 0;
    for one in wanted {
        let issued = books.issued.get(&one.id).unwrap_or_else(|| panic!("{:?} was never issued", one.names));
        let next = issued.iter().skip(1).map(|(from, _)| *from).chain([now]);
        for ((from, to), next) in issued.iter().zip(next) {
            let due = *from + (*to - lifetime_of(*from, *to) / 3).duration_since(*from).expect("later");
            if next > *to {
                ended += 1;
                let chance = model.chance(due, *to);
                assert_eq!(chance, None, "{:?} ended at {to:?}, and the CA was up before", one.names);
            }
            // What the CA wants replaced is replaced within days, not at its usual time.
            let by_ari = one.names[0].to_string().starts_with("ari");
            if by_ari && *from < model.incident && *to > model.incident {
                let late = next.duration_since(model.incident).unwrap_or_default();
                let down =
                    model.outages.iter().any(|(from, to)| *from < model.incident + 8 * DAY && *to > model.incident);
                assert!(down || late < 5 * DAY, "{:?} was replaced after {late:?}", one.names);
            }
            // Not renewed for nothing: no sooner than two thirds, but for the incident and restarts in an order.
            let used = next.duration_since(*from).expect("later");
            let early = used < (*to).duration_since(*from).expect("later") / 2 && next < now;
            let excused = by_ari && next >= model.incident && *from < model.incident;
            assert!(!early || excused, "{:?} was renewed after {used:?}", one.names);
        }
    }
    // Load is spread: after the first fill, no hour has more than a small share of all.
    let busiest = books.by_hour.iter().filter(|(hour, _)| **hour > 24 * 30).map(|(_, orders)| *orders).max();
    let most = u32::try_from(wanted.len() / 8).expect("fits").max(20);
    assert!(busiest.is_some_and(|busiest| busiest <= most), "{busiest:?} orders in an hour, of {} names", wanted.len());
    // While it is down it is asked for next to nothing: so many orders at once as find out that it is.
    let (orders, probes) = books.asked_in_vain;
    let down: Duration = model.outages.iter().map(|(from, to)| to.duration_since(*from).expect("later")).sum();
    let outages = u32::try_from(model.outages.len()).expect("fits");
    println!("{orders} orders and {probes} questions in {} hours of {outages} outages", down.as_secs() / 3600);
    assert!(orders <= 8 * outages, "{orders} orders to a CA that was down");
    assert!(u64::from(probes) <= down.as_secs() / 900 + u64::from(20 * outages), "{probes} questions");
    assert!(books.replaced > 0 && books.renewals > 0 && books.refused > 0, "all of it happened");
    println!("{ended} ended while the CA was down, at most {busiest:?} orders an hour");
    let states = manager.status();
    assert!(states.iter().all(|status| status.state != State::Disabled));
}

fn lifetime_of(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).expect("later")
}
