//! What [`super::guard`] lets through, byte by byte.

use std::rc::Rc;
use std::task::{Context, Waker};

use h2::Reason;

use super::allowance::Allowance;
use super::guard::Guard;
use super::windows::Windows;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn begun(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, &[]), &frames.concat()].concat()
}

/// How much passes, and the fault, where the bytes come in pieces of `step`.
fn look(bytes: &[u8], step: usize) -> (usize, Option<Reason>, Guard) {
    let mut guard = Guard::new(Rc::new(Allowance::new(10)), Rc::default());
    let mut passed = 0;
    for piece in bytes.chunks(step) {
        passed += guard.look(piece);
        if guard.fault().is_some() {
            break;
        }
    }
    (passed, guard.fault(), guard)
}

#[test]
fn what_is_opened_of_a_window_is_told_however_it_comes() {
    let cx = Context::from_waker(Waker::noop());
    let opened = |by: u32| frame(8, 0, 1, &by.to_be_bytes());
    let (most, too_much) = (begun(&[opened(0x7fff_ffff)]), begun(&[opened(0xffff_fffe), opened(1), opened(1)]));
    for step in 1..40 {
        for (bytes, too_large) in [(&most, false), (&too_much, true)] {
            let windows = Rc::new(Windows::default());
            let waiting = windows.watch(1);
            let mut guard = Guard::new(Rc::new(Allowance::new(10)), Rc::clone(&windows));
            bytes.chunks(step).for_each(|piece| assert_eq!(guard.look(piece), piece.len()));
            assert_eq!(waiting.poll_too_large(&cx).is_ready(), too_large, "{step}");
        }
    }
}

#[test]
fn sound_frames_pass_whole_however_they_come() {
    let bytes = begun(&[
        frame(1, 0x28, 1, b"\x02prio!block\0\0"),
        frame(9, 0x4, 1, b"rest"),
        frame(0, 0x1, 1, b"data"),
        frame(6, 0, 0, b"12345678"),
        frame(0x2a, 0xff, 7, b"?"),
        frame(8, 0, 0, &[0, 0, 0, 1]),
        frame(1, 0x5, 1, b"\x00\x01x\x01y"),
    ]);
    for step in 1..40 {
        let (passed, fault, guard) = look(&bytes, step);
        assert_eq!((passed, fault, guard.unfinished()), (bytes.len(), None, None), "{step}");
    }
}

#[test]
fn broken_rules_are_told_and_what_breaks_them_does_not_pass() {
    let head = frame(1, 0x4, 1, b"\x82");
    let trailers = |block: &[u8]| vec![head.clone(), frame(1, 0x5, 1, block)];
    for (what, frames, reason) in [
        ("PING of 7 bytes", vec![frame(6, 0, 0, b"1234567")], Reason::FRAME_SIZE_ERROR),
        ("SETTINGS of 5 bytes", vec![frame(4, 0, 0, b"12345")], Reason::FRAME_SIZE_ERROR),
        ("an ACK with more", vec![frame(4, 1, 0, b"123456")], Reason::FRAME_SIZE_ERROR),
        ("a large frame", vec![frame(0x33, 0, 0, &[0; 16_385])], Reason::FRAME_SIZE_ERROR),
        ("an indexed pseudo-header in trailers", trailers(b"\x84"), Reason::PROTOCOL_ERROR),
        ("one with a name by index", trailers(b"\x00\x01x\x01y\x08\x03200"), Reason::PROTOCOL_ERROR),
        ("one by name", trailers(b"\x40\x05:path\x01/"), Reason::PROTOCOL_ERROR),
        ("one by name in Huffman code", trailers(b"\x00\x84\xb9\x58\xd3\x3f\x01/"), Reason::PROTOCOL_ERROR),
        (
            "one that the head put into the table",
            vec![frame(1, 0x2c, 1, b"\x02prio!\x82\x41\x01a\0\0"), frame(1, 0xd, 1, b"\x01\xbe\0")],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "one that is spread over frames",
            vec![head.clone(), frame(1, 0x9, 1, b"\x02\x00\x05\0\0"), frame(9, 0x4, 1, b":path\x01/")],
            Reason::PROTOCOL_ERROR,
        ),
        ("many PINGs", vec![frame(6, 0, 0, b"12345678"); 3000], Reason::ENHANCE_YOUR_CALM),
        ("much empty DATA", [vec![head.clone()], vec![frame(0, 0, 1, b""); 3000]].concat(), Reason::ENHANCE_YOUR_CALM),
    ] {
        let bytes = begun(&frames);
        for step in [1, 9, 1000, bytes.len()] {
            let (passed, fault, _) = look(&bytes, step);
            assert_eq!(fault, Some(reason), "{what}");
            assert!(passed < bytes.len(), "{what}");
        }
    }
    assert_eq!(look(&[PREFACE, &frame(6, 0, 0, b"12345678")].concat(), 5).1, Some(Reason::PROTOCOL_ERROR));
}

#[test]
fn a_head_is_under_way_until_its_last_byte() {
    let bytes = begun(&[frame(1, 0, 1, b"abc"), frame(9, 0, 1, b"def"), frame(9, 4, 1, b"ghi")]);
    let start = PREFACE.len() + 9;
    for end in start + 1..bytes.len() {
        assert!(look(&bytes[..end], 4).2.unfinished().is_some(), "{end}");
    }
    assert!(look(&bytes, 4).2.unfinished().is_none());
    let data = begun(&[frame(0, 0, 1, b"abcdef")]);
    assert!(look(&data[..data.len() - 1], 100).2.unfinished().is_none(), "a body has a deadline of its own");
}
