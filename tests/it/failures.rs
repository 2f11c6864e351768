//! Answers of our own, and what is tried again.

use std::io::Write as _;

use crate::support::{Answer, Doorward, Origin, RawH2, Setup, Tls, ca, cut, nobody, within};

const HOST: &str = "app.example.test";

/// The page's request id is in the log, and the log agrees on the status.
fn check_id(door: &Doorward, answer: &Answer, path: &str) {
    let line = door.access(path);
    assert_eq!(line["status"], answer.status, "{line}");
    let id = line["request_id"].as_str().expect("a request id in the log");
    assert!(answer.text().contains(id), "{id} is not on the page: {}", answer.text());
}

#[test]
fn unknown_host_refused_backend_and_late_backend() {
    let silent = Origin::scripted(|_, stream| {
        // Holds the request until doorward has had enough.
        crate::support::drain(stream);
        false
    });
    let door = Setup::new()
        .section("[timeouts]\nfirst_byte = \"300ms\"")
        .certificate("all", &ca().leaf(&["*.example.test"]).issue())
        .route(&format!("hosts = [\"refused.example.test\"]\nbackend = \"{}\"", nobody()))
        .route(&format!("hosts = [\"late.example.test\"]\nbackend = \"{}\"", silent.address))
        .start();
    for (host, status) in [("refused", 502), ("late", 504), ("nowhere", 404)] {
        for protocol in ["--http1.1", "--http2"] {
            let path = format!("/{host}{protocol}");
            let url = format!("https://{host}.example.test{path}");
            let answer = door.curl(&url).args(&[protocol]).run();
            assert_eq!(answer.status, status, "{host} {protocol}: {answer:?}");
            check_id(&door, &answer, &path);
        }
    }
    silent.wait_ended(2);
}

#[test]
fn pages_for_people_json_for_programs() {
    let door = Doorward::for_app(nobody());
    let ask = |accept: &str| door.curl("https://app.example.test/").header(&format!("Accept: {accept}")).run();
    let page = ask("text/html,application/xhtml+xml,*/*;q=0.8");
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
    assert!(page.text().contains("502"));
    let json = ask("application/json");
    assert!(json.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{json:?}");
    assert_eq!(json.json()["status"], 502);
    assert!(json.json()["request_id"].is_string(), "{json:?}");
    assert!(page.text().len() < 4096, "small");
}

#[test]
fn a_slow_head_is_a_408() {
    let door = Setup::new()
        .section("[timeouts]\nrequest_header = \"300ms\"\nkeep_alive = \"10s\"")
        .host(HOST, Origin::echo().address)
        .start();
    let mut client = Tls::connect(door.https, HOST);
    let reply = client.send("GET / HTTP/1.1\r\nHost: app.exam").reply();
    assert_eq!(reply.status, 408);
    assert!(client.closed());
}

#[test]
fn a_slow_body_is_a_408_or_the_end() {
    let door = Setup::new().section("[timeouts]\nrequest_body = \"300ms\"").host(HOST, Origin::echo().address).start();
    let mut client = Tls::connect(door.https, HOST);
    let reply = client.send("POST / HTTP/1.1\r\nHost: app.example.test\r\nContent-Length: 9\r\n\r\nhalf").reply();
    assert!([408, 0].contains(&reply.status), "{reply:?}");
    assert!(client.closed());
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let door = Setup::new().section("[timeouts]\nkeep_alive = \"300ms\"").host(HOST, Origin::echo().address).start();
    let mut client = Tls::connect(door.https, HOST);
    assert_eq!(client.get(HOST, "/").status, 200);
    assert_eq!(client.reply().status, 0, "no 408 that a next request could take for its own");
}

#[test]
fn too_large_a_body_is_a_413() {
    let origin = Origin::echo();
    let door = Setup::new().section("[limits]\nrequest_body_bytes = 100").host(HOST, origin.address).start();
    let post = |fields: &str, body: &str| {
        let request = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n\r\n{body}");
        Tls::connect(door.https, HOST).send(request).reply().status
    };
    assert_eq!(post("Content-Length: 100", &"x".repeat(100)), 200);
    assert_eq!(post("Content-Length: 101", ""), 413);
    assert_eq!(post("Content-Length: 101\r\nExpect: 100-continue", ""), 413, "not 100");
    assert_eq!(post("Transfer-Encoding: chunked", &format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(0x65))), 413);
    let body = "x".repeat(101);
    let answer = door.curl("https://app.example.test/").args(&["--http2", "-d", &body]).run();
    assert_eq!(answer.status, 413);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn too_large_a_head_is_a_431() {
    let origin = Origin::echo();
    let limits = "[limits]\nheader_bytes = 4096\nheader_count = 20";
    let door = Setup::new().section(limits).host(HOST, origin.address).start();
    for protocol in ["--http1.1", "--http2"] {
        let large = format!("X-Large: {}", "x".repeat(5000));
        let answer = door.curl("https://app.example.test/").args(&[protocol]).header(&large).run();
        assert_eq!(answer.status, 431, "{protocol}: {answer:?}");
        let curl = door.curl("https://app.example.test/").args(&[protocol]);
        let many = (0..30).fold(curl, |curl, n| curl.header(&format!("X-{n}: 1")));
        assert_eq!(many.run().status, 431, "{protocol}");
    }
    let mut client = Tls::connect(door.https, HOST);
    assert!([414, 431].contains(&client.get(HOST, &format!("/{}", "x".repeat(5000))).status));
    assert_eq!(origin.seen().len(), 0);
}

#[test]
fn a_stale_connection_of_the_pool_is_tried_once_more() {
    // Serves one request a connection, says nothing of closing, and closes.
    let origin = Origin::scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        false
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    for n in 0..20 {
        assert_eq!(client.get(HOST, &format!("/{n}")).status, 200, "request {n}");
    }
    assert_eq!(origin.seen().len(), 20, "each exactly once");
}

#[test]
fn a_post_is_not_played_twice() {
    // The first request of a connection is answered; at the second the connection dies after it was read.
    let origin = Origin::scripted(|seen, stream| {
        if seen.method == "POST" {
            cut(stream);
            return false;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    assert_eq!(client.get(HOST, "/").status, 200);
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello"));
    assert_eq!(client.reply().status, 502);
    let posts = origin.seen().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!(posts, 1);
}

#[test]
fn a_flood_of_resets_is_sent_away() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")];
    RawH2::connect(door.https, HOST).rapid_reset(&fields, 20_000).expect("an end");
    assert!(origin.seen().len() < 5_000, "{} requests reached the backend", origin.seen().len());
    within("the next client is served", || (door.curl("https://app.example.test/").run().status == 200).then_some(()));
}

#[test]
fn one_backend_of_two_is_enough() {
    let origin = Origin::echo();
    let door = Setup::new()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = [\"{}\", \"{}\"]", nobody(), origin.address))
        .start();
    for _ in 0..6 {
        assert_eq!(door.curl("https://app.example.test/").run().status, 200, "a refused connect reached nobody");
    }
}

#[test]
fn a_connection_over_the_limit_waits_for_its_turn() {
    let door = Setup::new().section("[limits]\nconnections = 2").host(HOST, Origin::echo().address).start();
    let mut first = Tls::connect(door.https, HOST);
    let mut second = Tls::connect(door.https, HOST);
    assert_eq!((first.get(HOST, "/").status, second.get(HOST, "/").status), (200, 200));
    let address = door.https;
    let third = std::thread::spawn(move || Tls::connect(address, HOST).get(HOST, "/third").status);
    assert_eq!(second.get(HOST, "/").status, 200);
    assert!(!third.is_finished());
    drop(first);
    assert_eq!(third.join().expect("served in the end"), 200);
}
