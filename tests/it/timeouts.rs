//! Time that runs out, and time that must not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Ended, H2, Origin, Setup, Tls, client_config, drain, tcp};

const HOST: &str = "app.example.test";

/// Sends without end, until nobody takes it.
fn endless(stream: &mut TcpStream) {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    let _ = stream.write_all(head);
    while stream.write_all(&chunk).is_ok() {}
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection of HTTP/2 whose windows are as large as can be, with a GET on stream 1.
fn wide_open(address: std::net::SocketAddr) -> Tls {
    let mut tls = Tls::with(client_config(&["h2"]), address, HOST).expect("a handshake");
    let window = 0x7fff_ffff_u32.to_be_bytes();
    tls.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    tls.send(frame(4, 0, 0, &[&[0, 4], &window[..]].concat()));
    tls.send(frame(8, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes()));
    // GET, https, / are in HPACK's static table (RFC 7541, appendix A); the authority is a literal.
    let host = [&[0x01, u8::try_from(HOST.len()).expect("short")], HOST.as_bytes()].concat();
    tls.send(frame(1, 0x5, 1, &[&[0x82, 0x87, 0x84], &host[..]].concat()));
    tls
}

#[test]
fn a_backend_that_stops_amid_its_answer_truncates_it() {
    let origin = Origin::scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        drain(stream);
        false
    });
    let door = Setup::new().section("[timeouts]\nidle = \"300ms\"").host(HOST, origin.address).start();
    let reply = Tls::connect(door.https, HOST).get(HOST, "/");
    assert_eq!((reply.status, reply.text().as_str(), reply.ended), (200, "half", Ended::Cut));
    let reply = H2::connect(door.https, HOST).get(&format!("https://{HOST}/")).expect("a head");
    assert!(reply.cut.is_some(), "{reply:?}");
    origin.wait_ended(2);
}

#[test]
fn a_client_that_takes_nothing_is_left() {
    let origin = Origin::scripted(|_, stream| {
        endless(stream);
        false
    });
    let door = Setup::new().section("[timeouts]\nwrite = \"500ms\"").host(HOST, origin.address).start();
    let mut idle = Tls::connect(door.https, HOST);
    idle.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    origin.wait_ended(1);
    // Over h2, to go on talking does not help it.
    let mut talking = wide_open(door.https);
    let pings = std::thread::spawn(move || {
        let ping = frame(6, 0, 0, &[0; 8]);
        while talking.stream.write_all(&ping).and_then(|()| talking.stream.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    origin.wait_ended(2);
    pings.join().expect("an end");
}

#[test]
fn a_stream_outlives_the_time_that_its_client_once_took() {
    const BURST: usize = 6 << 20;
    const EVENTS: usize = 20;
    let origin = Origin::scripted(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ =
            stream.write_all(&[&head[..], format!("{BURST:x}\r\n").as_bytes(), &vec![b'x'; BURST], b"\r\n"].concat());
        for _ in 0..EVENTS {
            std::thread::sleep(Duration::from_millis(100));
            if stream.write_all(b"5\r\nevent\r\n").is_err() {
                return false;
            }
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    let door = Setup::new().section("[timeouts]\nwrite = \"600ms\"").host(HOST, origin.address).start();
    let mut client = wide_open(door.https);
    // Long enough for every buffer to fill, shorter than `write`.
    std::thread::sleep(Duration::from_millis(300));
    let mut body = 0;
    loop {
        let mut head = [0; 9];
        client.stream.read_exact(&mut head).expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        client.stream.read_exact(&mut payload).expect("a frame");
        match (head[3], head[4] & 1) {
            (0, ended) => {
                body += length;
                if ended == 1 {
                    break;
                }
            }
            (3 | 7, _) => panic!("RST_STREAM or GOAWAY after {body} bytes"),
            _ => {}
        }
    }
    assert_eq!(body, BURST + 5 * EVENTS);
}

#[test]
fn an_h2_connection_whose_last_stream_was_reset_is_idle() {
    let origin = Origin::scripted(|_, stream| {
        drain(stream);
        false
    });
    let door = Setup::new()
        .section("[timeouts]\nkeep_alive = \"300ms\"\nwrite = \"300ms\"")
        .host(HOST, origin.address)
        .start();
    let mut client = wide_open(door.https);
    crate::support::within("the request", || (origin.seen().len() == 1).then_some(()));
    client.send(frame(3, 0, 1, &8_u32.to_be_bytes()));
    origin.wait_ended(1);
    assert!(client.closed(), "closed, and not left open");
}

#[test]
fn a_handshake_that_does_not_go_on_is_closed() {
    let door = Setup::new().section("[timeouts]\nhandshake = \"300ms\"").host(HOST, Origin::echo().address).start();
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00", b"GET"] {
        let mut client = tcp(door.https);
        client.write_all(begun).expect("sent");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("an end");
    }
    let mut client = Tls::with(client_config(&["h2"]), door.https, HOST).expect("a handshake");
    assert!(client.closed(), "a preface that does not come");
}

#[test]
fn a_backend_connection_is_kept_as_long_as_is_said() {
    let origin = Origin::echo();
    let door = Setup::new().section("[timeouts]\nbackend_keep_alive = \"400ms\"").host(HOST, origin.address).start();
    let mut client = Tls::connect(door.https, HOST);
    let begun = Instant::now();
    client.get(HOST, "/1");
    client.get(HOST, "/2");
    assert!(origin.opened() == 1 || begun.elapsed() > Duration::from_millis(400), "kept");
    std::thread::sleep(Duration::from_millis(500));
    client.get(HOST, "/3");
    assert!(origin.opened() >= 2, "not kept for longer");
}
