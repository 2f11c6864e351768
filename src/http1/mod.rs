//! HTTP/1.1 as bytes (RFC 9112): heads, framing, chunks. Sans-I/O, and one codec for both the client's
//! and the backend's side. Floor 2.
//!
//! It is strict where two parsers could read the same bytes differently: whatever is ambiguous is an error.
//! What is sent on is never copied from what came but written anew from what was parsed.

mod body;
mod chunked;
mod fields;
mod framing;
mod head;
mod request;
mod response;
mod write;

pub use body::{BodyDecoder, BodyError, Piece};
pub use chunked::{ChunkError, Chunked};
pub use fields::Fields;
pub(crate) use fields::tokens;
pub(crate) use framing::declared_length;
pub use framing::{Framing, FramingError, request_framing, response_framing};
pub use head::{HeadError, HeadLimits, Progress};
pub(crate) use head::{empty_lines, is_name};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use write::{chunk_head, chunk_trailers, field, last_chunk, number};
