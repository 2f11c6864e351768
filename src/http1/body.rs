//! [`BodyDecoder`]: a body's bytes out of a connection's bytes.

use bytes::{Bytes, BytesMut};

use super::chunked::Found;
use super::{ChunkError, Chunked, Fields, Framing};

/// Takes one message's body from a connection's buffer, and not a byte more.
#[derive(Debug)]
pub struct BodyDecoder {
    kind: Kind,
    trailers: Fields,
}

#[derive(Debug)]
enum Kind {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// What was taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body, at least one.
    Data(Bytes),
    /// The buffer holds nothing more of the body, and more is to come.
    More,
    /// The body is over; [`BodyDecoder::trailers`] has what came behind it.
    End,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection ended before the body did.
    #[error("the connection ended before the body did")]
    Truncated,
    /// The chunks are malformed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

impl BodyDecoder {
    /// For a body that is framed so.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let kind = match framing {
            Framing::None => Kind::Length(0),
            Framing::Length(length) => Kind::Length(length),
            Framing::Chunked => Kind::Chunked(Chunked::new()),
            Framing::UntilClose => Kind::UntilClose,
        };
        Self { kind, trailers: Fields::new() }
    }

    /// Takes what is there.
    ///
    /// # Errors
    /// [`BodyError::Chunk`].
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, BodyError> {
        match &mut self.kind {
            Kind::Length(0) => Ok(Piece::End),
            Kind::Length(_) | Kind::UntilClose if buffer.is_empty() => Ok(Piece::More),
            Kind::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= length as u64;
                Ok(Piece::Data(buffer.split_to(length).freeze()))
            }
            Kind::UntilClose => Ok(Piece::Data(buffer.split().freeze())),
            Kind::Chunked(chunked) => Ok(match chunked.look(buffer, &mut self.trailers)? {
                Found::More(skip) => {
                    drop(buffer.split_to(skip));
                    Piece::More
                }
                Found::Data { skip, length } => {
                    drop(buffer.split_to(skip));
                    Piece::Data(buffer.split_to(length).freeze())
                }
                Found::End(skip) => {
                    drop(buffer.split_to(skip));
                    Piece::End
                }
            }),
        }
    }

    /// Says that the connection ended.
    ///
    /// # Errors
    /// [`BodyError::Truncated`], unless that is how the body ends.
    pub fn close(&mut self) -> Result<(), BodyError> {
        match self.kind {
            Kind::UntilClose => {
                self.kind = Kind::Length(0);
                Ok(())
            }
            _ if self.is_done() => Ok(()),
            _ => Err(BodyError::Truncated),
        }
    }

    /// Whether all of the body was taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.kind {
            Kind::Length(left) => *left == 0,
            Kind::Chunked(chunked) => chunked.is_done(),
            Kind::UntilClose => false,
        }
    }

    /// The trailer fields, once the body is over.
    #[must_use]
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `step` bytes; returns the body, the trailers and what was left over.
    fn read(framing: Framing, input: &[u8], step: usize) -> Result<(Vec<u8>, usize, Vec<u8>), BodyError> {
        let mut decoder = BodyDecoder::new(framing);
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        let mut pieces = input.chunks(step);
        loop {
            match decoder.take(&mut buffer)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => {
                    pieces.for_each(|p| buffer.extend_from_slice(p));
                    return Ok((body, decoder.trailers().len(), buffer.to_vec()));
                }
                Piece::More => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => decoder.close()?,
                },
            }
        }
    }

    #[test]
    fn bodies_end_exactly_where_they_end() {
        let chunks = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nNEXT";
        for step in 1..chunks.len() {
            assert_eq!(read(Framing::Chunked, chunks, step), Ok((b"hello world".to_vec(), 1, b"NEXT".to_vec())));
            assert_eq!(read(Framing::Length(3), b"abcNEXT", step), Ok((b"abc".to_vec(), 0, b"NEXT".to_vec())));
            assert_eq!(read(Framing::UntilClose, b"abc", step), Ok((b"abc".to_vec(), 0, Vec::new())));
            assert_eq!(read(Framing::None, b"NEXT", step), Ok((Vec::new(), 0, b"NEXT".to_vec())));
        }
    }

    #[test]
    fn truncation_is_an_error() {
        for whole in ["5\r\nhello\r\n0\r\n\r\n", "0\r\nA: b\r\n\r\n"] {
            for cut in 0..whole.len() {
                let cut = &whole.as_bytes()[..cut];
                assert_eq!(read(Framing::Chunked, cut, 1), Err(BodyError::Truncated), "{cut:?}");
            }
        }
        assert_eq!(read(Framing::Length(5), b"hell", 1), Err(BodyError::Truncated));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let long = format!("1;{}\r\nx", "a".repeat(300));
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(40));
        for (bytes, error) in [
            ("\r\n", ChunkError::Size),
            ("x\r\n", ChunkError::Size),
            ("-1\r\n", ChunkError::Size),
            ("+1\r\n", ChunkError::Size),
            ("0x1\r\n", ChunkError::Size),
            ("1 \r\na", ChunkError::Size),
            (" 1\r\na", ChunkError::Size),
            ("1\na\r\n", ChunkError::Size),
            ("1\r\r\na", ChunkError::Extension),
            ("1;a\nb\r\na", ChunkError::Size),
            ("1;a\rb\r\na", ChunkError::Extension),
            ("1;\0\r\na", ChunkError::Extension),
            ("10000000000000000\r\n", ChunkError::Size),
            ("1\r\nab\r\n", ChunkError::End),
            ("1\r\na\n0\r\n\r\n", ChunkError::End),
            ("0\r\nA : b\r\n\r\n", ChunkError::Trailers),
            ("0\r\nA: b\n\r\n", ChunkError::Trailers),
            ("0\r\n\n", ChunkError::Trailers),
            (&*long, ChunkError::Extension),
            (&*trailers, ChunkError::Trailers),
        ] {
            for step in [1, 7, 4096] {
                assert_eq!(read(Framing::Chunked, bytes.as_bytes(), step), Err(error.into()), "{bytes:?}");
            }
        }
    }
}
