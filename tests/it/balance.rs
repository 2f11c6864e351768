//! Several endpoints: who gets which request, and what happens when one is down, a backup, or drained.

use std::collections::BTreeMap;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use crate::relay;
use crate::support::{Doorward, Origin, Setup, Tls, ca, nobody};

const HOST: &str = "app.example.test";

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
    let (one, three) = (Origin::named("one"), Origin::named("three"));
    let door = door(&[plain(&one), format!("{{ address = \"{}\", weight = 3 }}", three.address)], "");
    let counts = counts(&door, 80, |_| String::new());
    assert!(counts["one"].abs_diff(20) <= 2 && counts["three"].abs_diff(60) <= 2, "{counts:?}");
}

#[test]
fn a_hash_goes_by_header_cookie_or_client() {
    let origins = [Origin::named("a"), Origin::named("b"), Origin::named("c")];
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
    let (app, backup) = (Origin::named("app"), Origin::named("backup"));
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
    let (one, two) = (Origin::named("one"), Origin::named("two"));
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

/// What an app says to a raw connection from this address.
fn greeting(to: SocketAddr, from: Ipv4Addr) -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of this machine");
    socket.connect(&to.into()).expect("connects");
    let mut text = String::new();
    std::net::TcpStream::from(socket).read_to_string(&mut text).expect("a greeting");
    text
}

#[test]
fn a_hash_leads_to_the_next_endpoint_where_the_first_takes_no_connection() {
    // As if the one that is down were not in the list: each client's next one is always the same.
    let keys = "balance = \"hash-client\"\nejection = { failures = 0 }\nretry = { per_second = 1000 }";
    let apps = ["a", "b", "c"].map(|name| Origin::raw(move |mut stream, _| drop(stream.write_all(name.as_bytes()))));
    let up = apps.iter().map(plain).collect::<Vec<_>>().join(", ");
    let all = relay::setup(&format!("{up}, \"{}\"", nobody()), keys).start();
    let without = relay::setup(&up, keys).start();
    let clients = (1..40).map(|n| Ipv4Addr::new(127, 0, 9, n));
    for client in clients {
        let expected = greeting(without.bound(relay::TCP), client);
        assert_eq!(greeting(all.bound(relay::TCP), client), expected, "{client}");
    }
    let keys = keys.replace("client", "header:X-User");
    let apps = ["a", "b", "c"].map(Origin::named);
    let up: Vec<String> = apps.iter().map(plain).collect();
    let without = door(&up, &keys);
    let all = door(&[up, vec![format!("\"{}\"", nobody())]].concat(), &keys);
    for user in 0..20 {
        let by = |door| counts(door, 1, |_| format!("X-User: {user}\r\n"));
        assert_eq!(by(&all), by(&without), "{user}");
    }
}
