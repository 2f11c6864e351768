//! [`Windows`]: what a client opens of streams that were answered and wait for the end of its side.
//!
//! Nothing is left to be sent there, so the h2 crate looks at no WINDOW_UPDATE any more. Still none may make a window
//! larger than 2^31-1 bytes (RFC 9113 §6.9.1), and that must not depend on whether the app answered sooner than it came.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

/// The largest window (RFC 9113 §6.9.1).
const MOST: u64 = (1 << 31) - 1;

/// A connection's streams that wait so.
#[derive(Debug, Default)]
pub(super) struct Windows(RefCell<Vec<Window>>);

#[derive(Debug)]
struct Window {
    stream: u32,
    /// What came since. The window was not below zero when all had been sent, so it is larger than it may be where this
    /// alone is.
    opened: u64,
    waker: Option<Waker>,
}

/// A stream that waits, as long as this is there.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    windows: &'a Windows,
    stream: u32,
}

impl Windows {
    /// Looks at this stream from now on.
    pub(super) fn watch(&self, stream: u32) -> Waiting<'_> {
        self.0.borrow_mut().push(Window { stream, opened: 0, waker: None });
        Waiting { windows: self, stream }
    }

    /// A WINDOW_UPDATE came.
    pub(super) fn opened(&self, stream: u32, by: u32) {
        if let Some(window) = self.0.borrow_mut().iter_mut().find(|window| window.stream == stream) {
            window.opened += u64::from(by);
            if window.opened > MOST
                && let Some(waker) = window.waker.take()
            {
                waker.wake();
            }
        }
    }
}

impl Waiting<'_> {
    /// Waits until the window is too large.
    pub(super) fn poll_too_large(&self, cx: &Context<'_>) -> Poll<()> {
        for window in self.windows.0.borrow_mut().iter_mut().filter(|window| window.stream == self.stream) {
            if window.opened > MOST {
                return Poll::Ready(());
            }
            if !window.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                window.waker = Some(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.windows.0.borrow_mut().retain(|window| window.stream != self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_is_too_large_is_told_of_streams_that_wait() {
        let cx = Context::from_waker(Waker::noop());
        let windows = Windows::default();
        windows.opened(1, u32::MAX >> 1);
        let waiting = windows.watch(1);
        let other = windows.watch(3);
        windows.opened(1, u32::MAX >> 1);
        assert!(waiting.poll_too_large(&cx).is_pending(), "what came before is the h2 crate's");
        windows.opened(5, 1);
        windows.opened(1, 1);
        assert!(waiting.poll_too_large(&cx).is_ready());
        assert!(other.poll_too_large(&cx).is_pending());
        drop((waiting, other));
        assert!(windows.0.borrow().is_empty());
    }
}
