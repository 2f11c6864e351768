//! Backends behind TLS and on unix sockets, with `openssl s_server` as the other side, and all that is wrong with some.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Doorward, Leaf, Setup, TestCa, Tls, ca, nobody, openssl, replace, within};

const HOST: &str = "app.example.test";

/// `openssl s_server -www`: answers every request with a page about its TLS session, one a connection.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
}

impl Server {
    pub(crate) fn start(folder: &Path, name: &str, leaf: &Leaf, args: &[&str]) -> Self {
        Self::saying(folder, name, leaf, &[&["-www"], args].concat(), Stdio::null())
    }

    /// One that says what `stdin` does, to one connection after the other.
    pub(crate) fn saying(folder: &Path, name: &str, leaf: &Leaf, args: &[&str], stdin: Stdio) -> Self {
        let at = folder.join(name);
        leaf.write(&at);
        let address = nobody();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &address.to_string()])
            .arg("-cert")
            .arg(at.join("fullchain.pem"))
            .arg("-cert_chain")
            .arg(at.join("fullchain.pem"))
            .arg("-key")
            .arg(at.join("privkey.pem"))
            .args(args)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        // Looked up, not tried out: what it says would go to whoever tries.
        let listening = format!(":{:04X} 00000000:0000 0A", address.port());
        within("openssl listens", || fs::read_to_string("/proc/net/tcp").ok()?.contains(&listening).then_some(()));
        Self { address, child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn setup() -> Setup {
    Setup::new().certificate("app", &ca().leaf(&[HOST]).issue())
}

/// A doorward with one backend that speaks TLS, with these keys of its `tls`.
pub(crate) fn door(setup: Setup, server: &Server, tls: &str) -> Doorward {
    let route = format!(
        "hosts = [\"{HOST}\"]\n[route.backend]\nendpoints = [\"https://{}\"]\ntls = {{ {tls} }}",
        server.address
    );
    setup.route(&route).start()
}

pub(crate) fn pin(leaf: &Leaf, folder: &Path) -> String {
    let file = folder.join("pin.pem");
    fs::write(&file, &leaf.certificate_pem).expect("a file");
    let key = openssl(&["x509", "-in", &file.display().to_string(), "-pubkey", "-noout"], b"");
    let script = "openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | openssl base64";
    let mut child =
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
    child.stdin.take().expect("stdin").write_all(key.as_bytes()).expect("written");
    String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("base64").trim().to_owned()
}

#[test]
fn a_backend_is_believed_by_its_ca_and_name() {
    let setup = setup();
    let leaf = ca().leaf(&["app.internal"]).issue();
    let server = Server::start(setup.home(), "good", &leaf, &[]);
    let door = door(setup, &server, "ca = \"ca.pem\", server_name = \"app.internal\"");
    let answer = door.curl("https://app.example.test/").run();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("TLSv1.3"), "{}", answer.text());
}

#[test]
fn a_backend_that_cannot_be_believed_is_a_502() {
    let other = TestCa::new();
    let cases = [
        ("name", ca().leaf(&["other.internal"]).issue(), "not valid for name"),
        ("expired", ca().leaf(&["app.internal"]).valid_days(-9, -2).issue(), "expired"),
        // The CAs of the tests have one name: only the signature tells them apart.
        ("unknown", other.leaf(&["app.internal"]).issue(), "BadSignature"),
    ];
    for (name, leaf, reason) in cases {
        let setup = setup();
        let server = Server::start(setup.home(), name, &leaf, &[]);
        let door = door(setup, &server, "ca = \"ca.pem\", server_name = \"app.internal\"");
        let answer = door.curl("https://app.example.test/x").header("Accept: application/json").run();
        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        assert_eq!(answer.json()["error"], "backend_tls", "{name}: {answer:?}");
        let line = door.access("/x").to_string();
        assert!(line.contains(reason) && line.contains("backend_tls"), "{name}: {line}");
    }
}

#[test]
fn the_system_does_not_know_a_private_ca_and_a_plain_port_speaks_no_tls() {
    let setup = setup();
    let leaf = ca().leaf(&["127.0.0.1"]).issue();
    let server = Server::start(setup.home(), "private", &leaf, &[]);
    let plain = crate::support::Origin::echo();
    let setup = setup
        .section("[timeouts]\nconnect = \"4s\"")
        .host("plain.example.test", plain.address)
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"https://{}\"", server.address));
    let door = setup.start();
    assert_eq!(door.curl("https://app.example.test/").run().status, 502);
    door.rewrite(|text| text.replace(&format!("\"{}\"", plain.address), &format!("\"https://{}\"", plain.address)));
    assert!(door.reload());
    assert_eq!(door.curl("https://plain.example.test/").run().status, 504, "it waits for a request, and so do we");
}

#[test]
fn an_address_is_checked_as_an_address() {
    let setup = setup();
    let server = Server::start(setup.home(), "ip", &ca().leaf(&["127.0.0.1"]).issue(), &[]);
    let door = door(setup, &server, "ca = \"ca.pem\"");
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
}

#[test]
fn the_name_asked_for_and_the_name_checked_may_differ() {
    let setup = setup();
    let wanted = ca().leaf(&["checked.internal"]).issue();
    wanted.write(&setup.home().join("wanted"));
    let file = |name: &str| setup.home().join("wanted").join(name).display().to_string();
    let (cert, key) = (file("fullchain.pem"), file("privkey.pem"));
    // The certificate that is believed is the one for the SNI, not the default.
    let args = ["-servername", "asked.internal", "-cert2", &cert, "-key2", &key, "-servername_fatal"];
    let server = Server::start(setup.home(), "default", &ca().leaf(&["default.internal"]).issue(), &args);
    let tls = "ca = \"wanted-ca.pem\", sni = \"asked.internal\", server_name = \"checked.internal\"";
    // s_server sends no chain for its second certificate.
    fs::write(setup.home().join("wanted-ca.pem"), format!("{}{}", ca().root_pem, ca().intermediate_pem))
        .expect("a file");
    let door = door(setup, &server, tls);
    let answer = door.curl("https://app.example.test/").run();
    assert_eq!(answer.status, 200, "{answer:?}");
    door.rewrite(|text| text.replace("server_name = \"checked", "server_name = \"asked"));
    assert!(door.reload());
    assert_eq!(door.curl("https://app.example.test/").run().status, 502);
}

#[test]
fn a_pinned_key_is_enough_and_no_other_will_do() {
    let setup = setup();
    let leaf = TestCa::new().leaf(&["whatever.internal"]).issue();
    let pin = pin(&leaf, setup.home());
    let server = Server::start(setup.home(), "pinned", &leaf, &[]);
    let door = door(setup, &server, &format!("pin_sha256 = [\"{pin}\"]"));
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
    // With a CA as well, both have to hold.
    door.rewrite(|text| text.replace("tls = { pin", "tls = { ca = \"ca.pem\", pin"));
    assert!(door.reload());
    assert_eq!(door.curl("https://app.example.test/").run().status, 502);
    door.rewrite(|text| {
        text.replace("ca = \"ca.pem\", ", "").replace(&pin, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
    });
    assert!(door.reload());
    assert_eq!(door.curl("https://app.example.test/").run().status, 502);
}

#[test]
fn insecure_works_and_is_told_of() {
    let setup = setup().metrics();
    let server = Server::start(setup.home(), "any", &TestCa::new().leaf(&["any.internal"]).issue(), &[]);
    let route = format!(
        "hosts = [\"{HOST}\"]\n[route.backend]\nendpoints = [\"https://{}\"]\ntls = {{ insecure = true }}",
        server.address
    );
    let setup = setup.route(&route);
    let checked = setup.run(&["check"]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains("insecure = true"), "{checked:?}");
    let door = setup.start();
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
    assert!(door.log().iter().any(|line| line["level"] == "WARN" && line["route"] == HOST), "{:?}", door.log());
    let mut stream = TcpStream::connect(door.metrics()).expect("metrics");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.contains("doorward_insecure_backends 1"), "{text}");
}

#[test]
fn a_client_certificate_is_shown_and_swapped_with_its_files() {
    let setup = setup();
    let client_ca = TestCa::new();
    fs::write(setup.home().join("clients.pem"), format!("{}{}", client_ca.root_pem, client_ca.intermediate_pem))
        .expect("a file");
    let clients = setup.home().join("clients.pem").display().to_string();
    let args = ["-Verify", "3", "-verify_return_error", "-CAfile", &clients];
    let server = Server::start(setup.home(), "mtls", &ca().leaf(&["app.internal"]).issue(), &args);
    let client = setup.home().join("client");
    // One that the backend does not know.
    ca().leaf(&["edge"]).client().issue().write(&client);
    let tls = "ca = \"ca.pem\", server_name = \"app.internal\", client_certificate = \"client/fullchain.pem\", client_key = \"client/privkey.pem\"";
    let door = door(setup, &server, tls);
    assert_eq!(door.curl("https://app.example.test/").run().status, 502);
    client_ca.leaf(&["edge"]).client().issue().write(&client);
    within("the new certificate", || (door.curl("https://app.example.test/").run().status == 200).then_some(()));
}

#[test]
fn a_ca_file_is_swapped_and_a_broken_one_changes_nothing() {
    let setup = setup();
    let other = TestCa::new();
    fs::write(setup.home().join("backends.pem"), &other.root_pem).expect("a file");
    let server = Server::start(setup.home(), "ca", &ca().leaf(&["app.internal"]).issue(), &[]);
    let door = door(setup, &server, "ca = \"backends.pem\", server_name = \"app.internal\"");
    let file = door.home().join("backends.pem");
    assert_eq!(door.curl("https://app.example.test/").run().status, 502);
    replace(&file, &ca().root_pem);
    within("the new CA", || (door.curl("https://app.example.test/").run().status == 200).then_some(()));
    let from = door.mark();
    replace(&file, "-----BEGIN CERTIFICATE-----\nhalf");
    door.wait_log(from, "that the file is broken", |line| line.to_string().contains("backends.pem"));
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
    replace(&file, &other.root_pem);
    within("the CA is gone", || (door.curl("https://app.example.test/").run().status == 502).then_some(()));
}

#[test]
fn sessions_are_resumed() {
    let setup = setup();
    let server = Server::start(setup.home(), "resumed", &ca().leaf(&["app.internal"]).issue(), &[]);
    let door = door(setup, &server, "ca = \"ca.pem\", server_name = \"app.internal\"");
    // The page ends with the connection, so each request makes a new one. Two workers: one of three resumes.
    let mut client = Tls::connect(door.https, HOST);
    let reused = (0..3).any(|_| client.get(HOST, "/").text().contains("Reused, "));
    assert!(reused);
}

#[test]
fn a_kept_connection_over_tls_is_used_again() {
    // nginx keeps connections alive, which s_server does not.
    let setup = setup();
    let leaf = ca().leaf(&["app.internal"]).issue();
    leaf.write(&setup.home().join("nginx"));
    let nginx = crate::support::Nginx::start(
        setup.home(),
        "listen ADDRESS ssl; ssl_certificate nginx/fullchain.pem; ssl_certificate_key nginx/privkey.pem; \
         location / { return 200 \"$connection $ssl_server_name\"; }",
    );
    let route = format!(
        "hosts = [\"{HOST}\"]\n[route.backend]\nendpoints = [\"https://{}\"]\ntls = {{ ca = \"ca.pem\", server_name = \"app.internal\" }}",
        nginx.address
    );
    let door = setup.route(&route).start();
    let mut client = Tls::connect(door.https, HOST);
    let first = client.get(HOST, "/").text();
    assert!(first.ends_with(" app.internal"), "{first}");
    for _ in 0..5 {
        assert_eq!(client.get(HOST, "/").text(), first, "the same connection");
    }
}

#[test]
fn an_app_on_a_unix_socket() {
    let setup = setup();
    let path = setup.home().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix");
        }
    });
    let door = setup.route(&format!("hosts = [\"{HOST}\"]\nbackend = \"unix:{}\"", path.display())).start();
    for _ in 0..3 {
        assert_eq!(door.curl("https://app.example.test/u").run().text(), "unix");
    }
    assert!(door.access("/u")["backend"].as_str().is_some_and(|backend| backend.starts_with("unix:/")));
    fs::remove_file(&path).expect("removed");
    assert_eq!(door.curl("https://app.example.test/").run().status, 502);
}
