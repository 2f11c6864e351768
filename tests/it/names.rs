//! Backends by name, looked up at a real BIND whose zone changes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Doorward, Named, Origin, Setup, Tls, ca, free, within};

pub(crate) const HOST: &str = "app.example.test";

/// Answers with its address over connections that stay open.
pub(crate) fn server(at: &str, port: u16) -> SocketAddr {
    let listener = TcpListener::bind((at.parse::<IpAddr>().expect("an address"), port)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let name = at.to_owned();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let name = name.clone();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// The same port at each of these addresses.
pub(crate) fn servers(at: &[&str]) -> u16 {
    let port = free(at[0]).port();
    for at in at {
        server(at, port);
    }
    port
}

pub(crate) fn door(named: &Named, endpoint: &str, keys: &str) -> Doorward {
    Setup::new()
        .head(&format!("resolvers = [\"{}\"]", named.address))
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[backend]]\nname = \"app\"\nendpoints = [\"{endpoint}\"]\n{keys}"))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\""))
        .start()
}

pub(crate) fn answers(client: &mut Tls, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let reply = client.get(HOST, "/");
        assert_eq!(reply.status, 200, "{}", reply.text());
        *counts.entry(reply.text()).or_default() += 1;
    }
    counts
}

#[test]
fn a_name_is_followed_by_its_ttl_and_the_last_answer_outlives_dns() {
    let port = servers(&["127.0.0.1", "127.0.0.5"]);
    let mut named = Named::start("web A 127.0.0.1");
    let door = door(&named, &format!("web.names.test:{port}"), "");
    let mut client = Tls::connect(door.https, HOST);
    assert_eq!(client.get(HOST, "/").text(), "127.0.0.1");
    named.change("web A 127.0.0.5");
    // Also over the connection that is kept: it leads to where the name does not any more.
    within("the new address", || (client.get(HOST, "/").text() == "127.0.0.5").then_some(()));
    let shown = door.verb(&["backends", "list"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&format!("web.names.test:{port}@127.0.0.5 ")), "{shown:?}");
    named.stop();
    let failing = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.ends_with("what was found last stays in use"))
    };
    door.wait_log(0, "that DNS fails", failing);
    for _ in 0..3 {
        assert_eq!(Tls::connect(door.https, HOST).get(HOST, "/").text(), "127.0.0.5");
    }
}

#[test]
fn a_name_that_is_taken_away_keeps_its_address() {
    let port = servers(&["127.0.0.1"]);
    let mut named = Named::start("web A 127.0.0.1");
    let door = door(&named, &format!("web.names.test:{port}"), "");
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
    named.change("other A 127.0.0.1");
    let gone = |line: &serde_json::Value| {
        (&line["name"], &line["error"]) == (&"web.names.test".into(), &"it has no address in DNS".into())
    };
    door.wait_log(0, "that it is gone", gone);
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
}

#[test]
fn a_name_that_is_not_known_yet_is_a_502_until_it_is() {
    let port = servers(&["127.0.0.1"]);
    let mut named = Named::start("");
    let door = door(&named, &format!("late.names.test:{port}"), "");
    let answer = door.curl("https://app.example.test/late").header("Accept: application/json").run();
    assert_eq!((answer.status, &answer.json()["error"]), (502, &"connect_failed".into()));
    assert!(door.access("/late").to_string().contains(&format!("late.names.test:{port}: it has no address in DNS")));
    named.change("late A 127.0.0.1");
    within("it is known", || (door.curl("https://app.example.test/").run().status == 200).then_some(()));
}

#[test]
fn of_a_names_addresses_whichever_answers_is_taken_ipv6_too() {
    // Nobody listens at 127.0.0.9, and at ::1 only for the last name.
    let port = servers(&["127.0.0.1"]);
    let named = Named::start(
        "web A 127.0.0.9\nweb A 127.0.0.1\nboth A 127.0.0.1\nboth AAAA ::1\nalias CNAME six\nsix AAAA ::1",
    );
    let setup = Setup::new().head(&format!("resolvers = [\"{}\"]", named.address));
    let six = server("::1", 0).port();
    let names = [HOST, "both.example.test", "six.example.test"];
    // No retry: what one connection does not reach is a 502.
    let route = |name: &str, endpoint: &str| {
        format!("hosts = [\"{name}\"]\n[route.backend]\nretry = {{ attempts = 0 }}\nendpoints = [{endpoint}]")
    };
    let door = setup
        .certificate("app", &ca().leaf(&names).issue())
        .route(&route(HOST, &format!("{{ address = \"web.names.test:{port}\", addresses = \"one\" }}")))
        .route(&route(names[1], &format!("\"both.names.test:{port}\"")))
        .route(&route(names[2], &format!("\"alias.names.test:{six}\"")))
        .start();
    for name in &names[..2] {
        for _ in 0..6 {
            let answer = door.curl(&format!("https://{name}/")).run();
            assert_eq!((answer.status, answer.text().as_str()), (200, "127.0.0.1"), "{name}");
        }
    }
    assert_eq!(door.curl("https://six.example.test/").run().text(), "::1");
    let shown = door.verb(&["backends", "list"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in
        ["leads to 127.0.0.1, 127.0.0.9\n", "leads to 127.0.0.1, ::1\n", &format!("alias.names.test:{six}@::1 ")]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

/// The endpoints' addresses, states and requests, by `doorward backends list --json`.
fn listed(door: &Doorward) -> BTreeMap<String, (String, u64)> {
    let shown = door.verb(&["backends", "list", "--json"]);
    let list: Vec<serde_json::Value> = serde_json::from_slice(&shown.stdout).unwrap_or_else(|_| panic!("{shown:?}"));
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    list.iter()
        .map(|view| (text(&view["addresses"][0]), (text(&view["state"]), view["requests"].as_u64().expect("a number"))))
        .collect()
}

#[test]
fn each_address_is_an_endpoint_with_its_own_health_and_keeps_it_over_changes() {
    // Nobody listens at 127.0.0.9.
    let port = servers(&["127.0.0.1", "127.0.0.5", "127.0.0.6"]);
    let mut named = Named::start("web A 127.0.0.1\nweb A 127.0.0.5\nweb A 127.0.0.9");
    let door = door(&named, &format!("web.names.test:{port}"), "check = { interval = \"100ms\", fall = 1 }");
    let mut client = Tls::connect(door.https, HOST);
    within("the third is found down", || (listed(&door)["127.0.0.9"].0 == "down").then_some(()));
    let counts = answers(&mut client, 20);
    assert!(counts["127.0.0.1"] == 10 && counts["127.0.0.5"] == 10, "{counts:?}");
    // One of them is drained by its address.
    let told = door.verb(&["backends", "drain", &format!("127.0.0.1:{port}")]);
    assert!(String::from_utf8_lossy(&told.stdout).contains(&format!("draining  app  web.names.test:{port}@127.0.0.1")));
    let of_five = listed(&door)["127.0.0.5"].1;
    named.change("web A 127.0.0.1\nweb A 127.0.0.5\nweb A 127.0.0.6\nweb A 127.0.0.9");
    within("the fourth", || listed(&door).contains_key("127.0.0.6").then_some(()));
    let now = listed(&door);
    assert_eq!((now["127.0.0.1"].0.as_str(), now["127.0.0.9"].0.as_str()), ("draining", "down"));
    assert_eq!(now["127.0.0.5"].1, of_five, "what was counted stays");
    let counts = answers(&mut client, 20);
    assert!(counts["127.0.0.5"] == 10 && counts["127.0.0.6"] == 10, "{counts:?}");
    // By the name, all of them; those that DNS brings later too.
    assert!(door.verb(&["backends", "disable", &format!("web.names.test:{port}")]).status.success());
    assert_eq!(client.get(HOST, "/").status, 503);
    named.change("web A 127.0.0.7");
    within("the new one", || listed(&door).contains_key("127.0.0.7").then_some(()));
    assert_eq!(listed(&door)["127.0.0.7"].0, "disabled");
}

#[test]
fn each_name_is_asked_for_by_its_own_time_and_may_have_many_addresses() {
    let port = servers(&["127.0.0.1", "127.0.0.5"]);
    let many: String = (1..=80).map(|n| format!("many A 127.2.0.{n}\n")).collect();
    let both = |ip: &str| format!("{many}long 3600 A {ip}\nshort 1 A {ip}");
    let mut named = Named::start(&both("127.0.0.1"));
    let endpoints = ["long", "short", "many"].map(|name| format!("{name}.names.test:{port}"));
    let door = door(&named, &endpoints.join("\", \""), "balance = \"least\"");
    let of = |name: &str| -> Vec<String> {
        let shown = door.verb(&["backends", "list", "--json"]);
        let list: Vec<serde_json::Value> = serde_json::from_slice(&shown.stdout).expect("JSON");
        let names = list.iter().map(|view| view["endpoint"].as_str().expect("a text").to_owned());
        names.filter_map(|text| Some(text.strip_prefix(name)?.split_once('@')?.1.to_owned())).collect()
    };
    assert_eq!((of("long"), of("many").len()), (vec!["127.0.0.1".to_owned()], 80), "more than a datagram holds");
    for ip in ["127.0.0.5", "127.0.0.1", "127.0.0.5"] {
        named.change(&both(ip));
        within("the short one has changed", || (of("short") == [ip]).then_some(()));
        assert_eq!(of("long"), ["127.0.0.1"], "this one holds for an hour");
    }
}

#[test]
fn an_address_that_comes_gets_requests_and_one_that_goes_loses_none() {
    let port = servers(&["127.0.0.1", "127.0.0.5", "127.0.0.6"]);
    let mut named = Named::start("web A 127.0.0.1\nweb A 127.0.0.5");
    let door = door(&named, &format!("web.names.test:{port}"), "retry = { attempts = 0 }");
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::<String, usize>::new())));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, seen, https) = (Arc::clone(&stop), Arc::clone(&seen), door.https);
            std::thread::spawn(move || {
                let mut client = Tls::connect(https, HOST);
                while !stop.load(Ordering::SeqCst) {
                    // A POST, which nothing would send twice.
                    let post = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n");
                    let reply = client.send(post).reply();
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    *seen.lock().expect("no panic").entry(reply.text()).or_default() += 1;
                }
            })
        })
        .collect();
    let serves = |expected: &[&str]| {
        within("these serve", || {
            seen.lock().expect("no panic").clear();
            within("some load", || (seen.lock().expect("no panic").values().sum::<usize>() > 60).then_some(()));
            let counts = seen.lock().expect("no panic").clone();
            counts.keys().eq(expected).then_some(())
        });
    };
    serves(&["127.0.0.1", "127.0.0.5"]);
    for _ in 0..2 {
        named.change("web A 127.0.0.1\nweb A 127.0.0.5\nweb A 127.0.0.6");
        serves(&["127.0.0.1", "127.0.0.5", "127.0.0.6"]);
        named.change("web A 127.0.0.6");
        serves(&["127.0.0.6"]);
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("no request failed");
    }
}

#[test]
fn a_request_under_way_ends_at_an_address_that_has_gone() {
    let (ask, asked) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let slow = Origin::raw({
        let (ask, gone) = (Mutex::new(ask), Mutex::new(gone));
        move |mut stream, _| {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhalf,");
            ask.lock().expect("no panic").send(()).expect("somebody waits");
            let _ = gone.lock().expect("no panic").recv();
            let _ = stream.write_all(b"!");
        }
    });
    let port = slow.address.port();
    server("127.0.0.5", port);
    let mut named = Named::start("web A 127.0.0.1");
    let door = door(&named, &format!("web.names.test:{port}"), "");
    let https = door.https;
    let asking = std::thread::spawn(move || Tls::connect(https, HOST).get(HOST, "/"));
    asked.recv().expect("the request came");
    named.change("web A 127.0.0.5");
    within("the other address", || listed(&door).contains_key("127.0.0.5").then_some(()));
    assert_eq!(door.curl("https://app.example.test/").run().text(), "127.0.0.5");
    go.send(()).expect("the app waits");
    let reply = asking.join().expect("no panic");
    assert_eq!((reply.status, reply.text().as_str()), (200, "half,!"));
}

#[test]
fn where_a_name_has_several_of_both_families_ipv4_stands_in() {
    let port = servers(&["::1", "127.0.0.1"]);
    let named = Named::start("web AAAA ::1\nweb A 127.0.0.1\nweb A 127.0.0.9");
    let door = door(&named, &format!("web.names.test:{port}"), "");
    let mut client = Tls::connect(door.https, HOST);
    assert_eq!(answers(&mut client, 6)["::1"], 6);
    assert!(door.verb(&["backends", "disable", &format!("[::1]:{port}")]).status.success());
    assert_eq!(answers(&mut client, 6)["127.0.0.1"], 6);
}

#[test]
fn a_service_is_as_many_endpoints_as_it_has_records() {
    let [one, two, spare, last] =
        ["127.0.0.1", "127.0.0.5", "127.0.0.6", "127.0.0.7"].map(|address| server(address, 0).port());
    let hosts = "one A 127.0.0.1\ntwo A 127.0.0.5\nspare A 127.0.0.6\nlast A 127.0.0.7";
    let records = |first: &str| {
        format!("{hosts}\n{first}_http._tcp.web SRV 20 1 {spare} spare\n_http._tcp.web SRV 30 1 {last} last\n")
    };
    let three_to_one = format!("_http._tcp.web SRV 10 3 {one} one\n_http._tcp.web SRV 10 1 {two} two\n");
    let mut named = Named::start(&records(&three_to_one));
    let door = door(&named, "srv:_http._tcp.web.names.test", "");
    let mut client = Tls::connect(door.https, HOST);
    // At once: a start waits for it.
    let counts = answers(&mut client, 40);
    assert!(counts["127.0.0.1"].abs_diff(30) <= 2 && counts["127.0.0.5"].abs_diff(10) <= 2, "{counts:?}");
    assert!(!counts.contains_key("127.0.0.6"), "of a higher priority number: {counts:?}");
    let shown = door.verb(&["backends", "list"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("two.names.test:{two}")) && shown.contains("backup 2"), "{shown}");
    // A reload that fails half-way: the service is followed as before.
    door.rewrite(|text| {
        let broken =
            "[[backend]]\nname = \"broken\"\nendpoints = [\"https://127.0.0.1:1\"]\ntls = { ca = \"doorward.toml\" }\n";
        text.replace("[[backend]]", &format!("{broken}[[backend]]"))
            .replace("srv:_http._tcp.web", "srv:_http._tcp.other")
    });
    assert!(!door.reload());
    named.change(&records(&format!("_http._tcp.web SRV 10 1 {two} two\n")));
    within("one has gone", || {
        let counts = answers(&mut client, 4);
        (counts.len() == 1 && counts.contains_key("127.0.0.5")).then_some(())
    });
    named.change(&records(""));
    within("the spare one alone", || answers(&mut client, 2).contains_key("127.0.0.6").then_some(()));
    // What an operator said of an endpoint holds when it comes back.
    let spare = format!("spare.names.test:{spare}");
    assert!(door.verb(&["backends", "disable", &spare]).status.success());
    assert_eq!(answers(&mut client, 4)["127.0.0.7"], 4, "the third tier");
    assert!(door.verb(&["backends", "disable", &format!("last.names.test:{last}")]).status.success());
    assert_eq!(client.get(HOST, "/").status, 503);
    named.stop();
    assert!(door.verb(&["backends", "enable", &spare]).status.success());
    assert_eq!(client.get(HOST, "/").text(), "127.0.0.6", "the last answer holds while DNS is away");
}
