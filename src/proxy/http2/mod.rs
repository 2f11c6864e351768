//! The HTTP/2 door: a task for the connection, and one for each stream.

mod allowance;
mod body;
mod crew;
mod guard;
#[cfg(test)]
mod guard_tests;
mod head;
mod outlet;
mod pseudo;
mod stream;
mod upgrade;
mod windows;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};

use self::allowance::Allowance;
pub(super) use self::crew::Crew;
use self::guard::{Guard, Watched};
use self::stream::Stream;
use self::windows::Windows;
use super::client::Client;
use super::lazy::{Flusher, Lazy, lazy};
use super::{Proxy, Settings};
use crate::config::Limits;
use crate::drain::Watch;
use crate::http1::{Framing, ResponseHead};
use crate::net::{Deadline, Share, Transport};

/// What a client may send on one stream before the app has taken it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// And on all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long a client may take to end its side of a connection or stream that we have ended.
const LINGER: Duration = Duration::from_secs(2);
/// What is kept for a client that does not take it, per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that we reset for the client's faults before it is sent away (CVE-2025-8671, "MadeYouReset").
const LOCAL_RESETS: usize = 100;

/// The head of an answer, for benches.
pub(super) fn measured_head(response: &ResponseHead, length: u64) -> http::Response<()> {
    head::http_head(response, Framing::Length(length))
}

/// Serves streams until the connection ends.
///
/// Not an `async fn`: that would keep the stream that it was given beside the one that it made of it, for as long as the
/// connection lives.
pub(super) fn serve<IO: Transport + 'static>(
    proxy: &Rc<Proxy>,
    client: Rc<Client>,
    io: IO,
    mut drain: Watch,
) -> impl Future<Output = ()> {
    let settings = proxy.settings();
    let allowance = Rc::new(Allowance::new(settings.limits.h2_resets));
    let windows = Rc::default();
    let guard = Rc::new(RefCell::new(Guard::new(Rc::clone(&allowance), Rc::clone(&windows))));
    let (io, flusher) = lazy(Watched::new(io, Rc::clone(&guard)));
    let deadline = proxy.timer.deadline();
    deadline.set(settings.timeouts.handshake);
    // On the heap, as it is large and soon over.
    let handshake = Box::pin(builder(&settings).handshake::<_, Bytes>(io));
    async move {
        let Some(Ok(mut connection)) = deadline.bound(pin!(flushing(&flusher, handshake))).await else { return };
        let drained = pin!(drain.signaled());
        let watch = Frames { guard, allowance, windows, deadline: proxy.timer.deadline(), head: Cell::new(None) };
        run(proxy, &client, &mut connection, &flusher, &watch, &deadline, drained).await;
        drop(connection);
        deadline.set(LINGER);
        // Nothing is left to be done about a client that does not end its side.
        let _ended = deadline.bound(poll_fn(|cx| flusher.poll_finish(cx))).await;
    }
}

fn builder(settings: &Settings) -> Builder {
    let limits = &settings.limits;
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_connect_protocol()
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(header_list_size(limits)).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(limits.h2_resets)
        .max_pending_accept_reset_streams(limits.h2_resets)
        .max_local_error_reset_streams(Some(LOCAL_RESETS));
    builder
}

/// What the h2 crate lets through: it counts 32 bytes more a field (RFC 9113 §6.5.2), and answers what is larger
/// with a bare 431. The limits themselves are checked behind it, where the answer has a page and the log a line.
fn header_list_size(limits: &Limits) -> usize {
    limits.header_bytes.saturating_mul(2).saturating_add(limits.header_count.saturating_mul(32))
}

/// Drives `future` and flushes what it wrote whenever it waits.
async fn flushing<IO: Transport, F: Future + Unpin>(flusher: &Flusher<IO>, mut future: F) -> F::Output {
    poll_fn(|cx| {
        let poll = Pin::new(&mut future).poll(cx);
        // An error shows up at the connection's next read or write.
        let _ = flusher.poll_flush(cx);
        poll
    })
    .await
}

async fn run<IO: Transport + 'static>(
    proxy: &Rc<Proxy>,
    client: &Rc<Client>,
    connection: &mut Connection<Lazy<Watched<IO>>, Bytes>,
    flusher: &Flusher<Watched<IO>>,
    frames: &Frames,
    deadline: &Deadline,
    mut drained: Pin<&mut impl Future>,
) {
    let open = Rc::new(Cell::new(0_usize));
    let mut seen = None;
    let mut leaving = false;
    let mut sent_away = false;
    poll_fn(|cx| {
        if !leaving && drained.as_mut().poll(cx).is_ready() {
            leaving = true;
            connection.graceful_shutdown();
        }
        let accepted = loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, mut respond)))) => {
                    let Some(open) = Open::new(&open, &proxy.room) else {
                        // The client may ask again, as nothing was done for it (RFC 9113 §8.7).
                        respond.send_reset(Reason::REFUSED_STREAM);
                        proxy.refused();
                        continue;
                    };
                    let stream = Stream::open(proxy, client, &frames.allowance, &frames.windows, request, respond);
                    proxy.crew.serve(stream, open);
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, peer = %client.peer, "an HTTP/2 connection broke");
                    break Poll::Ready(());
                }
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        let flushed = flusher.poll_flush(cx);
        if accepted.is_ready() || matches!(flushed, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        let timeouts = &proxy.settings().timeouts;
        if let (false, Some(reason)) = (sent_away, frames.fault(timeouts.request_header, cx)) {
            tracing::debug!(?reason, peer = %client.peer, "a client of HTTP/2 is sent away");
            proxy.metrics.sent_away.inc();
            connection.abrupt_shutdown(reason);
            (sent_away, leaving) = (true, true);
            cx.waker().wake_by_ref();
        }
        let now = match (flushed.is_pending(), open.get()) {
            (true, _) => Waiting::Write { taken: flusher.taken() },
            (false, 0) => Waiting::Request,
            (false, _) => Waiting::Streams,
        };
        if seen != Some(now) {
            seen = Some(now);
            match now {
                Waiting::Write { .. } => deadline.set(timeouts.write),
                Waiting::Request => deadline.set(timeouts.keep_alive),
                Waiting::Streams => deadline.clear(),
            }
        }
        if deadline.poll_passed(cx).is_ready() {
            // First a polite goodbye; a client that does not take it is left.
            if leaving || flushed.is_pending() {
                return Poll::Ready(());
            }
            leaving = true;
            connection.graceful_shutdown();
            deadline.set(timeouts.write);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

/// What is known of the frames that a client sends, and what of them has a time.
struct Frames {
    guard: Rc<RefCell<Guard>>,
    allowance: Rc<Allowance>,
    windows: Rc<Windows>,
    deadline: Deadline,
    /// The head that the deadline is for.
    head: Cell<Option<u64>>,
}

impl Frames {
    /// Why the client is to be sent away, if it is.
    fn fault(&self, request_header: Duration, cx: &mut Context<'_>) -> Option<Reason> {
        let guard = self.guard.borrow();
        if guard.fault().is_some() {
            return guard.fault();
        }
        let head = guard.unfinished();
        if self.head.replace(head) != head {
            head.map_or_else(|| self.deadline.clear(), |_| self.deadline.set(request_header));
        }
        let slow = head.is_some() && self.deadline.poll_passed(cx).is_ready();
        (slow || self.allowance.is_spent(cx)).then_some(Reason::ENHANCE_YOUR_CALM)
    }
}

/// What a connection waits for: each has a deadline of its own, and none moves it but by going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The client takes nothing of what is there for it, since it took so many bytes.
    Write { taken: u64 },
    /// No stream is open.
    Request,
    /// Streams have deadlines of their own.
    Streams,
}

/// Counts a stream while it is open, and has its place. The h2 crate wakes the connection's task when the last handle to
/// one is gone.
struct Open {
    count: Rc<Cell<usize>>,
    room: Rc<Share>,
}

impl Open {
    /// None: there is no room for another request.
    fn new(count: &Rc<Cell<usize>>, room: &Rc<Share>) -> Option<Self> {
        room.take().then(|| {
            count.set(count.get() + 1);
            Self { count: Rc::clone(count), room: Rc::clone(room) }
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        self.room.give();
    }
}
