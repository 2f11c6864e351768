//! What the app hears of the client: the header contract.

use crate::support::{Answer, Doorward, H2, Origin, Setup, Tls, within};

fn check_contract(answer: &Answer, proto: &str, port: u16) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = |name| answer.seen(name);
    assert_eq!(seen("x-forwarded-proto").as_deref(), Some(proto));
    assert_eq!(seen("x-forwarded-port"), Some(port.to_string()));
    assert_eq!(seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen("x-real-ip").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen("x-forwarded-host").as_deref(), Some("app.example.test"));
    assert_eq!(seen("host").as_deref(), Some("app.example.test"));
    assert_eq!(seen("forwarded"), None);
}

#[test]
fn the_contract_over_both_protocols() {
    let door = Doorward::for_app(Origin::echo().address);
    for protocol in ["--http1.1", "--http2"] {
        let answer = door.curl("https://app.example.test/path?q=1").args(&[protocol]).run();
        check_contract(&answer, "https", door.https.port());
        assert_eq!(answer.json()["target"], "/path?q=1");
        assert_eq!(answer.version, if protocol == "--http2" { "2" } else { "1.1" });
    }
}

#[test]
fn forged_headers_and_their_spellings_never_arrive() {
    let door = Doorward::for_app(Origin::echo().address);
    let forged = [
        "X-Forwarded-Proto: http",
        "X_Forwarded_Proto: http",
        "x-forwarded_proto: http",
        "X-Forwarded-Port: 1",
        "X_Forwarded_Port: 1",
        "X-Forwarded-For: 9.9.9.9",
        "X_Forwarded_For: 9.9.9.9",
        "X-Forwarded-Host: evil.example.test",
        "X_FORWARDED_HOST: evil.example.test",
        "X-Real-IP: 9.9.9.9",
        "X_Real_IP: 9.9.9.9",
        "Forwarded: for=9.9.9.9;proto=http",
    ];
    for protocol in ["--http1.1", "--http2"] {
        let curl = door.curl("https://app.example.test/").args(&[protocol]);
        let answer = forged.iter().fold(curl, |curl, header| curl.header(header)).run();
        check_contract(&answer, "https", door.https.port());
        let text = answer.text();
        assert!(!text.contains("9.9.9.9") && !text.contains("evil"), "{text}");
        for pair in answer.json()["headers"].as_array().expect("headers") {
            assert!(!pair[0].as_str().expect("a name").contains('_'), "{pair}");
        }
    }
}

#[test]
fn a_connection_header_cannot_strip_ours() {
    let door = Doorward::for_app(Origin::echo().address);
    let answer = door
        .curl("https://app.example.test/")
        .args(&["--http1.1"])
        .header("Connection: x-forwarded-proto, X-Forwarded-For, x-real-ip, host, x-private")
        .header("X-Private: 1")
        .run();
    check_contract(&answer, "https", door.https.port());
    assert_eq!(answer.seen("x-private"), None, "what Connection names is for one hop (RFC 9110 §7.6.1)");
}

#[test]
fn hop_by_hop_headers_stay_here() {
    let door = Doorward::for_app(Origin::echo().address);
    let curl = door.curl("https://app.example.test/").args(&["--http1.1"]);
    let mine =
        ["Keep-Alive: 5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5", "TE: gzip", "X-Mine: 1"];
    let answer = mine.iter().fold(curl, |curl, header| curl.header(header)).run();
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "te"] {
        assert_eq!(answer.seen(name), None, "{name}");
    }
    assert_eq!(answer.seen("x-mine").as_deref(), Some("1"));
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let door = Setup::new()
        .https("trusted_proxies = [\"127.0.0.0/8\"]\npublic_port = 443")
        .host("app.example.test", Origin::echo().address)
        .start();
    for protocol in ["--http1.1", "--http2"] {
        let answer = door
            .curl("https://app.example.test/")
            .args(&[protocol])
            .header("X-Forwarded-For: 203.0.113.7")
            .header("X-Forwarded-Proto: http")
            .run();
        let chain = answer.seen("x-forwarded-for").map(|list| list.replace(' ', ""));
        assert_eq!(chain.as_deref(), Some("203.0.113.7,127.0.0.1"));
        assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("http"));
    }
    // Another proxy is not in the list.
    let door = Setup::new()
        .https("trusted_proxies = [\"198.51.100.0/24\"]")
        .host("app.example.test", Origin::echo().address)
        .start();
    let answer = door.curl("https://app.example.test/").header("X-Forwarded-For: 203.0.113.7").run();
    assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
}

#[test]
fn the_public_port_is_what_the_client_dialled() {
    let door = Setup::new()
        .https("public_port = 443")
        .http("public_port = 80")
        .host_with("app.example.test", Origin::echo().address, "https = \"both\"")
        .start();
    check_contract(&door.curl("https://app.example.test/").run(), "https", 443);
    let plain = door.curl("http://app.example.test/").run();
    assert_eq!(plain.seen("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(plain.seen("x-forwarded-port").as_deref(), Some("80"));
}

#[test]
fn plain_http_says_http() {
    let door = Setup::new().host_with("app.example.test", Origin::echo().address, "https = \"both\"").start();
    let answer = door.curl("http://app.example.test/").header("X-Forwarded-Proto: https").run();
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(answer.seen("x-forwarded-port"), Some(door.http.port().to_string()));
}

#[test]
fn forwarded_on_request_and_host_rewritten_on_request() {
    let keys = "forwarded = true\nhost = \"inner.example.test\"";
    let door = Setup::new().host_with("app.example.test", Origin::echo().address, keys).start();
    let answer = door.curl("https://app.example.test/").header("Forwarded: for=9.9.9.9").run();
    let forwarded = answer.seen("forwarded").expect("Forwarded (RFC 7239)").to_ascii_lowercase();
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=https"), "{forwarded}");
    assert!(!forwarded.contains("9.9.9.9"), "{forwarded}");
    assert_eq!(answer.seen("host").as_deref(), Some("inner.example.test"));
    assert_eq!(answer.seen("x-forwarded-host").as_deref(), Some("app.example.test"));
}

#[test]
fn tls_headers_on_request_and_never_the_clients() {
    let door = Setup::new()
        .host_with("app.example.test", Origin::echo().address, "tls_headers = true")
        .host("bare.example.test", Origin::echo().address)
        .start();
    let answer = door.curl("https://app.example.test/").header("X-Tls-Version: forged").run();
    assert_eq!(answer.seen("x-tls-sni").as_deref(), Some("app.example.test"));
    assert_eq!(answer.seen("x-tls-alpn").as_deref(), Some("h2"));
    let version = answer.seen("x-tls-version").expect("a version");
    assert!(version.contains("1.3") && !version.contains("forged"), "{version}");
    let bare = door.curl("https://bare.example.test/").header("X-Tls-Version: forged").run();
    assert_eq!(bare.seen("x-tls-version"), None, "an app must be able to rely on it");
}

#[test]
fn cookies_split_over_h2_arrive_as_one() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let h2 = H2::connect(door.https, "app.example.test");
    let request = http::Request::get("https://app.example.test/").header("cookie", "a=1").header("cookie", "b=2");
    let reply = h2.request(request.body(()).expect("a request"), None).expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(origin.only().header("cookie"), Some("a=1; b=2"), "RFC 9113 §8.2.3");
}

#[test]
fn the_answers_hop_by_hop_headers_stay_here_too() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nX-Public: 2\r\nContent-Length: 2\r\n\r\nok",
    );
    let door = Doorward::for_app(origin.address);
    let reply = Tls::connect(door.https, "app.example.test").get("app.example.test", "/");
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    assert_eq!(reply.header("x-public"), Some("2"));
    assert_eq!((reply.header("x-private"), reply.header("keep-alive")), (None, None));
    within("the request", || (origin.seen().len() == 1).then_some(()));
}
