//! Several endpoints: who gets which request, and what happens when one is down, a backup, or drained.

use std::collections::BTreeMap;

use crate::support::{Doorward, Origin, Setup, Tls, ca, nobody};

const HOST: &str = "app.example.test";

fn named(name: &'static str) -> Origin {
    Origin::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
}

/// A client has one connection, so one worker, whose turns can be told.
fn door(endpoints: &[String], keys: &str) -> Doorward {
    let endpoints = endpoints.join(", ");
    Setup::new()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[backend]]\nname = \"app\"\nendpoints = [{endpoints}]\n{keys}"))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\""))
        .start()
}

fn plain(origin: &Origin) -> String {
    format!("\"{}\"", origin.address)
}

fn counts(door: &Doorward, requests: usize, fields: impl Fn(usize) -> String) -> BTreeMap<String, usize> {
    let mut client = Tls::connect(door.https, HOST);
    let mut counts = BTreeMap::new();
    for n in 0..requests {
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", fields(n));
        let reply = client.send(request).reply();
        assert_eq!(reply.status, 200, "request {n}");
        *counts.entry(reply.text()).or_default() += 1;
    }
    counts
}

#[test]
fn weights_are_shares() {
    let (one, three) = (named("one"), named("three"));
    let door = door(&[plain(&one), format!("{{ address = \"{}\", weight = 3 }}", three.address)], "");
    let counts = counts(&door, 80, |_| String::new());
    assert!(counts["one"].abs_diff(20) <= 2 && counts["three"].abs_diff(60) <= 2, "{counts:?}");
}

#[test]
fn a_hash_goes_by_header_cookie_or_client() {
    let origins = [named("a"), named("b"), named("c")];
    let endpoints: Vec<String> = origins.iter().map(plain).collect();
    let hashed = door(&endpoints, "balance = \"hash-header:X-User\"");
    for user in 0..12 {
        let of_user = counts(&hashed, 4, |_| format!("X-User: {user}\r\n"));
        assert_eq!(of_user.len(), 1, "{of_user:?}");
    }
    assert_eq!(counts(&hashed, 40, |n| format!("X-User: {n}\r\n")).len(), 3);
    assert_eq!(counts(&hashed, 9, |_| String::new()).len(), 3, "without it they take turns");
    let hashed = door(&endpoints, "balance = \"hash-cookie:session\"");
    assert_eq!(counts(&hashed, 5, |n| format!("Cookie: x={n}; session=abc\r\n")).len(), 1);
    assert_eq!(counts(&hashed, 40, |n| format!("Cookie: session={n}\r\n")).len(), 3);
    let hashed = door(&endpoints, "balance = \"hash-client\"");
    assert_eq!(counts(&hashed, 10, |_| String::new()).len(), 1);
}

#[test]
fn where_one_takes_no_connection_others_are_tried_and_backups_last() {
    let (app, backup) = (named("app"), named("backup"));
    let down = || format!("\"{}\"", nobody());
    let backup = format!("{{ address = \"{}\", backup = true }}", backup.address);
    for balance in ["round-robin", "least", "random-two", "hash-client"] {
        let keys = format!("balance = \"{balance}\"");
        let all = door(&[down(), plain(&app), down(), backup.clone()], &keys);
        let counts_of_all = counts(&all, 12, |_| String::new());
        assert_eq!(counts_of_all.into_keys().collect::<Vec<_>>(), ["app"], "{balance}");
        let rest = door(&[down(), backup.clone()], &keys);
        let counts_of_rest = counts(&rest, 4, |_| String::new());
        assert_eq!(counts_of_rest.into_keys().collect::<Vec<_>>(), ["backup"], "{balance}");
    }
}

#[test]
fn a_drained_endpoint_finishes_what_it_has_and_gets_nothing_new() {
    let (one, two) = (named("one"), named("two"));
    let tables = [&one, &two].map(|origin| format!("{{ address = \"{}\", drain = false }}", origin.address));
    let door = door(&tables, "");
    assert_eq!(counts(&door, 10, |_| String::new()).len(), 2);
    let of_one = format!("{}\", drain = ", one.address);
    door.rewrite(|text| text.replace(&format!("{of_one}false"), &format!("{of_one}true")));
    assert!(door.reload());
    assert_eq!(counts(&door, 10, |_| String::new()).into_keys().collect::<Vec<_>>(), ["two"]);
    door.rewrite(|text| text.replace("drain = false", "drain = true"));
    assert!(door.reload());
    assert_eq!(door.curl("https://app.example.test/").run().status, 503);
}
