//! First bytes of every kind.

use super::*;

#[tokio::test]
async fn one_byte_segments_and_split_records_are_read() {
    let world = World::new();
    let acceptor = world.plain();
    let hello = first_flight(&world.client(&[&TLS13]), "a.example");
    let body = &hello[5..];
    let split: Vec<u8> = body
        .chunks(100)
        .flat_map(|piece| [&[22, 3, 1, 0, u8::try_from(piece.len()).expect("short")], piece].concat())
        .collect();
    for bytes in [hello, split] {
        let (mut near, mut far) = tokio::io::duplex(1);
        let sent = bytes.clone();
        let (read, ()) = tokio::join!(Hello::read(&mut far), async {
            for byte in &sent {
                near.write_all(&[*byte]).await.expect("a write");
            }
        });
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.sni.as_ref().map(Hostname::as_str), Some("a.example"));
        assert_eq!(read.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(read.bytes, bytes, "not a byte is lost");
        assert!(read.schemes.contains(&SignatureScheme::ECDSA_NISTP256_SHA256));

        // And the handshake goes on from there.
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        near.write_all(&bytes).await.expect("a write");
        let server = acceptor.accept(far, local([127, 0, 0, 1]), PEER);
        let answer = tokio::select! {
            _ = server => panic!("the client has not finished"),
            answer = near.read_u8() => answer,
        };
        assert_eq!(answer.ok(), Some(22), "a ServerHello");
    }
}

fn first_flight(config: &ClientConfig, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config.clone()), name).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("a ClientHello");
    bytes
}

/// What the server makes of these bytes, and what it answers to them.
async fn says(acceptor: &Acceptor, bytes: &[u8]) -> (AcceptError<DuplexStream>, Vec<u8>) {
    let (mut near, far) = tokio::io::duplex(256 * 1024);
    near.write_all(bytes).await.expect("a write");
    let error = acceptor.accept(far, local([127, 0, 0, 1]), PEER).await.expect_err("no handshake");
    if let AcceptError::PlainHttp(mut io) = error {
        io.write_all(b"400").await.expect("a write");
        io.shutdown().await.expect("a shutdown");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.expect("a read");
        return (AcceptError::PlainHttp(io), answer);
    }
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.expect("a read");
    (error, answer)
}

#[tokio::test]
async fn plain_http_is_handed_back_and_garbage_gets_an_alert() {
    let world = World::new();
    let acceptor = world.plain();
    for plain in ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "PROPFIND /x HTTP/1.1\r\n"] {
        let (error, answer) = says(&acceptor, plain.as_bytes()).await;
        assert_eq!((error.outcome(), &answer[..]), ("plain_http", &b"400"[..]), "{plain}");
    }
    let hello = first_flight(&world.client(&[&TLS13]), "a.example");
    let name = hello.windows(9).position(|w| w == b"a.example").expect("the SNI");
    let mut with_nul = hello.clone();
    with_nul[name + 1] = 0;
    let mut cut = hello.clone();
    cut[8] = 1; // the handshake message claims to be shorter than its contents
    let mut random = vec![0; 3000];
    fastrand::Rng::with_seed(7).fill(&mut random);
    let endless = [&[22, 3, 1, 0x40, 0], &vec![0; 0x4000][..]].concat().repeat(8);
    let huge = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0], &vec![0; 0x3ffc][..]].concat();
    let huge = [&huge[..], &[&[22, 3, 1, 0x40, 0], &vec![0; 0x4000][..]].concat().repeat(8)].concat();
    for (what, bytes) in [
        ("text", &b"hello, world"[..]),
        ("lower case", b"get / HTTP/1.1\r\n\r\n"),
        ("capitals", b"GARBAGE/GARBAGE"),
        ("many capitals", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("SSLv2", &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
        ("random", &random),
        ("a NUL in the name", &with_nul),
        ("wrong length", &cut),
        ("endless", &endless),
        ("huge", &huge),
        ("an alert", &[21, 3, 3, 0, 2, 2, 40]),
        ("application data", &[23, 3, 3, 0, 3, 1, 2, 3]),
    ] {
        let (error, answer) = says(&acceptor, bytes).await;
        assert_eq!(error.outcome(), "malformed", "{what}: {error}");
        assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{what}: a fatal alert, not {answer:?}");
    }
    let (near, far) = tokio::io::duplex(1024);
    drop(near);
    let gone = acceptor.accept(far, local([127, 0, 0, 1]), PEER).await.expect_err("nobody there");
    assert_eq!(gone.outcome(), "closed");
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    near.write_all(&hello).await.expect("a write");
    let (gone, ()) = tokio::join!(acceptor.accept(far, local([127, 0, 0, 1]), PEER), async { drop(near) });
    assert_eq!(gone.expect_err("nobody there").outcome(), "closed");
}
