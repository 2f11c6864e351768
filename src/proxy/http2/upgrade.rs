//! WebSockets over HTTP/2 (RFC 8441): a stream that is a tunnel.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::access_log::Record;
use super::super::{Proxy, tunnel as relay};
use super::allowance::Allowance;
use super::head::http_head;
use crate::backend::Connection;
use crate::http1::{Framing, ResponseHead};
use crate::net::{Deadline, Inbox, Outbox, Transport};

/// What is queued for the client at once; more waits for its window.
const PIECE: usize = 16 * 1024;

/// Tells the client that the app agreed, then passes on whatever is said.
#[expect(clippy::too_many_arguments, reason = "one caller, which has just found all of them out")]
pub(super) async fn tunnel(
    proxy: &Proxy,
    mut respond: SendResponse<Bytes>,
    recv: RecvStream,
    allowance: &Rc<Allowance>,
    response: &ResponseHead,
    connection: Connection,
    deadline: &Deadline,
    record: &mut Record,
) {
    record.status = 200;
    // 101 is of HTTP/1.1; here the tunnel begins with a 200, and the key's proof is not asked for (RFC 8441 §5).
    let mut head = http_head(response, Framing::None);
    *head.status_mut() = http::StatusCode::OK;
    head.headers_mut().remove("sec-websocket-accept");
    let Ok(send) = respond.send_response(head, false) else {
        record.error = Some(("client_gone", None));
        return;
    };
    let allowance = Rc::clone(allowance);
    let stream = Stream { recv, send, allowance, read: Bytes::new(), ended: false };
    let mut client = relay::End { io: stream, inbox: Inbox::new(), outbox: Outbox::default() };
    let (io, inbox, outbox, _in_flight) = connection.into_parts();
    let mut backend = relay::End { io, inbox, outbox };
    let patience = relay::Patience::from(&proxy.settings().timeouts);
    proxy.metrics.tunnels.inc();
    let moved = |moved: relay::Moved| (record.bytes_in, record.bytes_out) = (moved.up, moved.down);
    let ended = relay::relay(&mut client, &mut backend, deadline, patience, moved).await;
    record.error = ended.failure();
    proxy.metrics.tunnels.dec();
}

/// A stream as bytes both ways. One that is dropped before both sides have ended is reset.
struct Stream {
    recv: RecvStream,
    send: SendStream<Bytes>,
    allowance: Rc<Allowance>,
    read: Bytes,
    ended: bool,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => self.read = data.map_err(io::Error::other)?,
            }
        }
        let length = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..length]);
        self.read.advance(length);
        // Fails where the stream is gone, which the next read tells.
        let _ = self.recv.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(reset) = self.send.poll_reset(cx) {
            return Poll::Ready(Err(reset.map_or_else(io::Error::other, gone)));
        }
        self.send.reserve_capacity(buf.len().min(PIECE));
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let length = buf.len().min(self.send.capacity());
        if length == buf.len() {
            // Not where the client's window made the piece small.
            self.allowance.earn_by_piece(length);
        }
        self.send.send_data(Bytes::copy_from_slice(&buf[..length]), false).map_err(io::Error::other)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task sends what is queued.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.send.send_data(Bytes::new(), true).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Stream {
    /// A stream that is dropped unfinished is reset as it is.
    fn reset_on_drop(&mut self) {}

    fn end_untold(&mut self) {
        self.ended = true;
        self.send.send_reset(Reason::CANCEL);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

fn gone(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, reason.description())
}
