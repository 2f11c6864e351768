//! Buffers that no connection of this thread uses for now.
//!
//! A connection that waits gives its buffers away, and the next one that has something to do takes them, warm in
//! the processor's caches: neither memory for all who wait, nor an allocation for each request.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// How many of a kind are kept. More are only in use at once while many requests are under way.
const KEPT: usize = 32;
/// With how much room a buffer for text begins, in bytes: what most heads need.
const TEXT: usize = 1000;
/// A larger one is not kept.
const LARGEST: usize = 16 * 1024;

thread_local! {
    static TEXTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static INPUTS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer for text, with whatever capacity it had.
pub(super) fn text() -> Vec<u8> {
    TEXTS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(TEXT))
}

/// Gives a buffer for text away.
pub(super) fn keep_text(mut text: Vec<u8>) {
    text.clear();
    if (1..=LARGEST).contains(&text.capacity()) {
        TEXTS.with_borrow_mut(|all| keep(all, text));
    }
}

/// An empty buffer for input, with whatever capacity it had.
pub(super) fn input() -> BytesMut {
    INPUTS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a buffer for input away, of which nothing that was handed on is in use.
pub(super) fn keep_input(mut input: BytesMut) {
    input.clear();
    // A buffer whose front was handed on is whole again only once those pieces are gone.
    if input.try_reclaim(1024) && input.capacity() <= LARGEST {
        INPUTS.with_borrow_mut(|all| keep(all, input));
    }
}

/// The one large buffer for what a flush gathers, empty; with no capacity where it is in use.
pub(crate) fn gathered() -> Vec<u8> {
    GATHERED.take()
}

/// Gives the large buffer back, for the next flush of whichever connection: they come one after the other.
pub(crate) fn keep_gathered(mut text: Vec<u8>) {
    text.clear();
    GATHERED.set(text);
}

fn keep<T>(all: &mut Vec<T>, one: T) {
    if all.len() < KEPT {
        all.push(one);
    }
}
