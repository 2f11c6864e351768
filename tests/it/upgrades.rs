//! Changes of protocol, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};

use crate::support::{Doorward, H2, Origin, Tls, drain, read_reply};

const HOST: &str = "app.example.test";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

fn request(more: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n{more}\r\n")
}

#[test]
fn what_stands_right_behind_either_head_is_said_in_the_tunnel() {
    let origin = Origin::scripted(|_, stream| {
        let _ = stream.write_all([SWITCH, "hello "].concat().as_bytes());
        let mut early = [0; 5];
        stream.read_exact(&mut early).is_ok() && stream.write_all(&early).is_ok() && {
            // Half closed: the client still speaks.
            let _ = stream.shutdown(Shutdown::Write);
            let mut late = [0; 4];
            let _ = stream.read_exact(&mut late);
            assert_eq!(&late, b"late");
            false
        }
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(request("") + "early");
    assert_eq!(read_reply(&mut client.stream, true).status, 101);
    let mut said = Vec::new();
    client.stream.read_to_end(&mut said).expect("a clean end of the backend's side");
    assert_eq!(String::from_utf8_lossy(&said), "hello early");
    client.send("late");
    drop(client);
    origin.wait_ended(1);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_switch_before_the_end_of_the_request_is_a_502() {
    let origin = Origin::raw(|mut stream, _| {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some);
        let _ = stream.write_all(SWITCH.as_bytes());
        drain(&mut stream);
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(request("Content-Length: 10\r\n") + "half");
    assert_eq!(client.reply().status, 502);
    origin.wait_ended(1);
}

/// Asks for a WebSocket over HTTP/2 (RFC 8441).
async fn extended(send: SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let mut send = send.ready().await.expect("settings");
    while !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut request = http::Request::connect(format!("https://{HOST}{path}")).body(()).expect("a request");
    request.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
    send.send_request(request, false).expect("sent")
}

#[test]
fn over_h2_only_the_apps_own_101_opens_a_tunnel() {
    let origin = Origin::answering_with(|seen| {
        let status = if seen.target == "/ignores" { "200 OK" } else { "403 Forbidden" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno")
    });
    let door = Doorward::for_app(origin.address);
    let h2 = H2::connect(door.https, HOST);
    for (path, status) in [("/ignores", 502), ("/refuses", 403)] {
        let send = h2.send.clone();
        let answer = h2.block_on(async move { extended(send, path).await.0.await.expect("an answer") });
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[test]
fn a_tunnel_over_h2_ends_as_its_ends_do() {
    let origin = Origin::scripted(|_, stream| {
        let _ = stream.write_all(&[&SWITCH.replace("echo", "websocket")[..], "hi"].concat().into_bytes());
        let said = drain(stream);
        let _ = stream.write_all(format!("{said} and the end").as_bytes());
        false
    });
    let door = Doorward::for_app(origin.address);
    let h2 = H2::connect(door.https, HOST);
    let send = h2.send.clone();
    // The client ends its side: the app still speaks.
    let said = h2.block_on(async move {
        let (response, mut stream) = extended(send, "/").await;
        let mut body = response.await.expect("an answer").into_body();
        stream.send_data(Bytes::from_static(b"hello"), true).expect("sent");
        let mut said = Vec::new();
        while let Some(piece) = body.data().await {
            said.extend_from_slice(&piece.expect("whole"));
        }
        said
    });
    assert_eq!(String::from_utf8_lossy(&said), "hi5 and the end");
    origin.wait_ended(1);
    // It takes the tunnel back.
    let send = h2.send.clone();
    h2.block_on(async move {
        let (response, mut stream) = extended(send, "/").await;
        let _body = response.await.expect("an answer");
        stream.send_reset(h2::Reason::CANCEL);
    });
    origin.wait_ended(2);
}
