//! [`Guard`]: sees each frame of a client before the h2 crate does.
//!
//! That crate bounds what frames cost in memory, but not how long a head may take nor how many frames may come that
//! ask for nothing, and it lets pseudo-headers pass in trailers. A frame that breaks a rule never reaches it: the
//! connection is ended with the right code.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::allowance::Allowance;
use super::pseudo::PseudoHeaders;
use super::windows::Windows;
use crate::net::Transport;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// `ACK` of SETTINGS; of HEADERS and CONTINUATION, `END_HEADERS`; of HEADERS, `PADDED` and `PRIORITY`.
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

/// The preface (RFC 9113 §3.4), which the h2 crate checks.
const PREFACE: usize = 24;
/// The head of a frame (RFC 9113 §4.1).
const FRAME_HEAD: usize = 9;
/// The longest payload: what we allow, as we do not say otherwise (RFC 9113 §6.5.2).
const LONGEST: usize = 16_384;

/// What is known of the frames so far.
#[derive(Debug)]
pub(super) struct Guard {
    at: At,
    head: [u8; FRAME_HEAD],
    kind: u8,
    flags: u8,
    seen_settings: bool,
    /// Whether a header block waits for its end.
    block_open: bool,
    /// The highest stream that a head came on: another one on it is of trailers.
    last_stream: u32,
    /// Whether the header block at hand is of trailers.
    trailers: bool,
    /// Of the payload at hand: whether the next byte tells how much padding there is, and how much comes before the
    /// fields and behind them.
    padded: bool,
    before: usize,
    behind: usize,
    pseudo: PseudoHeaders,
    /// Counts heads and frames that were begun, so that a deadline knows the next from the last.
    begun: u64,
    fault: Option<Reason>,
    allowance: Rc<Allowance>,
    /// The bytes of a WINDOW_UPDATE so far.
    increment: u32,
    windows: Rc<Windows>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Preface(usize),
    Head(usize),
    Payload(usize),
}

impl Guard {
    pub(super) fn new(allowance: Rc<Allowance>, windows: Rc<Windows>) -> Self {
        Self {
            at: At::Preface(PREFACE),
            head: [0; FRAME_HEAD],
            kind: 0,
            flags: 0,
            seen_settings: false,
            block_open: false,
            last_stream: 0,
            trailers: false,
            padded: false,
            before: 0,
            behind: 0,
            pseudo: PseudoHeaders::default(),
            begun: 0,
            fault: None,
            allowance,
            increment: 0,
            windows,
        }
    }

    /// The rule that was broken.
    pub(super) fn fault(&self) -> Option<Reason> {
        self.fault
    }

    /// Which head, or frame other than DATA, is under way; none where all have come whole.
    pub(super) fn unfinished(&self) -> Option<u64> {
        let partial = match self.at {
            At::Preface(_) => false,
            At::Head(have) => have > 0,
            At::Payload(_) => self.kind != DATA,
        };
        (partial || self.block_open).then_some(self.begun)
    }

    /// Looks at what came; how much of it may pass.
    pub(super) fn look(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() && self.fault.is_none() {
            let rest = &bytes[used..];
            match self.at {
                At::Preface(left) => {
                    let n = left.min(rest.len());
                    used += n;
                    self.at = if n == left { At::Head(0) } else { At::Preface(left - n) };
                }
                At::Head(have) => {
                    if have == 0 && !self.block_open {
                        self.begun += 1;
                    }
                    let n = (FRAME_HEAD - have).min(rest.len());
                    self.head[have..have + n].copy_from_slice(&rest[..n]);
                    if have + n < FRAME_HEAD {
                        self.at = At::Head(have + n);
                    } else if let Err(reason) = self.begin() {
                        self.fault = Some(reason);
                        return used;
                    }
                    used += n;
                }
                At::Payload(left) => {
                    let n = left.min(rest.len());
                    if matches!(self.kind, HEADERS | CONTINUATION) {
                        self.fields(&rest[..n], left - n);
                    } else if self.kind == WINDOW_UPDATE {
                        self.increment = rest[..n].iter().fold(self.increment, |all, &byte| all << 8 | u32::from(byte));
                    }
                    if n < left {
                        self.at = At::Payload(left - n);
                    } else if let Err(reason) = self.end() {
                        self.fault = Some(reason);
                        return used;
                    }
                    used += n;
                }
            }
        }
        used
    }

    /// The stream of the frame at hand.
    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.head;
        u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
    }

    /// A frame's head is there.
    fn begin(&mut self) -> Result<(), Reason> {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = self.stream();
        (self.kind, self.flags) = (kind, flags);
        if !std::mem::replace(&mut self.seen_settings, true) && (kind != SETTINGS || flags & ACK != 0) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let fits = match kind {
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            SETTINGS if flags & ACK != 0 => length == 0,
            SETTINGS => length.is_multiple_of(6),
            PING => length == 8,
            GOAWAY => length >= 8,
            _ => true,
        };
        if !fits || length > LONGEST {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let within_budget = match kind {
            HEADERS if stream > self.last_stream => {
                self.last_stream = stream;
                self.trailers = false;
                self.allowance.earn(4);
                true
            }
            HEADERS => {
                self.trailers = true;
                self.allowance.spend(1)
            }
            DATA if length > 0 => true,
            SETTINGS if flags & ACK == 0 => self.allowance.spend(4),
            _ => self.allowance.spend(1),
        };
        if !within_budget {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        (self.padded, self.before, self.behind) = (false, 0, 0);
        if kind == HEADERS {
            self.block_open = true;
            self.padded = flags & PADDED != 0;
            self.before = if flags & WITH_PRIORITY != 0 { 5 } else { 0 };
            self.pseudo.begin();
        }
        self.at = At::Payload(length);
        if length == 0 { self.end() } else { Ok(()) }
    }

    /// A frame's last byte is there.
    fn end(&mut self) -> Result<(), Reason> {
        self.at = At::Head(0);
        if self.kind == WINDOW_UPDATE {
            self.windows.opened(self.stream(), self.increment & 0x7fff_ffff);
        }
        if !matches!(self.kind, HEADERS | CONTINUATION) {
            return Ok(());
        }
        if self.flags & END_HEADERS == 0 {
            return Ok(());
        }
        self.block_open = false;
        // Malformed (RFC 9113 §8.1).
        if self.trailers && self.pseudo.found() { Err(Reason::PROTOCOL_ERROR) } else { Ok(()) }
    }

    /// Looks at a part of a payload that holds fields, with so many bytes to come (RFC 9113 §6.2). Padding that does
    /// not fit is malformed, which the h2 crate tells.
    fn fields(&mut self, mut part: &[u8], to_come: usize) {
        if let Some((&padding, rest)) = part.split_first()
            && std::mem::take(&mut self.padded)
        {
            self.behind = padding.into();
            part = rest;
        }
        let skip = part.len().min(self.before);
        self.before -= skip;
        let padding = self.behind.saturating_sub(to_come);
        let end = part.len().saturating_sub(padding).max(skip);
        self.pseudo.look(&part[skip..end]);
    }
}

/// A client's connection that is looked at as it is read.
#[derive(Debug)]
pub(super) struct Watched<IO> {
    io: IO,
    guard: Rc<RefCell<Guard>>,
}

impl<IO: Transport> Watched<IO> {
    pub(super) fn new(io: IO, guard: Rc<RefCell<Guard>>) -> Self {
        Self { io, guard }
    }
}

impl<IO: Transport> Transport for Watched<IO> {
    fn reset_on_drop(&mut self) {
        self.io.reset_on_drop();
    }

    fn end_untold(&mut self) {
        self.io.end_untold();
    }
}

impl<IO: Transport> AsyncRead for Watched<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut guard = this.guard.borrow_mut();
        if guard.fault.is_some() {
            // Read on, so that the client can take the reason; nothing of it passes.
            let mut scrap = [0; 1024];
            let mut scrap = ReadBuf::new(&mut scrap);
            loop {
                scrap.clear();
                ready!(Pin::new(&mut this.io).poll_read(cx, &mut scrap))?;
                if scrap.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let came = buf.filled().len() - before;
        let pass = guard.look(&buf.filled()[before..]);
        if pass < came {
            buf.set_filled(before + pass);
            if pass == 0 {
                // Not the end of the stream, as an empty read would say. The connection's task, which polls this, sees
                // the fault.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: Transport> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
