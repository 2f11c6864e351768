//! What is fuzzed: every parser of bytes from outside, each as a function of bytes that panics where a promise is
//! broken. `fuzz_targets/` gives them to libFuzzer, `tests/fuzz_corpus.rs` to a plain test.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use doorward::certs::{Bundle, Certificate, PemPart, PemParts};
use doorward::config;
use doorward::http1::{
    self, BodyDecoder, BodyError, Fields, Framing, HeadLimits, Piece, Progress, RequestHead, ResponseHead,
};
use doorward::net::proxy_protocol;
use doorward::tls::Hello;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A parser under test.
pub type Target = fn(&[u8]);

/// Each by its name, which is that of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("body", body),
    ("proxy_protocol", proxy_protocol),
    ("client_hello", client_hello),
    ("config", config),
    ("pem", pem),
];

const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 64 };

/// A request's head: what is read holds no byte that could end a line, and what is written of it reads the same.
pub fn request_head(data: &[u8]) {
    let Some(end) = end_of_head(data) else { return };
    let mut head = RequestHead::default();
    if head.read(&data[..end], &LIMITS).is_err() {
        return;
    }
    check_fields(&head.fields);
    assert!(!head.target().is_empty() && head.target().iter().all(|&b| b > b' ' && b != 0x7f), "{:?}", head.target());
    let version: &[u8] = if head.http10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" };
    let mut text = [head.method.as_str().as_bytes(), b" ", head.target(), version].concat();
    write_fields(&mut text, &head.fields);
    let mut again = RequestHead::default();
    assert_eq!(Progress::default().find_end(&text, &WRITTEN), Ok(Some(text.len())));
    again.read(&text, &WRITTEN).expect("what is written can be read");
    assert_eq!((&again.method, again.target(), again.http10), (&head.method, head.target(), head.http10));
    assert!(again.fields.iter().eq(head.fields.iter()));
    assert_eq!(http1::request_framing(&again), http1::request_framing(&head));
}

/// An answer's head, likewise.
pub fn response_head(data: &[u8]) {
    let Some(end) = end_of_head(data) else { return };
    let mut head = ResponseHead::default();
    if head.read(&data[..end], &LIMITS).is_err() {
        return;
    }
    assert!((100..=999).contains(&head.status));
    check_fields(&head.fields);
    let mut text = format!("HTTP/1.{} {} \r\n", u8::from(!head.http10), head.status).into_bytes();
    write_fields(&mut text, &head.fields);
    let mut again = ResponseHead::default();
    again.read(&text, &WRITTEN).expect("what is written can be read");
    assert_eq!(again.status, head.status);
    assert!(again.fields.iter().eq(head.fields.iter()));
    for method in [http::Method::GET, http::Method::HEAD] {
        assert_eq!(http1::response_framing(&method, &again), http1::response_framing(&method, &head));
    }
}

/// A body: however it comes in pieces, the same is read of it, and what is behind it is left alone. The first byte
/// says how it is framed.
pub fn body(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let framing = match kind % 3 {
        0 => Framing::Length(u64::from(kind) * 3),
        1 => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    let whole = decode(framing, data, data.len().max(1));
    for step in [1, 3, 17] {
        let pieces = decode(framing, data, step);
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
            (Err(_), Err(_)) => {}
            _ => panic!("{whole:?} at once, {pieces:?} in pieces of {step}"),
        }
    }
    let Ok((body, trailers, _)) = whole else { return };
    if framing != Framing::Chunked {
        return;
    }
    let mut text = Vec::new();
    for chunk in body.chunks(100) {
        http1::chunk_head(&mut text, chunk.len());
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
    }
    let mut fields = Fields::new();
    trailers.iter().for_each(|(name, value)| fields.push(name, value));
    http1::chunk_trailers(&mut text, &fields);
    text.extend_from_slice(b"NEXT");
    let again = decode(Framing::Chunked, &text, text.len()).expect("what is written can be read");
    assert_eq!(again, (body, trailers, b"NEXT".to_vec()));
}

/// A PROXY protocol header, version 1 or 2.
pub fn proxy_protocol(data: &[u8]) {
    let _ = proxy_protocol::parse(data);
}

/// The first flight of a TLS client: every byte that was read is kept for a passthrough backend, and the name is one.
pub fn client_hello(data: &[u8]) {
    let mut stream = Memory { input: data, output: Vec::new() };
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(result) = pin!(Hello::read(&mut stream)).poll(&mut cx) else { panic!("nothing to wait for") };
    if let Ok(hello) = result {
        assert!(data.starts_with(&hello.bytes));
        assert!(hello.sni.is_none_or(|name| name.ip().is_none() && !name.as_str().ends_with('.')));
    }
    // An alert or nothing.
    assert!(stream.output.is_empty() || stream.output[0] == 21, "{:?}", stream.output);
}

/// A config: what is taken is shown as a config that reads the same, up to its secrets.
pub fn config(data: &[u8]) {
    // Includes would read files of this machine.
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains("include") {
        return;
    }
    if let Ok(loaded) = config::parse(text) {
        let shown = loaded.config.to_toml();
        let again = config::parse(&shown).unwrap_or_else(|faults| panic!("{faults:?}\n{shown}"));
        assert_eq!(again.config.to_toml(), shown);
    }
}

/// The files of a certificate folder: key, certificate and chain, with `%%%` between them. No error and no `Debug` shows
/// the key.
pub fn pem(data: &[u8]) {
    let mut parts = split(data, b"%%%");
    let first = parts.next().unwrap_or_default();
    let id = || config::CertificateId::new("fuzz");
    let texts: Vec<&[u8]> = parts.collect();
    let message = match &*texts {
        [] => match Bundle::from_text(id(), "all.pem", first, 0) {
            Ok(bundle) => format!("{bundle:?}"),
            Err(error) => error.to_string(),
        },
        [certificate, rest @ ..] => {
            let parts = PemParts {
                certificate: PemPart::new("ssl.crt", certificate),
                key: PemPart::new("ssl.key", first),
                chain: rest.first().map(|chain| PemPart::new("ssl.chain", chain)),
            };
            match Certificate::from_pem(id(), parts, 0) {
                Ok(certificate) => format!("{certificate:?}"),
                Err(error) => error.to_string(),
            }
        }
    };
    for line in first.split(|&b| b == b'\n').filter(|line| line.len() >= 48 && !line.starts_with(b"--")) {
        let secret = String::from_utf8_lossy(line);
        let in_certificates = texts.iter().any(|text| memchr_in(text, line));
        assert!(in_certificates || !message.contains(secret.trim()), "{message}");
    }
}

/// Heads as we write them may be a little longer than what was read.
const WRITTEN: HeadLimits = HeadLimits { bytes: 16_384, fields: 64 };

fn end_of_head(data: &[u8]) -> Option<usize> {
    let whole = Progress::default().find_end(data, &LIMITS);
    // However it comes in pieces, the same end is found, or the same fault.
    let mut progress = Progress::default();
    let mut pieces = Ok(None);
    for n in 1..=data.len() {
        pieces = progress.find_end(&data[..n], &LIMITS);
        if !matches!(pieces, Ok(None)) {
            break;
        }
    }
    if let Ok(Some(end)) = whole {
        assert_eq!(pieces, Ok(Some(end)));
    }
    whole.ok().flatten()
}

fn check_fields(fields: &Fields) {
    for (name, value) in fields.iter() {
        assert!(!name.is_empty() && name.iter().all(|&b| b.is_ascii_graphic() && b != b':'), "{name:?}");
        assert!(value.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f)), "{value:?}");
        assert_eq!(value.trim_ascii(), value);
    }
}

fn write_fields(text: &mut Vec<u8>, fields: &Fields) {
    fields.iter().for_each(|(name, value)| http1::field(text, name, value));
    text.extend_from_slice(b"\r\n");
}

type Decoded = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>);

fn decode(framing: Framing, input: &[u8], step: usize) -> Result<Decoded, BodyError> {
    let mut decoder = BodyDecoder::new(framing);
    let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
    let mut pieces = input.chunks(step);
    loop {
        match decoder.take(&mut buffer)? {
            Piece::Data(data) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Piece::End => break,
            Piece::More => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => decoder.close()?,
            },
        }
    }
    assert!(decoder.is_done() && body.len() <= input.len());
    pieces.for_each(|piece| buffer.extend_from_slice(piece));
    let trailers = decoder.trailers().iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    Ok((body, trailers, buffer.to_vec()))
}

fn split<'a>(mut data: &'a [u8], by: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let at = data.windows(by.len()).position(|window| window == by);
        let part = &data[..at.unwrap_or(data.len())];
        match at {
            Some(at) => data = &data[at + by.len()..],
            None => over = true,
        }
        Some(part)
    })
}

fn memchr_in(text: &[u8], line: &[u8]) -> bool {
    text.windows(line.len()).any(|window| window == line)
}

/// A connection of which everything has come.
struct Memory<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl AsyncRead for Memory<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = self.input.len().min(buf.remaining()).min(700);
        buf.put_slice(&self.input[..n]);
        self.input = &self.input[n..];
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.output.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
