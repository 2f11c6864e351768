//! [`Session`]: one client's TLS without its socket: records in, records out.
//!
//! It drives rustls' unbuffered connection, so that a connection that waits holds no buffer at all: records are
//! decrypted where the thread has read them, and encrypted into a buffer of the thread's.

use std::io;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error, ServerConfig};
use tokio::io::ReadBuf;

/// More than a record adds to what it carries: its header, and an explicit nonce and a tag (RFC 5246 §6.2.3.3), or
/// an inner content type and a tag (RFC 8446 §5.2).
const OVERHEAD: usize = 32;
/// What tells a record's length (RFC 8446 §5.1).
const HEADER: usize = 5;
/// The longest piece that one record carries (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;

/// The server's side of a connection, with what of it waits to be used or sent.
pub(super) struct Session {
    connection: Box<UnbufferedServerConnection>,
    /// Records that nobody asked for yet, and the beginning of one.
    incoming: Vec<u8>,
    /// Whether `incoming` may hold whole records.
    more: bool,
    /// What was decrypted beyond what the reader had room for, less what it has `taken` since.
    plain: Vec<u8>,
    taken: usize,
    /// Records to send, less those that are `sent`.
    outgoing: Vec<u8>,
    sent: usize,
    peer_closed: bool,
    closing: bool,
    /// Whether the client has sent data, and whether it was sent any.
    asked: bool,
    answered: bool,
    /// What the client did that ended the session.
    broken: Option<Error>,
}

/// What a handshake needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More from the client.
    Read,
    /// Nothing: it is done.
    Done,
    /// Nothing: the client has ended the connection.
    Closed,
}

type Writing<'a> = &'a mut dyn FnMut(&mut WriteTraffic<'_, ServerConnectionData>) -> Result<(), EncryptError>;

impl Session {
    /// A session whose client has sent `hello` so far.
    pub(super) fn new(config: Arc<ServerConfig>, hello: Vec<u8>) -> Result<Self, Error> {
        Ok(Self {
            connection: Box::new(UnbufferedServerConnection::new(config)?),
            incoming: hello,
            more: true,
            plain: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            sent: 0,
            peer_closed: false,
            closing: false,
            asked: false,
            answered: false,
            broken: None,
        })
    }

    /// What was agreed.
    pub(super) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// Where more of the handshake is to be put before the next [`Session::handshake`].
    pub(super) fn incoming(&mut self) -> &mut Vec<u8> {
        &mut self.incoming
    }

    /// Goes on with the handshake as far as it can. What is to be sent now is in [`Session::unsent`].
    ///
    /// # Errors
    /// The client breaks a rule, or there is nothing in common; the alert is to be sent.
    pub(super) fn handshake(&mut self) -> Result<Next, Error> {
        self.run_waiting(None)?;
        Ok(match (self.connection.is_handshaking(), self.peer_closed) {
            (true, true) => Next::Closed,
            (true, false) => Next::Read,
            // All that the client had to say may have come with the handshake's end.
            (false, _) => Next::Done,
        })
    }

    /// Gives what can be had without another read. False: nothing.
    ///
    /// # Errors
    /// As [`Session::decrypt`].
    pub(super) fn read_waiting(&mut self, out: &mut ReadBuf<'_>) -> Result<bool, Error> {
        let before = out.filled().len();
        if self.plain.is_empty()
            && let Some(error) = &self.broken
        {
            return Err(error.clone());
        }
        give(&self.plain, &mut self.taken, out);
        if self.taken == self.plain.len() && self.taken > 0 {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
        if self.more && out.remaining() > 0 {
            let mut records = std::mem::take(&mut self.incoming);
            self.decrypt(&mut records, out)?;
        }
        Ok(out.filled().len() > before)
    }

    /// Copies records that wait to the front of `scratch`, where those that follow are then read behind them.
    ///
    /// # Errors
    /// They are more than half of `scratch`: the client has put so much into one message.
    pub(super) fn unpack(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let waiting = std::mem::take(&mut self.incoming);
        if waiting.len() > scratch.len() / 2 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of TLS is too long"));
        }
        scratch[..waiting.len()].copy_from_slice(&waiting);
        Ok(waiting.len())
    }

    /// Keeps what [`Session::unpack`] gave out, where nothing came behind it.
    pub(super) fn repack(&mut self, records: &[u8]) {
        self.incoming = records.to_vec();
    }

    /// Where the record ends that `records` begin with, if that can be told yet (RFC 8446 §5.1).
    pub(super) fn record_end(records: &[u8]) -> Option<usize> {
        let header = records.first_chunk::<HEADER>()?;
        Some(HEADER + usize::from(u16::from_be_bytes([header[3], header[4]])))
    }

    /// Decrypts `records` in place and gives `out` what it has room for. What is left is kept.
    ///
    /// # Errors
    /// The client breaks a rule; the alert is to be sent.
    pub(super) fn decrypt(&mut self, records: &mut [u8], out: &mut ReadBuf<'_>) -> Result<(), Error> {
        let (used, result) = self.run(records, Some(out), None);
        self.incoming = records[used..].to_vec();
        self.more = out.remaining() == 0 && !self.incoming.is_empty();
        result
    }

    /// Whether the client has said that it sends no more (RFC 8446 §6.1).
    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// The most that [`Session::encrypt`] makes of `pieces` of `length` bytes in all.
    pub(super) const fn encrypted(length: usize, pieces: usize) -> usize {
        // A KeyUpdate may go ahead of them (RFC 8446 §4.6.3), and close_notify behind.
        length + (length / RECORD + pieces + 3) * OVERHEAD
    }

    /// Encrypts each of `pieces` into `out`, and where they are the last what [`Session::close`] tells the client as
    /// well. Says how many bytes that gave.
    ///
    /// # Errors
    /// The connection takes no more.
    pub(super) fn encrypt<'p>(
        &mut self,
        pieces: impl Iterator<Item = &'p [u8]>,
        last: bool,
        out: &mut [u8],
    ) -> io::Result<usize> {
        let mut pieces = pieces;
        let mut length = 0;
        self.answered = true;
        self.write(&mut |traffic| {
            for piece in &mut pieces {
                length += traffic.encrypt(piece, &mut out[length..])?;
            }
            if last {
                length += traffic.queue_close_notify(&mut out[length..])?;
            }
            Ok(())
        })?;
        self.closing |= last;
        Ok(length)
    }

    /// Whether the client has asked for something and was sent nothing yet: what is unsent are tickets, of no use to
    /// it before its answer, with which they go.
    pub(super) fn owes_an_answer(&self) -> bool {
        self.asked && !self.answered
    }

    /// Has the client told that nothing more comes (RFC 8446 §6.1), once.
    pub(super) fn close(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.closing, true) {
            return Ok(());
        }
        let (mut out, mut length) = ([0; Self::encrypted(0, 2)], 0);
        self.write(&mut |traffic| {
            length = traffic.queue_close_notify(&mut out)?;
            Ok(())
        })?;
        self.queue(&out[..length]);
        Ok(())
    }

    /// Records to send.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// So many bytes of [`Session::unsent`] are sent.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.outgoing.len() {
            (self.outgoing, self.sent) = (Vec::new(), 0);
        }
    }

    /// Adds `records` to [`Session::unsent`].
    pub(super) fn queue(&mut self, records: &[u8]) {
        self.outgoing.extend_from_slice(records);
    }

    fn write(&mut self, writing: Writing<'_>) -> io::Result<()> {
        let mut written = Err(EncryptError::EncryptExhausted);
        self.run_waiting(Some(&mut |traffic| {
            written = writing(traffic);
            Ok(())
        }))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // Never too small: the size is `encrypted`'s. Exhausted: keys, or the connection is closed.
        written.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error.to_string()))
    }

    /// Goes through the records that wait, without a reader. rustls has to see the beginning of a message again
    /// whatever it is asked for.
    fn run_waiting(&mut self, writing: Option<Writing<'_>>) -> Result<(), Error> {
        let mut records = std::mem::take(&mut self.incoming);
        let (used, result) = self.run(&mut records, None, writing);
        records.drain(..used);
        self.incoming = records;
        self.more = false;
        result
    }

    /// Has rustls go through `records` until it wants more of them, or `out` is full. Says how many bytes are used up.
    fn run(
        &mut self,
        records: &mut [u8],
        mut out: Option<&mut ReadBuf<'_>>,
        writing: Option<Writing<'_>>,
    ) -> (usize, Result<(), Error>) {
        let mut used = 0;
        if let Some(error) = &self.broken {
            return (records.len(), Err(error.clone()));
        }
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut records[used..]);
            let mut discard = discard;
            let result = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            discard += record.discard;
                            self.asked |= !record.payload.is_empty();
                            let mut given = 0;
                            if let Some(out) = out.as_deref_mut() {
                                give(record.payload, &mut given, out);
                            }
                            self.plain.extend_from_slice(&record.payload[given..]);
                        }
                        Some(Err(error)) => break Err(error),
                        None => break Ok(out.as_ref().is_none_or(|out| out.remaining() > 0)),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(encode)) => {
                    append(encode, &mut self.outgoing);
                    Ok(true)
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    // It is in the queue, which is sent before anything else.
                    transmit.done();
                    Ok(true)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    Ok(true)
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if let Some(writing) = writing {
                        // What it says is the caller's, who keeps it.
                        let _kept = writing(&mut traffic);
                    }
                    return (used + discard, Ok(()));
                }
                // Early data is off: rustls never gives any.
                Ok(ConnectionState::ReadEarlyData(_)) => Err(Error::General("early data".to_owned())),
                Ok(_) => Ok(false),
                Err(error) => Err(error),
            };
            used += discard;
            match result {
                Ok(true) => {}
                Ok(false) => return (used, Ok(())),
                Err(error) => {
                    self.take_alert(&mut records[used..]);
                    self.broken = Some(error.clone());
                    return (used, Err(error));
                }
            }
        }
    }

    /// Takes the alert that tells the client of an error.
    fn take_alert(&mut self, records: &mut [u8]) {
        // Once there is none rustls would go on with the records, and find the same error again.
        while self.connection.wants_write()
            && let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(encode)), .. } =
                self.connection.process_tls_records(records)
        {
            append(encode, &mut self.outgoing);
        }
    }
}

fn append(mut encode: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) {
    // Too small for anything: asks for the size.
    let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = encode.encode(&mut []) else {
        return;
    };
    let start = outgoing.len();
    outgoing.resize(start + required_size, 0);
    let written = encode.encode(&mut outgoing[start..]).unwrap_or(0);
    outgoing.truncate(start + written);
}

/// Gives `out` what it has room for of `data` beyond `given`.
fn give(data: &[u8], given: &mut usize, out: &mut ReadBuf<'_>) {
    let rest = &data[*given..];
    let n = rest.len().min(out.remaining());
    out.put_slice(&rest[..n]);
    *given += n;
}
