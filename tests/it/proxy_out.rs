//! The PROXY protocol to backends: nginx with it on, and what v2 says of TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use proxy_header::{ParseConfig, ProxyHeader};

use crate::support::{Nginx, Setup, Tls, ca};

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
