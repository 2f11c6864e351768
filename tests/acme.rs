//! The ACME room against real pebble: issue, renew, resume, survive.
//!
//! All run at once, each with a pebble of its own on free ports. Where pebble cannot misbehave in the way
//! that a test needs, `acme_support::front` does it in its place, and the test says that it is a fake.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

#[path = "acme_support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use doorward::acme::State;
use doorward::certs::{Certificate, KeyKind, PemPart, PemParts};
use doorward::config::{self, CertificateId, KeyType};
use doorward::storage::{Storage, keys};

use support::filling::Filling;
use support::front::{Front, change_json, reply};
use support::hooked::Hooked;
use support::node::{Node, folder, id, open, wanted};
use support::pausing::{Moment, Pausing};
use support::pebble::{EAB, Options, Pebble};
use support::until;

const NEW_ORDER: &str = "/order-plz";
const NEW_ACCOUNT: &str = "/sign-me-up";

async fn default_pebble() -> Pebble {
    Pebble::start(Options::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_issued_stored_and_served() {
    let pebble = default_pebble().await;
    let front = Front::start(&pebble).await;
    let (folder, storage) = folder();
    let names: &[&str] = &["one.test", "two.test"];
    let node = Node::wanting(Arc::clone(&storage), &pebble.responder, front.acme(), &[names]).await;
    let first = node.serves(names).await;
    assert!(first.covers("one.test") && first.covers("two.test"));
    assert!(matches!(first.key_kind(), KeyKind::EcdsaP256));
    assert!(first.chain().count() > 1, "the chain came with it");
    let status = node.reaches(names, State::Valid).await;
    assert_eq!((status.failures, status.last_error), (0, None));
    assert!(status.renew_at < status.not_after);
    assert!((node.counted("issued") - 1.0).abs() < f64::EPSILON);
    assert_eq!(storage.list(keys::ORDERS).await.unwrap(), [], "the order is done with");
    assert_eq!(storage.list(keys::CHALLENGES).await.unwrap(), [], "the answers are taken back");

    // A restart serves it at once and asks for nothing.
    drop(node);
    let node = Node::wanting(open(&folder), &pebble.responder, front.acme(), &[names]).await;
    assert_eq!(node.table.get(&id(names)).expect("served from the start").serial(), first.serial());
    node.reaches(names, State::Valid).await;
    assert_eq!((front.seen(NEW_ORDER).len(), front.seen(NEW_ACCOUNT).len()), (1, 1));

    // A renewal by hand has a new key and the old account.
    assert!(node.manager.renew(&id(names)));
    let second = node.renews(names, &first).await;
    let public = |c: &Certificate| c.certified_key().key.public_key().expect("a key").to_vec();
    assert_ne!(public(&first), public(&second));
    assert_eq!(front.seen(NEW_ACCOUNT).len(), 1);
    assert!(!node.manager.renew(&CertificateId::new("unknown")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_of_the_kind_in_the_config() {
    let pebble = default_pebble().await;
    for (key, kind) in [(KeyType::Rsa2048, KeyKind::Rsa(2048)), (KeyType::P384, KeyKind::EcdsaP384)] {
        let (_folder, storage) = folder();
        let node =
            Node::wanting(storage, &pebble.responder, config::Acme { key, ..pebble.acme() }, &[&["key.test"]]).await;
        assert_eq!(node.serves(&["key.test"]).await.key_kind(), kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_all_nonces_may_be_refused() {
    let pebble = Pebble::start(Options { nonce_reject: Some(50), ..Options::default() }).await;
    let (_folder, storage) = folder();
    let lists: &[&[&str]] = &[&["a.test"], &["b.test", "c.test"], &["d.test"]];
    let node = Node::wanting(storage, &pebble.responder, pebble.acme(), lists).await;
    for list in lists {
        node.serves(list).await;
    }
    assert!(node.counted("failed") < f64::EPSILON, "no attempt was wasted: {:?}", node.manager.status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_bound_to_an_external_one() {
    let pebble = Pebble::start(Options { eab: true, ..Options::default() }).await;
    let (_folder, storage) = folder();
    let names: &[&str] = &["eab.test"];
    let node = Node::wanting(storage, &pebble.responder, pebble.acme(), &[names]).await;
    let status = node.reaches(names, State::Failing).await;
    assert!(status.last_error.expect("said").contains("externalAccountRequired"));

    // A reload with the key, and it goes on at once or at the next attempt.
    let mut acme = pebble.acme();
    acme.issuer.eab = Some(config::Eab { key_id: EAB.0.to_owned(), hmac_key: EAB.1.to_owned() });
    node.manager.update(Some(acme), vec![wanted(names)], &[]);
    node.serves(names).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_seconds_are_renewed_in_time_also_after_an_outage() {
    let mut pebble = Pebble::start(Options { validity: Some(15), ..Options::default() }).await;
    let (_folder, storage) = folder();
    let names: &[&str] = &["short.test"];
    let node = Node::wanting(storage, &pebble.responder, pebble.acme(), &[names]).await;
    let first = node.serves(names).await;
    let second = node.renews(names, &first).await;
    let used = second.not_before() - first.not_before();
    assert!((8..=13).contains(&used), "renewed after {used} of 15 s");

    // The CA is down when the renewal is due, and comes back with nothing remembered, the account neither.
    pebble.stop();
    let status = node.reaches(names, State::Failing).await;
    assert!(status.last_error.expect("said").contains("cannot be reached"));
    assert!(status.next_attempt > status.last_failure);
    assert_eq!(node.table.get(&id(names)).expect("still served").serial(), second.serial());
    pebble.run().await;
    let third = node.renews(names, &second).await;
    assert!(third.not_before() <= second.not_after(), "no gap: {} after {}", third.not_before(), second.not_after());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_resumed_wherever_it_was_left() {
    let pebble = default_pebble().await;
    let moments = [
        Moment::AfterWrite(keys::ORDERS),
        Moment::BeforeWrite(keys::CHALLENGES),
        Moment::AfterWrite(keys::CHALLENGES),
        // The names are proven.
        Moment::BeforeDelete(keys::CHALLENGES),
        // The certificate is issued and in hand.
        Moment::BeforeWrite(keys::CERTIFICATES),
        Moment::AfterWrite(keys::CERTIFICATES),
        Moment::BeforeDelete(keys::ORDERS),
    ];
    for moment in moments {
        let front = Front::start(&pebble).await;
        let (folder, storage) = folder();
        let names: &[&str] = &["resumed.test"];
        let pausing = Arc::new(Hooked::new(storage, Pausing::new(moment)));
        let node =
            Node::wanting(Arc::clone(&pausing) as Arc<dyn Storage>, &pebble.responder, front.acme(), &[names]).await;
        pausing.hook.reached().await;
        pebble.responder.set(None);
        drop(node);

        let storage = open(&folder);
        let node = Node::wanting(Arc::clone(&storage), &pebble.responder, front.acme(), &[names]).await;
        node.serves(names).await;
        node.reaches(names, State::Valid).await;
        assert_eq!(front.seen(NEW_ORDER).len(), 1, "{moment:?}: one order");
        assert_eq!(storage.list(keys::ORDERS).await.unwrap(), [], "{moment:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_in_the_middle_of_an_order_costs_the_ca_nothing_and_no_certificate() {
    let pebble = default_pebble().await;
    for prefix in [keys::ORDERS, keys::CHALLENGES, keys::CERTIFICATES] {
        let front = Front::start(&pebble).await;
        let (_folder, storage) = folder();
        let names: &[&str] = &["full.test"];
        let filling = Arc::new(Hooked::new(Arc::clone(&storage), Filling::new(prefix)));
        let node =
            Node::wanting(Arc::clone(&filling) as Arc<dyn Storage>, &pebble.responder, front.acme(), &[names]).await;
        until("several attempts failed", || (filling.hook.refused() >= 5).then_some(())).await;
        let before = usize::from(prefix != keys::ORDERS);
        assert_eq!(front.seen(NEW_ORDER).len(), before, "{prefix}: what cannot be written down is not asked for");
        filling.hook.empty();
        node.serves(names).await;
        node.reaches(names, State::Valid).await;
        assert_eq!(front.seen(NEW_ORDER).len(), 1, "{prefix}: one order");
        assert_eq!(storage.list(keys::ORDERS).await.unwrap(), [], "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_names_failure_holds_up_no_other() {
    let pebble = default_pebble().await;
    let (folder, storage) = folder();
    let broken: &[&str] = &["broken.test"];
    let good: Vec<String> = (0..10).map(|n| format!("good{n}.test")).collect();
    let mut lists: Vec<Vec<&str>> = (0..10).map(|_| broken.to_vec()).collect();
    for (n, list) in lists.iter_mut().enumerate() {
        // Ten that cannot be validated, before ten that can.
        if n > 0 {
            list.push(&good[n]);
        }
    }
    lists.extend(good.iter().map(|name| vec![name.as_str()]));
    let lists: Vec<&[&str]> = lists.iter().map(Vec::as_slice).collect();
    let node = Node::wanting(storage, &pebble.responder, pebble.acme(), &lists).await;
    for name in &good {
        node.serves(&[name]).await;
    }
    let status = node.reaches(broken, State::Failing).await;
    let error = status.last_error.expect("said");
    assert!(error.contains("broken.test") && error.contains("port 80"), "{error}");
    assert!(node.table.get(&id(broken)).is_none());

    // The delay grows, and is kept over a restart.
    until("a second failure", || Some(node.status(broken)).filter(|s| s.failures >= 2)).await;
    drop(node);
    let node = Node::wanting(open(&folder), &pebble.responder, pebble.acme(), &[broken]).await;
    until("it is remembered", || Some(node.status(broken)).filter(|s| s.failures >= 2 && s.last_error.is_some())).await;
}

/// A fake: pebble has no rate limits and no maintenance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_honoured() {
    let pebble = default_pebble().await;
    let front = Front::start(&pebble).await;
    let problem = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many orders","status":429}"#;
    let (down, limited) = (AtomicBool::new(true), AtomicBool::new(true));
    front.answer(move |seen| match seen.path.as_str() {
        "/dir" if down.swap(false, Ordering::SeqCst) => {
            Some(reply(503, &[("Retry-After", "3"), ("Content-Type", "text/html")], "<h1>down</h1>"))
        }
        NEW_ORDER if limited.swap(false, Ordering::SeqCst) => {
            Some(reply(429, &[("Retry-After", "4"), ("Content-Type", "application/problem+json")], problem))
        }
        _ => None,
    });
    let (_folder, storage) = folder();
    let names: &[&str] = &["patient.test"];
    let node = Node::wanting(storage, &pebble.responder, front.acme(), &[names]).await;
    let status = node.reaches(names, State::Failing).await;
    assert!(status.last_error.expect("said").contains("503"));
    assert_eq!(status.failures, 0, "it is the CA that is down");
    assert!(node.manager.issuers()[0].down_since.is_some());
    let status = until("the first failure", || Some(node.status(names)).filter(|s| s.failures == 1)).await;
    assert!(status.last_error.expect("said").contains("too many orders"));
    node.serves(names).await;
    let directory = front.seen("/dir");
    let orders = front.seen(NEW_ORDER);
    let gap = |a: Instant, b: Instant| b.duration_since(a);
    assert!(gap(directory[0].at, directory[1].at) >= Duration::from_millis(2900), "503");
    assert_eq!(orders.len(), 2);
    assert!(gap(orders[0].at, orders[1].at) >= Duration::from_millis(3900), "429");
}

/// A fake: pebble 2.4 has no renewal information, so the front adds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cas_renewal_window_decides() {
    for refused in [false, true] {
        let pebble = default_pebble().await;
        let front = Front::start(&pebble).await;
        let renewal_info = front.url("/ari");
        front.amend(move |seen, answer| match seen.path.as_str() {
            "/dir" => change_json(answer, |dir| dir["renewalInfo"] = renewal_info.clone().into()),
            NEW_ORDER if answer.status().is_success() => {
                change_json(answer, |order| order["replaces"] = seen.payload["replaces"].clone());
            }
            _ => {}
        });
        let asked = std::sync::Mutex::new(Vec::<String>::new());
        let conflict = r#"{"type":"urn:ietf:params:acme:error:alreadyReplaced","detail":"no","status":409}"#;
        front.answer(move |seen| match seen.path.as_str() {
            path if path.starts_with("/ari/") => {
                let mut asked = asked.lock().unwrap();
                if !asked.contains(&seen.path) {
                    asked.push(seen.path.clone());
                }
                // The first certificate is due at once, as before a revocation; its successor in years.
                let year = if asked.len() == 1 { 2020 } else { 2999 };
                let body = format!(
                    r#"{{"suggestedWindow":{{"start":"{year}-01-02T04:00:00Z","end":"{year}-01-03T04:00:00Z"}}}}"#
                );
                Some(reply(200, &[("Retry-After", "21600")], &body))
            }
            NEW_ORDER if refused && !seen.payload["replaces"].is_null() => Some(reply(409, &[], conflict)),
            _ => None,
        });
        let (_folder, storage) = folder();
        let names: &[&str] = &["ari.test"];
        let node = Node::wanting(storage, &pebble.responder, front.acme(), &[names]).await;
        let first = node.serves(names).await;
        node.renews(names, &first).await;
        node.reaches(names, State::Valid).await;
        let replaced: Vec<_> = front.seen(NEW_ORDER).iter().map(|seen| !seen.payload["replaces"].is_null()).collect();
        assert_eq!(replaced, if refused { vec![false, true, false] } else { vec![false, true] });
        let ari = front.seen("/ari/");
        assert!(ari[0].path.ends_with(front.seen(NEW_ORDER)[1].payload["replaces"].as_str().expect("an id")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_profile_is_said_and_not_asked_for() {
    let pebble = default_pebble().await;
    let front = Front::start(&pebble).await;
    let mut acme = front.acme();
    acme.issuer.profile = Some("shortlived".to_owned());
    let (_folder, storage) = folder();
    let names: &[&str] = &["profile.test"];
    let node = Node::wanting(storage, &pebble.responder, acme, &[names]).await;
    let status = node.reaches(names, State::Failing).await;
    assert!(status.last_error.expect("said").contains("shortlived"));
    assert_eq!(front.seen(NEW_ORDER).len(), 0);
}

/// A fake: pebble 2.4 has no profiles, so the front says that it has some. What is asked for is real.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_profile_is_asked_for_from_the_next_renewal_on() {
    let pebble = default_pebble().await;
    let front = Front::start(&pebble).await;
    front.amend(|seen, answer| {
        if seen.path == "/dir" {
            let profiles = serde_json::json!({ "classic": "as ever", "shortlived": "for days" });
            change_json(answer, |directory| directory["meta"]["profiles"] = profiles);
        }
    });
    let of = |profile: &str| {
        let mut acme = front.acme();
        acme.issuer.profile = Some(profile.to_owned());
        acme
    };
    let (_folder, storage) = folder();
    let names: &[&str] = &["profiles.test"];
    let node = Node::wanting(storage, &pebble.responder, of("classic"), &[names]).await;
    let first = node.serves(names).await;
    node.reaches(names, State::Valid).await;
    node.manager.update(Some(of("shortlived")), vec![wanted(names)], &[]);
    node.reaches(names, State::Valid).await;
    node.manager.renew(&id(names));
    node.renews(names, &first).await;
    let asked: Vec<_> = front.seen(NEW_ORDER).iter().map(|seen| seen.payload["profile"].clone()).collect();
    assert_eq!(asked, ["classic", "shortlived"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_covers_is_not_ordered() {
    let pebble = default_pebble().await;
    let front = Front::start(&pebble).await;
    let (_folder, storage) = folder();
    let names: &[&str] = &["covered.test", "www.covered.test"];
    let node = Node::new(storage, &pebble.responder).await;
    let made = rcgen::generate_simple_self_signed(["covered.test", "*.covered.test"].map(str::to_owned)).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let parts = PemParts {
        certificate: PemPart::new("crt", certificate.as_bytes()),
        key: PemPart::new("key", key.as_bytes()),
        chain: None,
    };
    let operators = CertificateId::new("operators");
    node.table.insert(Certificate::from_pem(operators.clone(), parts, 2_000_000_000).unwrap());
    node.manager.update(Some(front.acme()), vec![wanted(names)], &[]);
    node.reaches(names, State::Covered).await;
    assert_eq!(front.seen("").len(), 0, "nobody was asked");

    // It is withdrawn, and within a minute ACME takes over.
    node.table.remove(&operators);
    node.hand.set_ahead(Duration::from_secs(61));
    node.serves(names).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_ca_stops_nothing_and_a_self_signed_one_answers_meanwhile() {
    let mut pebble = Pebble::prepare(Options::default()).await;
    let (_folder, storage) = folder();
    let node = Node::new(Arc::clone(&storage), &pebble.responder).await;
    let names: &[&str] = &["meanwhile.test"];
    let mut meanwhile = wanted(names);
    meanwhile.self_signed_meanwhile = true;
    node.manager.update(Some(pebble.acme()), vec![meanwhile.clone()], &[]);
    let local = node.serves(names).await;
    assert!(local.issuer().contains("doorward local CA"), "{}", local.issuer());
    node.reaches(names, State::Failing).await;
    assert!(storage.read(&keys::certificate(&id(names))).await.unwrap().is_none(), "it is in memory alone");
    // A reload changes nothing about it.
    node.manager.update(Some(pebble.acme()), vec![meanwhile], &[]);
    assert_eq!(node.table.get(&id(names)).expect("served").serial(), local.serial());
    pebble.run().await;
    let real = node.renews(names, &local).await;
    assert!(real.issuer().contains("Pebble"), "{}", real.issuer());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_storage_order_once() {
    let pebble = default_pebble().await;
    let front = Front::start(&pebble).await;
    let (folder, storage) = folder();
    let names: &[&str] = &["shared.test"];
    let first = Node::wanting(storage, &pebble.responder, front.acme(), &[names]).await;
    // Port 80 leads to the second: it has the first one's answers from the storage.
    let second = Node::wanting(open(&folder), &pebble.responder, front.acme(), &[names]).await;
    let (a, b) = (first.serves(names).await, second.serves(names).await);
    assert_eq!(a.serial(), b.serial());
    first.reaches(names, State::Valid).await;
    second.reaches(names, State::Valid).await;
    assert_eq!((front.seen(NEW_ORDER).len(), front.seen(NEW_ACCOUNT).len()), (1, 1));
}
