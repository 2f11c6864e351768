//! The PROXY protocol from the proxies in front: HAProxy as the sender, and those who send something else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::support::{Curl, Doorward, Origin, Program, Setup, Tls, ca, free, tcp, within};

const HOST: &str = "app.example.test";
/// Where HAProxy connects from: the only address that is trusted.
const HAPROXY: &str = "127.0.0.9";
const TLS: &str = "127.0.0.7:0";
const TCP: &str = "127.0.0.8:0";
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n";

/// Every kind of listener, each for proxies alone.
fn door(origin: &Origin, trusted: &str) -> Doorward {
    let keys = format!("proxy_protocol = true\ntrusted_proxies = [\"{trusted}\"]");
    let raw = Origin::raw(|mut stream, _| drop(stream.write_all(b"raw here")));
    Setup::new()
        .metrics()
        .https(&keys)
        .http(&keys)
        .host_with(HOST, origin.address, "https = \"both\"")
        .section(&format!("[[listener]]\naddress = \"{TLS}\"\nprotocol = \"tls\"\ndefault_route = \"raw\"\n{keys}"))
        .section(&format!("[[listener]]\naddress = \"{TCP}\"\nprotocol = \"tcp\"\ndefault_route = \"raw\"\n{keys}"))
        .section(&format!(
            "[[route]]\nname = \"raw\"\nhosts = [\"raw.{HOST}\"]\nmode = \"tcp\"\nbackend = \"{}\"",
            raw.address
        ))
        .certificate("raw", &ca().leaf(&[&format!("raw.{HOST}")]).issue())
        .section("[timeouts]\nhandshake = \"400ms\"")
        .start()
}

fn metric(door: &Doorward, outcome: &str) -> u64 {
    let mut stream = tcp(door.metrics());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page");
    let name = format!("doorward_proxy_protocol_headers_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{text}"));
    line.parse().expect("a number")
}

/// What comes back to these bytes; nothing where the connection is closed on them.
fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = tcp(address);
    // A reset may be faster than the bytes.
    let _ = stream.write_all(bytes);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn request() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn haproxy_says_who_the_client_is_in_both_versions_and_for_every_listener() {
    for send in ["send-proxy", "send-proxy-v2"] {
        let origin = Origin::echo();
        let door = door(&origin, HAPROXY);
        let ports: Vec<SocketAddr> = (0..4).map(|_| free("127.0.0.1")).collect();
        let to = [door.https, door.http, door.bound(TLS), door.bound(TCP)];
        let sections: String = ports
            .iter()
            .zip(to)
            .enumerate()
            .map(|(index, (from, to))| {
                format!("listen l{index}\n  mode tcp\n  bind {from}\n  server door {to} {send} source {HAPROXY}\n")
            })
            .collect();
        let haproxy = Program::haproxy(
            door.home(),
            &format!(
                "{sections}listen last\n  mode tcp\n  bind ADDRESS\n  server door {} {send} source {HAPROXY} check inter 100ms\n",
                door.http
            ),
        );
        let [https, http, tls, raw] = ports[..] else { unreachable!("four") };
        for url in [format!("https://{HOST}/"), format!("http://{HOST}/")] {
            let answer =
                Curl::new(&url, https, http, &door.home().join("ca.pem")).header("X-Forwarded-For: 6.6.6.6").run();
            assert_eq!(answer.status, 200, "{send} {url}: {answer:?}");
            assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("127.0.0.1"), "the client, not HAProxy");
            let dialled = if url.starts_with("https") { https } else { http };
            assert_eq!(answer.seen("x-forwarded-port"), Some(dialled.port().to_string()), "what the client dialled");
        }
        let mut client = Tls::connect(tls, &format!("raw.{HOST}"));
        let mut text = [0; 8];
        client.stream.read_exact(&mut text).expect("an answer");
        assert_eq!(&text, b"raw here", "{send}");
        assert_eq!(answer(raw, b""), "raw here", "{send}");
        let line = door.wait_log(0, "the raw connection", |line| line["message"] == "connection");
        assert_eq!(line["client"], "127.0.0.1", "and not {HAPROXY}");
        // HAProxy's own checks: they speak for themselves.
        if send == "send-proxy-v2" {
            within("a health check", || (metric(&door, "local") > 0).then_some(()));
        }
        assert!(metric(&door, "ok") >= 4);
        drop(haproxy);
    }
}

#[test]
fn nobody_else_can_say_so() {
    let origin = Origin::echo();
    let door = door(&origin, HAPROXY);
    // The test's own address is none of the trusted ones.
    for address in [door.http, door.https, door.bound(TLS), door.bound(TCP)] {
        assert_eq!(answer(address, &[V1, &request()].concat()), "", "{address}");
    }
    assert_eq!((metric(&door, "untrusted"), origin.seen().len()), (4, 0));
    door.wait_log(0, "a word to the operator", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("not one of the trusted_proxies"))
    });
    // Where it is not on, it is no header but the client's own bytes.
    let raw = Origin::raw(|mut stream, _| {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let _ = stream.write_all(&text);
    });
    let door = Setup::new()
        .head("trusted_proxies = [\"127.0.0.1\"]")
        .host_with(HOST, origin.address, "https = \"both\"")
        .section(&format!("[[listener]]\naddress = \"{TCP}\"\nprotocol = \"tcp\"\ndefault_route = \"raw\""))
        .section(&format!(
            "[[route]]\nname = \"raw\"\nmode = \"tcp\"\n[route.backend]\nendpoints = [\"{}\"]\nproxy_protocol = \"v1\"",
            raw.address
        ))
        .start();
    let refused = answer(door.http, &[V1, &request()].concat());
    assert!(refused.starts_with("HTTP/1.1 505 "), "no such version of HTTP, even from a trusted proxy: {refused}");
    assert_eq!(origin.seen().len(), 0);
    let mut stream = tcp(door.bound(TCP));
    let own = stream.local_addr().expect("an address").port();
    stream.write_all(V1).and_then(|()| stream.shutdown(std::net::Shutdown::Write)).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an echo");
    let told = format!("PROXY TCP4 127.0.0.1 127.0.0.8 {own} {}\r\n", door.bound(TCP).port());
    assert_eq!(text, told + &String::from_utf8_lossy(V1), "what doorward saw comes first");
}

#[test]
fn it_is_required_and_what_is_no_header_is_closed() {
    let origin = Origin::echo();
    let door = door(&origin, "127.0.0.0/8");
    let mut signed = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    signed.extend([0x21, 0x11]);
    let v2 = |length: u16, rest: &[u8]| [&signed[..], &length.to_be_bytes(), rest].concat();
    let udp = [&signed[..13], &[0x12, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb]].concat();
    for (bytes, outcome) in [
        (request(), "malformed"),
        (b"PROXY TCP4 999.0.2.7 198.51.100.1 56324 443\r\n".to_vec(), "malformed"),
        (b"PROXY TCP4 203.0.113.9 198.51.100.1 56324\r\n".to_vec(), "malformed"),
        (udp, "malformed"),
        (v2(2, &[1, 2]), "malformed"),
        ([&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(), "too_long"),
        (v2(u16::MAX, &[]), "too_long"),
        // Late: nothing more comes.
        (Vec::new(), "timeout"),
        (b"PROXY TCP4 203.0.113.9".to_vec(), "timeout"),
        (v2(12, &[192, 0]), "timeout"),
    ] {
        for address in [door.http, door.https, door.bound(TLS), door.bound(TCP)] {
            let before = metric(&door, outcome);
            assert_eq!(answer(address, &bytes), "", "{outcome}: {bytes:?}");
            assert_eq!(metric(&door, outcome), before + 1, "{outcome}: {bytes:?} at {address}");
        }
    }
    assert_eq!(origin.seen().len(), 0);
    let answer = answer(door.http, &[V1, &request()].concat());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = origin.only();
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9"), "and not what the client made up");
    assert_eq!(seen.header("x-forwarded-port"), Some("443"));
    let v6 = "PROXY TCP6 2001:db8::7 2001:db8::1 56324 8443\r\n";
    assert!(self::answer(door.http, &[v6.as_bytes(), &request()].concat()).starts_with("HTTP/1.1 200"));
    let seen = origin.seen();
    assert_eq!(seen[1].header("x-forwarded-for"), Some("2001:db8::7"));
    door.wait_log(0, "the client of the header", |line| line["client"] == "2001:db8::7");
}

#[test]
fn a_header_in_pieces_is_read_and_what_follows_it_is_the_connection() {
    let door = door(&Origin::echo(), "127.0.0.0/8");
    let mut stream: TcpStream = tcp(door.http);
    for byte in [V1, &request()].concat() {
        stream.write_all(&[byte]).expect("sent");
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("203.0.113.9"), "{text}");
}
