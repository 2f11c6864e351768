//! Names that are proven by handshakes (TLS-ALPN-01), and names whose certificate is got at the first handshake.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::support::{Origin, Pebble, Setup, Tls, client_config, free, json, ok, within};

const DAYS_90: u64 = 3600 * 24 * 90;

/// Whom doorward asks whether a name may have a certificate: those that begin with `shop-`.
struct Asked {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Asked {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, lines) = (listener.local_addr().expect("bound"), Arc::<Mutex<Vec<String>>>::default());
        let seen = Arc::clone(&lines);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or("").to_owned();
                let status = if line.contains("domain=shop-") { "200 OK" } else { "403 No" };
                seen.lock().expect("no reader panics").push(line);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                // Who asked may have gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, lines }
    }
}

#[test]
fn a_name_is_proven_by_a_handshake_where_port_80_is_closed() {
    let https = free("127.0.0.2");
    // Where HTTP-01 would be asked nobody listens.
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90).tls(https.port());
    let setup = Setup::new().https_at(https);
    let trust = setup.home().join("ca.pem").display().to_string();
    let setup = setup.section(
        &Pebble::sections(&plan.directory(), &trust).replace("contact =", "challenges = [\"tls-alpn-01\"]\ncontact ="),
    );
    let _pebble = plan.start();
    let door = setup.start();
    let said = ok(&door.verb(&["certs", "generate", "alpn.example.test", "www.alpn.example.test"]));
    assert!(said.contains("OK, cert-"), "{said}");
    let shown = json(&door.verb(&["certs", "show", "www.alpn.example.test", "--json"]));
    assert_eq!(shown["names"].as_array().map(Vec::len), Some(2), "{shown:#}");
    // No client but a CA gets the certificate that proves.
    let mut config = client_config(&[]);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert!(Tls::with(config, door.https, "alpn.example.test").is_err());
}

#[test]
fn the_first_handshake_gets_a_certificate_where_the_app_allows_the_name() {
    let (origin, app) = (Origin::echo(), Asked::start());
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = Setup::new().http_at(plan.http());
    let trust = setup.home().join("ca.pem").display().to_string();
    let setup = setup
        .section(&Pebble::sections(&plan.directory(), &trust))
        .section(&format!("[on_demand]\nask = \"http://{}/may\"\nwait = \"20s\"", app.address))
        .route(&format!("hosts = [\"*\"]\nbackend = \"{}\"\ncertificate = \"on-demand\"", origin.address));
    let _pebble = plan.start();
    let door = setup.start();
    // The handshake waits for it; the client then does not know its issuer, as that of any test CA.
    let fault = |name: &str| Tls::with(client_config(&[]), door.https, name).err().map(|fault| fault.to_string());
    let first = fault("shop-1.example.test").expect("an issuer that nobody trusts");
    assert!(first.contains("UnknownIssuer"), "{first}");
    let shown = json(&door.verb(&["certs", "show", "shop-1.example.test", "--json"]));
    assert_eq!((&shown["origin"], &shown["renewed_by"]), (&"generated".into(), &"acme".into()), "{shown:#}");
    let refused = fault("random.example.test").expect("a name that nobody allows");
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    let lines = app.lines.lock().expect("nobody panics").clone();
    assert!(lines[0].starts_with("GET /may?domain=shop-1.example.test&client=127.0.0.1 "), "{lines:?}");
    // Over a restart it is there at once, and is not asked for again.
    let door = door.restart();
    let again = within("it is served", || Tls::with(client_config(&[]), door.https, "shop-1.example.test").err());
    assert!(again.to_string().contains("UnknownIssuer"), "{again}");
    let orders = door.log().iter().filter(|line| line["message"] == "getting a certificate").count();
    assert_eq!(orders, 0);
}
