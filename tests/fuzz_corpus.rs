//! The fuzz targets without a fuzzer: every seed, and a bounded number of mutations of it, the same ones each time.
//!
//! `DOORWARD_FUZZ_ROUNDS` is how many mutations of each seed are tried (400 without it). What a real fuzzer finds goes
//! into `fuzz/corpus/TARGET/`, and is replayed here from then on.

#[path = "../fuzz/targets.rs"]
#[allow(missing_docs, unreachable_pub)]
mod targets;

use std::fs;
use std::path::Path;

const ROUNDS: usize = 400;
/// Pieces that parsers care about.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\r\n\r\n",
    b"\r\n ",
    b"0\r\n\r\n",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"HTTP/1.1",
    b"PROXY ",
    b"-----BEGIN PRIVATE KEY-----",
    b"%%%",
    b"[[route]]",
    b"\"",
    b"=",
    b"\xff",
    b"\x7f",
];

fn rounds() -> usize {
    std::env::var("DOORWARD_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

fn mutated(random: &mut fastrand::Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=data.len());
        match random.u8(0..7) {
            0 if at < data.len() => data[at] ^= 1 << random.u8(0..8),
            1 if at < data.len() => data[at] = random.u8(..),
            2 => {
                let end = (at + random.usize(0..20)).min(data.len());
                data.drain(at..end);
            }
            3 => {
                let word = WORDS[random.usize(0..WORDS.len())];
                data.splice(at..at, word.iter().copied());
            }
            4 => {
                let end = (at + random.usize(0..40)).min(data.len());
                let copy = data[at..end].to_vec();
                data.splice(at..at, copy);
            }
            5 => data.truncate(at),
            _ => {
                let from = random.usize(0..=other.len());
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
    data.truncate(32 * 1024);
    data
}

#[test]
fn every_seed_and_what_is_near_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap_or_else(|fault| panic!("corpus/{name}: {fault}"))
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a seed")).collect();
        assert!(seeds.len() >= 3, "{name} has few seeds");
        let mut random = fastrand::Rng::with_seed(5);
        for seed in &seeds {
            target(seed);
            for _ in 0..rounds() {
                let other = &seeds[random.usize(0..seeds.len())];
                let data = mutated(&mut random, seed, other);
                if std::panic::catch_unwind(|| target(&data)).is_err() {
                    panic!("{name} fails on {:?}", data.escape_ascii().to_string());
                }
            }
        }
    }
}
