//! Backends: they note every byte that comes, and answer what the test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::wire::{find, parse_head, read_body, read_head};
use super::{PATIENCE, free, within};

/// A backend on a port of its own.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which of the backend's connections it came on, from 1.
    pub(crate) connection: usize,
    /// The head's bytes, as text.
    pub(crate) head: String,
    /// GET and so on.
    pub(crate) method: String,
    /// As in the request line.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Decoded.
    pub(crate) body: Vec<u8>,
    /// Of a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    opened: AtomicUsize,
    ended: AtomicUsize,
}

impl Origin {
    /// Answers with what it saw, as JSON.
    pub(crate) fn echo() -> Self {
        Self::answering_with(|seen| {
            let body = json!({
                "method": seen.method, "target": seen.target, "headers": seen.headers,
                "body": String::from_utf8_lossy(&seen.body), "length": seen.body.len(), "connection": seen.connection,
            })
            .to_string();
            let length = body.len();
            let body = if seen.method == "HEAD" { String::new() } else { body };
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        })
    }

    /// Answers every request with these bytes.
    pub(crate) fn answering(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Self::answering_with(move |_| bytes.clone())
    }

    /// Answers every request with this word.
    pub(crate) fn named(name: &str) -> Self {
        Self::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
    }

    /// Answers each request with bytes that depend on it. A `Connection: close` in them is kept.
    pub(crate) fn answering_with<A: AsRef<[u8]>>(answer: impl Fn(&Seen) -> A + Send + Sync + 'static) -> Self {
        Self::scripted(move |seen, stream| {
            let bytes = answer(seen);
            let close = String::from_utf8_lossy(bytes.as_ref()).to_ascii_lowercase().contains("connection: close");
            stream.write_all(bytes.as_ref()).is_ok() && !close
        })
    }

    /// Runs `script` for each request; the connection goes on where it returns true.
    pub(crate) fn scripted(script: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        Self::start(move |state, mut stream, connection| {
            while let Some(seen) = read_request(&mut stream, connection) {
                state.seen.lock().expect("no script panics").push(seen.clone());
                if !script(&seen, &mut stream) {
                    break;
                }
            }
        })
    }

    /// Runs `script` for each connection, with its number from 1; nothing is read or noted.
    pub(crate) fn raw(script: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        Self::start(move |_, stream, connection| script(stream, connection))
    }

    /// Echoes WebSocket messages.
    pub(crate) fn websocket() -> Self {
        Self::raw(|stream, _| {
            let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream) else { return };
            while let Ok(message) = socket.read() {
                if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                    return;
                }
            }
        })
    }

    /// All requests up to now.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("no script panics").clone()
    }

    /// The only request that came.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// How many connections came.
    pub(crate) fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// Waits until this many connections were dealt with to their end.
    pub(crate) fn wait_ended(&self, connections: usize) {
        within("the end of the backend's connection", || {
            (self.state.ended.load(Ordering::SeqCst) >= connections).then_some(())
        });
    }

    fn start(serve: impl Fn(&State, TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, serve) = (Arc::new(State::default()), Arc::new(serve));
        let shared = Arc::clone(&state);
        // It lives as long as the tests: a port that nobody knows any more does no harm.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                let connection = state.opened.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    serve(&state, stream, connection);
                    state.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }
}

impl Seen {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// An address where nothing listens.
pub(crate) fn nobody() -> SocketAddr {
    free("127.0.0.1")
}

/// Ends a connection with a reset where `SO_LINGER` would; here: both ways at once.
pub(crate) fn cut(stream: &TcpStream) {
    // Where the other side was faster there is nothing left to cut.
    let _ = stream.shutdown(Shutdown::Both);
}

/// Reads until the other side ends; how much came.
pub(crate) fn drain(stream: &mut TcpStream) -> usize {
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        total += read;
    }
    total
}

fn read_request(stream: &mut TcpStream, connection: usize) -> Option<Seen> {
    let head = read_head(stream)?;
    // Once a request has begun it has to come to its end.
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let (start, headers) = parse_head(&head);
    let mut words = start.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    if find(&headers, "expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    if read_body(stream, &headers, &mut body, &mut trailers) == Some(super::Ended::Cut) {
        return None;
    }
    stream.set_read_timeout(None).ok()?;
    let head = String::from_utf8_lossy(&head).into_owned();
    Some(Seen { connection, head, method, target, headers, body, trailers })
}
