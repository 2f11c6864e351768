//! Bodies in motion: large ones, slow ones, and those that somebody gives up.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::support::{Doorward, Ended, H2, Origin, Tls, drain, within};

const HOST: &str = "app.example.test";
const MIB: usize = 1024 * 1024;

/// Sends `size` bytes with a length, or for ever without one; counts what the kernel took.
fn download(size: Option<usize>, sent: Arc<AtomicUsize>) -> Origin {
    Origin::scripted(move |_, stream| {
        let head = match size {
            Some(size) => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"),
            None => "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_owned(),
        };
        if stream.write_all(head.as_bytes()).is_err() {
            return false;
        }
        let piece = vec![b'x'; 64 * 1024];
        while size.is_none_or(|size| sent.load(Ordering::SeqCst) < size) {
            let left = size.map_or(piece.len(), |size| piece.len().min(size - sent.load(Ordering::SeqCst)));
            match stream.write(&piece[..left]) {
                Ok(written @ 1..) => sent.fetch_add(written, Ordering::SeqCst),
                _ => return false,
            };
        }
        true
    })
}

#[test]
fn large_downloads_arrive_whole() {
    for protocol in ["--http1.1", "--http2"] {
        let origin = download(Some(32 * MIB), Arc::default());
        let door = Doorward::for_app(origin.address);
        let answer = door.curl("https://app.example.test/").args(&[protocol]).run();
        assert_eq!((answer.exit, answer.body.len()), (0, 32 * MIB), "{protocol}");
    }
}

#[test]
fn large_uploads_arrive_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("upload");
    let body: Vec<u8> = (0..16 * MIB).map(|n| (n % 251) as u8).collect();
    std::fs::write(&file, &body).expect("a file");
    let data = format!("@{}", file.display());
    for args in [&["--http1.1"][..], &["--http2"], &["--http1.1", "-H", "Transfer-Encoding: chunked"]] {
        let origin = Origin::scripted(|seen, stream| {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{:08}", seen.body.len());
            stream.write_all(text.as_bytes()).is_ok()
        });
        let door = Doorward::for_app(origin.address);
        let answer = door.curl("https://app.example.test/").args(args).args(&["--data-binary", &data]).run();
        assert_eq!(answer.status, 200, "{args:?}: {answer:?}");
        assert!(origin.only().body == body, "{args:?}: the bytes differ");
    }
}

/// Waits until a counter has not moved for a while, and returns it.
fn settled(counter: &AtomicUsize) -> usize {
    let (mut last, mut still) = (0, 0);
    within("the sender is held back", || {
        let now = counter.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        // 5 ms each: a third of a second without a byte.
        (still > 60).then_some(now)
    })
}

#[test]
fn a_client_that_does_not_read_holds_the_backend_back() {
    let sent = Arc::new(AtomicUsize::new(0));
    let origin = download(None, sent.clone());
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    let held = settled(&sent);
    assert!(held < 24 * MIB, "{held} bytes were taken from the backend for a client that reads nothing");

    let sent_h2 = Arc::new(AtomicUsize::new(0));
    let origin = download(None, sent_h2.clone());
    let door = Doorward::for_app(origin.address);
    let h2 = H2::connect(door.https, HOST);
    let mut send = h2.send.clone();
    let request = http::Request::get("https://app.example.test/").body(()).expect("a request");
    let (response, _) = h2.block_on(async { send.send_request(request, true) }).expect("sent");
    let response = h2.block_on(response).expect("a head");
    let held = settled(&sent_h2);
    assert!(held < 24 * MIB, "{held} bytes over h2");
    drop(response);
}

#[test]
fn a_backend_that_does_not_read_holds_the_client_back() {
    let origin = Origin::raw(|stream, _| {
        // Takes nothing until the client gives up.
        let mut byte = [0];
        let _ = stream.peek(&mut byte);
        std::thread::park_timeout(Duration::from_secs(30));
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("POST / HTTP/1.1\r\nHost: app.example.test\r\nContent-Length: 99999999999\r\n\r\n");
    // rustls turns to reading where it cannot write.
    client.stream.sock.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    client.stream.sock.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let (piece, mut taken) = (vec![b'x'; 64 * 1024], 0);
    while client.stream.write_all(&piece).is_ok() && taken < 64 * MIB {
        taken += piece.len();
    }
    assert!(taken < 32 * MIB, "doorward took {taken} bytes that no backend took from it");
}

#[test]
fn a_piece_arrives_when_it_is_sent_not_when_all_is_there() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        // The second piece only after the client has said that it has the first.
        let _ = wait.lock().expect("no panic").recv();
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").is_ok()
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    let mut came = Vec::new();
    while !came.ends_with(b"first\r\n") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).expect("the first piece comes alone");
        came.push(byte[0]);
    }
    go.send(()).expect("the backend waits");
    let mut rest = [0; 64];
    let read = client.stream.read(&mut rest).expect("the second piece");
    assert!(String::from_utf8_lossy(&rest[..read]).contains("second"));
}

#[test]
fn an_early_answer_reaches_a_client_that_still_uploads() {
    let origin = Origin::raw(|mut stream, _| {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        drain(&mut stream);
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("POST / HTTP/1.1\r\nHost: app.example.test\r\nContent-Length: 1000000\r\n\r\nonly a little");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text().as_str(), reply.ended), (403, "no", Ended::Whole));

    let h2 = H2::connect(door.https, HOST);
    let mut send = h2.send.clone();
    let request = http::Request::post("https://app.example.test/").body(()).expect("a request");
    let status = h2.block_on(async move {
        let (response, mut body) = send.send_request(request, false).expect("sent");
        body.send_data(Bytes::from_static(b"only a little"), false).expect("sent");
        response.await.expect("an answer").status()
    });
    assert_eq!(status, 403, "over h2");
}

#[test]
fn a_client_that_leaves_ends_the_backends_work() {
    let sent = Arc::new(AtomicUsize::new(0));
    let origin = download(None, sent.clone());
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    within("some of the answer", || (sent.load(Ordering::SeqCst) > 0).then_some(()));
    drop(client);
    origin.wait_ended(1);

    let h2 = H2::connect(door.https, HOST);
    let mut send = h2.send.clone();
    let request = http::Request::get("https://app.example.test/").body(()).expect("a request");
    let (response, mut stream) = h2.block_on(async { send.send_request(request, true) }).expect("sent");
    let response = h2.block_on(response).expect("a head");
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    origin.wait_ended(2);
}

#[test]
fn a_client_that_leaves_before_the_answer_ends_the_wait() {
    let origin = Origin::scripted(|_, stream| {
        drain(stream);
        false
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    within("the request", || (origin.seen().len() == 1).then_some(()));
    drop(client);
    origin.wait_ended(1);
}

#[test]
fn an_upload_that_is_cut_is_no_whole_request_to_the_backend() {
    for fields in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let origin = Origin::echo();
        let door = Doorward::for_app(origin.address);
        let mut client = Tls::connect(door.https, HOST);
        client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n\r\n4\r\nhalf\r\n"));
        within("the backend's connection", || (origin.opened() == 1).then_some(()));
        drop(client);
        origin.wait_ended(1);
        assert_eq!(origin.seen().len(), 0, "{fields}");
    }
}
