//! TLS itself: versions, ALPN, resumption, and what is not TLS.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use crate::support::{
    Doorward, H2, Origin, Setup, Tls, client_config, client_config_of, openssl, read_reply, tcp, within,
};

fn connect(door: &Doorward, more: &[&str]) -> String {
    let target = door.https.to_string();
    openssl(&[&["s_client", "-connect", &target, "-servername", "app.example.test"], more].concat(), b"")
}

#[test]
fn tls_1_2_and_1_3_and_nothing_older() {
    let door = Doorward::for_app(Origin::echo().address);
    assert!(connect(&door, &["-tls1_3"]).contains("New, TLSv1.3"));
    let said = connect(&door, &["-tls1_2"]);
    assert!(said.contains("New, TLSv1.2") && said.contains("ECDHE"), "{said}");
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
    for old in ["-tls1_1", "-tls1"] {
        let said = connect(&door, &[old, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(said.contains("no peer certificate available"), "{old}: {said}");
    }
}

#[test]
fn a_listener_may_demand_1_3() {
    let door = Setup::new()
        .https("tls = { min_version = \"1.3\", http2 = false }")
        .host("app.example.test", Origin::echo().address)
        .start();
    assert!(connect(&door, &["-tls1_2"]).contains("alert protocol version"));
    assert_eq!(door.curl("https://app.example.test/").args(&["--http2"]).run().version, "1.1");
}

#[test]
fn alpn_prefers_h2_takes_http_1_1_and_refuses_others() {
    let door = Doorward::for_app(Origin::echo().address);
    let alpn = |offered: &str| connect(&door, &["-alpn", offered]);
    assert!(alpn("http/1.1,h2").contains("ALPN protocol: h2"));
    assert!(alpn("http/1.1").contains("ALPN protocol: http/1.1"));
    assert!(alpn("spdy/3").contains("alert no application protocol"));
    assert!(connect(&door, &[]).contains("No ALPN negotiated"));
}

#[test]
fn the_hybrid_key_exchange_is_taken() {
    let door = Doorward::for_app(Origin::echo().address);
    let mut client = Tls::connect(door.https, "app.example.test");
    let group = client.stream.conn.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(client.get("app.example.test", "/").status, 200);
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn sessions_resume_for_the_same_name_only() {
    let door = Setup::new()
        .host("app.example.test", Origin::echo().address)
        .host("other.example.test", Origin::echo().address)
        .start();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_config_of(&["http/1.1"], &[version]));
        let kind = |name: &str| {
            let mut client = Tls::with(config.clone(), door.https, name).expect("a handshake");
            let kind = client.stream.conn.handshake_kind().expect("a kind");
            // Tickets come after the handshake.
            assert_eq!(client.get(name, "/").status, 200);
            kind
        };
        assert!(kind("app.example.test") != HandshakeKind::Resumed);
        assert_eq!(kind("app.example.test"), HandshakeKind::Resumed, "{version:?}");
        assert!(kind("other.example.test") != HandshakeKind::Resumed);
    }
    // A client that offers one name's session for another: openssl does what it is told.
    let folder = tempfile::tempdir().expect("a folder");
    let session = folder.path().join("session").display().to_string();
    for version in ["-tls1_3", "-tls1_2"] {
        let target = door.https.to_string();
        let open = |name: &str, how: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
            let args = ["s_client", version, "-connect", &target, "-servername", name, "-ign_eof", how, &session];
            openssl(&args, request.as_bytes())
        };
        open("app.example.test", "-sess_out");
        assert!(open("app.example.test", "-sess_in").contains("Reused, TLS"), "{version}");
        let said = open("other.example.test", "-sess_in");
        assert!(!said.contains("Reused, TLS"), "{version}: {said}");
    }
}

#[test]
fn plain_http_on_the_tls_port_is_told_so() {
    let door = Doorward::for_app(Origin::echo().address);
    let mut stream = tcp(door.https);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n").expect("written");
    let reply = read_reply(&mut stream, false);
    assert_eq!(reply.status, 400);
    assert!(reply.text().to_lowercase().contains("https") || reply.text().contains("TLS"), "{}", reply.text());
}

#[test]
fn a_hello_in_one_byte_segments_is_read() {
    /// Writes one byte a segment.
    struct Drip(std::net::TcpStream);
    impl std::io::Write for Drip {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(1)])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    impl std::io::Read for Drip {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(bytes)
        }
    }
    let door = Doorward::for_app(Origin::echo().address);
    let name = "app.example.test".try_into().expect("a name");
    let client = rustls::ClientConnection::new(Arc::new(client_config(&["http/1.1"])), name).expect("a client");
    let mut stream = rustls::StreamOwned::new(client, Drip(tcp(door.https)));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n").expect("written");
    assert_eq!(read_reply(&mut stream, false).status, 200);
}

#[test]
fn garbage_and_silence_harm_nobody() {
    let door = Setup::new()
        .section("[timeouts]\nhandshake = \"500ms\"")
        .host("app.example.test", Origin::echo().address)
        .start();
    let record = |kind: u8, bytes: &[u8]| [&[kind, 3, 1, 0, bytes.len() as u8], bytes].concat();
    let noise: Vec<u8> = (0..2000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [
        &noise[..],
        &[0; 512],
        &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff],
        &record(0x16, &[]),
        &record(0x16, &[1, 0, 0, 0]),
        &record(0x17, b"application data first"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x80\x2e\x01\x03\x01",
    ] {
        let mut stream = tcp(door.https);
        // It may be closed before all was written.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    // Nothing at all, and half a hello: both end at the handshake's deadline.
    for bytes in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
        let mut stream = tcp(door.https);
        stream.write_all(bytes).expect("written");
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(
            !matches!(&ended, Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock),
            "still open: {bytes:?}"
        );
    }
    assert_eq!(door.curl("https://app.example.test/").run().status, 200);
}

#[test]
fn a_request_for_a_name_that_the_certificate_does_not_cover_is_misdirected() {
    let origin = Origin::echo();
    let door = Setup::new().host("app.example.test", origin.address).host("other.example.test", origin.address).start();
    let reply = Tls::connect(door.https, "app.example.test").get("other.example.test", "/");
    assert_eq!(reply.status, 421);
    let h2 = H2::connect(door.https, "app.example.test");
    assert_eq!(h2.get("https://other.example.test/").expect("an answer").status, 421);
    assert_eq!(h2.get("https://app.example.test/").expect("an answer").status, 200, "the connection goes on");
    within("one request", || (origin.seen().len() == 1).then_some(()));
}
