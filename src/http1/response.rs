//! [`ResponseHead`]: what a backend answers.

use std::mem::MaybeUninit;

use super::Fields;
use super::fields::Span;
use super::head::{self, HeadError, HeadLimits, MAX_FIELDS};

/// A response's head: status, version and fields (RFC 9112 §4). The reason phrase is not kept.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// Whether the answer is HTTP/1.0.
    pub http10: bool,
    /// The fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// Reads the head that `input` is, all of it, as [`super::Progress::find_end`] found it.
    ///
    /// # Errors
    /// [`HeadError`]; this then holds nothing of use.
    pub fn read(&mut self, input: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        self.fields.clear();
        self.fields.text.extend_from_slice(input);
        let mut slots = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let count = limits.fields.min(MAX_FIELDS);
        let status = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut parsed, &self.fields.text, &mut slots[..count])
            .map_err(head::from_httparse)?;
        let (Some(code), Some(version)) = (parsed.code, parsed.version) else {
            return Err(HeadError::StartLine);
        };
        if status != httparse::Status::Complete(input.len()) {
            return Err(HeadError::Field);
        }
        if !(100..=999).contains(&code) {
            return Err(HeadError::StartLine);
        }
        let text = &self.fields.text;
        for header in parsed.headers.iter() {
            self.fields
                .list
                .push(Span { name: head::span(text, header.name.as_bytes()), value: head::span(text, header.value) });
        }
        self.status = code;
        self.http10 = version == 0;
        Ok(())
    }

    /// Whether more heads follow for the same request (RFC 9110 §15.2); 101 ends HTTP instead.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}
