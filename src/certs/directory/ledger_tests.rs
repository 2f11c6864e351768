//! The decisions, by a clock that only these tests move.

use super::*;
use crate::certs::testing::{DAY, Issued, Order, TestCa};
use crate::certs::unix_now;

struct World {
    ca: TestCa,
    table: Arc<Table>,
    ledger: Ledger,
    now: Moment,
    reads: u32,
}

impl World {
    fn new() -> Self {
        let table = Arc::new(Table::new());
        let ledger = Ledger::new(Arc::clone(&table), vec![PathBuf::from("/c")]);
        let now = Moment { at: Instant::now(), unix: unix_now() };
        Self { ca: TestCa::new("test"), table, ledger, now, reads: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now.at += time;
        self.now.unix += time.as_secs().cast_signed();
    }

    fn issue(&self, order: Order<'_>) -> Certificate {
        self.ca.certificate("any", order)
    }

    fn note(&mut self, path: &str, result: Result<Certificate, CertificateError>) {
        self.reads += 1;
        let path = Path::new(path);
        let name = path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        let stamp = Stamp::of(&[self.reads.into()]);
        self.ledger.note(
            path,
            Found::Read { name, stamp, stray: false, result: result.map(Box::new) },
            false,
            self.now,
        );
    }

    fn sound(&mut self, path: &str, order: Order<'_>) -> String {
        let certificate = self.issue(order);
        let fingerprint = certificate.fingerprint().to_owned();
        self.note(path, Ok(certificate));
        fingerprint
    }

    fn gone(&mut self, path: &str) {
        self.ledger.note(Path::new(path), Found::Gone, false, self.now);
    }

    fn served(&self, id: &str) -> Option<String> {
        self.table.get(&CertificateId::new(id)).map(|certificate| certificate.fingerprint().to_owned())
    }

    fn state(&self, path: &str) -> State {
        let status = self.ledger.status().into_iter().find(|status| status.path == Path::new(path));
        status.expect("an entry").state
    }

    fn is_due(&mut self, path: &str) -> bool {
        self.ledger.due(self.now.at).iter().any(|due| due == Path::new(path))
    }
}

fn mismatch() -> CertificateError {
    let (certificate, key, command) = ("crt".to_owned(), "key".to_owned(), "openssl".to_owned());
    CertificateError::Mismatch { certificate, key, command }
}

const A: &[&str] = &["a.example"];

#[test]
fn a_copy_under_way_settles_before_it_is_judged() {
    let mut world = World::new();
    let first = world.sound("/c/a", Order::new(A));
    world.note("/c/a", Err(mismatch()));
    assert_eq!(world.state("/c/a"), State::Served, "not judged yet");
    world.pass(RETRY);
    assert!(world.is_due("/c/a"), "looked at again");
    world.note("/c/a", Err(mismatch()));
    world.pass(SETTLE);
    world.note("/c/a", Err(mismatch()));
    assert!(matches!(world.state("/c/a"), State::Refused(message) if message.contains("does not belong")));
    assert_eq!(world.served("a"), Some(first), "what was served is served");
    assert_eq!(world.ledger.next_due(), None, "nothing more is expected but a change");
    let second = world.sound("/c/a", Order::new(A));
    assert_eq!((world.served("a"), world.state("/c/a")), (Some(second), State::Served));
}

#[test]
fn a_change_after_a_refusal_has_its_own_time_to_settle() {
    let mut world = World::new();
    world.note("/c/a", Err(mismatch()));
    assert!(matches!(world.state("/c/a"), State::Pending(_)));
    world.pass(SETTLE);
    world.note("/c/a", Err(mismatch()));
    assert!(matches!(world.state("/c/a"), State::Refused(_)));
    world.pass(Duration::from_secs(100));
    world.note("/c/a", Err(CertificateError::Empty { file: "key".to_owned() }));
    assert!(matches!(world.state("/c/a"), State::Refused(message) if message.contains("does not belong")), "not yet");
    assert!(world.ledger.next_due().is_some());
}

#[test]
fn what_no_time_can_mend_is_refused_at_once() {
    let mut world = World::new();
    world.note("/c/a", Err(CertificateError::NoName { file: "crt".to_owned() }));
    assert!(matches!(world.state("/c/a"), State::Refused(_)));
    assert_eq!(world.ledger.next_due(), None);
    world.sound("/c/b", Order::new(&["b.example"]));
    assert!(world.served("b").is_some(), "each is judged alone");
}

#[test]
fn an_expired_one_waits_for_the_end_of_the_valid_one() {
    let mut world = World::new();
    let old = world.sound("/c/a", Order::new(A));
    let expired = world.sound("/c/a", Order::new(A).valid(-9, -1));
    assert!(
        matches!(world.state("/c/a"), State::Pending(message) if message.contains("expired") && message.contains("force"))
    );
    assert_eq!(world.served("a"), Some(old.clone()));
    world.ledger.reconsider(world.now);
    assert_eq!(world.served("a"), Some(old));
    world.pass(Duration::from_secs(31 * DAY.cast_unsigned()));
    world.ledger.reconsider(world.now);
    assert_eq!((world.served("a"), world.state("/c/a")), (Some(expired), State::Served));
}

#[test]
fn a_lost_name_waits_for_force() {
    let mut world = World::new();
    let old = world.sound("/c/a", Order::new(&["a.example", "www.a.example"]));
    let narrower = world.sound("/c/a", Order::new(A));
    assert!(
        matches!(world.state("/c/a"), State::Pending(message) if message.contains("no longer covers www.a.example"))
    );
    assert_eq!(world.served("a"), Some(old));
    let id = CertificateId::new("a");
    assert_eq!(world.ledger.force(&id, world.now), Ok(()));
    assert_eq!((world.served("a"), world.state("/c/a")), (Some(narrower), State::Served));
    assert!(matches!(world.ledger.force(&id, world.now), Err(ForceError::NotPending(..))));
    assert!(matches!(world.ledger.force(&CertificateId::new("x"), world.now), Err(ForceError::Unknown(_))));
    let wild = world.sound("/c/a", Order::new(&["*.example"]));
    assert_eq!(world.served("a"), Some(wild), "a wildcard covers it");
}

#[test]
fn one_for_tomorrow_is_taken_tomorrow() {
    let mut world = World::new();
    let old = world.sound("/c/a", Order::new(A));
    let new = world.sound("/c/a", Order::new(A).valid(1, 20));
    assert_eq!(world.served("a"), Some(old));
    world.pass(Duration::from_secs(DAY.cast_unsigned() + 60));
    world.ledger.reconsider(world.now);
    assert_eq!(world.served("a"), Some(new));
}

#[test]
fn at_a_cold_start_even_an_expired_one_is_better_than_nothing() {
    let mut world = World::new();
    let expired = world.sound("/c/a", Order::new(A).valid(-9, -1));
    assert_eq!(world.served("a"), Some(expired));
    let also_expired = world.sound("/c/a", Order::new(A).valid(-8, -2));
    assert_eq!(world.served("a"), Some(also_expired));
}

#[test]
fn a_chain_that_is_missing_for_a_moment_is_waited_for() {
    let mut world = World::new();
    let old = world.sound("/c/a", Order::new(A));
    let Issued { certificate, key } = world.ca.issue(Order::new(A));
    let new = Issued { certificate, key };
    let (bare, whole) = (new.certificate("any", ""), new.certificate("any", &world.ca.intermediate.pem()));
    let fingerprint = bare.fingerprint().to_owned();
    world.note("/c/a", Ok(bare));
    assert_eq!(world.served("a"), Some(old));
    world.pass(RETRY);
    assert!(world.is_due("/c/a"));
    world.note("/c/a", Ok(whole));
    assert_eq!(world.served("a"), Some(fingerprint));
    world.note("/c/a", Ok(new.certificate("any", "")));
    world.pass(CHAIN_SETTLE);
    world.note("/c/a", Ok(new.certificate("any", "")));
    let served = world.table.get(&CertificateId::new("a")).expect("served");
    assert_eq!(served.chain().count(), 1, "it does not come: the operator is taken at their word");
}

#[test]
fn a_deleted_folder_is_withdrawn_only_after_it_stays_gone() {
    let mut world = World::new();
    let certificate = world.sound("/c/a", Order::new(A));
    world.gone("/c/a");
    world.pass(GRACE / 2);
    world.gone("/c/a");
    assert_eq!(world.served("a"), Some(certificate.clone()));
    world.note("/c/a", Ok(world.issue(Order::new(A))));
    assert_eq!(world.state("/c/a"), State::Served);
    let back = world.served("a");
    assert_ne!(back, Some(certificate));
    world.gone("/c/a");
    world.pass(GRACE / 2);
    world.gone("/c/a");
    assert_eq!(world.served("a"), back, "the grace begins anew");
    world.pass(GRACE / 2);
    assert!(world.is_due("/c/a"));
    world.gone("/c/a");
    assert_eq!(world.served("a"), None);
    assert!(world.ledger.status().is_empty());
    assert_eq!(world.ledger.next_due(), None);
}

#[test]
fn two_of_one_name_are_both_served() {
    let mut world = World::new();
    let deep = world.sound("/c/x/site", Order::new(&["deep.example"]));
    assert_eq!(world.served("site"), Some(deep.clone()));
    let shallow = world.sound("/c/site", Order::new(&["shallow.example"]));
    assert_eq!((world.served("site"), world.served("x/site")), (Some(shallow), Some(deep.clone())));
    assert!(world.table.has("deep.example") && world.table.has("shallow.example"));
    world.gone("/c/site");
    world.pass(GRACE);
    world.gone("/c/site");
    assert_eq!((world.served("site"), world.served("x/site")), (Some(deep), None));
}

#[test]
fn roots_that_are_no_longer_named_are_withdrawn_at_once() {
    let mut world = World::new();
    world.sound("/c/a", Order::new(A));
    let kept = world.sound("/c/sub/b", Order::new(&["b.example"]));
    world.ledger.set_roots(vec![PathBuf::from("/c/sub")]);
    assert_eq!((world.served("a"), world.served("b")), (None, Some(kept)));
}

#[test]
fn what_another_source_put_under_the_id_is_not_withdrawn() {
    let mut world = World::new();
    world.sound("/c/a", Order::new(A));
    let other = world.ca.certificate("a", Order::new(A));
    let fingerprint = other.fingerprint().to_owned();
    world.table.insert(other);
    world.gone("/c/a");
    world.pass(GRACE);
    world.gone("/c/a");
    assert_eq!(world.served("a"), Some(fingerprint));
}
