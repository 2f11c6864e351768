//! Names whose TLS is their app's own: every byte arrives as it was sent, however the ClientHello comes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{ClientConnection, StreamOwned};

use crate::support::{Doorward, Leaf, Nginx, Origin, PATIENCE, Setup, Tls, ca, client_config, openssl, tcp};

const HOST: &str = "app.example.test";
const OWN: &str = "own.example.test";

fn route(name: &str, app: SocketAddr) -> String {
    format!("hosts = [\"{name}\"]\nmode = \"passthrough\"\nbackend = \"{app}\"")
}

/// An app with TLS of its own, which says back what it is told.
fn echo(leaf: &Leaf) -> Origin {
    Origin::secure(leaf, |mut stream| {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..read]).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    })
}

/// A client's first flight, and the client to go on with.
fn hello(alpn: &[&str]) -> (Vec<u8>, ClientConnection) {
    let name = OWN.try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(client_config(alpn)), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    (bytes, client)
}

/// The same handshake bytes in records of so many.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let handshake = &hello[5..];
    handshake
        .chunks(size)
        .flat_map(|piece| {
            let length = u16::try_from(piece.len()).expect("a record").to_be_bytes();
            [&[22, 3, 1][..], &length, piece].concat()
        })
        .collect()
}

/// Sends the hello in these pieces, then a word inside TLS; what comes back, and the certificate.
fn through(
    address: SocketAddr,
    pieces: &mut dyn Iterator<Item = &[u8]>,
    client: ClientConnection,
    what: &str,
) -> (Vec<u8>, Vec<u8>) {
    let mut stream = tcp(address);
    for piece in pieces {
        // Where it is refused meanwhile, the answer says so.
        let _ = stream.write_all(piece);
    }
    let mut tls = StreamOwned::new(client, stream);
    tls.write_all(b"bytes").unwrap_or_else(|fault| panic!("{what}: {fault}"));
    let mut text = vec![0; 5];
    tls.read_exact(&mut text).expect("an echo");
    let certificate = tls.conn.peer_certificates().expect("shown")[0].as_ref().to_vec();
    (text, certificate)
}

#[test]
fn the_hello_may_come_in_bytes_in_records_and_large() {
    let own = ca().leaf(&[OWN]).issue();
    let app = echo(&own);
    let door = Setup::new().host(HOST, Origin::echo().address).route(&route(OWN, app.address)).start();
    let many: Vec<String> = (0..300).map(|n| format!("a-protocol-with-a-long-name-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for alpn in [&[][..], &many] {
        let size = hello(alpn).0.len();
        // A post-quantum key share alone takes 1.2 KiB; the long list makes it more than doorward reads at once.
        assert!(size > if alpn.is_empty() { 1200 } else { 8000 }, "{size}");
        for (step, record) in [(usize::MAX, usize::MAX), (1, usize::MAX), (usize::MAX, 100), (1, 3), (1400, 700)] {
            let (bytes, client) = hello(alpn);
            let bytes = if record == usize::MAX { bytes } else { in_records(&bytes, record) };
            let (text, shown) = through(
                door.https,
                &mut bytes.chunks(step.min(bytes.len())),
                client,
                &format!("{size} {step} {record}"),
            );
            assert_eq!((text.as_slice(), shown == own.der.as_ref()), (&b"bytes"[..], true), "{size} {step} {record}");
        }
    }
    assert_eq!(Tls::connect(door.https, HOST).get(HOST, "/").status, 200, "beside a name that ends here");
    let line = door.wait_log(0, "the connection", |line| line["message"] == "connection");
    assert_eq!(
        (&line["host"], &line["protocol"], &line["outcome"]),
        (&OWN.into(), &"passthrough".into(), &"ok".into())
    );
}

/// An app that takes whatever comes, and answers with noise.
fn recorder(noise: Vec<u8>) -> (Origin, Receiver<Vec<u8>>) {
    let (sender, seen) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::raw(move |mut stream, _| {
        let mut answering = stream.try_clone().expect("a copy");
        let noise = noise.clone();
        let writer = std::thread::spawn(move || {
            let _ = answering.write_all(&noise).and_then(|()| answering.shutdown(Shutdown::Write));
        });
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = writer.join();
        let _ = sender.lock().expect("no panic").send(bytes);
    });
    (origin, seen)
}

#[test]
fn not_a_byte_is_touched_either_way() {
    let noise = |length: usize, seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect::<Vec<u8>>()
    };
    let down = noise(3 << 20, 1);
    let (app, seen) = recorder(down.clone());
    let door = Setup::new().route(&route(OWN, app.address)).start();
    let up = [in_records(&hello(&[]).0, 33), noise(3 << 20, 2)].concat();
    let mut stream = tcp(door.https);
    let mut sending = stream.try_clone().expect("a copy");
    let sent = up.clone();
    let writer = std::thread::spawn(move || {
        sending.write_all(&sent).and_then(|()| sending.shutdown(Shutdown::Write)).expect("sent");
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("the answer");
    writer.join().expect("sent");
    let arrived = seen.recv_timeout(PATIENCE).expect("all of it");
    let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
    assert_eq!((arrived.len(), hash(&arrived)), (up.len(), hash(&up)));
    assert_eq!((got.len(), hash(&got)), (down.len(), hash(&down)));
    let line = door.wait_log(0, "the connection", |line| line["message"] == "connection");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&up.len().into(), &down.len().into()));
}

#[test]
fn a_name_ends_here_on_one_listener_and_passes_on_another() {
    let setup = Setup::new();
    let (ours, own) = (ca().leaf(&[HOST]).issue(), ca().leaf(&[HOST]).issue());
    own.write(&setup.home().join("nginx"));
    let nginx = Nginx::start(
        setup.home(),
        "listen ADDRESS ssl; ssl_certificate nginx/fullchain.pem; ssl_certificate_key nginx/privkey.pem; \
         location / { return 200 nginx; }",
    );
    let other = "127.0.0.7:0";
    let door = setup
        .certificate("app", &ours)
        .section(&format!("[[listener]]\naddress = \"{other}\""))
        .route(&format!(
            "name = \"here\"\nlisteners = [\"127.0.0.1:0\"]\nhosts = [\"{HOST}\"]\nbackend = \"{}\"",
            Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").address
        ))
        .route(&format!("name = \"there\"\nlisteners = [\"{other}\"]\n{}", route(HOST, nginx.address)))
        .start();
    let fingerprint = |address: SocketAddr| {
        let shown = openssl(&["s_client", "-connect", &address.to_string(), "-servername", HOST], b"");
        let pem = shown.find("-----BEGIN").and_then(|from| Some(&shown[from..shown.find("-----END")?])).expect("PEM");
        let pem = format!("{pem}-----END CERTIFICATE-----\n");
        openssl(&["x509", "-noout", "-fingerprint", "-sha256"], pem.as_bytes())
    };
    let file = |leaf: &Leaf| openssl(&["x509", "-noout", "-fingerprint", "-sha256"], leaf.certificate_pem.as_bytes());
    let there = door.bound(other);
    assert_eq!((fingerprint(door.https), fingerprint(there)), (file(&ours), file(&own)));
    assert_eq!(fingerprint(there), fingerprint(nginx.address), "what nginx itself shows");
    assert_eq!(Tls::connect(door.https, HOST).get(HOST, "/").text(), "here");
    assert_eq!(Tls::connect(there, HOST).get(HOST, "/").text(), "nginx");
}

#[test]
fn a_client_too_old_for_us_is_passed_on_to_an_app_that_takes_it() {
    let setup = Setup::new();
    let own = ca().leaf(&[OWN]).rsa().issue();
    let app = crate::support::Program::s_server(setup.home(), "own", &own, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let door = setup.route(&route(OWN, app.address)).start();
    let target = door.https.to_string();
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let said = openssl(&[&["s_client", "-connect", &target, "-servername", OWN][..], &old].concat(), b"");
    assert!(said.contains("Protocol  : TLSv1.1") && !said.contains("Cipher is (NONE)"), "{said}");
    let ended = |door: &Doorward| door.wait_log(0, "the connection", |line| line["message"] == "connection");
    assert_eq!(ended(&door)["outcome"], "ok", "{said}");
}

#[test]
fn what_is_wrong_with_a_hello_is_said_in_tls() {
    let (app, _seen) = recorder(Vec::new());
    let door = Setup::new().route(&route(OWN, app.address)).start();
    let answer = |bytes: &[u8]| {
        let mut stream: TcpStream = tcp(door.https);
        stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)).expect("sent");
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        got
    };
    let (hello, _) = hello(&[]);
    assert_eq!(answer(&hello[..hello.len() - 1]), b"", "cut short");
    assert_eq!(answer(b"\x16\x03\x01\x00\x06\x07\x00\x00\x02\x07\x07")[..1], [21], "an alert");
    assert_eq!(app.opened(), 0, "and the app heard of none of them");
}

#[test]
fn an_app_that_fails_is_seen_to_fail_by_the_client() {
    // Down; resets when it is spoken to; says nothing; ends its side, and still listens.
    let resets = Origin::raw(|mut stream, _| {
        let _ = stream.read(&mut [0; 5]);
        let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    });
    let silent = Origin::raw(|mut stream, _| {
        crate::support::drain(&mut stream);
    });
    let (heard, all) = channel();
    let heard = Mutex::new(heard);
    let half = Origin::raw(move |mut stream, _| {
        let _ = stream.write_all(b"that is all").and_then(|()| stream.shutdown(Shutdown::Write));
        let count = crate::support::drain(&mut stream);
        let _ = heard.lock().expect("no panic").send(count);
    });
    let apps = [
        ("down.example.test", crate::support::nobody(), "connect_failed"),
        ("resets.example.test", resets.address, "backend_broke"),
        ("silent.example.test", silent.address, "idle_timeout"),
    ];
    let mut setup = Setup::new().section("[timeouts]\ntunnel_idle = \"1s\"\nhalf_closed = \"10s\"");
    for (name, app, _) in &apps {
        setup = setup.route(&route(name, *app));
    }
    let door = setup.route(&route("half.example.test", half.address)).start();
    let say = |name: &str| {
        let name = name.to_owned().try_into().expect("a name");
        let mut client = ClientConnection::new(Arc::new(client_config(&[])), name).expect("a client");
        let mut stream = tcp(door.https);
        client.write_tls(&mut stream).expect("a hello");
        stream
    };
    for (name, _, outcome) in apps {
        let from = door.mark();
        let fault = say(name).read_to_end(&mut Vec::new()).expect_err("no regular end");
        assert_eq!(fault.kind(), std::io::ErrorKind::ConnectionReset, "{name}");
        let line = door.wait_log(from, "its end", |line| line["message"] == "connection");
        assert_eq!((&line["outcome"], &line["host"]), (&outcome.into(), &name.into()), "{line}");
    }
    let mut stream = say("half.example.test");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a regular end");
    assert_eq!(text, "that is all");
    stream.write_all(&[0; 1000]).and_then(|()| stream.shutdown(Shutdown::Write)).expect("it can still be spoken to");
    assert!(all.recv_timeout(PATIENCE).expect("the app hears") > 1000);
}
