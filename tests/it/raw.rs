//! Connections that are passed on as bytes: out of TLS, TLS and all, plain; by name and by port; and PROXY protocol.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Leaf, Origin, Setup, Tls, ca, client_config, within};

const HOST: &str = "app.example.test";
const OTHER: &str = "other.example.test";

/// Says what it got, in capitals, when the client has ended its side.
fn shout() -> Origin {
    Origin::raw(|mut stream, _| {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        text.make_ascii_uppercase();
        let _ = stream.write_all(&text);
    })
}

/// A TLS server's config.
fn server(leaf: &Leaf) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_slice_iter(leaf.full_chain().as_bytes()).collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate")
}

fn page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page");
    text
}

fn raw_route(name: &str, mode: &str, origin: &Origin) -> String {
    format!("[[route]]\nname = \"{name}\"\nhosts = [\"{name}\"]\nmode = \"{mode}\"\nbackend = \"{}\"\n", origin.address)
}

#[test]
fn tls_ends_here_and_bytes_go_on_both_ways() {
    let (one, two) = (shout(), Origin::raw(|mut stream, _| drop(stream.write_all(b"two"))));
    let door = Setup::new()
        .certificate("one", &ca().leaf(&[HOST]).issue())
        .certificate("two", &ca().leaf(&[OTHER]).issue())
        .section("[[listener]]\naddress = \"127.0.0.7:0\"\nprotocol = \"tls\"\ndefault_certificate = \"one\"\ndefault_route = \"app.example.test\"")
        .section("[[listener]]\naddress = \"127.0.0.8:0\"\nprotocol = \"tls\"\n[listener.tls]\nalpn = [\"shout\"]")
        .section(&raw_route(HOST, "tcp", &one))
        .section(&raw_route(OTHER, "tcp", &two))
        .start();
    let address = door.bound("127.0.0.7:0");
    let mut client = Tls::connect(address, HOST);
    client.stream.write_all(b"hello").expect("sent");
    client.stream.conn.send_close_notify();
    client.stream.flush().expect("sent");
    let mut text = Vec::new();
    let _ = client.stream.read_to_end(&mut text);
    assert_eq!(text, b"HELLO", "the client's end reached the app, and the app's answer the client");
    let mut client = Tls::connect(address, OTHER);
    let mut text = [0; 3];
    client.stream.read_exact(&mut text).expect("an answer");
    assert_eq!(&text, b"two");
    drop(client);
    let agreed = Tls::with(client_config(&["shout", "x"]), door.bound("127.0.0.8:0"), HOST).expect("a handshake");
    assert_eq!(agreed.stream.conn.alpn_protocol(), Some(&b"shout"[..]));
    let line = door.wait_log(0, "the connection", |line| line["message"] == "connection" && line["route"] == OTHER);
    assert_eq!((&line["protocol"], &line["bytes_out"]), (&"tcp".into(), &3.into()));
}

#[test]
fn who_knows_no_name_gets_the_app_of_the_port() {
    let origin = shout();
    let door = Setup::new()
        .section("[[listener]]\naddress = \"127.0.0.7:0\"\nprotocol = \"tcp\"\ndefault_route = \"db\"")
        .section(&format!("[[route]]\nname = \"db\"\nmode = \"tcp\"\nbackend = \"{}\"", origin.address))
        .start();
    let mut client = TcpStream::connect(door.bound("127.0.0.7:0")).expect("connects");
    client.write_all(b"select").expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    let mut text = Vec::new();
    client.read_to_end(&mut text).expect("an answer");
    assert_eq!(text, b"SELECT");
}

#[test]
fn a_name_passes_untouched_beside_one_that_ends_here() {
    // An app with TLS of its own, whose certificate doorward has never seen.
    let own = ca().leaf(&[OTHER]).issue();
    let app = TcpListener::bind("127.0.0.1:0").expect("a port");
    let backend = app.local_addr().expect("an address");
    let config = Arc::new(server(&own));
    std::thread::spawn(move || {
        for stream in app.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut tls = rustls::StreamOwned::new(session, stream);
            let mut request = [0; 5];
            let _ = tls.read_exact(&mut request).and_then(|()| tls.write_all(&request)).and_then(|()| tls.flush());
        }
    });
    let origin = Origin::echo();
    let passed = format!("[[route]]\nhosts = [\"{OTHER}\"]\nmode = \"passthrough\"\nbackend = \"{backend}\"");
    let door = Setup::new().host(HOST, origin.address).section(&passed).start();
    assert_eq!(Tls::connect(door.https, HOST).get(HOST, "/").status, 200);
    // The ClientHello comes in one-byte segments.
    let config = Arc::new(client_config(&[]));
    let name = OTHER.to_owned().try_into().expect("a name");
    let mut session = rustls::ClientConnection::new(config, name).expect("a session");
    let mut tcp = TcpStream::connect(door.https).expect("connects");
    tcp.set_nodelay(true).expect("set");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("a hello");
    for byte in hello {
        tcp.write_all(&[byte]).expect("sent");
    }
    let mut tls = rustls::StreamOwned::new(session, tcp);
    tls.write_all(b"bytes").expect("sent");
    let mut text = [0; 5];
    tls.read_exact(&mut text).expect("an echo");
    assert_eq!(&text, b"bytes");
    let shown = tls.conn.peer_certificates().expect("shown")[0].as_ref().to_vec();
    assert_eq!(shown, own.der.as_ref(), "the app's own certificate");
    // Its name over plain HTTP leads to HTTPS.
    let answer = door.curl(&format!("http://{OTHER}/x")).run();
    assert_eq!((answer.status, answer.header("location").is_some()), (308, true));
}

#[test]
fn the_proxy_protocol_says_who_the_client_is_and_only_those_who_may() {
    let origin = Origin::echo();
    let listener = |address: &str, trusted: &str| {
        format!(
            "[[listener]]\naddress = \"{address}\"\nprotocol = \"http\"\nproxy_protocol = true\ntrusted_proxies = [\"{trusted}\"]"
        )
    };
    let door = Setup::new()
        .host_with(HOST, origin.address, "https = \"both\"")
        .section(&listener("127.0.0.7:0", "127.0.0.0/8"))
        .section(&listener("127.0.0.8:0", "192.0.2.0/24"))
        .start();
    let ask = |address: &str, header: &[u8]| {
        let mut client = TcpStream::connect(door.bound(address)).expect("connects");
        let request =
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n");
        let _ = client.write_all(header).and_then(|()| client.write_all(request.as_bytes()));
        let mut text = String::new();
        let _ = client.read_to_string(&mut text);
        text
    };
    let answer = ask("127.0.0.7:0", b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = origin.only();
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9"), "and not what the client made up");
    assert_eq!(seen.header("x-forwarded-port"), Some("443"), "what the client dialled");
    assert_eq!(ask("127.0.0.7:0", b""), "", "required, not guessed");
    assert_eq!(ask("127.0.0.8:0", b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n"), "", "not from there");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_connection_survives_a_reload_and_counts() {
    let origin = shout();
    let door = Setup::new()
        .metrics()
        .section("[[listener]]\naddress = \"127.0.0.7:0\"\nprotocol = \"tcp\"\ndefault_route = \"db\"")
        .section(&format!("[[route]]\nname = \"db\"\nmode = \"tcp\"\nbackend = \"{}\"", origin.address))
        .start();
    let mut client = TcpStream::connect(door.bound("127.0.0.7:0")).expect("connects");
    client.write_all(b"one ").expect("sent");
    within("the connection to the app", || (origin.opened() == 1).then_some(()));
    door.rewrite(|text| format!("{text}\n[limits]\nh2_streams = 7\n"));
    assert!(door.reload());
    client.write_all(b"two").expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    let mut text = Vec::new();
    client.read_to_end(&mut text).expect("an answer");
    assert_eq!(text, b"ONE TWO");
    within("the metric", || {
        let page = page(door.metrics());
        page.contains("doorward_raw_connections_total{outcome=\"ok\",route=\"db\"} 1").then_some(())
    });
}
