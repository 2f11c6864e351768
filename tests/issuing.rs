//! How certificates are got, against real pebble: challenges, several issuers, budgets, on demand.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, dead_code)]

#[path = "acme_support/mod.rs"]
mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward::acme::OnDemandIssuer;
use doorward::acme::State;
use doorward::certs::{OnDemand as _, OnDemandError};
use doorward::config::{self, Challenge};
use doorward::names::{HostMap, Hostname};
use doorward::storage::{Storage, keys};

use support::front::{Front, reply};
use support::node::{Node, folder, id, open, wanted};
use support::pebble::{Options, Pebble};
use support::until;

const NEW_ORDER: &str = "/order-plz";

fn by(acme: config::Acme, challenges: &[Challenge]) -> config::Acme {
    config::Acme { challenges: challenges.to_vec(), ..acme }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_addresses_are_proven_by_handshakes() {
    let pebble = Pebble::start(Options::default()).await;
    let (folder, storage) = folder();
    let acme = by(pebble.acme(), &[Challenge::TlsAlpn01]);
    let lists: &[&[&str]] = &[&["alpn.test", "www.alpn.test"], &["127.0.0.1"]];
    let node = Node::wanting(storage, &pebble.responder, acme.clone(), lists).await;
    for list in lists {
        let served = node.serves(list).await;
        assert!(list.iter().all(|name| served.covers(name)), "{list:?}");
    }
    drop(node);

    // Port 443 leads to another node of the cluster: it answers from the storage.
    let first = Node::wanting(open(&folder), &pebble.responder, acme.clone(), &[]).await;
    let second = Node::wanting(open(&folder), &pebble.responder, acme.clone(), &[]).await;
    let names: &[&str] = &["cluster.test"];
    first.manager.update(Some(acme), vec![wanted(names)], &[]);
    first.serves(names).await;
    second.serves(names).await;
}

/// A fake CA that answers every request for its directory in this way.
async fn broken(pebble: &Pebble, status: u16, headers: &'static [(&'static str, &'static str)]) -> Front {
    let front = Front::start(pebble).await;
    front.answer(move |seen| {
        (seen.path == NEW_ORDER).then(|| {
            let problem = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"not today","status":429}"#;
            reply(status, headers, if status == 429 { problem } else { "<h1>down</h1>" })
        })
    });
    front
}

fn named(mut acme: config::Acme, name: &str) -> config::Issuer {
    acme.issuer.name = name.to_owned();
    acme.issuer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_issuer_is_asked_where_one_fails() {
    let (first, second) = (Pebble::start(Options::default()).await, Pebble::start(Options::default()).await);
    let json: &[_] = &[("Content-Type", "application/problem+json"), ("Retry-After", "3600")];
    for (status, headers) in [(429, json), (503, &[("Content-Type", "text/html")][..])] {
        let front = broken(&first, status, headers).await;
        let (folder, storage) = folder();
        let acme = config::Acme {
            issuer: named(front.acme(), "one"),
            fallback: vec![named(second.acme(), "two")],
            ..first.acme()
        };
        let names: &[&str] = &["fallback.test"];
        let node = Node::wanting(Arc::clone(&storage), &second.responder, acme.clone(), &[names]).await;
        let served = node.serves(names).await;
        assert!((node.counted("failed")).abs() < f64::EPSILON, "one attempt was enough");
        assert_eq!(front.seen(NEW_ORDER).len(), 1, "{status}");
        node.reaches(names, State::Valid).await;

        // It is remembered for the name, also over a restart: the next renewal asks the second at once.
        drop(node);
        let node = Node::wanting(open(&folder), &second.responder, acme.clone(), &[names]).await;
        let order = storage.list(keys::ATTEMPTS).await.unwrap();
        assert_eq!(order.len(), 1, "{order:?}");
        node.reaches(names, State::Valid).await;
        assert_eq!(front.seen(NEW_ORDER).len(), 1, "{status}");
        // By hand it is asked all the same, and falls back again.
        assert!(node.manager.renew(&id(names)));
        node.renews(names, &served).await;
        assert_eq!(front.seen(NEW_ORDER).len(), 2, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_issuers_failing_is_one_failure_with_every_reason() {
    let mut pebble = Pebble::prepare(Options::default()).await;
    let acme = config::Acme {
        issuer: named(pebble.acme(), "one"),
        fallback: vec![named(pebble.acme(), "two")],
        ..pebble.acme()
    };
    let (_folder, storage) = folder();
    let names: &[&str] = &["nobody.test"];
    let node = Node::wanting(storage, &pebble.responder, acme, &[names]).await;
    let status = node.reaches(names, State::Failing).await;
    let error = status.last_error.expect("said");
    assert!(error.contains("one: the CA cannot be reached") && error.contains("two: the CA cannot be"), "{error}");
    pebble.run().await;
    node.serves(names).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_that_fails_is_followed_by_another() {
    let pebble = Pebble::start(Options::default()).await;
    let front = Front::start(&pebble).await;
    let (folder, storage) = folder();
    let acme = by(front.acme(), &[Challenge::Http01, Challenge::TlsAlpn01]);
    pebble.responder.close_http(true);
    let names: &[&str] = &["second.test"];
    let node = Node::wanting(storage, &pebble.responder, acme.clone(), &[names]).await;
    let served = node.serves(names).await;
    assert!(node.counted("failed").abs() < f64::EPSILON, "within one attempt");
    assert_eq!(front.seen(NEW_ORDER).len(), 2);
    node.reaches(names, State::Valid).await;
    // The renewal begins with what worked. Pebble reuses an authorisation now and then: then nothing is tried.
    drop(node);
    let node = Node::wanting(open(&folder), &pebble.responder, acme, &[names]).await;
    node.manager.renew(&id(names));
    node.renews(names, &served).await;
    assert_eq!(front.seen(NEW_ORDER).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_ca_is_asked_first_where_that_is_wished() {
    let (staging, real) = (Pebble::start(Options::default()).await, Pebble::start(Options::default()).await);
    let (test, front) = (Front::start(&staging).await, Front::start(&real).await);
    let mut acme = front.acme();
    acme.staging_first = true;
    acme.issuer.staging = Some(test.url("/dir"));
    let (_folder, storage) = folder();
    // Both fronts have certificates of their own: one file with both.
    let both = tempfile::NamedTempFile::new().unwrap();
    let roots = [front.acme(), test.acme()].map(|acme| std::fs::read_to_string(acme.issuer.trust.unwrap()).unwrap());
    std::fs::write(both.path(), roots.concat()).unwrap();
    acme.issuer.trust = Some(both.path().to_owned());
    // The name does not lead here yet: the CA itself hears nothing of it.
    let names: &[&str] = &["broken.test"];
    let node = Node::wanting(Arc::clone(&storage), &staging.responder, acme.clone(), &[names]).await;
    node.reaches(names, State::Failing).await;
    assert_eq!(front.seen(NEW_ORDER).len(), 0);
    // One that does is ordered twice, and only the real one is kept.
    let names: &[&str] = &["staged.test"];
    real.responder.set(staging.responder.get());
    node.manager.update(Some(acme), vec![wanted(names)], &[]);
    let served = node.serves(names).await;
    assert_eq!((front.seen(NEW_ORDER).len(), test.seen_for(NEW_ORDER, "staged.test")), (1, 1));
    node.reaches(names, State::Valid).await;
    // A renewal needs no rehearsal.
    node.manager.renew(&id(names));
    node.renews(names, &served).await;
    assert_eq!((front.seen(NEW_ORDER).len(), test.seen_for(NEW_ORDER, "staged.test")), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_is_not_asked_for_what_it_would_refuse() {
    let pebble = Pebble::start(Options::default()).await;
    let front = Front::start(&pebble).await;
    let (folder, storage) = folder();
    let mut acme = front.acme();
    acme.issuer.limits.per_domain = Some(config::Rate { most: 4, within: Duration::from_secs(3600) });
    let lists: Vec<String> = (0..6).map(|n| format!("n{n}.budget.test")).collect();
    let lists: Vec<[&str; 1]> = lists.iter().map(|name| [name.as_str()]).collect();
    let wanted_lists: Vec<&[&str]> = lists.iter().map(|list| &list[..]).collect();
    let node = Node::wanting(storage, &pebble.responder, acme.clone(), &wanted_lists).await;
    until("three are issued and three wait", || {
        let all = node.manager.status();
        let count = |state| all.iter().filter(|status| status.state == state).count();
        (count(State::Valid) == 3 && count(State::Failing) == 3).then_some(())
    })
    .await;
    assert_eq!(front.seen(NEW_ORDER).len(), 3, "the fourth is for a renewal");
    let waiting = node.manager.status().into_iter().find(|status| status.state == State::Failing).expect("one");
    assert!(waiting.last_error.expect("said").contains("new certificates for budget.test: 4 in 1h"));
    assert_eq!(waiting.failures, 0, "to wait is not to fail");
    assert!(waiting.next_attempt > waiting.last_failure.map(|at| at + 3500));
    let issued = node.manager.status().into_iter().find(|status| status.state == State::Valid).expect("one");
    let names: Vec<&str> = issued.names.iter().map(String::as_str).collect();
    let before = node.serves(&names).await;
    node.manager.renew(&id(&names));
    node.renews(&names, &before).await;
    drop(node);
    // It is known after a restart, and to whoever looks from outside.
    let storage = open(&folder);
    let view = doorward::acme::budget(&acme, &*storage, std::time::SystemTime::now()).await.unwrap();
    let domain = view[0].limits.iter().find(|limit| limit.limit == "per_domain").expect("the domain");
    assert_eq!((domain.subject.as_deref(), domain.used, domain.most), (Some("budget.test"), 4, Some(4)));
    assert_eq!(domain.left_for_new, Some(0));
}

/// The operator's app: allows names that begin with `yes`, cannot tell about `unsure`, and counts.
struct App {
    url: String,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
    allowed: Arc<std::sync::atomic::AtomicBool>,
}

impl App {
    async fn start() -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/allowed", listener.local_addr().unwrap());
        let (asked, allowed) = (Arc::<std::sync::Mutex<Vec<String>>>::default(), Arc::new(true.into()));
        let (log, yes) = (Arc::clone(&asked), Arc::clone(&allowed));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, yes) = (Arc::clone(&log), Arc::<std::sync::atomic::AtomicBool>::clone(&yes));
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let length = stream.read(&mut request).await.unwrap_or(0);
                    let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or("").to_owned();
                    let status = match () {
                        () if line.contains("domain=unsure") => "500 Oh",
                        () if line.contains("domain=yes") && yes.load(std::sync::atomic::Ordering::SeqCst) => "200 OK",
                        () => "404 No",
                    };
                    log.lock().unwrap().push(line);
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, asked, allowed }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A node that issues on demand for every host but `app.test`.
async fn on_demand(node: &Node, storage: Arc<dyn Storage>, config: &config::OnDemand) -> OnDemandIssuer {
    let issuer = OnDemandIssuer::new(&node.manager, Arc::clone(&node.table), storage);
    issuer.update(Some(config), hosts()).await.unwrap();
    issuer
}

fn hosts() -> HostMap<bool> {
    let mut hosts = HostMap::new();
    hosts.set_default(true);
    hosts.insert("app.test".parse().unwrap(), false);
    hosts
}

fn name(text: &str) -> Hostname {
    text.parse().unwrap()
}

fn client(n: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a00_0001 + (n << 8)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_handshake_gets_a_certificate_where_the_app_allows_it() {
    let pebble = Pebble::start(Options::default()).await;
    let front = Front::start(&pebble).await;
    let app = App::start().await;
    let (folder, storage) = folder();
    let acme = front.acme();
    let node = Node::wanting(Arc::clone(&storage), &pebble.responder, acme.clone(), &[]).await;
    let mut settings = config::OnDemand::new(&app.url);
    settings.wait = Duration::from_secs(40);
    let issuer = on_demand(&node, Arc::clone(&storage), &settings).await;

    // A hundred handshakes at once are one question and one order.
    let mut handshakes = tokio::task::JoinSet::new();
    let issuer = Arc::new(issuer);
    for n in 0..100 {
        let issuer = Arc::clone(&issuer);
        handshakes.spawn(async move { issuer.obtain(name("yes.one.test"), client(n)).await });
    }
    while let Some(done) = handshakes.join_next().await {
        assert_eq!(done.unwrap(), Ok(()));
    }
    assert!(node.table.has("yes.one.test"));
    assert_eq!((app.asked().len(), front.seen(NEW_ORDER).len()), (1, 1));
    let asked = app.asked();
    assert!(asked[0].starts_with("GET /allowed?domain=yes.one.test&client=10.0."), "{asked:?}");

    // A no costs one question for a while, and a CA nothing; hosts with routes of their own not even that.
    for _ in 0..3 {
        assert_eq!(issuer.obtain(name("no.one.test"), client(7)).await, Err(OnDemandError::NotAllowed));
        assert_eq!(issuer.obtain(name("app.test"), client(7)).await, Err(OnDemandError::NotAllowed));
        assert_eq!(issuer.obtain(name("yes.a.b.c.one.test"), client(7)).await, Err(OnDemandError::NotAllowed));
        assert!(matches!(issuer.obtain(name("unsure.one.test"), client(7)).await, Err(OnDemandError::Failed(_))));
    }
    assert_eq!((app.asked().len(), front.seen(NEW_ORDER).len()), (3, 1), "{:?}", app.asked());

    // It failed: that is said, and not tried again at each handshake.
    pebble.responder.close_http(true);
    let error = issuer.obtain(name("yes.two.test"), client(8)).await.expect_err("no proof");
    assert!(error.to_string().contains("could not validate"), "{error}");
    assert_eq!(issuer.obtain(name("yes.two.test"), client(9)).await, Err(error));
    assert_eq!(front.seen(NEW_ORDER).len(), 2);
    pebble.responder.close_http(false);

    // After a restart it is served and looked after; renewals ask again, and a no lets it run out.
    let served = node.serves(&["yes.one.test"]).await;
    drop(issuer);
    drop(node);
    let storage = open(&folder);
    let node = Node::wanting(Arc::clone(&storage), &pebble.responder, acme.clone(), &[]).await;
    let issuer = on_demand(&node, Arc::clone(&storage), &settings).await;
    node.reaches(&["yes.one.test"], State::Valid).await;
    // A reload leaves it alone.
    node.manager.update(Some(acme), Vec::new(), &[]);
    node.reaches(&["yes.one.test"], State::Valid).await;
    let before = app.asked().len();
    let lifetime = u64::try_from(served.not_after() - served.not_before()).unwrap();
    node.hand.set_ahead(Duration::from_secs(lifetime / 10 * 7));
    node.renews(&["yes.one.test"], &served).await;
    let asked = app.asked();
    assert!(asked.len() > before && asked.last().unwrap().ends_with("domain=yes.one.test HTTP/1.1"), "{asked:?}");
    app.allowed.store(false, std::sync::atomic::Ordering::SeqCst);
    node.reaches(&["yes.one.test"], State::Disabled).await;
    assert!(node.table.has("yes.one.test"), "it serves to its end");
    node.hand.set_ahead(Duration::from_secs(lifetime * 3));
    until("it is forgotten", || (!node.table.has("yes.one.test")).then_some(())).await;
    drop(issuer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_waits_no_longer_than_it_may_and_the_order_goes_on() {
    let pebble = Pebble::start(Options::default()).await;
    let app = App::start().await;
    let (_folder, storage) = folder();
    let node = Node::wanting(Arc::clone(&storage), &pebble.responder, pebble.acme(), &[]).await;
    let mut settings = config::OnDemand::new(&app.url);
    settings.wait = Duration::from_millis(1);
    let issuer = on_demand(&node, storage, &settings).await;
    let error = issuer.obtain(name("yes.slow.test"), client(1)).await.expect_err("too slow");
    assert!(matches!(&error, OnDemandError::Failed(why) if why.contains("longer than 1ms")), "{error}");
    node.serves(&["yes.slow.test"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_names_cost_the_ca_nothing_and_others_nothing() {
    let pebble = Pebble::start(Options::default()).await;
    let front = Front::start(&pebble).await;
    let app = App::start().await;
    let (_folder, storage) = folder();
    let node = Node::wanting(Arc::clone(&storage), &pebble.responder, front.acme(), &[]).await;
    let mut settings = config::OnDemand::new(&app.url);
    settings.wait = Duration::from_secs(30);
    let issuer = Arc::new(on_demand(&node, Arc::clone(&storage), &settings).await);
    // 5,000 names of 20 networks, most of them at once, half of them below one label after the other.
    let mut handshakes = tokio::task::JoinSet::new();
    for n in 0..5000_u32 {
        let issuer = Arc::clone(&issuer);
        let deep = "www.".repeat(usize::try_from(n % 7).unwrap());
        handshakes.spawn(async move { issuer.obtain(name(&format!("{deep}n{n}.abuse.test")), client(n % 20)).await });
    }
    // In the midst of it somebody else comes with a name that is allowed.
    assert_eq!(issuer.obtain(name("yes.honest.test"), client(99)).await, Ok(()));
    while let Some(done) = handshakes.join_next().await {
        assert!(done.unwrap().is_err());
    }
    let most = 20 * usize::try_from(settings.per_client.most).unwrap() + 1;
    assert!(app.asked().len() <= most, "{} questions", app.asked().len());
    assert_eq!(front.seen(NEW_ORDER).len(), 1, "the one that was allowed");
    assert_eq!(front.seen_for("", "abuse.test"), 0, "the CA has not heard of them");
    assert_eq!(storage.list(keys::ON_DEMAND).await.unwrap().len(), 1);
}
