//! Waiting for a request's head.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use super::super::Proxy;
use super::super::failure::Failure;
use super::wire::Wire;
use crate::http1::{Fields, HeadLimits, Progress, RequestHead, empty_lines};
use crate::net::{Deadline, Transport};

/// Waits for a request's head. `false`: the client is done, or we are.
pub(super) async fn read_head<IO: Transport>(
    proxy: &Proxy,
    wire: &RefCell<Wire<IO>>,
    head: &mut RequestHead,
    deadline: &Deadline,
    mut drained: Pin<&mut impl Future>,
) -> Result<bool, Failure> {
    let settings = proxy.settings();
    let limits = HeadLimits { bytes: settings.limits.header_bytes, fields: settings.limits.header_count };
    let mut progress = Progress::default();
    let mut begun = false;
    deadline.set(settings.timeouts.keep_alive);
    poll_fn(|cx| {
        let Wire { io, inbox, outbox, .. } = &mut *wire.borrow_mut();
        loop {
            if progress.is_at_start() {
                let skip = empty_lines(inbox);
                drop(inbox.split_to(skip));
            }
            // The rest of an empty line may be on its way.
            if !inbox.is_empty() && inbox[..] != *b"\r" {
                if let Some(end) = progress.find_end(inbox, &limits)? {
                    head.read(&inbox[..end], &limits)?;
                    drop(inbox.split_to(end));
                    return Poll::Ready(Ok(true));
                }
                if !begun {
                    begun = true;
                    deadline.set(settings.timeouts.request_header);
                }
            }
            match inbox.poll_fill(io, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(false)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if !begun {
            inbox.shrink();
            outbox.shrink();
            head.fields = Fields::new();
            if drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
        }
        deadline.poll_passed(cx).map(|()| if begun { Err(Failure::slow_request()) } else { Ok(false) })
    })
    .await
}
