//! Requests that two parsers could read differently are refused, and no backend ever sees a byte of them.

use crate::support::{Doorward, Origin, RawH2, Tls};

/// A request without its host line's rivals; `{}` is where the fault goes.
const HOST: &str = "Host: app.example.test\r\n";

/// Sends each request on a connection of its own: refused with 400 (or 501), closed, and unseen by the backend.
fn refused(faults: &[(&str, String)]) {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    for (what, request) in faults {
        let mut client = Tls::connect(door.https, "app.example.test");
        let reply = client.send(request).reply();
        assert!([400, 501, 505].contains(&reply.status), "{what}: {reply:?}");
        assert!(client.closed(), "{what}: the connection stays open");
        assert_eq!(origin.seen().len(), 0, "{what}: the backend saw {:?}", origin.seen());
    }
    let mut client = Tls::connect(door.https, "app.example.test");
    assert_eq!(client.get("app.example.test", "/").status, 200, "a sound request still passes");
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n{body}")
}

#[test]
fn lengths_that_can_be_read_in_two_ways() {
    let chunked = "0\r\n\r\n";
    refused(&[
        ("a length and chunked", post("Content-Length: 5\r\nTransfer-Encoding: chunked", chunked)),
        ("chunked and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", chunked)),
        ("two lengths that differ", post("Content-Length: 5\r\nContent-Length: 6", "hello!")),
        ("two lengths alike", post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        ("a list of lengths", post("Content-Length: 5, 5", "hello")),
        ("a length with a sign", post("Content-Length: +5", "hello")),
        ("a negative length", post("Content-Length: -5", "hello")),
        ("a hexadecimal length", post("Content-Length: 0x5", "hello")),
        ("a length too large for 64 bits", post("Content-Length: 99999999999999999999", "hello")),
        ("an empty length", post("Content-Length:", "hello")),
        ("identity coding", post("Transfer-Encoding: identity", "hello")),
        ("chunked, then identity", post("Transfer-Encoding: chunked, identity", chunked)),
        ("chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunked)),
        ("a coding before chunked", post("Transfer-Encoding: gzip, chunked", chunked)),
        ("a misspelt chunked", post("Transfer-Encoding: xchunked", chunked)),
        ("chunked with a vertical tab", post("Transfer-Encoding: \x0bchunked", chunked)),
        ("chunked in HTTP/1.0", format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{chunked}")),
    ]);
}

#[test]
fn heads_that_are_not_as_rfc_9112_says() {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n");
    refused(&[
        ("bare LF after the request line", format!("GET / HTTP/1.1\n{HOST}\r\n")),
        ("bare LF after a field", "GET / HTTP/1.1\r\nHost: app.example.test\n\r\n".into()),
        ("bare LF throughout", "GET / HTTP/1.1\nHost: app.example.test\n\n".into()),
        ("bare LF in a field", get("X-A: 1\nX-B: 2")),
        ("bare CR in a field", get("X-A: 1\rX-B: 2")),
        ("NUL in a field", get("X-A: a\0b")),
        ("a folded line", get("X-A: 1\r\n folded")),
        ("a fold with a tab", get("X-A: 1\r\n\tfolded")),
        ("space before the colon", get("X-A : 1")),
        ("tab before the colon", get("X-A\t: 1")),
        ("space before the first field", "GET / HTTP/1.1\r\n Host: app.example.test\r\n\r\n".into()),
        ("a field without a colon", get("X-A")),
        ("an empty name", get(": 1")),
        ("a name with a bracket", get("X(A): 1")),
        ("two spaces in the request line", format!("GET  / HTTP/1.1\r\n{HOST}\r\n")),
        ("a tab in the request line", format!("GET\t/\tHTTP/1.1\r\n{HOST}\r\n")),
        ("a version that is none", format!("GET / HTTP/1.2345\r\n{HOST}\r\n")),
        ("no version", format!("GET /\r\n{HOST}\r\n")),
        ("a control character in the target", format!("GET /\x01 HTTP/1.1\r\n{HOST}\r\n")),
    ]);
}

#[test]
fn hosts_that_are_missing_or_at_odds() {
    let get = |line: &str, fields: &str| format!("{line}\r\n{fields}\r\n");
    refused(&[
        ("no Host", get("GET / HTTP/1.1", "")),
        ("two Hosts", get("GET / HTTP/1.1", "Host: app.example.test\r\nHost: evil.example.test\r\n")),
        ("two Hosts alike", get("GET / HTTP/1.1", "Host: app.example.test\r\nHost: app.example.test\r\n")),
        ("a list of hosts", get("GET / HTTP/1.1", "Host: app.example.test, evil.example.test\r\n")),
        ("an empty Host", get("GET / HTTP/1.1", "Host:\r\n")),
        ("a Host with a path", get("GET / HTTP/1.1", "Host: app.example.test/x\r\n")),
        ("a Host with user information", get("GET / HTTP/1.1", "Host: evil@app.example.test\r\n")),
        ("a Host with a port that is none", get("GET / HTTP/1.1", "Host: app.example.test:x\r\n")),
        ("an absolute target at odds", get("GET https://evil.example.test/ HTTP/1.1", HOST)),
    ]);
}

#[test]
fn an_absolute_target_that_agrees_is_taken() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, "app.example.test");
    let reply = client.send(format!("GET https://app.example.test/x?y HTTP/1.1\r\n{HOST}\r\n")).reply();
    assert_eq!(reply.status, 200);
    assert_eq!(origin.only().target, "/x?y", "an origin server gets the origin form (RFC 9112 §3.2.1)");
}

#[test]
fn malformed_chunks_end_the_exchange() {
    for (what, body) in [
        ("a size that is none", "xyz\r\nhello\r\n0\r\n\r\n"),
        ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size too large", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("no CRLF after the data", "5\r\nhelloX0\r\n\r\n"),
        ("bare LF at the end", "5\r\nhello\r\n0\n\n"),
    ] {
        let origin = Origin::echo();
        let door = Doorward::for_app(origin.address);
        let mut client = Tls::connect(door.https, "app.example.test");
        let reply = client.send(post("Transfer-Encoding: chunked", body)).reply();
        assert!(reply.status == 400 || reply.status == 0, "{what}: {reply:?}");
        assert!(client.closed(), "{what}: the connection stays open");
        assert_eq!(origin.seen().len(), 0, "{what}: no whole request may reach the backend");
    }
}

#[test]
fn what_follows_a_request_is_the_next_request() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, "app.example.test");
    let first = post("Content-Length: 5", "hello");
    let second = post("Transfer-Encoding: chunked", "3;x=y\r\nabc\r\n0\r\n\r\n");
    client.send(format!("{first}{second}GET /third HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!((client.reply().status, client.reply().status, client.reply().status), (200, 200, 200));
    let bodies: Vec<_> = origin.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert_eq!(bodies, ["hello", "abc", ""]);
    assert!(!origin.seen()[1].head.contains(";x=y"));
}

#[test]
fn connect_and_h2c_are_never_forwarded() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, "app.example.test");
    let reply = client.send("CONNECT app.example.test:443 HTTP/1.1\r\nHost: app.example.test:443\r\n\r\n").reply();
    assert!([400, 405, 501].contains(&reply.status), "{reply:?}");
    assert_eq!(origin.opened(), 0);

    let mut client = Tls::connect(door.https, "app.example.test");
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let reply = client.send(format!("GET / HTTP/1.1\r\n{HOST}{upgrade}\r\n")).reply();
    assert_ne!(reply.status, 101);
    for seen in origin.seen() {
        assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), (None, None), "{}", seen.head);
    }
}

#[test]
fn over_h2_the_same_holds() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    let pseudo = |authority: &'static str, path: &'static str| {
        vec![(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)]
    };
    let with = |field: (&'static str, &'static str)| {
        let mut fields = pseudo("app.example.test", "/");
        fields.push(field);
        fields
    };
    let faults = [
        ("transfer-encoding", with(("transfer-encoding", "chunked"))),
        ("connection", with(("connection", "keep-alive"))),
        ("upgrade", with(("upgrade", "h2c"))),
        ("te that is not trailers", with(("te", "gzip"))),
        ("a name in capitals", with(("X-A", "1"))),
        ("a line break in a value", with(("x-a", "1\r\nx-b: 2"))),
        ("NUL in a value", with(("x-a", "a\0b"))),
        ("a line break in a name", with(("x-a: 1\r\nx-b", "2"))),
        ("a Host at odds with :authority", with(("host", "evil.example.test"))),
        ("a length without a body", with(("content-length", "5"))),
        ("two lengths", [with(("content-length", "0")), vec![("content-length", "5")]].concat()),
        ("a space in the path", pseudo("app.example.test", "/ HTTP/1.1\r\nx: y")),
        ("an empty path", pseudo("app.example.test", "")),
        ("no authority", vec![(":method", "GET"), (":scheme", "https"), (":path", "/")]),
        ("an authority with user information", pseudo("evil@app.example.test", "/")),
    ];
    for (what, fields) in faults {
        let mut client = RawH2::connect(door.https, "app.example.test");
        let outcome = client.request(&fields);
        assert!(!matches!(outcome, Some(status) if status < 400), "{what}: {outcome:?}");
        assert_eq!(origin.seen().len(), 0, "{what}: the backend saw {:?}", origin.seen());
    }
    let mut client = RawH2::connect(door.https, "app.example.test");
    assert_eq!(client.request(&pseudo("app.example.test", "/")), Some(200), "a sound request passes");
}
