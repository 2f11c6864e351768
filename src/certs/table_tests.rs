//! Which certificate a handshake gets.

use super::super::testing::{Order, TestCa, self_signed};
use super::super::unix_now;
use super::*;

const ALL: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];

fn ask<'a>(sni: Option<&'a str>, default: Option<&'a CertificateId>) -> Ask<'a> {
    Ask { sni, local: IpAddr::from([192, 0, 2, 1]), schemes: ALL, default, now: unix_now() }
}

fn chosen(table: &Table, ask: &Ask<'_>) -> Option<String> {
    table.choose(ask).certificate().map(|certificate| certificate.id().to_string())
}

fn named(table: &Table, sni: &str) -> Option<String> {
    chosen(table, &ask(Some(sni), None))
}

#[test]
fn exact_then_wildcard_then_default() {
    let (ca, table) = (TestCa::new("test"), Table::new());
    for (id, names) in
        [("wild", &["*.example.com"][..]), ("exact", &["a.example.com", "192.0.2.1"]), ("apps", &["apps.test"])]
    {
        assert!(table.insert(ca.certificate(id, Order::new(names))).is_none());
    }
    assert_eq!(named(&table, "a.example.com").as_deref(), Some("exact"));
    assert_eq!(named(&table, "b.example.com").as_deref(), Some("wild"));
    assert!(matches!(table.choose(&ask(Some("a.b.example.com"), None)), Choice::UnknownName));
    assert!(matches!(table.choose(&ask(Some("example.com"), None)), Choice::UnknownName));
    assert!(table.has("b.example.com") && table.has("a.example.com") && !table.has("example.com"));

    let default = CertificateId::new("apps");
    assert!(matches!(table.choose(&ask(Some("x.test"), Some(&default))), Choice::Default(c) if *c.id() == default));
    assert_eq!(chosen(&table, &ask(None, Some(&default))).as_deref(), Some("exact"), "the local address");
    let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201]);
    assert_eq!(chosen(&table, &Ask { local: mapped, ..ask(None, None) }).as_deref(), Some("exact"));
    let elsewhere = Ask { local: IpAddr::from([192, 0, 2, 9]), ..ask(None, Some(&default)) };
    assert!(matches!(table.choose(&elsewhere), Choice::Default(_)));
    assert!(matches!(table.choose(&Ask { default: None, ..elsewhere }), Choice::Nothing));
    let missing = CertificateId::new("missing");
    assert!(matches!(table.choose(&ask(Some("x.test"), Some(&missing))), Choice::UnknownName));
}

#[test]
fn of_several_the_best_for_this_client_now() {
    let (ca, table) = (TestCa::new("test"), Table::new());
    let names = &["a.example"];
    table.insert(ca.certificate("rsa", Order::new(names).rsa()));
    table.insert(ca.certificate("ecdsa", Order::new(names)));
    assert_eq!(named(&table, "a.example").as_deref(), Some("ecdsa"));
    let old_client = Ask { schemes: &[SignatureScheme::RSA_PSS_SHA256], ..ask(Some("a.example"), None) };
    assert_eq!(chosen(&table, &old_client).as_deref(), Some("rsa"));

    table.insert(ca.certificate("newer", Order::new(names).valid(0, 5)));
    assert_eq!(named(&table, "a.example").as_deref(), Some("newer"));
    table.insert(ca.certificate("expired", Order::new(names).valid(-9, -1)));
    table.insert(ca.certificate("tomorrow", Order::new(names).valid(1, 9)));
    assert_eq!(named(&table, "a.example").as_deref(), Some("newer"));
    table.remove(&CertificateId::new("ecdsa"));
    table.remove(&CertificateId::new("newer"));
    assert_eq!(named(&table, "a.example").as_deref(), Some("rsa"), "valid RSA before expired ECDSA");
    let own = self_signed(Order::new(names).valid(0, 9)).certificate("own", "");
    table.insert(own);
    assert_eq!(named(&table, "a.example").as_deref(), Some("rsa"), "a CA's before a self-signed one");
}

#[test]
fn a_replacement_leaves_no_name_behind() {
    let (ca, table) = (TestCa::new("test"), Table::new());
    let changed = table.changed();
    table.insert(ca.certificate("a", Order::new(&["one.example", "*.one.example"])));
    assert!(changed.has_changed().expect("the table lives"));
    let old = table.insert(ca.certificate("a", Order::new(&["one.example", "two.example"]))).expect("the old one");
    assert!(old.covers("x.one.example"));
    assert_eq!(named(&table, "x.one.example"), None);
    assert_eq!(named(&table, "two.example").as_deref(), Some("a"));
    assert_eq!(table.list().len(), 1);
    assert!(table.remove(&CertificateId::new("a")).is_some());
    assert_eq!(named(&table, "one.example"), None);
    assert!(table.remove(&CertificateId::new("a")).is_none() && table.list().is_empty());
    assert!(table.names.iter().all(|shard| shard.load().exact.is_empty() && shard.load().wildcard.is_empty()));
}

#[test]
fn a_pin_goes_before_all_else_while_it_is_there() {
    let (ca, table) = (TestCa::new("test"), Table::new());
    table.insert(ca.certificate("first", Order::new(&["a.example"])));
    table.insert(ca.certificate("second", Order::new(&["a.example"]).valid(-5, 5)));
    let mut pins = HostMap::new();
    pins.insert("a.example".parse().expect("a pattern"), Some(CertificateId::new("second")));
    table.set_pins(pins);
    assert_eq!(named(&table, "a.example").as_deref(), Some("second"));
    table.remove(&CertificateId::new("second"));
    assert_eq!(named(&table, "a.example").as_deref(), Some("first"));
}

#[test]
fn readers_never_miss_a_name_that_is_being_replaced() {
    let (ca, table) = (TestCa::new("test"), Arc::new(Table::new()));
    let versions = [1, 2].map(|day| Arc::new(ca.certificate("a", Order::new(&["a.example"]).valid(-day, 9))));
    table.insert(Arc::clone(&versions[0]));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| (0..20_000).all(|_| named(&table, "a.example").is_some()));
        for turn in 0..2_000 {
            table.insert(Arc::clone(&versions[turn % 2]));
        }
        assert!(reader.join().expect("the reader"));
    });
}
