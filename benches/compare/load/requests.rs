//! Requests over kept HTTP/1.1 connections, one at a time on each, as fast as they are answered. One thread looks after
//! all of them and does as little as it can, so that what is measured is the contender and not this.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConnection;
use serde_json::{Value, json};

use crate::tls::{Client, PATIENCE, Stream, Target};

/// How much.
#[derive(Args)]
pub(crate) struct Load {
    /// For how long.
    #[arg(long)]
    seconds: f64,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

/// Runs the load.
pub(crate) fn run(target: &Target, load: &Load) -> Value {
    let began = Instant::now();
    let mut tally = Tally::default();
    if let Err(error) = drive(target, load, &mut tally) {
        tally.failed += 1;
        tally.errors.insert(error.to_string());
    }
    json!({
        "done": tally.done,
        "failed": tally.failed,
        "seconds": began.elapsed().as_secs_f64(),
        "agreed": tally.agreed,
        "errors": tally.errors,
    })
}

#[derive(Default)]
struct Tally {
    done: u64,
    failed: u64,
    agreed: BTreeSet<String>,
    errors: BTreeSet<String>,
}

fn drive(target: &Target, load: &Load, tally: &mut Tally) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(load.connections));
    let client = Client::new(target, false, "http/1.1");
    let mut users = (0..load.connections)
        .map(|_| User::connect(target, &client, &mut tally.agreed))
        .collect::<io::Result<Vec<_>>>()?;
    for (at, user) in users.iter_mut().enumerate() {
        poll.registry().register(&mut user.socket, Token(at), Interest::READABLE)?;
        user.ask()?;
    }
    let until = Instant::now() + Duration::from_secs_f64(load.seconds);
    let mut under_way = users.len();
    while under_way > 0 {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs())));
        }
        let goes_on = Instant::now() < until;
        for event in &events {
            let user = &mut users[event.token().0];
            if !user.read()? {
                continue;
            }
            tally.done += 1;
            if goes_on {
                user.ask()?;
            } else {
                under_way -= 1;
            }
        }
    }
    Ok(())
}

/// One connection.
struct User {
    tls: ClientConnection,
    socket: TcpStream,
    request: Vec<u8>,
    /// Bytes of each answer: as many as the first one had, which was read as HTTP.
    length: usize,
    /// Bytes that the answer of now still has.
    left: usize,
}

impl User {
    fn connect(target: &Target, client: &Client<'_>, agreed: &mut BTreeSet<String>) -> io::Result<Self> {
        let mut stream = client.connect()?;
        agreed.insert(stream.agreed());
        let length = stream.get(target, false)?;
        let Stream::Tls(stream) = stream else { return Err(io::Error::other("this load is for TLS")) };
        let (tls, socket) = stream.into_parts();
        socket.set_nonblocking(true)?;
        let request = target.request(false).into_bytes();
        Ok(Self { tls, socket: TcpStream::from_std(socket), request, length, left: 0 })
    }

    fn ask(&mut self) -> io::Result<()> {
        self.left = self.length;
        self.tls.writer().write_all(&self.request)?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Reads once, as what comes later wakes again; whether the answer is whole.
    fn read(&mut self) -> io::Result<bool> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let mut room = [0; 16 * 1024];
        let read = match state.plaintext_bytes_to_read() {
            0 => 0,
            _ => self.tls.reader().read(&mut room)?,
        };
        if self.left == self.length && read > 0 && !room.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other("answered by something else than 200"));
        }
        self.left =
            self.left.checked_sub(read).ok_or_else(|| io::Error::other("an answer is longer than the first"))?;
        Ok(self.left == 0 && read > 0)
    }
}
