//! Answers of our own: small, honest, in the form that the client asked for.

use http::StatusCode;

use super::failure::Failure;
use crate::http1::{Fields, ResponseHead};

/// An answer that doorward gives itself.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) head: ResponseHead,
    pub(super) body: Vec<u8>,
}

impl Page {
    /// An answer with a body of this type.
    pub(super) fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let mut head = ResponseHead { status, ..Default::default() };
        head.fields.push(b"Content-Type", content_type.as_bytes());
        Self { head, body }
    }

    /// What a failure looks like to who sent these fields, as HTML, JSON or text by `Accept` (RFC 9110 §12.5.1).
    pub(super) fn failure(failure: &Failure, request: &Fields, id: u64) -> Self {
        let reason = StatusCode::from_u16(failure.status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
        let (status, code, text) = (failure.status, failure.code, failure.text);
        let mut this = match preferred(request) {
            Form::Json => {
                let json = serde_json::json!({
                    "status": status, "error": code, "message": text, "request_id": format!("{id:016x}"),
                });
                Self::new(status, "application/json", format!("{json}\n").into_bytes())
            }
            Form::Html => Self::new(status, "text/html; charset=utf-8", html(status, reason, text, id).into_bytes()),
            Form::Text => {
                let text = format!("{status} {reason}: {text}\nrequest id {id:016x}\n");
                Self::new(status, "text/plain; charset=utf-8", text.into_bytes())
            }
        };
        this.head.fields.push(b"Cache-Control", b"no-store");
        this.head.fields.push(b"X-Request-Id", format!("{id:016x}").as_bytes());
        if let Some(seconds) = failure.retry_after {
            this.head.fields.push(b"Retry-After", seconds.to_string().as_bytes());
        }
        if status == 405 {
            this.head.fields.push(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        }
        this
    }

    /// A redirect that keeps method and body (RFC 9110 §15.4.9).
    pub(super) fn redirect(location: &[u8]) -> Self {
        let mut this = Self::new(308, "text/plain; charset=utf-8", b"this site answers over HTTPS\n".to_vec());
        this.head.fields.push(b"Location", location);
        this
    }
}

enum Form {
    Html,
    Json,
    Text,
}

/// The first of the types that we have in the client's list; `q` is not weighed, the order says as much.
fn preferred(request: &Fields) -> Form {
    for value in request.all("accept") {
        for entry in crate::http1::tokens(value) {
            let media = entry.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
            match media {
                b"text/html" | b"application/xhtml+xml" => return Form::Html,
                b"application/json" | b"application/problem+json" => return Form::Json,
                b"text/plain" | b"text/*" => return Form::Text,
                _ => {}
            }
        }
    }
    Form::Text
}

fn html(status: u16, reason: &str, text: &str, id: u64) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {reason}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;\
         color-scheme:light dark}}h1{{font-size:1.4rem}}small{{opacity:.7}}</style>\
         <h1>{status} {reason}</h1><p>{text}.</p><p><small>request id <code>{id:016x}</code></small></p></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_accept() {
        for (accept, start, content_type) in [
            ("text/html,*/*;q=0.8", "<!doctype", "text/html; charset=utf-8"),
            ("application/json", "{", "application/json"),
            ("*/*", "404 Not Found: ", "text/plain; charset=utf-8"),
        ] {
            let mut fields = Fields::new();
            fields.push(b"Accept", accept.as_bytes());
            let page = Page::failure(&Failure::unknown_host(), &fields, 0xabc);
            let body = String::from_utf8(page.body).expect("text");
            assert!(body.starts_with(start) && body.contains("0000000000000abc"), "{body}");
            assert_eq!(page.head.fields.first("content-type"), Some(content_type.as_bytes()));
        }
    }
}
