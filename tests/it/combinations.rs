//! What a listener speaks and what a backend speaks, each with each: it works, or the config says what to write.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::support::{Doorward, Nginx, Origin, Setup, Tls, ca, read_reply, tcp};

const HOST: &str = "app.example.test";
/// Where the listeners `tls` and `tcp` are, besides those that every [`Setup`] has.
const TLS: &str = "127.0.0.7:0";
const TCP: &str = "127.0.0.8:0";

/// The apps behind, one a protocol.
struct Apps {
    http: Origin,
    https: Nginx,
    tcp: Origin,
    tls: Origin,
    _folder: tempfile::TempDir,
}

impl Apps {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        ca().leaf(&["app.internal"]).issue().write(&folder.path().join("nginx"));
        let server = "listen ADDRESS ssl; ssl_certificate nginx/fullchain.pem; ssl_certificate_key nginx/privkey.pem; \
                      location / { return 200 \"https here\"; }";
        let leaf = ca().leaf(&["app.internal", HOST]).issue();
        Self {
            http: Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhttp here"),
            https: Nginx::start(folder.path(), server),
            tcp: Origin::raw(|mut stream, _| shout(&mut stream)),
            tls: Origin::secure(&leaf, |mut stream| {
                shout(&mut stream);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }),
            _folder: folder,
        }
    }

    fn address(&self, protocol: &str) -> SocketAddr {
        match protocol {
            "http" => self.http.address,
            "https" => self.https.address,
            "tcp" => self.tcp.address,
            _ => self.tls.address,
        }
    }
}

/// Says in capitals what it got, once the other side has ended.
fn shout(stream: &mut (impl std::io::Read + std::io::Write)) {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    text.make_ascii_uppercase();
    let _ = stream.write_all(&text).and_then(|()| stream.flush());
}

/// A config with one route, reached through the listener that speaks `front` alone.
fn setup(front: &str, behind: &str, mode: &str, app: SocketAddr) -> Setup {
    let listener = match front {
        "https" => "127.0.0.1:0",
        "http" => "127.0.0.2:0",
        "tls" => TLS,
        _ => TCP,
    };
    let default = if front == "tcp" { "default_route = \"app\"" } else { "" };
    let mut setup = Setup::new().certificate("app", &ca().leaf(&[HOST]).issue());
    if matches!(front, "tls" | "tcp") {
        setup = setup.section(&format!("[[listener]]\naddress = \"{listener}\"\nprotocol = \"{front}\"\n{default}"));
    }
    let https = if front == "http" { "off" } else { "both" };
    let tls = match behind {
        "https" | "tls" => "\ntls = { ca = \"ca.pem\", server_name = \"app.internal\" }",
        _ => "",
    };
    // Whom no name leads to has none.
    let hosts = if (front, mode) == ("tcp", "tcp") { String::new() } else { format!("hosts = [\"{HOST}\"]\n") };
    setup.route(&format!(
        "name = \"app\"\n{hosts}mode = \"{mode}\"\nlisteners = [\"{listener}\"]\nhttps = \"{https}\"\n\
         [route.backend]\nendpoints = [\"{behind}://{app}\"]{tls}"
    ))
}

/// What the app says through this listener.
fn says(door: &Doorward, front: &str, behind: &str, mode: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    match (front, mode) {
        ("https", "http") => Tls::connect(door.https, HOST).get(HOST, "/").text(),
        ("http", _) => {
            let mut stream = tcp(door.http);
            stream.write_all(request.as_bytes()).expect("sent");
            read_reply(&mut stream, false).text()
        }
        ("https" | "tls", _) => {
            let address = if front == "https" { door.https } else { door.bound(TLS) };
            let mut client = Tls::connect(address, HOST);
            client.send("say it");
            client.stream.conn.send_close_notify();
            client.stream.flush().expect("sent");
            let mut text = String::new();
            client.stream.read_to_string(&mut text).unwrap_or_else(|fault| panic!("{front} {behind} {mode}: {fault}"));
            text
        }
        _ => {
            let mut stream: TcpStream = tcp(door.bound(TCP));
            stream.write_all(b"say it").expect("sent");
            stream.shutdown(Shutdown::Write).expect("half closed");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer");
            text
        }
    }
}

/// What the config says to a combination that makes no sense: of the backend, or of the listener; and the remedy.
fn fault(front: &str, behind: &str, mode: &str) -> &'static [&'static str] {
    match (mode, behind) {
        ("http", "tcp") => return &["the backend speaks tcp", "write http:// for it, or mode = \"tcp\""],
        ("http", "tls") => return &["the backend speaks tls", "write https:// for it, or mode = \"tcp\""],
        ("tcp", "http") => return &["the backend speaks http", "write tcp:// for it, or mode = \"http\""],
        ("tcp", "https") => return &["the backend speaks https", "write tls:// for it, or mode = \"http\""],
        ("passthrough", "tcp") => {}
        ("passthrough", _) => return &["TLS passes through to", "write tcp:// for it: the bytes are TLS already"],
        _ => {}
    }
    match (mode, front) {
        ("http", "tls") => &["speaks tls, and a route with mode http", "mode = \"tcp\" to pass on the bytes"],
        ("http", "tcp") => &["speaks tcp, and a route with mode http", "mode = \"tcp\" to pass on the bytes"],
        ("tcp", "https") => &["speaks https, and a route with mode tcp", "protocol = \"tls\" at the listener"],
        ("tcp", "http") => &["speaks http, and a route with mode tcp", "protocol = \"tcp\" and this route"],
        ("passthrough", "http") => &["is for TLS", "add a listener with protocol https or tls"],
        ("passthrough", "tcp") => &["tells no names", "write protocol = \"tls\" at the listener"],
        _ => &[],
    }
}

#[test]
fn each_listener_with_each_backend_works_or_is_refused_with_a_remedy() {
    let apps = Apps::start();
    let mut worked = Vec::new();
    for front in ["https", "http", "tls", "tcp"] {
        for behind in ["http", "https", "tcp", "tls"] {
            for mode in ["http", "tcp", "passthrough"] {
                // Whose TLS passes through has TLS of its own.
                let app = if mode == "passthrough" { apps.tls.address } else { apps.address(behind) };
                let setup = setup(front, behind, mode, app);
                let expected = fault(front, behind, mode);
                let (words, combination) = (expected.join(" … "), format!("{front} × {behind}, mode {mode}"));
                if expected.is_empty() {
                    let answer = says(&setup.start(), front, behind, mode);
                    let wanted = if mode == "http" { format!("{behind} here") } else { "SAY IT".to_owned() };
                    assert_eq!(answer, wanted, "{combination}");
                    worked.push((front, behind, mode));
                    continue;
                }
                let output = setup.run(&["check"]);
                let report = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                assert_eq!(output.status.code(), Some(2), "{combination}: {report}");
                for part in expected {
                    assert!(report.contains(part), "{combination}: expected {words}\n{report}");
                }
            }
        }
    }
    assert_eq!(
        worked,
        [
            ("https", "http", "http"),
            ("https", "https", "http"),
            ("https", "tcp", "passthrough"),
            ("http", "http", "http"),
            ("http", "https", "http"),
            ("tls", "tcp", "tcp"),
            ("tls", "tcp", "passthrough"),
            ("tls", "tls", "tcp"),
            ("tcp", "tcp", "tcp"),
            ("tcp", "tls", "tcp"),
        ]
    );
}

#[test]
fn a_listener_that_leads_nowhere_is_a_fault() {
    let report = |setup: Setup| {
        let output = setup.run(&["check"]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let app = Origin::echo().address;
    let tls =
        report(Setup::new().host(HOST, app).section(&format!("[[listener]]\naddress = \"{TLS}\"\nprotocol = \"tls\"")));
    assert!(tls.contains("speaks tls, and no route takes what comes over it"), "{tls}");
    assert!(
        tls.contains("add a [[route]] with mode = \"tcp\" or \"passthrough\", or write protocol = \"https\""),
        "{tls}"
    );
    let tcp =
        report(Setup::new().host(HOST, app).section(&format!("[[listener]]\naddress = \"{TCP}\"\nprotocol = \"tcp\"")));
    assert!(tcp.contains("write default_route = \"NAME\", and a [[route]] of that name with mode = \"tcp\""), "{tcp}");
}
