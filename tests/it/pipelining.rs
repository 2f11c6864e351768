//! Several requests on one connection of HTTP/1.1, in whatever segments they come.

use std::io::Read as _;

use crate::support::{Doorward, Origin, Setup, Tls, read_reply, signal, tcp, within};

const HOST: &str = "app.example.test";

/// Three requests, two of them with bodies.
fn three() -> String {
    [
        format!("POST /1 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\none"),
        format!(
            "POST /2 HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\nX-Sum: 2\r\n\r\n"
        ),
        format!("\r\n\r\nGET /3 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ]
    .concat()
}

fn check(client: &mut Tls) {
    for (target, body) in [("/1", "one"), ("/2", "two"), ("/3", "")] {
        let reply = client.reply();
        let text = reply.text();
        assert_eq!(reply.status, 200, "{target}: {text}");
        let seen: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((seen["target"].as_str(), seen["body"].as_str()), (Some(target), Some(body)));
    }
}

#[test]
fn bodies_end_where_they_end_in_one_segment_and_in_segments_of_one_byte() {
    let door = Doorward::for_app(Origin::echo().address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(three());
    check(&mut client);
    for byte in three().as_bytes() {
        client.send([*byte]);
    }
    check(&mut client);
}

#[test]
fn close_is_the_last_word_whatever_stands_beside_it() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    let last = format!("GET /last HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Close\r\n\r\n");
    client.send(last + &format!("GET /never HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(client.closed());
    assert_eq!(origin.only().target, "/last");
}

#[test]
fn options_of_the_whole_server_are_forwarded_as_such() {
    let origin = Origin::echo();
    let door = Setup::new().host_with(HOST, origin.address, "https = \"both\"").start();
    let mut client = tcp(door.http);
    for target in ["*".to_owned(), format!("http://{HOST}")] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        std::io::Write::write_all(&mut client, request.as_bytes()).expect("sent");
        assert_eq!(read_reply(&mut client, false).status, 200, "{target}");
    }
    assert!(origin.seen().iter().all(|seen| seen.target == "*"), "{:?}", origin.seen());
}

#[test]
fn a_refusal_before_the_end_of_the_request_says_that_it_is_the_last_answer() {
    let origin = Origin::raw(|mut stream, _| {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some);
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        crate::support::drain(&mut stream);
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"));
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("connection")), (401, Some("close")));
}

#[test]
fn an_answer_of_our_own_is_the_last_one_too_once_the_drain_has_begun() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |_, _| {
        let _ = wait.lock().expect("one request").recv();
        false
    });
    let mut door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    within("the request is under way", || (origin.seen().len() == 1).then_some(()));
    signal(door.pid(), "TERM");
    within("no new connection", || std::net::TcpStream::connect(door.https).is_err().then_some(()));
    go.send(()).expect("the backend waits");
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("connection")), (502, Some("close")));
    assert_eq!(door.wait().code(), Some(0));
}
