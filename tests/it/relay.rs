//! A raw connection on its way: half-closed, slow, too quiet, broken; and what is told of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::{Doorward, Origin, Setup, Tls, ca, tcp, within};

pub(crate) const HOST: &str = "app.example.test";
pub(crate) const TLS: &str = "127.0.0.7:0";
pub(crate) const TCP: &str = "127.0.0.8:0";

/// One route of mode `tcp`, with these keys of its backend, behind a listener `tls` and a listener `tcp`.
pub(crate) fn setup(endpoints: &str, keys: &str) -> Setup {
    Setup::new()
        .metrics()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[listener]]\naddress = \"{TLS}\"\nprotocol = \"tls\""))
        .section(&format!("[[listener]]\naddress = \"{TCP}\"\nprotocol = \"tcp\"\ndefault_route = \"raw\""))
        .route(&format!(
            "name = \"raw\"\nhosts = [\"{HOST}\"]\nmode = \"tcp\"\n[route.backend]\nendpoints = [{endpoints}]\n{keys}"
        ))
}

pub(crate) fn quoted(address: SocketAddr) -> String {
    format!("\"{address}\"")
}

/// Says back what it is told, at once, until the client ends its side; then it says goodbye.
pub(crate) fn echo() -> Origin {
    Origin::raw(|mut stream, _| {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            let _ = stream.write_all(&bytes[..read]);
        }
        let _ = stream.write_all(b"bye");
    })
}

pub(crate) fn say(stream: &mut (impl std::io::Read + std::io::Write), word: &[u8]) {
    stream.write_all(word).and_then(|()| stream.flush()).expect("sent");
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).expect("an echo");
    assert_eq!(back, word);
}

/// The log's line of the one connection.
pub(crate) fn ended(door: &Doorward) -> Value {
    door.wait_log(0, "the connection", |line| line["message"] == "connection")
}

fn metric(door: &Doorward, name: &str) -> Option<f64> {
    let mut stream = tcp(door.metrics());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page");
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn it_is_counted_and_logged_from_its_start_to_its_end() {
    let origin = echo();
    let door = setup(&quoted(origin.address), "").start();
    let mut client = Tls::connect(door.bound(TLS), HOST);
    say(&mut client.stream, b"hello");
    let moved = |door: &Doorward, direction: &str| {
        metric(door, &format!("doorward_raw_bytes_total{{direction=\"{direction}\",route=\"raw\"}}"))
    };
    within("bytes are counted while it is open", || {
        (moved(&door, "in") == Some(5.0) && moved(&door, "out") == Some(5.0)).then_some(())
    });
    let open = "doorward_raw_connections_open{route=\"raw\"}";
    assert_eq!(metric(&door, open), Some(1.0));
    client.stream.conn.send_close_notify();
    client.stream.flush().expect("sent");
    let mut rest = String::new();
    client.stream.read_to_string(&mut rest).expect("a regular end");
    assert_eq!(rest, "bye", "what the app said after the client's end");
    let line = ended(&door);
    for (key, value) in [
        ("route", "raw"),
        ("protocol", "tcp"),
        ("outcome", "ok"),
        ("ended_by", "client"),
        ("sni", HOST),
        ("host", HOST),
        ("tls", "TLSv1.3"),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert_eq!((line["bytes_in"].as_u64(), line["bytes_out"].as_u64()), (Some(5), Some(8)));
    assert_eq!(line["backend"], origin.address.to_string());
    assert!(line["duration_ms"].as_f64().is_some_and(|took| took > 0.0) && line.get("error").is_none(), "{line}");
    within("the end is counted", || (metric(&door, open) == Some(0.0)).then_some(()));
    assert_eq!(metric(&door, "doorward_raw_connections_total{outcome=\"ok\",route=\"raw\"}"), Some(1.0));
    assert_eq!((moved(&door, "in"), moved(&door, "out")), (Some(5.0), Some(8.0)));
    assert_eq!(metric(&door, "doorward_requests_under_way"), Some(0.0));
}

#[test]
fn half_closed_stays_half_open_either_way() {
    // The app ends first, and hears the rest.
    let (sender, heard) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = Origin::raw(move |mut stream, _| {
        stream.write_all(b"all I say").and_then(|()| stream.shutdown(Shutdown::Write)).expect("sent");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        let _ = sender.lock().expect("no panic").send(text);
    });
    let door = setup(&quoted(origin.address), "").start();
    let mut plain = tcp(door.bound(TCP));
    let mut said = String::new();
    plain.read_to_string(&mut said).expect("the app's end");
    assert_eq!(said, "all I say");
    plain.write_all(b"and I go on").expect("sent");
    drop(plain);
    assert_eq!(heard.recv_timeout(crate::support::PATIENCE).as_deref(), Ok("and I go on"));
    let mut client = Tls::connect(door.bound(TLS), HOST);
    let mut said = String::new();
    client.stream.read_to_string(&mut said).expect("a close_notify, and no mere end");
    client.send("and I go on");
    client.stream.conn.send_close_notify();
    client.stream.flush().expect("sent");
    assert_eq!(heard.recv_timeout(crate::support::PATIENCE).as_deref(), Ok("and I go on"));
    let line = ended(&door);
    assert_eq!((&line["outcome"], &line["ended_by"]), (&"ok".into(), &"backend".into()));
}

#[test]
fn what_breaks_on_one_side_breaks_on_the_other() {
    // The app resets: the client must not take it for the end of the data.
    let origin = Origin::raw(|mut stream, _| {
        let _ = stream.read(&mut [0; 4]);
        let _ = stream.write_all(b"half of it");
        let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    });
    let door = setup(&quoted(origin.address), "").start();
    let mut plain = tcp(door.bound(TCP));
    plain.write_all(b"go").expect("sent");
    let fault = plain.read_to_end(&mut Vec::new()).expect_err("no regular end");
    assert_eq!(fault.kind(), ErrorKind::ConnectionReset);
    let line = ended(&door);
    assert_eq!(
        (&line["outcome"], &line["ended_by"], &line["error"]),
        (&"backend_broke".into(), &"backend".into(), &"backend_broke".into())
    );
    let mut client = Tls::connect(door.bound(TLS), HOST);
    client.send("go");
    let fault = client.stream.read_to_end(&mut Vec::new()).expect_err("no close_notify");
    assert!(matches!(fault.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{fault}");

    // The client resets: the app hears of it.
    let (sender, heard) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = Origin::raw(move |mut stream, _| {
        let _ = stream.write_all(b"x");
        let end = stream.read_to_end(&mut Vec::new()).map_err(|fault| fault.kind());
        let _ = sender.lock().expect("no panic").send(end);
    });
    let door = setup(&quoted(origin.address), "").start();
    let mut plain = tcp(door.bound(TCP));
    plain.read_exact(&mut [0]).expect("the app's word");
    socket2::SockRef::from(&plain).set_linger(Some(std::time::Duration::ZERO)).expect("set");
    drop(plain);
    assert_eq!(heard.recv_timeout(crate::support::PATIENCE), Ok(Err(ErrorKind::ConnectionReset)));
    let line = ended(&door);
    assert_eq!((&line["outcome"], &line["ended_by"]), (&"client_broke".into(), &"client".into()));

    // An end without close_notify loses nothing, and is told of.
    let mut client = Tls::connect(door.bound(TLS), HOST);
    client.stream.read_exact(&mut [0]).expect("the app's word");
    client.send("last words");
    client.stream.sock.shutdown(Shutdown::Both).expect("ended");
    assert_eq!(heard.recv_timeout(crate::support::PATIENCE), Ok(Ok(10)));
    door.wait_log(0, "the outcome", |line| line["outcome"] == "client_truncated");
}

#[test]
fn an_end_without_close_notify_stays_one() {
    let leaf = ca().leaf(&["app.internal"]).issue();
    let origin = Origin::secure(&leaf, |mut stream| {
        let _ = stream.write_all(b"half of it").and_then(|()| stream.flush());
        // Not a word that this was all.
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.read(&mut [0; 64]);
    });
    let keys = "tls = { ca = \"ca.pem\", server_name = \"app.internal\" }";
    let door = setup(&format!("\"tls://{}\"", origin.address), keys).start();
    let mut client = Tls::connect(door.bound(TLS), HOST);
    let mut text = Vec::new();
    let fault = client.stream.read_to_end(&mut text).expect_err("no close_notify");
    assert_eq!((text.as_slice(), fault.kind()), (&b"half of it"[..], ErrorKind::UnexpectedEof));
    drop(client);
    assert_eq!(ended(&door)["outcome"], "backend_truncated");
}

#[test]
fn who_is_too_quiet_is_sent_away() {
    let origin = Origin::raw(|mut stream, _| {
        // Neither says nor ends anything by itself.
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = stream.read(&mut [0; 64]);
        std::thread::park_timeout(crate::support::PATIENCE);
    });
    for (timeouts, end_first, outcome) in [
        ("tunnel_idle = \"300ms\"\nhalf_closed = \"1h\"", false, "idle_timeout"),
        ("tunnel_idle = \"1h\"\nhalf_closed = \"300ms\"", true, "half_closed_timeout"),
    ] {
        let door = setup(&quoted(origin.address), "").section(&format!("[timeouts]\n{timeouts}")).start();
        let mut plain = tcp(door.bound(TCP));
        plain.write_all(b"x").expect("sent");
        if end_first {
            plain.shutdown(Shutdown::Write).expect("half closed");
        }
        let fault = plain.read_to_end(&mut Vec::new()).expect_err("no regular end");
        assert_eq!(fault.kind(), ErrorKind::ConnectionReset, "{outcome}");
        let line = ended(&door);
        assert_eq!((&line["outcome"], &line["error"]), (&outcome.into(), &outcome.into()));
        let counted = format!("doorward_raw_connections_total{{outcome=\"{outcome}\",route=\"raw\"}}");
        within("it is counted", || (metric(&door, &counted) == Some(1.0)).then_some(()));
    }
}

#[test]
fn a_slow_side_holds_the_fast_one_back_and_loses_nothing() {
    const LENGTH: usize = 24 << 20;
    let origin = Origin::raw(|mut stream, _| {
        let block = vec![7; 1 << 20];
        for _ in 0..LENGTH >> 20 {
            if stream.write_all(&block).is_err() {
                return;
            }
        }
    });
    let door = setup(&quoted(origin.address), "").start();
    let mut client = tcp(door.bound(TCP));
    client.read_exact(&mut [0; 1]).expect("a first byte");
    // What the sockets on the way hold is all that is taken from the app.
    let mut last = -1.0;
    within("the flow stands still", || {
        let moved = metric(&door, "doorward_raw_bytes_total{direction=\"out\",route=\"raw\"}").unwrap_or(0.0);
        std::thread::sleep(std::time::Duration::from_millis(100));
        (std::mem::replace(&mut last, moved) == moved && moved > 0.0).then_some(())
    });
    assert!(last < LENGTH as f64, "{last}");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("the rest");
    assert_eq!(rest.len(), LENGTH - 1);
}

#[test]
fn memory_is_given_back_when_it_is_quiet() {
    const CONNECTIONS: u32 = 200;
    const MOST: f64 = 24.0 * 1024.0;
    let origin = echo();
    let door = setup(&quoted(origin.address), "").start();
    let resident = || metric(&door, "process_resident_memory_bytes").expect("the metric");
    let address = door.bound(TCP);
    let open = |count: u32| -> Vec<TcpStream> {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut stream = tcp(address);
            // Enough for every buffer to grow.
            let mut reading = stream.try_clone().expect("a copy");
            let reader = std::thread::spawn(move || reading.read_exact(&mut vec![0; 1 << 20]));
            stream.write_all(&vec![7; 1 << 20]).expect("sent");
            reader.join().expect("no panic").expect("all of it");
            all.push(stream);
        }
        all
    };
    // What is made once is not counted for the connections.
    drop(open(4));
    within("all have ended", || {
        (metric(&door, "doorward_raw_connections_open{route=\"raw\"}") == Some(0.0)).then_some(())
    });
    let before = resident();
    let held = open(CONNECTIONS);
    let each = (resident() - before) / f64::from(CONNECTIONS);
    assert!(each < MOST, "{each} bytes for each idle connection");
    drop(held);
}
