//! WebSockets and other upgrades: tunnels that outlive reloads and end with the drain.

use std::io::{Read as _, Write as _};

use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::support::{Doorward, H2, Origin, PATIENCE, Setup, Tls, ca, signal};

type Socket = WebSocket<rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>>;

fn open(door: &Doorward) -> Socket {
    let tls = Tls::connect(door.https, "app.example.test");
    client("wss://app.example.test/socket", tls.stream).expect("an upgrade").0
}

fn echo(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).expect("sent");
    assert_eq!(socket.read().expect("an echo"), Message::text(text));
}

#[test]
fn messages_pass_both_ways() {
    let door = Doorward::for_app(Origin::websocket().address);
    let mut socket = open(&door);
    for text in ["hello", "", &"x".repeat(200_000)] {
        echo(&mut socket, text);
    }
    socket.close(None).expect("a close");
    while socket.read().is_ok() {}
}

#[test]
fn the_backend_hears_a_proper_upgrade() {
    let origin = Origin::scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhi");
        let mut byte = [0; 2];
        let _ = stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte));
        false
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, "app.example.test");
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: chat\r\n\r\n");
    let reply = client.send("yo").reply();
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("chat")));
    let seen = origin.only();
    assert_eq!(seen.header("upgrade"), Some("chat"));
    assert!(seen.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{}", seen.head);
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"), "also for an upgrade");
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    assert_eq!(rest, b"hiyo", "bytes that came with the heads are not lost");
}

#[test]
fn an_upgrade_that_is_refused_is_an_answer() {
    let door = Doorward::for_app(Origin::answering("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").address);
    let mut client = Tls::connect(door.https, "app.example.test");
    client.send("GET / HTTP/1.1\r\nHost: app.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.reply().status, 403);
    assert_eq!(client.get("app.example.test", "/").status, 403, "the connection goes on");
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_502() {
    let door = Doorward::for_app(
        Origin::answering("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n").address,
    );
    assert_eq!(Tls::connect(door.https, "app.example.test").get("app.example.test", "/").status, 502);
    assert_eq!(door.curl("https://app.example.test/").args(&["--http2"]).run().status, 502);
}

#[test]
fn a_socket_survives_reloads_and_certificate_swaps() {
    let door = Doorward::for_app(Origin::websocket().address);
    let mut socket = open(&door);
    for n in 0..3 {
        ca().leaf(&["app.example.test"]).issue().write(&door.certs("app.example.test"));
        door.rewrite(|text| format!("{text}\n# {n}\n"));
        assert!(door.reload());
        echo(&mut socket, "still here");
    }
    // Even one that takes the route away.
    door.rewrite(|text| text.replace("app.example.test", "else.example.test"));
    assert!(door.reload());
    echo(&mut socket, "still here");
}

#[test]
fn the_drain_closes_a_socket_at_its_deadline() {
    let mut door = Setup::new()
        .section("[timeouts]\ndrain = \"500ms\"")
        .host("app.example.test", Origin::websocket().address)
        .start();
    let mut socket = open(&door);
    socket.get_mut().sock.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let from = door.mark();
    signal(door.pid(), "TERM");
    echo(&mut socket, "until the deadline");
    assert!(door.wait().success(), "{:?}", &door.log()[from..]);
    assert!(socket.read().is_err());
}

#[test]
fn over_http2_a_stream_is_the_tunnel() {
    let origin = Origin::scripted(|_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi");
        let mut bytes = [0; 5];
        let _ = stream.read_exact(&mut bytes).and_then(|()| stream.write_all(&bytes));
        false
    });
    let door = Doorward::for_app(origin.address);
    let h2 = H2::connect(door.https, "app.example.test");
    let answer = h2.block_on(async {
        let mut send = h2.send.clone().ready().await.expect("settings");
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = http::Request::builder()
            .method("CONNECT")
            .uri("https://app.example.test/socket")
            .header("sec-websocket-version", "13")
            .body(())
            .expect("a request");
        request.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
        let (response, mut stream) = send.send_request(request, false).expect("sent");
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200);
        stream.send_data("hello".into(), false).expect("sent");
        let (mut body, mut all) = (response.into_body(), Vec::new());
        while let Some(piece) = body.data().await {
            all.extend_from_slice(&piece.expect("whole"));
        }
        all
    });
    assert_eq!(answer, b"hihello", "what the app says reaches the client, its end too");
    let seen = origin.only();
    assert!(seen.head.starts_with("GET /socket HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("sec-websocket-key").map(str::len), Some(24));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    // Plain CONNECT is still refused.
    let request = http::Request::builder().method("CONNECT").uri("app.example.test:443").body(()).expect("a request");
    assert_ne!(h2.request(request, None).map(|reply| reply.status).unwrap_or(0), 200);
}
