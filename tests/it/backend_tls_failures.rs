//! Encrypted backends that fail, each in its own way, with `openssl s_server` and nginx as the other side.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{ChildStdin, Stdio};

use crate::backend_tls::{Server, door, setup};
use crate::support::{Doorward, Ended, Nginx, Setup, TestCa, Tls, ca, signal, within};

const HOST: &str = "app.example.test";
const TLS: &str = "ca = \"ca.pem\", server_name = \"app.internal\"";

fn patient(setup: Setup) -> Setup {
    setup.metrics().section("[timeouts]\nconnect = \"2s\"\nfirst_byte = \"2s\"\nidle = \"2s\"")
}

/// The status and code of the answer, and what the log says of it.
fn failure(door: &Doorward, path: &str) -> (u16, String, String) {
    let answer = door.curl(&format!("https://{HOST}{path}")).header("Accept: application/json").run();
    let code = answer.json()["error"].as_str().unwrap_or_default().to_owned();
    (answer.status, code, door.access(path).to_string())
}

fn tls_failures(door: &Doorward) -> u64 {
    let text = door.scrape();
    let line = text.lines().find(|line| line.starts_with("doorward_backend_tls_failures_total{"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// A server whose application bytes the test writes.
fn speaking(setup: &Setup) -> (Server, ChildStdin) {
    let leaf = ca().leaf(&["app.internal"]).issue();
    let mut server = Server::saying(setup.home(), "speaking", &leaf, &[], Stdio::piped());
    let stdin = server.child.stdin.take().expect("a pipe");
    (server, stdin)
}

#[test]
fn one_that_is_down_is_no_failure_of_tls() {
    let setup = patient(setup());
    let mut server = Server::start(setup.home(), "down", &ca().leaf(&["app.internal"]).issue(), &[]);
    let door = door(setup, &server, TLS);
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
    server.child.kill().expect("it is ours");
    server.child.wait().expect("it ends");
    let (status, code, log) = failure(&door, "/down");
    assert_eq!((status, code.as_str(), tls_failures(&door)), (502, "connect_failed", 0), "{log}");
}

#[test]
fn a_reset_in_the_handshake_is_told_of_and_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Closed with something unread: the kernel sends a reset.
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let route =
        format!("hosts = [\"{HOST}\"]\n[route.backend]\nendpoints = [\"https://{address}\"]\ntls = {{ {TLS} }}");
    let door = patient(setup()).route(&route).start();
    let (status, code, log) = failure(&door, "/reset");
    assert_eq!((status, code.as_str(), tls_failures(&door)), (502, "backend_tls", 1), "{log}");
}

#[test]
fn who_cannot_be_believed_is_counted() {
    let cases = [
        ("name", ca().leaf(&["other.internal"]).issue(), TLS, "not valid for name"),
        ("expired", ca().leaf(&["app.internal"]).valid_days(-9, -2).issue(), TLS, "expired"),
        ("unknown", TestCa::new().leaf(&["app.internal"]).issue(), TLS, "BadSignature"),
        (
            "pin",
            ca().leaf(&["app.internal"]).issue(),
            "pin_sha256 = [\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]",
            "none of the pinned fingerprints",
        ),
    ];
    for (name, leaf, tls, reason) in cases {
        let setup = patient(setup());
        let server = Server::start(setup.home(), name, &leaf, &[]);
        let door = door(setup, &server, tls);
        let (status, code, log) = failure(&door, "/x");
        assert_eq!((status, code.as_str(), tls_failures(&door)), (502, "backend_tls", 1), "{name}: {log}");
        assert!(log.contains(reason), "{name}: {log}");
    }
}

#[test]
fn one_that_asks_for_a_certificate_gets_none_where_there_is_none() {
    let setup = patient(setup());
    fs::write(setup.home().join("clients.pem"), &ca().root_pem).expect("a file");
    let clients = setup.home().join("clients.pem").display().to_string();
    let args = ["-Verify", "3", "-verify_return_error", "-CAfile", &clients];
    let server = Server::start(setup.home(), "mtls", &ca().leaf(&["app.internal"]).issue(), &args);
    let door = door(setup, &server, TLS);
    // In TLS 1.3 the refusal comes after the handshake, in place of an answer.
    let (status, code, log) = failure(&door, "/mtls");
    assert_eq!(status, 502, "{code}: {log}");
    assert!(log.to_lowercase().contains("certificaterequired"), "{code}: {log}");
}

#[test]
fn one_that_hangs_in_the_handshake_or_before_its_answer_is_a_504() {
    let setup = patient(setup());
    let server = Server::start(setup.home(), "hangs", &ca().leaf(&["app.internal"]).issue(), &[]);
    let stopped = server.child.id();
    let door = door(setup, &server, TLS);
    signal(stopped, "STOP");
    let (status, code, log) = failure(&door, "/hangs");
    signal(stopped, "CONT");
    assert_eq!((status, code.as_str(), tls_failures(&door)), (504, "connect_timeout", 1), "{log}");
    let setup = patient(crate::backend_tls::setup());
    let (silent, _stdin) = speaking(&setup);
    let door = crate::backend_tls::door(setup, &silent, TLS);
    let (status, code, log) = failure(&door, "/silent");
    assert_eq!((status, code.as_str(), tls_failures(&door)), (504, "answer_timeout", 0), "{log}");
}

#[test]
fn an_answer_that_stops_half_way_is_not_taken_for_a_whole_one() {
    // Without a length the end of the connection is the end of the answer: only TLS tells that it was cut.
    for head in ["Content-Length: 10\r\n", "Connection: close\r\n"] {
        let setup = setup().metrics();
        let (mut server, mut stdin) = speaking(&setup);
        let door = door(setup, &server, TLS);
        let mut client = Tls::connect(door.https, HOST);
        client.send(format!("GET /half HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        // Taken once there is a connection.
        stdin.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\nhalf").as_bytes()).expect("written");
        let reading = std::thread::spawn(move || client.reply());
        door.wait_open(&server.address.to_string());
        server.child.kill().expect("it is ours");
        server.child.wait().expect("it ends");
        let reply = reading.join().expect("no panic");
        assert!(reply.status == 502 || reply.ended != Ended::Whole, "{head}: {reply:?}");
        let line = door.access("/half").to_string();
        assert!(line.contains("\"error\""), "{head}: {line}");
    }
}

#[test]
fn one_that_closes_its_side_after_its_answer_has_answered() {
    let setup = patient(setup());
    let (server, mut stdin) = speaking(&setup);
    let door = door(setup, &server, TLS);
    let mut client = Tls::connect(door.https, HOST);
    // The app answers, and ends its side, while most of the request is still to come.
    client.send(format!("POST /early HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\nstart"));
    stdin.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").expect("written");
    drop(stdin);
    let reply = client.reply();
    assert_eq!((reply.status, reply.text().as_str()), (413, "no"), "{reply:?}");
}

#[test]
fn nginx_that_drops_a_request_is_told_of() {
    let setup = patient(setup());
    ca().leaf(&["app.internal"]).issue().write(&setup.home().join("nginx"));
    let nginx = Nginx::start(
        setup.home(),
        "listen ADDRESS ssl; ssl_certificate nginx/fullchain.pem; ssl_certificate_key nginx/privkey.pem; \
         location /ok { return 200 ok; } location /drop { return 444; }",
    );
    let route = format!(
        "hosts = [\"{HOST}\"]\n[route.backend]\nendpoints = [\"https://{}\"]\ntls = {{ {TLS} }}",
        nginx.address
    );
    let door = setup.route(&route).start();
    let (status, code, log) = failure(&door, "/drop");
    // nginx says no goodbye (close_notify), so this is no regular end either.
    assert_eq!((status, code.as_str()), (502, "broken"), "{log}");
    within("it answers the next", || (door.curl("https://app.example.test/ok").run().status == 200).then_some(()));
    assert_eq!(tls_failures(&door), 0);
}
