//! [`Fields`]: the header fields of one message, in order, in one piece of memory that is used again.

use std::cell::RefCell;

use bytes::Bytes;

/// Header fields (RFC 9110 §5), with names as they were spelled and values without white space around them.
///
/// All text is in one buffer. Its memory is used again: by whoever clears it, and once dropped, by the next message
/// that the thread reads. So a connection that waits holds none, and a message costs no allocation.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(super) text: Vec<u8>,
    pub(super) list: Vec<Span>,
}

/// Where a field is in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) name: (u32, u32),
    pub(super) value: (u32, u32),
}

/// How many spare pieces of memory a thread keeps.
const SPARE_MOST: usize = 64;
/// With how much room for text the memory begins, in bytes: what most heads need, so that it does not grow step by step,
/// and no more than the allocator gives from what a thread has at hand.
const TEXT: usize = 1000;
/// And for how many fields.
const LIST: usize = 32;
/// A larger one is not kept, in bytes.
const SPARE_LARGEST: usize = 8 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<(Vec<u8>, Vec<Span>)>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Fields {
    fn drop(&mut self) {
        if !(1..=SPARE_LARGEST).contains(&self.text.capacity()) {
            return;
        }
        self.text.clear();
        self.list.clear();
        let memory = (std::mem::take(&mut self.text), std::mem::take(&mut self.list));
        // Gone where the thread is about to end.
        let _ending = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MOST {
                spare.push(memory);
            }
        });
    }
}

impl Fields {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all fields, keeps the memory, or takes what others have left.
    pub fn clear(&mut self) {
        self.text.clear();
        self.list.clear();
        if self.text.capacity() == 0 {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            (self.text, self.list) = spare.unwrap_or_else(|| (Vec::with_capacity(TEXT), Vec::with_capacity(LIST)));
        }
    }

    /// Adds a field. The caller vouches that name and value are valid (RFC 9110 §5.1, §5.5).
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.append(name);
        let value = self.append(value);
        self.list.push(Span { name, value });
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Name and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list.iter().map(|span| (self.slice(span.name), self.slice(span.value)))
    }

    /// The values under `name`, spelled in any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The first value under `name`, spelled in any case.
    #[must_use]
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Whether a comma-separated list under `name` holds `token`, both in any case (RFC 9110 §5.6.1).
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).any(|value| tokens(value).any(|t| t.eq_ignore_ascii_case(token.as_bytes())))
    }

    /// As [`Fields::iter`], where `pass` says so of the name, with values that own what they say: all share one copy.
    pub fn shared(&self, pass: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = (&[u8], Bytes)> {
        let text = Bytes::copy_from_slice(&self.text);
        let passing = self.list.iter().map(|span| (self.slice(span.name), span.value)).filter(move |(n, _)| pass(n));
        passing.map(move |(name, (start, end))| (name, text.slice(start as usize..end as usize)))
    }

    pub(super) fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.text[start as usize..end as usize]
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        // Heads are bounded far below 4 GiB by the limits that they were read under.
        (start as u32, self.text.len() as u32)
    }
}

/// The elements of a comma-separated list, without white space around them; empty ones are left out.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}
