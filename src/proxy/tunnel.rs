//! A connection that is passed on as bytes, from its start or after an upgrade: both ways, until both sides are done.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::config::Timeouts;
use crate::net::{Deadline, Inbox, Outbox, Transport};

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

/// What has been passed on, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// From the client to the backend.
    pub(super) up: u64,
    /// From the backend to the client.
    pub(super) down: u64,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who connected to doorward.
    Client,
    /// Whom doorward connected to.
    Backend,
}

/// How a relay ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both sides ended; this one was the first.
    Whole(Side),
    /// The same, but that one ended its TLS without saying so (RFC 8446 §6.1): whether it was all is not known.
    Truncated(Side),
    /// The connection to this side broke.
    Broken(Side, io::Error),
    /// Nothing moved for too long.
    Idle,
    /// Nothing moved for too long after this side had ended.
    HalfClosed(Side),
}

impl Ended {
    /// A word and more for what went wrong, if anything.
    pub(super) fn failure(&self) -> Option<(&'static str, Option<String>)> {
        match self {
            Self::Whole(_) | Self::Truncated(_) => None,
            Self::Broken(Side::Client, error) => Some(("client_broke", Some(error.to_string()))),
            Self::Broken(Side::Backend, error) => Some(("backend_broke", Some(error.to_string()))),
            Self::Idle => Some(("idle_timeout", None)),
            Self::HalfClosed(_) => Some(("half_closed_timeout", None)),
        }
    }

    /// Who ended it, or was the first to; none where it was too quiet.
    pub(super) fn by(&self) -> Option<Side> {
        match self {
            Self::Whole(side) | Self::Truncated(side) | Self::Broken(side, _) | Self::HalfClosed(side) => Some(*side),
            Self::Idle => None,
        }
    }
}

impl Side {
    /// Its word in the log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
        }
    }
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Direction {
    flow: Flow,
    bytes: u64,
    /// Its sender ended without saying so.
    truncated: bool,
}

/// What flows from one end to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The sender is done; its last bytes are on the way.
    Ending,
    Ended,
}

/// Relays until both sides have ended, one breaks, or nothing moves for too long. Half-closed stays half open. What
/// does not end regularly is broken off on the other side too, so that nobody takes it for the end of the data.
/// `progress` hears of every change in what was moved.
pub(super) async fn relay<A: Transport, B: Transport>(
    client: &mut End<A>,
    backend: &mut End<B>,
    deadline: &Deadline,
    patience: Patience,
    mut progress: impl FnMut(Moved),
) -> Ended {
    let new = Direction { flow: Flow::Open, bytes: 0, truncated: false };
    let (mut up, mut down) = (new, new);
    let mut first = None;
    let mut seen = None;
    let ended = poll_fn(|cx| {
        let one = pump(client, backend, &mut up, cx).map_err(|(from, error)| (from.then(Side::Client), error));
        let two = pump(backend, client, &mut down, cx).map_err(|(from, error)| (from.then(Side::Backend), error));
        let now = (up, down);
        if seen != Some(now) {
            seen = Some(now);
            progress(Moved { up: up.bytes, down: down.bytes });
            first = first.or(match (up.flow, down.flow) {
                (Flow::Open, Flow::Open) => None,
                (Flow::Open, _) => Some((Side::Backend, down.truncated)),
                _ => Some((Side::Client, up.truncated)),
            });
            deadline.set(if first.is_some() { patience.half_closed } else { patience.idle });
        }
        match (one, two) {
            (Poll::Ready(Err((side, error))), _) | (_, Poll::Ready(Err((side, error)))) => {
                Poll::Ready(Ended::Broken(side, error))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(match first {
                Some((side, true)) => Ended::Truncated(side),
                Some((side, false)) => Ended::Whole(side),
                None => Ended::Whole(Side::Client),
            }),
            _ => deadline.poll_passed(cx).map(|()| first.map_or(Ended::Idle, |(side, _)| Ended::HalfClosed(side))),
        }
    })
    .await;
    if !matches!(ended, Ended::Whole(_) | Ended::Truncated(_)) {
        client.io.reset_on_drop();
        backend.io.reset_on_drop();
    }
    ended
}

/// Which end of a direction a fault is at.
#[derive(Clone, Copy, Debug)]
enum At {
    From,
    To,
}

impl At {
    /// The side, where `sender` is the one that sends in this direction.
    fn then(self, sender: Side) -> Side {
        match (self, sender) {
            (Self::From, side) => side,
            (Self::To, Side::Client) => Side::Backend,
            (Self::To, Side::Backend) => Side::Client,
        }
    }
}

fn pump<A: Transport, B: Transport>(
    from: &mut End<A>,
    to: &mut End<B>,
    direction: &mut Direction,
    cx: &mut Context<'_>,
) -> Poll<Result<(), (At, io::Error)>> {
    let at_to = |error| (At::To, error);
    loop {
        ready!(to.outbox.poll_send(&mut to.io, cx, &mut direction.bytes)).map_err(at_to)?;
        match direction.flow {
            Flow::Ended => return Poll::Ready(Ok(())),
            Flow::Ending if direction.truncated => {
                to.io.end_untold();
                direction.flow = Flow::Ended;
            }
            Flow::Ending => {
                ready!(Pin::new(&mut to.io).poll_shutdown(cx)).map_err(at_to)?;
                direction.flow = Flow::Ended;
            }
            Flow::Open if !from.inbox.is_empty() => {
                let data = from.inbox.split().freeze();
                to.outbox.data(data, b"");
            }
            Flow::Open => match from.inbox.poll_fill(&mut from.io, cx) {
                Poll::Ready(Ok(0)) => direction.flow = Flow::Ending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    direction.truncated = true;
                    direction.flow = Flow::Ending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err((At::From, error))),
                Poll::Pending => {
                    // Most tunnels are silent most of the time.
                    from.inbox.rest();
                    to.outbox.shrink();
                    return Poll::Pending;
                }
            },
        }
    }
}
