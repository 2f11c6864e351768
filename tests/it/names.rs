//! Backends by name, looked up at a real BIND whose zone changes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::support::{Doorward, Named, Setup, Tls, ca, within};

const HOST: &str = "app.example.test";

/// Answers with its address over connections that stay open.
fn server(at: &str, port: u16) -> SocketAddr {
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
fn servers(at: &[&str]) -> u16 {
    let port = server(at[0], 0).port();
    for at in &at[1..] {
        server(at, port);
    }
    port
}

fn door(named: &Named, endpoint: &str, keys: &str) -> Doorward {
    Setup::new()
        .head(&format!("resolvers = [\"{}\"]", named.address))
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[backend]]\nname = \"app\"\nendpoints = [\"{endpoint}\"]\n{keys}"))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\""))
        .start()
}

fn answers(client: &mut Tls, requests: usize) -> BTreeMap<String, usize> {
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
    assert!(String::from_utf8_lossy(&shown.stdout).contains("leads to 127.0.0.5"), "{shown:?}");
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
    let gone = |line: &serde_json::Value| line.to_string().contains("web.names.test has no address in DNS");
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
    assert!(door.access("/late").to_string().contains("late.names.test has no address in DNS"));
    named.change("late A 127.0.0.1");
    within("it is known", || (door.curl("https://app.example.test/").run().status == 200).then_some(()));
}

#[test]
fn of_a_names_addresses_whichever_answers_is_taken_ipv6_too() {
    // Nobody listens at 127.0.0.9.
    let port = servers(&["127.0.0.1"]);
    let named = Named::start("web A 127.0.0.9\nweb A 127.0.0.1\nalias CNAME six\nsix AAAA ::1");
    let setup = Setup::new().head(&format!("resolvers = [\"{}\"]", named.address));
    let six = server("::1", 0).port();
    let door = setup
        .certificate("app", &ca().leaf(&[HOST, "six.example.test"]).issue())
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"web.names.test:{port}\""))
        .route(&format!("hosts = [\"six.example.test\"]\nbackend = \"alias.names.test:{six}\""))
        .start();
    for _ in 0..6 {
        let answer = door.curl("https://app.example.test/").run();
        assert_eq!((answer.status, answer.text().as_str()), (200, "127.0.0.1"));
    }
    assert_eq!(door.curl("https://six.example.test/").run().text(), "::1");
}

#[test]
fn a_service_is_as_many_endpoints_as_it_has_records() {
    let (one, two, spare) =
        (server("127.0.0.1", 0).port(), server("127.0.0.5", 0).port(), server("127.0.0.6", 0).port());
    let hosts = "one A 127.0.0.1\ntwo A 127.0.0.5\nspare A 127.0.0.6";
    let records = |first: &str| format!("{hosts}\n{first}_http._tcp.web SRV 20 1 {spare} spare\n");
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
    assert!(shown.contains(&format!("two.names.test:{two}")) && shown.contains("backup"), "{shown}");
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
    assert_eq!(client.get(HOST, "/").status, 503);
    named.stop();
    assert!(door.verb(&["backends", "enable", &spare]).status.success());
    assert_eq!(client.get(HOST, "/").text(), "127.0.0.6", "the last answer holds while DNS is away");
}
