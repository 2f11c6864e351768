//! The end: what is under way may finish, nothing new begins.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use crate::support::{Doorward, H2, Origin, Setup, Tls, signal, within};

const HOST: &str = "app.example.test";

/// A backend that answers when the test says so.
fn on_command() -> (Origin, Sender<()>) {
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let origin = Origin::scripted(move |_, stream| {
        // The test may be over.
        let _ = wait.lock().expect("no panic").recv();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").is_ok()
    });
    (origin, go)
}

#[test]
fn a_request_that_is_under_way_finishes() {
    for name in ["TERM", "INT"] {
        let (origin, go) = on_command();
        let mut door = Doorward::for_app(origin.address);
        let mut client = Tls::connect(door.https, HOST);
        client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
        within("the request is under way", || (origin.seen().len() == 1).then_some(()));
        signal(door.pid(), name);
        within("no new connection", || TcpStream::connect(door.https).is_err().then_some(()));
        go.send(()).expect("the backend waits");
        let reply = client.reply();
        assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
        assert_eq!(reply.header("connection"), Some("close"), "the client is told to go elsewhere");
        assert_eq!(door.wait().code(), Some(0));
    }
}

#[test]
fn h2_is_told_to_go_away_and_its_streams_finish() {
    let (origin, go) = on_command();
    let mut door = Doorward::for_app(origin.address);
    let h2 = H2::connect(door.https, HOST);
    let mut send = h2.send.clone();
    let request = http::Request::get("https://app.example.test/").body(()).expect("a request");
    let (response, _) = h2.block_on(async { send.send_request(request, true) }).expect("sent");
    within("the request is under way", || (origin.seen().len() == 1).then_some(()));
    signal(door.pid(), "TERM");
    within("no new connection", || TcpStream::connect(door.https).is_err().then_some(()));
    within("GOAWAY", || h2.get("https://app.example.test/late").is_err().then_some(()));
    go.send(()).expect("the backend waits");
    let body = h2.block_on(async {
        let mut rest = response.await.expect("an answer").into_body();
        rest.data().await.expect("a body").expect("whole")
    });
    assert_eq!(body, "done");
    drop(send);
    h2.closed().expect("a clean end");
    assert_eq!(door.wait().code(), Some(0));
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let mut door = Doorward::for_app(Origin::echo().address);
    let mut client = Tls::connect(door.https, HOST);
    assert_eq!(client.get(HOST, "/").status, 200);
    let h2 = H2::connect(door.https, HOST);
    assert_eq!(h2.get("https://app.example.test/").expect("an answer").status, 200);
    // The default deadline is longer than this test waits.
    assert_eq!(door.stop().code(), Some(0));
    assert!(client.closed());
    h2.closed().expect("a clean end");
}

#[test]
fn the_deadline_ends_what_does_not() {
    let (origin, _go) = on_command();
    let mut door = Setup::new().section("[timeouts]\ndrain = \"300ms\"").host(HOST, origin.address).start();
    let mut client = Tls::connect(door.https, HOST);
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    within("the request is under way", || (origin.seen().len() == 1).then_some(()));
    door.stop();
    assert!(client.closed());
}

#[test]
fn a_second_signal_forces_the_end() {
    let (origin, _go) = on_command();
    let mut door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    within("the request is under way", || (origin.seen().len() == 1).then_some(()));
    signal(door.pid(), "TERM");
    within("the drain", || TcpStream::connect(door.https).is_err().then_some(()));
    // Again and again: one that comes at once could be the first one, sent twice by a supervisor.
    within("a second signal taken for one", || {
        signal(door.pid(), "TERM");
        door.log().iter().any(|line| line["message"] == "stopped at once by a second signal").then_some(())
    });
    door.wait();
}

#[test]
fn a_signal_that_is_sent_twice_is_one() {
    let (origin, go) = on_command();
    let mut door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    within("the request is under way", || (origin.seen().len() == 1).then_some(()));
    // As `timeout` does it: to the process, and then to its group.
    let pid = door.pid();
    let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill {pid}; kill {pid}")).status();
    assert!(sent.expect("sh runs").success());
    within("the drain", || TcpStream::connect(door.https).is_err().then_some(()));
    go.send(()).expect("the app waits");
    assert_eq!(client.reply().status, 200);
    assert!(door.wait().success());
}
