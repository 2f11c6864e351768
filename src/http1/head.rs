//! Where a head ends, and what no head may hold.

/// What a head may cost at the most.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes, from the first of the start line to the empty line.
    pub bytes: usize,
    /// Fields; at most [`MAX_FIELDS`] count.
    pub fields: usize,
}

/// More fields than this are never read, whatever the limit says.
pub(super) const MAX_FIELDS: usize = 256;

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A line ended in LF alone (RFC 9112 §2.2 lets a recipient accept it; two parsers would then disagree).
    #[error("a line ends in a bare line feed")]
    BareLineFeed,
    /// The start line is not one of HTTP.
    #[error("the start line is malformed")]
    StartLine,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    #[error("the protocol version is not HTTP/1.0 or HTTP/1.1")]
    Version,
    /// A field's name or value has a byte that it must not have, a space before the colon, or is folded.
    #[error("a header field is malformed")]
    Field,
    /// The head has more bytes than the limit.
    #[error("the head is too large")]
    TooLarge,
    /// The head has more fields than the limit.
    #[error("the head has too many fields")]
    TooManyFields,
}

/// How far the search for a head's end has come. It looks at each byte once, however they arrive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    scanned: usize,
}

impl Progress {
    /// Whether nothing was looked at yet.
    #[must_use]
    pub fn is_at_start(&self) -> bool {
        self.scanned == 0
    }

    /// The length of the head at the start of `input`, its empty line included, once all of it is there.
    ///
    /// # Errors
    /// [`HeadError`], as soon as what is there can't become a head.
    pub fn find_end(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        if input.first().is_some_and(|&b| !is_token(b)) {
            return Err(HeadError::StartLine);
        }
        let start = self.scanned;
        for at in memchr::memchr_iter(b'\n', &input[start..]).map(|i| i + start) {
            if at == 0 || input[at - 1] != b'\r' {
                return Err(HeadError::BareLineFeed);
            }
            if at >= 2 && input[at - 2] == b'\r' {
                return Err(HeadError::Field);
            }
            if at >= 3 && input[at - 2] == b'\n' {
                self.scanned = 0;
                return if at + 1 > limits.bytes { Err(HeadError::TooLarge) } else { Ok(Some(at + 1)) };
            }
        }
        self.scanned = input.len();
        if input.len() >= limits.bytes { Err(HeadError::TooLarge) } else { Ok(None) }
    }
}

/// The number of bytes of empty lines at the start (RFC 9112 §2.2: a server should ignore them before a request).
#[must_use]
pub(crate) fn empty_lines(input: &[u8]) -> usize {
    input.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
#[must_use]
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether this is a field's name (RFC 9110 §5.1).
#[must_use]
pub(crate) fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token(byte))
}

pub(super) fn from_httparse(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => HeadError::Field,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Token | httparse::Error::Status => HeadError::StartLine,
    }
}

/// Where `part` lies in `whole`; both are slices of the same buffer.
pub(super) fn span(whole: &[u8], part: &[u8]) -> (u32, u32) {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    // An empty slice need not point into the buffer.
    if part.is_empty() || start > whole.len() { (0, 0) } else { (start as u32, (start + part.len()) as u32) }
}
