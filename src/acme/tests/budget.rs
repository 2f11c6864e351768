use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::config::CaLimits;
use crate::storage::MemoryStorage;

const DAY: Duration = Duration::from_secs(86_400);
const RENEWAL: Purpose = Purpose::Renewal { same_ca: true, by_ari: false };
const BY_ARI: Purpose = Purpose::Renewal { same_ca: true, by_ari: true };

struct Ca {
    budget: Budget,
    issuer: Issuer,
    now: SystemTime,
}

impl Ca {
    fn new(limits: CaLimits) -> Self {
        let mut issuer = Issuer::new("ca", "https://ca.test/dir");
        issuer.limits = limits;
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        Self { budget: Budget::new(storage), issuer, now: UNIX_EPOCH + 20_000 * DAY }
    }

    async fn take(&self, name: &str, purpose: Purpose) -> Result<Room, AcmeError> {
        let names = [name.parse().expect("a name")];
        let id = super::super::certificate_id(&names);
        self.budget.take(&self.issuer, &id, &names, purpose, self.now).await
    }

    async fn fails(&self, name: &str, room: &Room, error: &AcmeError) {
        let names = [name.parse().expect("a name")];
        let id = super::super::certificate_id(&names);
        self.budget.give_back(&self.issuer, &id, &names, room, error, self.now).await.expect("the storage works");
    }

    async fn refused(&self, name: &str, purpose: Purpose) -> (String, Duration) {
        match self.take(name, purpose).await {
            Err(AcmeError::Budget { limit, until, .. }) => {
                (limit, until.duration_since(self.now).expect("in the future"))
            }
            other => panic!("{other:?}"),
        }
    }
}

fn rate(most: u32, within: Duration) -> Option<Rate> {
    Some(Rate { most, within })
}

#[tokio::test]
async fn renewals_have_room_that_nobody_else_gets() {
    let mut ca = Ca::new(CaLimits { per_domain: rate(8, 7 * DAY), ..CaLimits::NONE });
    for n in 0..4 {
        ca.take(&format!("d{n}.example.co.uk"), Purpose::OnDemand).await.expect("half of it");
    }
    let (limit, wait) = ca.refused("d9.example.co.uk", Purpose::OnDemand).await;
    assert_eq!(limit, "new certificates for example.co.uk: 8 in 7days");
    assert!(wait > 7 * DAY && wait < 8 * DAY);
    for n in 0..2 {
        ca.take(&format!("n{n}.example.co.uk"), Purpose::New).await.expect("three quarters");
    }
    ca.refused("n9.example.co.uk", Purpose::New).await;
    for n in 0..2 {
        ca.take(&format!("r{n}.example.co.uk"), RENEWAL).await.expect("all of it");
    }
    ca.refused("r9.example.co.uk", RENEWAL).await;
    // Another registered domain has room of its own; below a public suffix each name is one.
    ca.take("a.example.org", Purpose::New).await.expect("room");
    ca.now += 7 * DAY + Duration::from_secs(2);
    ca.take("d9.example.co.uk", Purpose::OnDemand).await.expect("the window has passed");
}

#[tokio::test]
async fn the_same_names_over_and_over_are_duplicates() {
    let ca = Ca::new(CaLimits { duplicates: rate(5, 7 * DAY), renewals_exempt: true, ..CaLimits::NONE });
    for _ in 0..5 {
        ca.take("a.test", RENEWAL).await.expect("room");
    }
    let (limit, _) = ca.refused("a.test", RENEWAL).await;
    assert!(limit.contains("exactly these names"), "{limit}");
    ca.take("a.test", BY_ARI).await.expect("what the CA asked for is free");
    ca.take("b.test", Purpose::New).await.expect("other names");
}

#[tokio::test]
async fn renewals_are_exempt_only_where_the_ca_says_so_and_at_that_ca() {
    let limits = CaLimits { orders: rate(4, DAY), per_domain: rate(4, DAY), ..CaLimits::NONE };
    let strict = Ca::new(limits);
    for n in 0..4 {
        strict.take(&format!("{n}.test"), BY_ARI).await.expect("room");
    }
    strict.refused("x.test", BY_ARI).await;
    let generous = Ca::new(CaLimits { renewals_exempt: true, ..limits });
    for n in 0..40 {
        generous.take(&format!("{n}.a.test"), RENEWAL).await.expect("exempt");
    }
    let elsewhere = Purpose::Renewal { same_ca: false, by_ari: false };
    for n in 0..4 {
        generous.take(&format!("{n}.b.test"), elsewhere).await.expect("it counts as new, with a renewal's share");
    }
    generous.refused("x.c.test", elsewhere).await;
}

#[tokio::test]
async fn what_came_to_nothing_is_given_back_and_failures_count() {
    let limits = CaLimits {
        orders: rate(4, DAY),
        per_domain: rate(2, DAY),
        failures: rate(2, Duration::from_secs(3600)),
        ..CaLimits::NONE
    };
    let mut ca = Ca::new(limits);
    let down = AcmeError::Unavailable { status: 503, directory: String::new(), retry_after: None };
    for _ in 0..10 {
        let room = ca.take("a.test", Purpose::New).await.expect("nothing was used");
        ca.fails("a.test", &room, &down).await;
    }
    let wrong = AcmeError::NotValidated {
        name: "a.test".to_owned(),
        kind: "connection".to_owned(),
        detail: String::new(),
        challenge: instant_acme::ChallengeType::Http01,
        remedy: "",
    };
    for _ in 0..2 {
        let room = ca.take("a.test", Purpose::New).await.expect("room");
        ca.fails("a.test", &room, &wrong).await;
    }
    let (limit, wait) = ca.refused("a.test", Purpose::New).await;
    assert_eq!(limit, "failed validations of a.test: 2 in 1h");
    assert!(wait <= Duration::from_secs(3601));
    ca.take("b.test", Purpose::New).await.expect("its certificates were given back, though not its orders");
    let (limit, _) = ca.refused("c.test", Purpose::New).await;
    assert_eq!(limit, "orders of the account: 4 in 1day");

    let acme = config::Acme { issuer: ca.issuer.clone(), ..config::Acme::default() };
    let view = budget(&acme, &*ca.budget.storage, ca.now).await.expect("the storage works");
    let used: Vec<_> = view[0].limits.iter().map(|l| (l.limit.as_str(), l.subject.as_deref(), l.used)).collect();
    assert!(used.contains(&("orders", None, 3)), "{used:?}");
    assert!(used.contains(&("failures", Some("a.test"), 2)), "{used:?}");
    assert_eq!((view[0].limits[0].left_for_new, view[0].limits[0].room_at.is_some()), (Some(0), true));
    ca.now += DAY + Duration::from_secs(2);
    ca.take("a.test", Purpose::New).await.expect("all has passed");
}

#[tokio::test]
async fn who_waits_is_sent_to_a_window_with_room() {
    let ca = Ca::new(CaLimits { orders: rate(4, DAY), ..CaLimits::NONE });
    for n in 0..3 {
        ca.take(&format!("{n}.test"), Purpose::New).await.expect("room");
    }
    let mut waits = Vec::new();
    for n in 10..19 {
        waits.push(ca.refused(&format!("{n}.test"), Purpose::New).await.1.as_secs() / DAY.as_secs());
    }
    assert_eq!(waits, [1, 1, 1, 2, 2, 2, 3, 3, 3]);
}

#[test]
fn the_registered_domain_is_one_label_below_the_public_suffix() {
    for (name, domain) in [
        ("a.b.example.com", "example.com"),
        ("*.example.co.uk", "example.co.uk"),
        ("example.com", "example.com"),
        ("a.user.github.io", "user.github.io"),
        ("192.0.2.1", "192.0.2.1"),
        ("a.b.test", "b.test"),
        ("com", "com"),
    ] {
        assert_eq!(registered(name), domain);
    }
}
