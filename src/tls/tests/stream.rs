//! A finished connection's bytes: whole and in order through pipes of any width, with clean and unclean ends.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::net::Transport;

/// A connection over a pipe that holds `width` bytes each way.
async fn pair(width: usize) -> (Stream<DuplexStream>, client::TlsStream<DuplexStream>) {
    pair_of(width, &[&TLS13]).await
}

async fn pair_of(
    width: usize,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (Stream<DuplexStream>, client::TlsStream<DuplexStream>) {
    pair_over(width, versions, |pipe| pipe).await
}

/// With the server's end of the pipe as `wrap` makes it.
async fn pair_over<IO: AsyncRead + AsyncWrite + Unpin>(
    width: usize,
    versions: &[&'static rustls::SupportedProtocolVersion],
    wrap: impl FnOnce(DuplexStream) -> IO,
) -> (Stream<IO>, client::TlsStream<DuplexStream>) {
    let world = World::new();
    let acceptor = world.plain();
    let connector = TlsConnector::from(Arc::new(world.client(versions)));
    let (near, far) = tokio::io::duplex(width);
    let name = ServerName::try_from("a.example").expect("a name");
    let at = local([198, 51, 100, 1]);
    let connect = async {
        let mut connected = connector.connect(name, near).await.expect("a handshake");
        connected.flush().await.expect("the handshake's end is sent");
        connected
    };
    let (served, connected) = tokio::join!(acceptor.accept(wrap(far), at, PEER), connect);
    (served.expect("a handshake").stream, connected)
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[tokio::test]
async fn what_is_written_comes_out_whole_whatever_the_pipe_holds() {
    for (width, versions) in
        [(16, &TLS12), (16, &TLS13), (777, &TLS12), (20_000, &TLS13), (1 << 20, &TLS12), (1 << 20, &TLS13)]
    {
        let length = if width == 16 { 30_000 } else { 500_000 };
        let (up, down) = (noise(length, 1), noise(length, 2));
        let (server, client) = pair_of(width, &[versions]).await;
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (tokio::io::split(server), tokio::io::split(client));
        let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
        let (one, two, three, four) = tokio::join!(
            async {
                to_server.write_all(&up).await?;
                to_server.shutdown().await
            },
            async {
                to_client.write_all(&down).await?;
                to_client.shutdown().await
            },
            from_client.read_to_end(&mut got_up),
            from_server.read_to_end(&mut got_down),
        );
        one.expect("sent");
        two.expect("sent");
        three.expect("a clean end");
        four.expect("a clean end");
        assert!(got_up == up && got_down == down, "changed on the way through {width} bytes");
    }
}

#[tokio::test]
async fn a_reader_with_little_room_gets_it_all() {
    let (mut server, mut client) = pair(1 << 20).await;
    let data = noise(100_000, 3);
    client.write_all(&data).await.expect("sent");
    client.shutdown().await.expect("shut");
    let (mut got, mut random) = (Vec::new(), fastrand::Rng::with_seed(4));
    loop {
        let mut piece = vec![0; random.usize(1..3_000)];
        match server.read(&mut piece).await.expect("a clean end") {
            0 => break,
            n => got.extend_from_slice(&piece[..n]),
        }
        // Between the reads it can be written to, whatever waits to be read.
        server.write_all(b"!").await.expect("sent");
    }
    assert!(got == data);
}

#[tokio::test]
async fn a_read_takes_as_many_whole_records_as_the_reader_has_room_for() {
    let (mut server, mut client) = pair(1 << 20).await;
    let (data, room) = (noise(512 * 1024, 5), 64 * 1024);
    client.write_all(&data).await.expect("sent");
    client.flush().await.expect("sent");
    let mut got = vec![0; data.len()];
    for piece in got.chunks_mut(room) {
        assert_eq!(server.read(piece).await.expect("read"), room, "no record is kept for the next read");
    }
    assert!(got == data);
}

#[tokio::test]
async fn little_of_the_next_record_is_read_ahead_for_a_reader_of_one() {
    let counts = Rc::new(Counts::default());
    let (mut server, mut client) = pair_over(1 << 20, &[&TLS13], |pipe| Counted(pipe, Rc::clone(&counts))).await;
    let (data, record) = (noise(512 * 1024, 6), 16 * 1024);
    client.write_all(&data).await.expect("sent");
    client.flush().await.expect("sent");
    let (before, mut got) = (counts.read.get(), vec![0; data.len()]);
    for (n, piece) in got.chunks_mut(record).enumerate() {
        server.read_exact(piece).await.expect("read");
        let ahead = counts.read.get() - before - (n + 1) * (record + 22);
        // The first is read before its length is known.
        assert!(ahead <= if n == 0 { 1024 } else { 256 }, "{ahead} bytes of the next after {n}");
    }
    assert!(got == data);
}

#[tokio::test]
async fn slices_are_written_in_their_order() {
    let (mut server, mut client) = pair(1 << 20).await;
    let data = noise(70_000, 5);
    let slices = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(&data), IoSlice::new(b"tail")];
    let all = [b"head", &data[..], b"tail"].concat();
    let written = std::future::poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &slices)).await;
    let written = written.expect("a write");
    assert!(written > 4, "{written}");
    server.write_all(&all[written..]).await.expect("sent");
    server.shutdown().await.expect("shut");
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.expect("a clean end");
    assert!(got == all);
}

#[tokio::test]
async fn all_that_a_client_says_may_come_with_the_end_of_its_handshake() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let world = World::new();
    let mut config = world.client(&[&TLS13]);
    config.alpn_protocols.clear();
    let name = ServerName::try_from("a.example").expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let acceptor = world.plain();
    let (mut reader, mut writer) = tokio::io::split(near);
    let speak = async {
        while client.is_handshaking() {
            let mut out = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut out).expect("a Vec takes all");
            }
            writer.write_all(&out).await.expect("sent");
            let mut flight = [0; 4096];
            let n = reader.read(&mut flight).await.expect("a flight");
            let mut flight = &flight[..n];
            while !flight.is_empty() {
                client.read_tls(&mut flight).expect("read");
                client.process_new_packets().expect("sound");
            }
        }
        std::io::Write::write_all(&mut client.writer(), b"all of it").expect("taken");
        client.send_close_notify();
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).expect("a Vec takes all");
        }
        writer.write_all(&out).await.expect("sent");
    };
    let (served, ()) = tokio::join!(acceptor.accept(far, local([198, 51, 100, 1]), PEER), speak);
    let mut stream = served.expect("a handshake").stream;
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.expect("a clean end");
    assert_eq!(got, b"all of it");
    stream.write_all(b"and ours").await.expect("its end is not ours");
}

#[tokio::test]
async fn an_end_without_a_notice_is_an_error() {
    let (mut server, mut client) = pair(1 << 20).await;
    client.write_all(b"cut").await.expect("sent");
    client.flush().await.expect("sent");
    drop(client.into_inner());
    let mut got = Vec::new();
    let error = server.read_to_end(&mut got).await.expect_err("cut short");
    assert_eq!((error.kind(), &*got), (ErrorKind::UnexpectedEof, &b"cut"[..]));
}

#[tokio::test]
async fn a_broken_record_is_an_error_and_the_client_hears_of_it() {
    let (mut server, mut client) = pair(1 << 20).await;
    client
        .get_mut()
        .0
        .write_all(&[23, 3, 3, 0, 20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        .await
        .expect("sent");
    let error = server.read_u8().await.expect_err("no sound record");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let alert = client.read_u8().await.expect_err("an alert");
    assert!(alert.to_string().contains("BadRecordMac"), "{alert}");
    // Whoever goes on all the same hears of it again, and nothing breaks.
    assert_eq!(server.read_u8().await.expect_err("still").kind(), ErrorKind::InvalidData);
    assert!(server.write_all(b"x").await.is_err());
}

/// Counts what passes.
struct Counted(DuplexStream, Rc<Counts>);

#[derive(Default)]
struct Counts {
    writes: Cell<usize>,
    /// Bytes.
    read: Cell<usize>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, out);
        self.1.read.set(self.1.read.get() + out.filled().len() - before);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.1.writes.set(self.1.writes.get() + 1);
        Pin::new(&mut self.0).poll_write(cx, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Transport for Counted {
    fn reset_on_drop(&mut self) {}
    fn end_untold(&mut self) {}
}

#[tokio::test]
async fn tickets_wait_for_the_answer_and_the_end_goes_with_it() {
    let counts = Rc::new(Counts::default());
    let (mut served, mut client) = pair_over(64 * 1024, &[&TLS13], |pipe| Counted(pipe, Rc::clone(&counts))).await;
    assert_eq!(counts.writes.get(), 1, "one flight");
    client.write_all(b"ask").await.expect("written");
    let mut asked = [0; 3];
    served.read_exact(&mut asked).await.expect("asked");
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut more = [0; 1];
    assert!(Pin::new(&mut served).poll_read(&mut cx, &mut ReadBuf::new(&mut more)).is_pending());
    assert_eq!(counts.writes.get(), 1, "nothing for a client that waits for an answer");
    served.ends_with_next_write();
    served.write_all(b"answer").await.expect("written");
    served.shutdown().await.expect("ended");
    assert_eq!(counts.writes.get(), 2, "all in one");
    assert_eq!(client.get_ref().1.tls13_tickets_received(), 0, "they waited");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("ended by close_notify");
    assert_eq!((answer.as_str(), client.get_ref().1.tls13_tickets_received() > 0), ("answer", true));
}
