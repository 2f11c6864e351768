//! [`Chunked`]: the chunked transfer coding, read (RFC 9112 §7.1).

use super::head::{HeadError, Progress};
use super::{Fields, HeadLimits};

/// A chunk's line, its extensions included, is at most so long.
const MAX_LINE: usize = 256;
/// All extensions of one body together are at most so long; more is an attempt to make work for nothing.
const MAX_EXTENSIONS: usize = 8 * 1024;
/// What a trailer section may cost.
const TRAILERS: HeadLimits = HeadLimits { bytes: 8 * 1024, fields: 32 };

/// Why bytes are not chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk's size is no hexadecimal number of at most 15 digits.
    #[error("a chunk's size is malformed")]
    Size,
    /// Chunk extensions are malformed or too long.
    #[error("a chunk's extensions are malformed or too long")]
    Extension,
    /// A chunk's data is not followed by a line's end.
    #[error("a chunk does not end where its size says")]
    End,
    /// The trailer section is malformed or too large.
    #[error("the trailers are malformed or too large")]
    Trailers,
}

/// Reads a chunked body, piece by piece.
#[derive(Debug)]
pub struct Chunked {
    state: State,
    extensions: usize,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a chunk's size.
    Size,
    /// So many bytes of the chunk are to come.
    Data(u64),
    /// Before the line's end behind the data.
    DataEnd,
    /// After the last chunk.
    Trailers,
    Done,
}

/// What the bytes at hand are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// More bytes are needed; so many at the start were framing and are to be dropped first.
    More(usize),
    /// Drop so many bytes; then so many are data.
    Data { skip: usize, length: usize },
    /// Drop so many bytes; the body is over.
    End(usize),
}

impl Chunked {
    /// Before the first chunk.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Size, extensions: 0, progress: Progress::default() }
    }

    /// Whether the body is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at `input`, the bytes that come next; trailers are put into `trailers`.
    pub(super) fn look(&mut self, input: &[u8], trailers: &mut Fields) -> Result<Found, ChunkError> {
        let mut skip = 0;
        loop {
            let rest = &input[skip..];
            match self.state {
                State::Size => match self.size_line(rest)? {
                    None => return Ok(Found::More(skip)),
                    Some((0, used)) => {
                        skip += used;
                        self.state = State::Trailers;
                    }
                    Some((size, used)) => {
                        skip += used;
                        self.state = State::Data(size);
                    }
                },
                State::Data(_) if rest.is_empty() => return Ok(Found::More(skip)),
                State::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - length as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Found::Data { skip, length });
                }
                State::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        skip += 2;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Found::More(skip)),
                    _ => return Err(ChunkError::End),
                },
                State::Trailers => match self.trailer_section(rest, trailers)? {
                    None => return Ok(Found::More(skip)),
                    Some(used) => {
                        self.state = State::Done;
                        return Ok(Found::End(skip + used));
                    }
                },
                State::Done => return Ok(Found::End(skip)),
            }
        }
    }

    fn size_line(&mut self, input: &[u8]) -> Result<Option<(u64, usize)>, ChunkError> {
        let digits = input.iter().take(16).take_while(|b| b.is_ascii_hexdigit()).count();
        if digits == 16 || (digits == 0 && !input.is_empty()) {
            return Err(ChunkError::Size);
        }
        match input.get(digits) {
            None => return Ok(None),
            Some(b'\r' | b';') => {}
            Some(_) => return Err(ChunkError::Size),
        }
        let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(MAX_LINE)]) else {
            return if input.len() >= MAX_LINE { Err(ChunkError::Extension) } else { Ok(None) };
        };
        let extension = match input[digits..end].split_last() {
            Some((b'\r', extension)) => extension,
            _ => return Err(ChunkError::Size),
        };
        self.extensions += extension.len();
        let clean = extension.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
        if !clean || self.extensions > MAX_EXTENSIONS {
            return Err(ChunkError::Extension);
        }
        let size = input[..digits].iter().fold(0, |n, &b| n << 4 | u64::from(hex(b)));
        Ok(Some((size, end + 1)))
    }

    fn trailer_section(&mut self, input: &[u8], trailers: &mut Fields) -> Result<Option<usize>, ChunkError> {
        match input {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => return Ok(Some(2)),
            _ => {}
        }
        let end = self.progress.find_end(input, &TRAILERS).map_err(|_: HeadError| ChunkError::Trailers)?;
        let Some(end) = end else { return Ok(None) };
        let mut slots = [httparse::EMPTY_HEADER; TRAILERS.fields];
        match httparse::parse_headers(&input[..end], &mut slots) {
            Ok(httparse::Status::Complete((used, fields))) if used == end => {
                fields.iter().for_each(|f| trailers.push(f.name.as_bytes(), f.value));
                Ok(Some(end))
            }
            _ => Err(ChunkError::Trailers),
        }
    }
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
