//! Idle connections: one request on each, then nothing.

use std::io::{self, Read as _, Write as _};
use std::thread::ScopedJoinHandle;

use serde_json::{Value, json};

use crate::tls::{Client, Stream, Target};

/// Connections are opened by so many at once.
const THREADS: usize = 4;

/// Opens them, says so by a line on stdout, holds them until stdin ends, and counts those that were closed meanwhile.
pub(crate) fn run(target: &Target, connections: usize, h2: bool) -> Value {
    let opened: Vec<io::Result<Stream>> = std::thread::scope(|scope| {
        let threads: Vec<ScopedJoinHandle<'_, Vec<_>>> = (0..THREADS)
            .map(|n| {
                let count = connections / THREADS + usize::from(n < connections % THREADS);
                scope.spawn(move || {
                    let client = Client::new(target, false, if h2 { "h2" } else { "http/1.1" });
                    (0..count).map(|_| open(&client, target, h2)).collect()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let failed = opened.iter().filter(|stream| stream.is_err()).count();
    let error = opened.iter().find_map(|stream| stream.as_ref().err().map(ToString::to_string));
    let held: Vec<Stream> = opened.into_iter().flatten().collect();
    println!("{}", json!({ "held": held.len(), "failed": failed, "error": error }));
    io::copy(&mut io::stdin().lock(), &mut io::sink()).expect("stdin");
    let closed = held.iter().filter(|stream| is_closed(stream)).count();
    json!({ "held": held.len(), "failed": failed, "closed": closed })
}

fn open(client: &Client<'_>, target: &Target, h2: bool) -> io::Result<Stream> {
    let mut stream = client.connect()?;
    if h2 {
        get_h2(&mut stream, target)?;
    } else {
        stream.get(target, false)?;
    }
    Ok(stream)
}

fn is_closed(stream: &Stream) -> bool {
    let socket = stream.socket();
    let peeked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
    !matches!(peeked, Ok(1..)) && !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// One request over HTTP/2 (RFC 9113), and the answer to its end.
fn get_h2(stream: &mut Stream, target: &Target) -> io::Result<()> {
    const SETTINGS: u8 = 4;
    const ACK: u8 = 1;
    // HPACK (RFC 7541): `:method: GET` and `:scheme: https` from the static table, `:path` and `:authority` as text.
    let mut block = vec![0x82, 0x87];
    for (index, text) in [(0x04, &target.path), (0x01, &target.name)] {
        let length = u8::try_from(text.len()).ok().filter(|&length| length < 127).expect("short names");
        block.extend_from_slice(&[index, length]);
        block.extend_from_slice(text.as_bytes());
    }
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    out.extend_from_slice(&frame(SETTINGS, 0, 0, &[]));
    const HEADERS: u8 = 1;
    const END_STREAM_END_HEADERS: u8 = 0x5;
    out.extend_from_slice(&frame(HEADERS, END_STREAM_END_HEADERS, 1, &block));
    stream.write_all(&out)?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        io::copy(&mut io::Read::by_ref(stream).take(length as u64), &mut io::sink())?;
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        match (kind, id) {
            (SETTINGS, 0) if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            (0 | HEADERS, 1) if flags & 1 != 0 => return Ok(()),
            (3, 1) | (7, _) => return Err(io::Error::other("the stream or the connection was refused")),
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
