//! [`Outlet`]: the app's answer on its way to an HTTP/1.1 client.

use std::cell::RefCell;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use super::super::fate;
use super::wire::Wire;
use crate::backend::{Exchange, ExchangeError, RequestBodyError};
use crate::http1::{self, Fields, Framing};
use crate::net::Transport;

/// Small pieces are gathered up to so many bytes before they are written.
const GATHER: usize = 16 * 1024;

/// A body on its way to the client.
#[derive(Debug)]
pub(super) struct Outlet {
    kind: Kind,
    /// Whether the connection ends with the body.
    closes: bool,
    done: bool,
    failed: Option<RelayError>,
    /// Bytes of the body that were taken from the app.
    pub(super) bytes: u64,
    /// Bytes that the client took; whoever keeps a deadline sees by it that there is progress.
    pub(super) progress: u64,
    /// Whether the client takes nothing at the moment, though there is something for it.
    pub(super) is_blocked: bool,
}

/// How the body is framed for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is none.
    None,
    /// As long as the head said.
    Length,
    /// In chunks; trailers are passed on where the client takes them.
    Chunked {
        /// Whether it does.
        trailers: bool,
    },
    /// Until the connection closes, for HTTP/1.0.
    UntilClose,
}

/// Why a client does not get the whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error(transparent)]
    Backend(#[from] ExchangeError),
    #[error("the client went away")]
    ClientGone,
    #[error("the client took nothing for too long")]
    ClientStalled,
    #[error("the backend sent nothing for too long")]
    BackendStalled,
}

impl Outlet {
    /// `closes`: the connection ends with the body.
    pub(super) fn new(kind: Kind, closes: bool) -> Self {
        Self { kind, closes, done: kind == Kind::None, failed: None, bytes: 0, progress: 0, is_blocked: false }
    }

    /// How an answer framed so by the app is framed for a client.
    pub(super) fn kind_for(framing: Framing, http10: bool, trailers: bool) -> Kind {
        match framing {
            Framing::None => Kind::None,
            Framing::Length(_) => Kind::Length,
            Framing::Chunked | Framing::UntilClose if http10 => Kind::UntilClose,
            Framing::Chunked | Framing::UntilClose => Kind::Chunked { trailers },
        }
    }

    /// Sends on until all is sent. What came before an error is sent before the error is told.
    pub(super) fn poll<B, IO>(
        &mut self,
        exchange: &mut Exchange<B>,
        wire: &RefCell<Wire<IO>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RelayError>>
    where
        B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
        IO: Transport,
    {
        loop {
            self.gather(exchange, wire, cx);
            let Wire { outbox, io, .. } = &mut *wire.borrow_mut();
            let all_given = outbox.is_empty();
            if self.closes && self.done && !all_given {
                io.ends_with_next_write();
            }
            // Also where all was given: TLS keeps what the socket did not take, and only a flush sends it.
            let sent = outbox.poll_send(io, cx, &mut self.progress);
            self.is_blocked = sent.is_pending();
            if ready!(sent).is_err() {
                return Poll::Ready(Err(RelayError::ClientGone));
            }
            if all_given {
                return match self.failed.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None if self.done => Poll::Ready(Ok(())),
                    None => Poll::Pending,
                };
            }
        }
    }

    fn gather<B, IO>(&mut self, exchange: &mut Exchange<B>, wire: &RefCell<Wire<IO>>, cx: &mut Context<'_>)
    where
        B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
        IO: Transport,
    {
        while !self.done && self.failed.is_none() {
            {
                let outbox = &wire.borrow().outbox;
                if !outbox.takes_text() || outbox.waiting() >= GATHER {
                    return;
                }
            }
            // The wire is not borrowed here: the exchange reads the rest of the request from it.
            let Poll::Ready(frame) = exchange.poll_frame(cx) else { return };
            let outbox = &mut wire.borrow_mut().outbox;
            match frame {
                None => {
                    if let Kind::Chunked { .. } = self.kind {
                        http1::last_chunk(outbox.text());
                    }
                    self.done = true;
                }
                Some(Err(error)) => self.failed = Some(error.into()),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.bytes += data.len() as u64;
                        if let Kind::Chunked { .. } = self.kind {
                            http1::chunk_head(outbox.text(), data.len());
                            outbox.data(data, b"\r\n");
                        } else {
                            outbox.data(data, b"");
                        }
                    }
                    Err(frame) => {
                        if let (Kind::Chunked { trailers }, Ok(fields)) = (self.kind, frame.into_trailers()) {
                            let fields = if trailers { trailer_fields(&fields) } else { Fields::new() };
                            http1::chunk_trailers(outbox.text(), &fields);
                        }
                        self.done = true;
                    }
                },
            }
        }
    }
}

/// The trailers that may be passed on.
fn trailer_fields(map: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in map {
        if fate::passes_as_trailer(name.as_str().as_bytes(), &[]) {
            fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use http::Method;
    use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

    use super::super::super::Snapshot;
    use super::super::wire::RequestBody;
    use super::*;
    use crate::backend::{BackendAddress, BackendLimits, Endpoint, Place, Pools};
    use crate::http1::ResponseHead;

    /// As TLS over a full socket: takes what is written, and keeps it until it can be flushed.
    #[derive(Default)]
    struct Keeping {
        kept: usize,
        flushes: bool,
    }

    impl AsyncWrite for Keeping {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.kept += buf.len();
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.flushes { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Keeping {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Transport for Keeping {
        fn reset_on_drop(&mut self) {}
        fn end_untold(&mut self) {}
    }

    async fn an_answer_is_sent_once_it_is_flushed() -> io::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let keep_alive = Duration::from_secs(60);
        let pools = Pools::spawn(BackendLimits { header_bytes: 4096, idle_connections: 1, keep_alive });
        let address = BackendAddress::Socket(listener.local_addr()?);
        let endpoint = Arc::new(Endpoint::new(address, None, None));
        let connection = pools.connect(&endpoint, Place::default(), || None).await.map_err(io::Error::other)?;
        let (mut backend, _) = listener.accept().await?;
        backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
        let wire = Rc::new(RefCell::new(Wire::new(Keeping::default())));
        let body = RequestBody { wire: Rc::clone(&wire), settings: Rc::new(Snapshot(Arc::default())) };
        let mut exchange = Exchange::new(connection, Rc::clone(&pools), Method::GET, body, Framing::None);
        let mut head = ResponseHead::default();
        std::future::poll_fn(|cx| exchange.poll_head(&mut head, cx)).await.map_err(io::Error::other)?;
        let mut outlet = Outlet::new(Kind::Length, false);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while wire.borrow().io.kept < 2 {
            assert!(outlet.poll(&mut exchange, &wire, &mut cx).is_pending());
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            assert!(outlet.poll(&mut exchange, &wire, &mut cx).is_pending(), "the end is kept back");
            assert!(outlet.is_blocked);
        }
        wire.borrow_mut().io.flushes = true;
        assert!(matches!(outlet.poll(&mut exchange, &wire, &mut cx), Poll::Ready(Ok(()))));
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_that_tls_keeps_is_not_sent() {
        let test = an_answer_is_sent_once_it_is_flushed();
        tokio::task::LocalSet::new().run_until(test).await.expect("a backend");
    }
}
