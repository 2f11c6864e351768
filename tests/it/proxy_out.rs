//! The PROXY protocol to backends: nginx with it on, and what v2 says of TLS.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc;

use proxy_header::{ParseConfig, ProxyHeader};

use crate::support::{Nginx, Origin, Program, Setup, Tls, ca, client_config, tcp};

const HOST: &str = "app.example.test";

fn setup() -> Setup {
    Setup::new().certificate("app", &ca().leaf(&[HOST]).issue())
}

fn route(endpoint: &str, keys: &str) -> String {
    format!("hosts = [\"{HOST}\"]\nhttps = \"both\"\n[route.backend]\nendpoints = [\"{endpoint}\"]\n{keys}")
}

#[test]
fn nginx_reads_both_versions_and_each_client_is_told_of() {
    for version in ["v1", "v2"] {
        let setup = setup();
        let answer =
            "location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\"; }";
        let nginx = Nginx::start(setup.home(), &format!("listen ADDRESS proxy_protocol; {answer}"));
        let keys = format!("proxy_protocol = \"{version}\"");
        let door = setup.route(&route(&nginx.address.to_string(), &keys)).start();
        let (mut one, mut two) = (Tls::connect(door.https, HOST), Tls::connect(door.https, HOST));
        let ports = (one.local_port(), two.local_port());
        let https = door.https.port();
        for _ in 0..3 {
            // Alternately: a connection that were kept would tell of the other client.
            assert_eq!(one.get(HOST, "/").text(), format!("127.0.0.1 {} {https}", ports.0), "{version}");
            assert_eq!(two.get(HOST, "/").text(), format!("127.0.0.1 {} {https}", ports.1), "{version}");
        }
        let plain = door.curl("http://app.example.test/").run();
        assert!(plain.text().ends_with(&format!(" {}", door.http.port())), "{version}: {plain:?}");
    }
}

#[test]
fn it_comes_before_tls() {
    let setup = setup();
    ca().leaf(&["app.internal"]).issue().write(&setup.home().join("nginx"));
    let nginx = Nginx::start(
        setup.home(),
        "listen ADDRESS ssl proxy_protocol; ssl_certificate nginx/fullchain.pem; \
         ssl_certificate_key nginx/privkey.pem; location / { return 200 \"$proxy_protocol_port $ssl_protocol\"; }",
    );
    let keys = "proxy_protocol = \"v2\"\ntls = { ca = \"ca.pem\", server_name = \"app.internal\" }";
    let door = setup.route(&route(&format!("https://{}", nginx.address), keys)).start();
    let mut client = Tls::connect(door.https, HOST);
    let port = client.local_port();
    assert_eq!(client.get(HOST, "/").text(), format!("{port} TLSv1.2"), "nginx 1.22 has no more by default");
}

#[test]
fn a_backend_that_does_not_expect_it_refuses() {
    let setup = setup();
    let nginx = Nginx::start(setup.home(), "listen ADDRESS; location / { return 200 fine; }");
    let door = setup.route(&route(&nginx.address.to_string(), "proxy_protocol = \"v1\"")).start();
    assert_eq!(door.curl("https://app.example.test/").run().status, 400, "nginx takes the line for a request");
}

#[test]
fn version_2_tells_of_the_clients_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.windows(4).skip(16).any(|end| end == b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            let _ = sender.send(head);
        }
    });
    let door = setup().route(&route(&address.to_string(), "proxy_protocol = \"v2\"")).start();
    for (url, protocol, alpn) in [
        ("https://app.example.test/", "--http2", Some(&b"h2"[..])),
        ("https://app.example.test/", "--http1.1", Some(b"http/1.1")),
        ("http://app.example.test/", "--http1.1", None),
    ] {
        assert_eq!(door.curl(url).args(&[protocol]).run().status, 200);
        let head = heads.recv().expect("a request");
        let (header, length) = ProxyHeader::parse(&head, ParseConfig::default()).expect("a header");
        assert!(head[length..].starts_with(b"GET / HTTP/1.1\r\n"), "the request follows");
        let addresses = header.proxied_address().expect("addresses");
        assert_eq!(addresses.source.ip().to_string(), "127.0.0.1");
        let dialled = if alpn.is_some() { door.https } else { door.http };
        assert_eq!(addresses.destination, dialled);
        assert_eq!(header.alpn(), alpn);
        assert_eq!(header.authority(), alpn.map(|_| HOST));
        let ssl = header.ssl();
        assert_eq!(ssl.as_ref().and_then(|ssl| ssl.version()), alpn.map(|_| "TLSv1.3"));
        assert_eq!(ssl.as_ref().and_then(|ssl| ssl.cipher()).is_some(), alpn.is_some());
    }
}

const TLS: &str = "127.0.0.7:0";
const TCP: &str = "127.0.0.8:0";

/// Listeners `tls`, with ALPN and a certificate, and `tcp`, whose route is the backend with these keys.
fn raw(setup: Setup, endpoint: &str, keys: &str) -> Setup {
    let listener = format!("[[listener]]\naddress = \"{TLS}\"\nprotocol = \"tls\"\ntls = {{ alpn = [\"shout\"] }}");
    setup
        .section(&listener)
        .section(&format!("[[listener]]\naddress = \"{TCP}\"\nprotocol = \"tcp\"\ndefault_route = \"raw\""))
        .route(&format!(
            "name = \"raw\"\nhosts = [\"{HOST}\"]\nlisteners = [\"{TLS}\"]\nmode = \"tcp\"\n[route.backend]\nendpoints = [\"{endpoint}\"]\n{keys}"
        ))
}

#[test]
fn haproxy_reads_both_versions_for_requests_and_for_bytes_with_and_without_tls() {
    for (version, tls) in [("v1", false), ("v2", false), ("v1", true), ("v2", true)] {
        let setup = setup();
        let leaf = ca().leaf(&["app.internal"]).issue();
        std::fs::write(setup.home().join("haproxy.pem"), leaf.full_chain() + &leaf.key_pem).expect("a file");
        let secured = if tls { format!("ssl crt {}/haproxy.pem", setup.home().display()) } else { String::new() };
        // It closes a connection that does not begin with the header.
        let haproxy = Program::haproxy(
            setup.home(),
            &format!(
                "frontend app\n  mode http\n  bind ADDRESS accept-proxy {secured}\n  http-request return status 200 \
                 content-type text/plain lf-string \"%[src] %[src_port] %[dst_port] %[fc_pp_authority]\""
            ),
        );
        let keys = format!("proxy_protocol = \"{version}\"")
            + if tls { "\ntls = { ca = \"ca.pem\", server_name = \"app.internal\" }" } else { "" };
        let (http, bytes) = if tls { ("https", "tls") } else { ("http", "tcp") };
        let listeners = "listeners = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n";
        let requests =
            format!("name = \"requests\"\n{listeners}{}", route(&format!("{http}://{}", haproxy.address), &keys));
        let raw_route = format!("{bytes}://{}", haproxy.address);
        let door = raw(setup, &raw_route, &keys).route(&requests).start();
        let authority = if version == "v2" { HOST } else { "" };
        let mut client = Tls::connect(door.https, HOST);
        let port = client.local_port();
        let told = format!("127.0.0.1 {port} {} {authority}", door.https.port());
        assert_eq!(client.get(HOST, "/").text(), told, "{version} {tls}");
        let address = door.bound(TLS);
        let mut client = Tls::with(client_config(&["shout"]), address, HOST).expect("a handshake");
        let port = client.local_port();
        assert_eq!(client.get(HOST, "/").text(), format!("127.0.0.1 {port} {} {authority}", address.port()));
        let mut stream = tcp(door.bound(TCP));
        let told = format!("127.0.0.1 {} {} ", stream.local_addr().expect("an address").port(), door.bound(TCP).port());
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        assert_eq!(crate::support::read_reply(&mut stream, false).text(), told, "{version} {tls}");
    }
}

/// Answers each connection with the header that it began with, in hexadecimal, when the client has ended its side.
fn header_reader() -> (Origin, mpsc::Receiver<Vec<u8>>) {
    let (sender, heads) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = Origin::raw(move |mut stream, _| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.lock().expect("no panic").send(bytes);
    });
    (origin, heads)
}

#[test]
fn version_2_tells_of_the_tls_of_raw_connections() {
    let (origin, heads) = header_reader();
    let passed = format!(
        "name = \"passed\"\nhosts = [\"passed.example.test\"]\nmode = \"passthrough\"\n[route.backend]\n\
         endpoints = [\"{}\"]\nproxy_protocol = \"v2\"",
        origin.address
    );
    let door = raw(setup(), &origin.address.to_string(), "proxy_protocol = \"v2\"").route(&passed).start();
    let (tls, plain) = (door.bound(TLS), door.bound(TCP));
    let over_tls = |alpn: &[&str]| {
        let mut client = Tls::with(client_config(alpn), tls, HOST).expect("a handshake");
        client.send("bytes");
        client.stream.conn.send_close_notify();
        client.stream.flush().expect("sent");
        client.stream.sock.local_addr().expect("an address")
    };
    let untouched = || {
        let mut stream = tcp(door.https);
        let mut session = rustls::ClientConnection::new(
            std::sync::Arc::new(client_config(&["h2"])),
            "passed.example.test".try_into().expect("a name"),
        )
        .expect("a client");
        session.write_tls(&mut stream).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        stream.local_addr().expect("an address")
    };
    let bare = || {
        let mut stream = tcp(plain);
        stream.write_all(b"bytes").and_then(|()| stream.shutdown(Shutdown::Write)).expect("sent");
        stream.local_addr().expect("an address")
    };
    type Case<'a> = (&'a dyn Fn() -> SocketAddr, SocketAddr, Option<&'a [u8]>, bool);
    let cases: [Case<'_>; 4] = [
        (&|| over_tls(&["other", "shout"]), tls, Some(b"shout"), true),
        // Nothing was agreed on, so nothing is told.
        (&|| over_tls(&[]), tls, None, true),
        (&bare, plain, None, false),
        (&untouched, door.https, None, false),
    ];
    for (ask, dialled, alpn, is_tls) in cases {
        let source = ask();
        let bytes = heads.recv_timeout(crate::support::PATIENCE).expect("a connection");
        let (header, length) = ProxyHeader::parse(&bytes, ParseConfig::default()).expect("a header");
        let addresses = header.proxied_address().expect("addresses");
        assert_eq!((addresses.source, addresses.destination), (source, dialled));
        assert_eq!((header.alpn(), header.authority()), (alpn, is_tls.then_some(HOST)));
        let ssl = header.ssl();
        assert_eq!(ssl.as_ref().and_then(|ssl| ssl.version()), is_tls.then_some("TLSv1.3"));
        let cipher = ssl.as_ref().and_then(|ssl| ssl.cipher()).map(str::to_owned);
        assert_eq!(cipher.as_deref(), is_tls.then_some("TLS_AES_256_GCM_SHA384"));
        let rest = &bytes[length..];
        assert!(rest == b"bytes" || rest.starts_with(&[22, 3, 1]), "the connection's own bytes follow");
    }
}
