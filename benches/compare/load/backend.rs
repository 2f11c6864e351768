//! The app behind the contenders: one thread that does as little for a request as can be done, so that what is measured
//! is the contender and not this. A body is dropped in the kernel (`MSG_TRUNC`, tcp(7)), a file sent by it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

/// Heads are no longer than this, nor have they more fields than that.
const HEAD: usize = 16 * 1024;
const FIELDS: usize = 64;
/// What is taken of a body, or given of a file, by one call.
const MOST: usize = 1 << 20;

/// A proxy connects for all its streams at once; whom there is no room for tries again after a second.
const BACKLOG: i32 = 4096;

const TINY: &str = "/tiny";
const UPLOAD: &str = "/upload";

const LISTENER: Token = Token(usize::MAX);

/// Where.
#[derive(Args)]
pub(crate) struct Place {
    /// Where it listens.
    #[arg(long)]
    address: SocketAddr,
    /// The folder of the files that it serves, by their names.
    #[arg(long)]
    files: PathBuf,
}

/// Serves until it is killed: `/tiny`, `/1k` and files, and `/upload` once all of a body is there.
pub(crate) fn run(place: &Place) -> Value {
    let error = Backend::new(place).and_then(|mut backend| backend.serve()).expect_err("it serves until it is killed");
    json!({ "error": error.to_string() })
}

struct Backend {
    listener: TcpListener,
    poll: Poll,
    connections: HashMap<Token, Connection>,
    accepted: usize,
    answers: Answers,
}

impl Backend {
    fn new(place: &Place) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(place.address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&place.address.into())?;
        socket.listen(BACKLOG)?;
        let (mut listener, poll) = (TcpListener::from_std(socket.into()), Poll::new()?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let answers = Answers::new(place)?;
        Ok(Self { listener, poll, connections: HashMap::new(), accepted: 0, answers })
    }

    fn serve(&mut self) -> io::Result<Value> {
        let mut events = Events::with_capacity(1024);
        // Nobody ever writes to it, so it takes no memory.
        let mut sink = vec![0; MOST];
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                let token = event.token();
                if token == LISTENER {
                    self.accept()?;
                } else if let Some(connection) = self.connections.get_mut(&token)
                    && let Err(error) = connection.go_on(&self.answers, &mut sink)
                {
                    self.connections.remove(&token);
                    if error.kind() != ErrorKind::UnexpectedEof {
                        println!("{}", json!({ "error": error.to_string() }));
                    }
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let token = Token(self.accepted);
            self.accepted += 1;
            self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            self.connections.insert(token, Connection { socket, head: Vec::new(), now: Now::Head });
        }
    }
}

/// What there is to answer.
struct Answers {
    /// By path, whole.
    small: HashMap<&'static str, Vec<u8>>,
    /// By path: head, file and its length.
    files: HashMap<String, (Vec<u8>, Rc<File>, u64)>,
}

impl Answers {
    fn new(place: &Place) -> io::Result<Self> {
        let mut files = HashMap::new();
        for entry in std::fs::read_dir(&place.files)? {
            let entry = entry?;
            let length = entry.metadata()?.len();
            let file = Rc::new(File::open(entry.path())?);
            files.insert(format!("/{}", entry.file_name().to_string_lossy()), (head(length), file, length));
        }
        let small = [(TINY, b"ok".to_vec()), ("/1k", vec![b'x'; 1024])]
            .map(|(path, body)| (path, [head(body.len() as u64), body].concat()));
        Ok(Self { small: small.into(), files })
    }
}

/// The fields that an app's answer has.
fn head(length: u64) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let fixed = "HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: application/octet-stream\r\n";
    format!("{fixed}Date: {date}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

struct Connection {
    socket: TcpStream,
    /// What was read and not understood yet.
    head: Vec<u8>,
    now: Now,
}

enum Now {
    /// Waits for a request, or the rest of its head.
    Head,
    /// Takes so much more of a body.
    Body(usize),
    /// Sends a file from there to its end.
    File(Rc<File>, u64, u64),
}

impl Connection {
    /// As far as it goes without waiting; an error ends the connection.
    fn go_on(&mut self, answers: &Answers, sink: &mut [u8]) -> io::Result<()> {
        while match self.now {
            Now::Head => self.read(answers)?,
            Now::Body(_) => self.drop_body(answers, sink)?,
            Now::File(..) => self.send_file()?,
        } {}
        Ok(())
    }

    /// Reads once; whether there may be more to do.
    fn read(&mut self, answers: &Answers) -> io::Result<bool> {
        let mut room = [0; HEAD];
        let read = match self.socket.read(&mut room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let begun = std::mem::take(&mut self.head);
        let bytes = if begun.is_empty() { Cow::from(&room[..read]) } else { [&begun, &room[..read]].concat().into() };
        let used = self.answer(&bytes, answers)?;
        self.head = bytes[used..].to_vec();
        if self.head.len() > HEAD {
            return Err(io::Error::new(ErrorKind::InvalidData, "a head is too long"));
        }
        // Less than there was room for: what comes later wakes again.
        Ok(!matches!(self.now, Now::Head) || read == room.len())
    }

    /// Answers the requests that are there; how many bytes they were.
    fn answer(&mut self, bytes: &[u8], answers: &Answers) -> io::Result<usize> {
        let mut used = 0;
        while matches!(self.now, Now::Head) && used < bytes.len() {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            let mut request = httparse::Request::new(&mut fields);
            let head = request.parse(&bytes[used..]).map_err(io::Error::other)?;
            let httparse::Status::Complete(head) = head else { break };
            used += head;
            let path = request.path.unwrap_or_default();
            if let Some(answer) = answers.small.get(path) {
                self.socket.write_all(answer)?;
            } else if path == UPLOAD {
                let length = length(request.headers)?;
                let there = length.min(bytes.len() - used);
                used += there;
                self.now = Now::Body(length - there);
            } else if let Some((head, file, end)) = answers.files.get(path) {
                self.socket.write_all(head)?;
                self.now = Now::File(Rc::clone(file), 0, *end);
            } else {
                return Err(io::Error::new(ErrorKind::NotFound, format!("nobody serves {path}")));
            }
        }
        Ok(used)
    }

    fn drop_body(&mut self, answers: &Answers, sink: &mut [u8]) -> io::Result<bool> {
        let Now::Body(left) = &mut self.now else { return Ok(true) };
        if *left == 0 {
            self.now = Now::Head;
            self.socket.write_all(&answers.small[TINY])?;
            return Ok(true);
        }
        match recv(&self.socket, &mut sink[..(*left).min(MOST)], RecvFlags::TRUNC) {
            Ok((_, 0)) => Err(ErrorKind::UnexpectedEof.into()),
            Ok((_, read)) => {
                *left -= read;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn send_file(&mut self) -> io::Result<bool> {
        let Now::File(file, at, end) = &mut self.now else { return Ok(true) };
        if at == end {
            self.now = Now::Head;
            return Ok(true);
        }
        match sendfile(&self.socket, &**file, Some(at), MOST) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "a file became shorter")),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Proxies that pass a body on without its length are not met here.
fn length(fields: &[httparse::Header<'_>]) -> io::Result<usize> {
    fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok())
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "an upload without its length"))
}
