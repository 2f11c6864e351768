//! Two years of the manager in seconds: real plans, locks, back-off, memory and budget over a storage in memory;
//! the time is tokio's, which jumps to whatever is waited for next, and the CA is a model that keeps its own
//! books. `DOORWARD_SIMULATION_NAMES=10000` says for how many names.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::model::{Model, model, spans};
use super::super::ca::Ca;
use super::super::{Pace, Services, State, Wanted, certificate_id};
use super::Manager;
use crate::certs::{Challenges, LocalIssuer, Table};
use crate::config;

mod model;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEARS: Duration = Duration::from_secs(730 * 86_400);
/// How soon a CA that is up again is asked for a certificate that is due: the longest interval of questions whether
/// it is up, and a while for those that go before; after a 429 its Retry-After of an hour as well.
const NOTICE: Duration = Duration::from_secs(45 * 60);
/// Without optimisation each order takes many times as long: `.ci/run` has a step of its own for 10,000.
const CERTIFICATES: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
const SEED: u64 = 20_261_121;
const SECOND: &str = "https://second.test/dir";

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
