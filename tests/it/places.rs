//! Several listeners, by port and by address: who knows no name (SNI) gets the right app by where it connected.

use std::net::SocketAddr;

use crate::support::{Leaf, Origin, Setup, Tls, ca, client_config, free, openssl};

/// An app that says who it is.
fn app(name: &str) -> Origin {
    let name = name.to_owned();
    Origin::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}", name.len()))
}

/// What `openssl s_client` shows without a name: the certificate's fingerprint, and the answer to this request.
fn without_sni(address: SocketAddr, host: &str) -> (String, String) {
    let target = address.to_string();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let shown = openssl(&["s_client", "-connect", &target, "-noservername"], b"");
    let pem = shown.find("-----BEGIN").and_then(|from| Some(&shown[from..shown.find("-----END")?])).expect("PEM");
    let fingerprint = fingerprint(&format!("{pem}-----END CERTIFICATE-----\n"));
    (
        fingerprint,
        openssl(&["s_client", "-connect", &target, "-noservername", "-quiet", "-verify_quiet"], request.as_bytes()),
    )
}

fn fingerprint(pem: &str) -> String {
    openssl(&["x509", "-noout", "-fingerprint", "-sha256"], pem.as_bytes())
}

#[test]
fn each_port_and_address_has_its_own_certificate_and_app() {
    // Two addresses on one port, and another port of the first.
    let port = free("127.0.0.7").port();
    let places = [format!("127.0.0.7:{port}"), format!("127.0.0.8:{port}"), "127.0.0.7:0".to_owned()];
    let names = ["one", "two", "three"];
    let leaves: Vec<Leaf> = names.iter().map(|name| ca().leaf(&[&format!("{name}.example.test")]).issue()).collect();
    let apps: Vec<Origin> = names.iter().map(|name| app(name)).collect();
    let mut setup = Setup::new();
    for (((place, name), leaf), app) in places.iter().zip(names).zip(&leaves).zip(&apps) {
        setup = setup
            .certificate(name, leaf)
            .section(&format!(
                "[[listener]]\naddress = \"{place}\"\ndefault_certificate = \"{name}\"\ndefault_route = \"{name}\""
            ))
            .route(&format!("name = \"{name}\"\nhosts = [\"{name}.example.test\"]\nbackend = \"{}\"", app.address));
    }
    let door = setup.start();
    for ((place, name), leaf) in places.iter().zip(names).zip(&leaves) {
        let address = door.bound(place);
        for host in [address.to_string(), format!("{name}.example.test")] {
            let (shown, answer) = without_sni(address, &host);
            assert_eq!(shown, fingerprint(&leaf.certificate_pem), "{place}");
            assert!(
                answer.contains("200 OK") && answer.contains(&format!("\r\n\r\n{name}")),
                "{place} {host}: {answer}"
            );
        }
        // By name all of them are on every listener.
        for (other, leaf) in names.iter().zip(&leaves) {
            let host = format!("{other}.example.test");
            let mut client = Tls::connect(address, &host);
            assert_eq!(client.certificate(), leaf.der);
            assert_eq!(client.get(&host, "/").text(), *other);
        }
    }
    // Another app's name, where this connection's certificate is not for it.
    let (_, answer) = without_sni(door.bound(&places[0]), "two.example.test");
    assert!(answer.contains("421 Misdirected"), "{answer}");
}

#[test]
fn a_wildcard_address_and_one_of_its_own_share_a_port() {
    // Not one of those that other tests are given by the kernel, on any address.
    let ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    let port = ports.take(100).find(|port| std::net::TcpListener::bind(("0.0.0.0", *port)).is_ok()).expect("a port");
    let (all, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.7:{port}"));
    let listener = |address: &str, name: &str| {
        format!("[[listener]]\naddress = \"{address}\"\ndefault_certificate = \"{name}\"\ndefault_route = \"{name}\"")
    };
    let (leaf, other) = (ca().leaf(&["all.example.test"]).issue(), ca().leaf(&["one.example.test"]).issue());
    let (apps, app) = (app("all"), app("one"));
    let door = Setup::new()
        .certificate("all", &leaf)
        .certificate("one", &other)
        .section(&listener(&all, "all"))
        .section(&listener(&one, "one"))
        .route(&format!("name = \"all\"\nhosts = [\"all.example.test\"]\nbackend = \"{}\"", apps.address))
        .route(&format!("name = \"one\"\nhosts = [\"one.example.test\"]\nbackend = \"{}\"", app.address))
        .start();
    for (ip, name, leaf) in [("127.0.0.8", "all", &leaf), ("127.0.0.7", "one", &other)] {
        let address = SocketAddr::new(ip.parse().expect("an address"), port);
        for _ in 0..4 {
            let (shown, answer) = without_sni(address, &address.to_string());
            assert_eq!(shown, fingerprint(&leaf.certificate_pem), "{ip}");
            assert!(answer.contains(&format!("\r\n\r\n{name}")), "{ip}: {answer}");
        }
    }
    drop(door);
}

#[test]
fn bytes_without_a_name_go_by_the_port_too() {
    let mut setup = Setup::new();
    let names = ["red", "blue"];
    let apps: Vec<Origin> = names
        .iter()
        .map(|name| Origin::raw(|mut stream, _| drop(std::io::Write::write_all(&mut stream, name.as_bytes()))))
        .collect();
    for (index, (name, app)) in names.iter().zip(&apps).enumerate() {
        setup = setup
            .certificate(name, &ca().leaf(&[&format!("{name}.example.test")]).issue())
            .section(&format!(
                "[[listener]]\naddress = \"127.0.0.{}:0\"\nprotocol = \"tls\"\ndefault_certificate = \"{name}\"\n\
                 default_route = \"{name}\"",
                20 + index
            ))
            .route(&format!("name = \"{name}\"\nmode = \"tcp\"\nbackend = \"{}\"", app.address));
    }
    let door = setup.start();
    for (index, name) in names.iter().enumerate() {
        let address = door.bound(&format!("127.0.0.{}:0", 20 + index));
        let (shown, said) = without_sni(address, "x");
        let file = std::fs::read_to_string(door.certs(name).join("fullchain.pem")).expect("the file");
        assert_eq!(shown, fingerprint(&file));
        assert!(said.starts_with(name), "{said}");
        // A name that has no route here is not taken for none.
        let fault = Tls::with(client_config(&[]), address, "unknown.example.test").err().expect("no route");
        assert!(fault.to_string().contains("UnrecognisedName"), "{fault}");
    }
}
