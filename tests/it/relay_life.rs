//! What a raw connection lives with: apps that cannot be had, a reload, a new certificate, a drain.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::relay::{HOST, TCP, TLS, echo, ended, quoted, say, setup};
use crate::support::{Doorward, Leaf, Origin, Program, TestCa, Tls, ca, nobody, signal, tcp, within};

#[test]
fn what_cannot_be_connected_is_reset_and_said() {
    let setup_with = |endpoint: String, keys: &str| setup(&format!("\"{endpoint}\""), keys);
    let (good, expired) = (ca().leaf(&["app.internal"]), ca().leaf(&["app.internal"]).valid_days(-9, -2));
    let foreign = TestCa::new();
    let folder = tempfile::tempdir().expect("a folder");
    let server = |name: &str, leaf: &Leaf| Program::s_server(folder.path(), name, leaf, &[]);
    let servers = [
        server("good", &good.issue()),
        server("expired", &expired.issue()),
        server("foreign", &foreign.leaf(&["app.internal"]).issue()),
    ];
    let [good, expired, foreign] = &servers;
    let tls = |name: &str| format!("tls = {{ ca = \"ca.pem\", server_name = \"{name}\" }}");
    // Nothing there, and a queue that is full: nobody accepts.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    deaf.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into())
        .and_then(|()| deaf.listen(0))
        .expect("listens");
    let full = deaf.local_addr().expect("an address").as_socket().expect("an address");
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&full, std::time::Duration::from_millis(200)) {
        held.push(stream);
    }
    let cases = [
        (nobody().to_string(), String::new(), "connect_failed", "refused"),
        (full.to_string(), String::new(), "connect_timeout", ""),
        (format!("tls://{}", good.address), tls("other.internal"), "backend_tls", "not valid for name"),
        (format!("tls://{}", expired.address), tls("app.internal"), "backend_tls", "expired"),
        (format!("tls://{}", foreign.address), tls("app.internal"), "backend_tls", "invalid peer certificate"),
    ];
    for (endpoint, keys, outcome, detail) in cases {
        // Short where it is waited for; else a busy machine has its time.
        let connect = if outcome == "connect_timeout" { "500ms" } else { "10s" };
        let door = setup_with(endpoint, &keys).section(&format!("[timeouts]\nconnect = \"{connect}\"")).start();
        let mut plain = tcp(door.bound(TCP));
        let fault = plain.read_to_end(&mut Vec::new()).expect_err("no regular end");
        assert_eq!(fault.kind(), ErrorKind::ConnectionReset, "{outcome}");
        let line = ended(&door);
        assert_eq!((&line["outcome"], &line["error"]), (&outcome.into(), &outcome.into()), "{line}");
        let said = line["detail"].as_str().unwrap_or("");
        assert!(said.contains(detail), "{outcome} {detail}: {said}");
    }
    // The right one is believed; openssl turns lines around.
    let door = setup_with(format!("tls://{}", good.address), &tls("app.internal")).start();
    let mut client = Tls::connect(door.bound(TLS), HOST);
    client.send("drawkcab\n");
    let mut line = [0; 9];
    client.stream.read_exact(&mut line).expect("a line");
    assert_eq!(&line, b"backward\n");
}

#[test]
fn connections_are_shared_out_and_one_that_is_down_is_passed_over() {
    let numbered = |number: u8| Origin::raw(move |mut stream, _| drop(stream.write_all(&[number])));
    let origins: Vec<Origin> = (0..3).map(numbered).collect();
    let which = |door: &Doorward| {
        let mut number = [0];
        tcp(door.bound(TCP)).read_exact(&mut number).expect("an app");
        number[0]
    };
    let mut endpoints: Vec<String> = origins.iter().map(|origin| quoted(origin.address)).collect();
    endpoints.push(quoted(nobody()));
    let endpoints = endpoints.join(", ");
    let door = setup(&endpoints, "").start();
    let mut seen: Vec<u8> = (0..24).map(|_| which(&door)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2], "each has its turn");
    let live: Vec<String> = origins.iter().map(|origin| quoted(origin.address)).collect();
    let door = setup(&live.join(", "), "balance = \"hash-client\"").start();
    let first = which(&door);
    assert!((0..12).all(|_| which(&door) == first), "one client, one app");
}

#[test]
fn a_reload_and_a_new_certificate_leave_it_alone() {
    let origin = echo();
    let door = setup(&quoted(origin.address), "").start();
    let mut tls = Tls::connect(door.bound(TLS), HOST);
    let mut plain = tcp(door.bound(TCP));
    say(&mut tls.stream, b"before");
    say(&mut plain, b"before");
    let before = tls.certificate();
    let leaf = ca().leaf(&[HOST]).issue();
    leaf.write(&door.certs("app"));
    within("the new certificate is served", || {
        (Tls::connect(door.bound(TLS), HOST).certificate() == leaf.der).then_some(())
    });
    assert_ne!(before, leaf.der);
    say(&mut tls.stream, b"after the swap");
    // The route goes to another app now, and one of the listeners is gone.
    let other = Origin::raw(|mut stream, _| drop(stream.write_all(b"the other app")));
    let tcp_listener = format!("\n[[listener]]\naddress = \"{TCP}\"\nprotocol = \"tcp\"\ndefault_route = \"raw\"\n");
    door.rewrite(|text| {
        assert!(text.contains(&tcp_listener), "{text}");
        text.replace(&tcp_listener, "").replace(&origin.address.to_string(), &other.address.to_string())
    });
    assert!(door.reload());
    say(&mut tls.stream, b"after the reload");
    say(&mut plain, b"its listener is closed");
    let mut new = Tls::connect(door.bound(TLS), HOST);
    let mut text = [0; 13];
    new.stream.read_exact(&mut text).expect("an answer");
    assert_eq!(&text, b"the other app");
    plain.shutdown(Shutdown::Write).expect("half closed");
    let mut rest = String::new();
    plain.read_to_string(&mut rest).expect("a regular end");
    assert_eq!(rest, "bye");
}

#[test]
fn a_drain_waits_for_it_and_cuts_it_at_the_deadline() {
    let origin = echo();
    let mut door = setup(&quoted(origin.address), "").section("[timeouts]\ndrain = \"20s\"").start();
    let address = door.bound(TCP);
    let mut client = tcp(address);
    say(&mut client, b"before");
    signal(door.pid(), "TERM");
    within("no new connection", || TcpStream::connect(address).is_err().then_some(()));
    say(&mut client, b"still here");
    client.shutdown(Shutdown::Write).expect("half closed");
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("a regular end");
    assert_eq!((rest.as_str(), door.wait().code()), ("bye", Some(0)));
    assert_eq!(ended(&door)["outcome"], "ok");

    let mut door = setup(&quoted(origin.address), "").section("[timeouts]\ndrain = \"300ms\"").start();
    let mut client = tcp(door.bound(TCP));
    say(&mut client, b"before");
    assert_eq!(door.stop().code(), Some(0));
    let fault = client.read_to_end(&mut Vec::new()).expect_err("no regular end");
    assert_eq!(fault.kind(), ErrorKind::ConnectionReset);
    let line = ended(&door);
    assert_eq!((&line["outcome"], &line["bytes_in"], &line["bytes_out"]), (&"cut".into(), &6.into(), &6.into()));
}
