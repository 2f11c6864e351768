//! The examples about raw connections and the PROXY protocol do what they say, with ports and addresses of the
//! test's own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;

use crate::support::{Curl, Doorward, Nginx, Origin, Program, Tls, ca, client_config, free, tcp};

/// An example's text, with each of these pairs replaced; each has to be there.
fn example(name: &str, changes: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let mut text = std::fs::read_to_string(file).expect("the example");
    for (old, new) in changes {
        assert!(text.contains(old), "{name} has no {old}");
        text = text.replace(old, new);
    }
    text
}

/// Says its name to each connection, behind what it was told until the client ended its side.
fn raw(name: &'static str) -> Origin {
    Origin::raw(move |mut stream, _| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = stream.write_all(&bytes).and_then(|()| stream.write_all(name.as_bytes()));
    })
}

fn exchange(mut client: Tls) -> String {
    client.send("hi ");
    client.stream.conn.send_close_notify();
    client.stream.flush().expect("sent");
    let mut text = String::new();
    client.stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn raw_tcp() {
    let home = tempfile::tempdir().expect("a folder");
    for (id, name) in [("web", "example.com"), ("cache", "cache.example.com")] {
        ca().leaf(&[name]).issue().write(&home.path().join("certs").join(id));
    }
    let vault = ca().leaf(&["vault.example.com"]).issue();
    let (web, cache, database) = (Origin::echo(), raw("cache"), raw("database"));
    let own = Origin::secure(&vault, |mut stream| drop(stream.write_all(b"vault").and_then(|()| stream.flush())));
    let config = example(
        "raw-tcp.toml",
        &[
            ("[::]:443", "127.0.0.1:0"),
            ("[::]:6380", "127.0.0.7:0"),
            ("[::]:5432", "127.0.0.8:0"),
            ("/etc/doorward/certs", &home.path().join("certs").display().to_string()),
            ("127.0.0.1:3000", &web.address.to_string()),
            ("127.0.0.1:8200", &own.address.to_string()),
            ("127.0.0.1:6379", &cache.address.to_string()),
            ("127.0.0.1:5433", &database.address.to_string()),
        ],
    );
    let door = Doorward::on(home, &config);
    assert_eq!(Tls::connect(door.https, "example.com").get("example.com", "/").status, 200);
    let mut client = Tls::connect(door.https, "vault.example.com");
    assert_eq!(client.certificate(), vault.der);
    let mut text = [0; 5];
    client.stream.read_exact(&mut text).expect("the app's word");
    assert_eq!(&text, b"vault");
    let redis = door.bound("127.0.0.7:0");
    assert_eq!(exchange(Tls::connect(redis, "cache.example.com")), "hi cache");
    let mut nameless = client_config(&[]);
    nameless.enable_sni = false;
    assert_eq!(
        exchange(Tls::with(nameless, redis, "cache.example.com").expect("the certificate of its route")),
        "hi cache"
    );
    let mut stream = tcp(door.bound("127.0.0.8:0"));
    stream.write_all(b"hi ").and_then(|()| stream.shutdown(Shutdown::Write)).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert_eq!(text, "hi database");
}

#[test]
fn several_listeners() {
    let home = tempfile::tempdir().expect("a folder");
    let names = ["shop", "wiki", "legacy", "vault", "logs"].map(|id| (id, format!("{id}.example.com")));
    let leaves = names.each_ref().map(|(id, name)| {
        let leaf = ca().leaf(&[name]).issue();
        leaf.write(&home.path().join("certs").join(id));
        leaf
    });
    std::fs::write(home.path().join("ca.pem"), &ca().root_pem).expect("a file");
    let apps = ["shop", "wiki", "legacy", "printer", "vault"].map(Origin::named);
    let own = Origin::secure(&leaves[3], |mut stream| drop(stream.write_all(b"vault").and_then(|()| stream.flush())));
    let logs = Program::s_server(home.path(), "logs", &ca().leaf(&["logs.internal"]).issue(), &[]);
    let backends = ["127.0.0.1:3000", "127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003", "127.0.0.1:8200"];
    let addresses = apps.each_ref().map(|app| app.address.to_string());
    let mut changes: Vec<(&str, &str)> = backends.into_iter().zip(addresses.iter().map(String::as_str)).collect();
    let (own, logs) = (own.address.to_string(), logs.address.to_string());
    let (certs, ca_file) =
        (home.path().join("certs").display().to_string(), home.path().join("ca.pem").display().to_string());
    changes.extend([
        ("[::]:443", "127.0.0.1:0"),
        ("[::]:8443", "127.0.0.7:0"),
        ("192.0.2.7:443", "127.0.0.8:0"),
        ("[::]:80", "127.0.0.2:0"),
        ("[::]:6514", "127.0.0.9:0"),
        ("127.0.0.1:8201", &own),
        ("10.0.0.9:6514", &logs),
        ("/etc/doorward/certs", &certs),
        ("/etc/doorward/backends/ca.pem", &ca_file),
    ]);
    let door = Doorward::on(home, &example("several-listeners.toml", &changes));
    let home_ca = door.home().join("ca.pem");
    let places = [door.https, door.bound("127.0.0.7:0"), door.bound("127.0.0.8:0")];
    for (index, place) in places.into_iter().enumerate() {
        let mut nameless = client_config(&[]);
        nameless.enable_sni = false;
        let mut client = Tls::with(nameless, place, &names[index].1).expect("its own certificate");
        assert_eq!(client.certificate(), leaves[index].der);
        assert_eq!(client.get("whatever.example.net", "/").text(), names[index].0, "by where it connected");
        assert_eq!(Tls::connect(place, "wiki.example.com").get("wiki.example.com", "/").text(), "wiki", "by name");
    }
    let plain = |url: &str| Curl::new(url, door.https, door.bound("127.0.0.2:0"), &home_ca).run();
    let redirect = plain("http://shop.example.com/x");
    let location = format!("https://shop.example.com:{}/x", door.https.port());
    assert_eq!((redirect.status, redirect.header("location")), (308, Some(&*location)));
    for name in ["wiki", "printer"] {
        assert_eq!(plain(&format!("http://{name}.example.com/")).text(), name);
    }
    assert_eq!(Tls::connect(door.https, "vault.example.com").get("vault.example.com", "/").text(), "vault");
    let mut text = [0; 5];
    Tls::connect(places[1], "vault.example.com").stream.read_exact(&mut text).expect("the app's own TLS");
    assert_eq!(&text, b"vault");
    let mut client = Tls::connect(door.bound("127.0.0.9:0"), "logs.example.com");
    client.send("drawkcab\n");
    let mut line = [0; 9];
    client.stream.read_exact(&mut line).expect("a line");
    assert_eq!(&line, b"backward\n");
}

#[test]
fn proxy_protocol() {
    let home = tempfile::tempdir().expect("a folder");
    let answer = "set_real_ip_from 127.0.0.0/8; real_ip_header proxy_protocol; \
                  location / { return 200 \"$remote_addr $proxy_protocol_server_port $http_x_forwarded_for\"; }";
    let nginx = Nginx::start(home.path(), &format!("listen ADDRESS proxy_protocol; {answer}"));
    let config = example(
        "proxy-protocol.toml",
        &[
            ("[::]:443", "127.0.0.1:0"),
            ("[::]:80\"", "127.0.0.2:0\""),
            ("[::]:8443", "127.0.0.7:0"),
            ("\"10.0.0.1\", \"10.0.0.2\"", "\"127.0.0.9\""),
            ("10.0.0.5:8080", &nginx.address.to_string()),
            ("\"auto\"", "\"self-signed\""),
        ],
    );
    let door = Doorward::on(home, &config);
    let (balanced, front) = (door.bound("127.0.0.7:0"), free("127.0.0.1"));
    let haproxy = Program::haproxy(
        door.home(),
        &format!(
            "listen edge\n  mode tcp\n  bind {front}\n  server edge {balanced} send-proxy-v2 source 127.0.0.9\n\
             listen other\n  mode tcp\n  bind ADDRESS\n  server edge {balanced} send-proxy source 127.0.0.9"
        ),
    );
    let ask = |at: SocketAddr, interface: &str| {
        let curl = Curl::new("https://www.example.com/", at, at, &door.home().join("ca.pem"));
        curl.args(&["--insecure", "--interface", interface]).run()
    };
    for (at, dialled) in [(door.https, door.https), (front, front), (haproxy.address, haproxy.address)] {
        let answer = ask(at, "127.0.0.33");
        assert_eq!(answer.text(), format!("127.0.0.33 {} 127.0.0.33", dialled.port()), "{answer:?}");
    }
    assert_eq!(ask(balanced, "127.0.0.33").status, 0, "not without HAProxy");
}
