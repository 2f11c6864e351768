//! Answers: what a backend's bytes become, and what is not passed on.

use std::io::Write as _;

use bytes::Bytes;

use crate::support::{Doorward, Ended, H2, Origin, Tls, cut};

const HOST: &str = "app.example.test";

#[test]
fn conflicting_framing_of_a_backend_is_a_502() {
    for (what, head) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6"),
        ("a list of lengths", "Content-Length: 5, 6"),
        ("a length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("chunked, then identity", "Transfer-Encoding: chunked, identity"),
        ("an unknown coding", "Transfer-Encoding: xchunked"),
        ("a length that is none", "Content-Length: five"),
        ("bare CR", "X-A: 1\rX-B: 2\r\nContent-Length: 5"),
        ("space before the colon", "X-A : 1\r\nContent-Length: 5"),
        ("a folded line", "X-A: 1\r\n folded\r\nContent-Length: 5"),
    ] {
        let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nhello0\r\n\r\n"));
        let door = Doorward::for_app(origin.address);
        let reply = Tls::connect(door.https, HOST).get(HOST, "/");
        assert_eq!(reply.status, 502, "{what}: {reply:?}");
        let h2 = H2::connect(door.https, HOST);
        assert_eq!(h2.get("https://app.example.test/").expect("an answer").status, 502, "{what} to h2");
    }
}

#[test]
fn garbage_and_silence_of_a_backend_are_a_502() {
    for bytes in ["", "\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 99 No\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n"] {
        let bytes = bytes.to_owned();
        let origin = Origin::scripted(move |_, stream| {
            let _ = stream.write_all(bytes.as_bytes());
            false
        });
        let door = Doorward::for_app(origin.address);
        assert_eq!(door.curl("https://app.example.test/").run().status, 502);
    }
}

#[test]
fn a_truncated_body_is_truncated_for_the_client() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let body = if head.starts_with('C') { "only this" } else { "9\r\nonly this\r\n" };
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        let origin = Origin::scripted(move |_, stream| {
            let _ = stream.write_all(bytes.as_bytes());
            cut(stream);
            false
        });
        let door = Doorward::for_app(origin.address);

        let mut client = Tls::connect(door.https, HOST);
        let reply = client.get(HOST, "/");
        assert_eq!((reply.status, reply.text().as_str(), reply.ended), (200, "only this", Ended::Cut), "{head}");

        // The reset may overtake what was still to be sent.
        let fault = match H2::connect(door.https, HOST).get("https://app.example.test/") {
            Ok(reply) => reply.cut.unwrap_or_else(|| panic!("{head}: the stream ended cleanly")),
            Err(fault) => fault,
        };
        assert!(fault.is_reset(), "{head}: {fault}");

        let answer = door.curl("https://app.example.test/").args(&["--http1.1"]).run();
        assert!([18, 56].contains(&answer.exit), "curl is to say so: {answer:?}");
        let answer = door.curl("https://app.example.test/").args(&["--http2"]).run();
        assert!([18, 56, 92].contains(&answer.exit), "curl is to say so: {answer:?}");
    }
}

#[test]
fn a_body_that_ends_with_the_connection_ends_cleanly() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
    let door = Doorward::for_app(origin.address);
    for protocol in ["--http1.1", "--http2"] {
        let answer = door.curl("https://app.example.test/").args(&[protocol]).run();
        assert_eq!((answer.exit, answer.text().as_str()), (0, "until the end"), "{protocol}");
    }
    let reply = Tls::connect(door.https, HOST).get(HOST, "/");
    assert_eq!(reply.ended, Ended::Whole, "an HTTP/1.1 client gets chunks, whose end it can tell from a cut");
}

#[test]
fn answers_without_a_body_have_none() {
    let origin = Origin::answering_with(|seen| match seen.target.as_str() {
        "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n".into(),
        _ if seen.method == "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".into(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody".into(),
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("HEAD / HTTP/1.1\r\nHost: app.example.test\r\n\r\n");
    let reply = crate::support::read_reply(&mut client.stream, true);
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("1234")));
    for (path, status) in [("/204", 204), ("/304", 304), ("/", 200)] {
        assert_eq!(client.get(HOST, path).status, status, "on one connection, so that each ended where it should");
    }
    let h2 = H2::connect(door.https, HOST);
    let head = http::Request::head("https://app.example.test/").body(()).expect("a request");
    let reply = h2.request(head, None).expect("an answer");
    assert_eq!((reply.status, reply.body.len(), reply.cut.is_none()), (200, 0, true));
    assert_eq!(reply.headers["content-length"], "1234");
    for (path, status) in [("/204", 204), ("/304", 304), ("/", 200)] {
        assert_eq!(h2.get(&format!("https://app.example.test{path}")).expect("an answer").status, status);
    }
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("POST / HTTP/1.1\r\nHost: app.example.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.reply().status, 100);
    assert_eq!(client.send("hello").reply().status, 200);
    assert_eq!(origin.only().body, b"hello");
    let answer = door
        .curl("https://app.example.test/")
        .args(&["--http1.1", "-H", "Expect: 100-continue", "-d", "hello", "--expect100-timeout", "30"])
        .run();
    assert_eq!((answer.status, answer.interim), (200, vec![100]));
}

#[test]
fn a_refusal_instead_of_100_reaches_the_client() {
    let origin = Origin::raw(|mut stream, _| {
        // Reads the head alone, and refuses.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if !matches!(std::io::Read::read(&mut stream, &mut byte), Ok(1)) {
                return;
            }
            head.push(byte[0]);
        }
        let _ = stream.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send("POST / HTTP/1.1\r\nHost: app.example.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.reply().status, 417);
}

#[test]
fn early_hints_are_passed_on() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    let hints = client.get(HOST, "/");
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>; rel=preload")));
    let reply = client.reply();
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    let answer = door.curl("https://app.example.test/").args(&["--http2"]).run();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.interim, [103], "also over h2");
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(
        "POST / HTTP/1.1\r\nHost: app.example.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Mine: 7\r\n\r\n",
    );
    let reply = client.reply();
    assert_eq!((reply.text().as_str(), reply.trailers), ("ok", vec![("x-sum".to_owned(), "42".to_owned())]));
    assert_eq!(origin.only().trailers, [("x-mine".to_owned(), "7".to_owned())]);
    let reply = H2::connect(door.https, HOST).get("https://app.example.test/").expect("an answer");
    assert_eq!(reply.trailers.expect("trailers over h2")["x-sum"], "42");
}

#[test]
fn h2_bodies_without_a_length_reach_the_backend_whole() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let h2 = H2::connect(door.https, HOST);
    let post = http::Request::post("https://app.example.test/").body(()).expect("a request");
    let reply = h2.request(post, Some(Bytes::from_static(b"no length"))).expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(origin.only().body, b"no length");
    assert_eq!(origin.only().header("transfer-encoding"), Some("chunked"));
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    let reply = client.send("GET / HTTP/1.0\r\nHost: app.example.test\r\n\r\n").reply();
    assert_eq!((reply.status, reply.text().as_str(), reply.header("transfer-encoding")), (200, "ok", None));
}

#[test]
fn a_backend_of_http_1_0_is_understood() {
    let origin = Origin::scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nold but sound");
        false
    });
    let door = Doorward::for_app(origin.address);
    for protocol in ["--http1.1", "--http2"] {
        assert_eq!(door.curl("https://app.example.test/").args(&[protocol]).run().text(), "old but sound");
    }
}
