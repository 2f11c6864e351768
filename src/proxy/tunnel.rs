//! A connection that speaks another protocol after an upgrade: bytes both ways until both sides are done.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Timeouts;
use crate::net::{Deadline, Inbox, Outbox};

/// One end: a stream with what came over it and what has yet to go.
#[derive(Debug)]
pub(super) struct End<IO> {
    pub(super) io: IO,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// While both sides are open.
    pub(super) idle: Duration,
    /// Once one side has ended.
    pub(super) half_closed: Duration,
}

impl From<&Timeouts> for Patience {
    fn from(timeouts: &Timeouts) -> Self {
        Self { idle: timeouts.tunnel_idle, half_closed: timeouts.half_closed }
    }
}

/// What flows from one end to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The sender is done; its last bytes are on the way.
    Ending,
    Ended,
}

/// Relays until both sides have ended, one breaks, or nothing moves for too long. Half-closed stays half open.
/// Returns how many bytes the client sent and got.
pub(super) async fn relay<A, B>(
    client: &mut End<A>,
    backend: &mut End<B>,
    deadline: &Deadline,
    patience: Patience,
) -> (u64, u64)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = ((Flow::Open, 0), (Flow::Open, 0));
    let mut seen = None;
    poll_fn(|cx| {
        let one = pump(client, backend, &mut up, cx);
        let two = pump(backend, client, &mut down, cx);
        match (one, two) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(()),
            _ => {}
        }
        let now = (up, down);
        if seen != Some(now) {
            seen = Some(now);
            let ending = up.0 != Flow::Open || down.0 != Flow::Open;
            deadline.set(if ending { patience.half_closed } else { patience.idle });
        }
        deadline.poll_passed(cx)
    })
    .await;
    (up.1, down.1)
}

fn pump<A, B>(
    from: &mut End<A>,
    to: &mut End<B>,
    (flow, bytes): &mut (Flow, u64),
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<()>>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        ready!(to.outbox.poll_send(&mut to.io, cx, bytes))?;
        match flow {
            Flow::Ended => return Poll::Ready(Ok(())),
            Flow::Ending => {
                ready!(Pin::new(&mut to.io).poll_shutdown(cx))?;
                *flow = Flow::Ended;
            }
            Flow::Open if !from.inbox.is_empty() => {
                let data = from.inbox.split().freeze();
                to.outbox.data(data, b"");
            }
            Flow::Open => match from.inbox.poll_fill(&mut from.io, cx) {
                Poll::Ready(Ok(0)) => *flow = Flow::Ending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // Most tunnels are silent most of the time.
                    from.inbox.shrink();
                    return Poll::Pending;
                }
            },
        }
    }
}
