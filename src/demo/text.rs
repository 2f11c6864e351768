//! The answer for a terminal.

use std::fmt::Write as _;

use super::notes::{Origin, origin};
use super::seen::Seen;

/// The request as aligned lines. Control characters, which a terminal would obey, are shown as escapes.
pub(super) fn render(seen: &Seen) -> String {
    let mut out = format!("{}.\n\n", seen.headline());
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {name:<13}{}", safe(value));
    };
    line("request", &format!("{} {}", seen.method, seen.target()));
    for (name, value) in
        [("host", seen.host()), ("scheme", seen.scheme()), ("port", seen.port()), ("peer", seen.peer())]
    {
        line(name, value.unwrap_or("unknown: no proxy in front tells"));
    }
    if let Some(tls) = seen.tls() {
        line("tls", &[Some(tls.version), tls.cipher].into_iter().flatten().collect::<Vec<_>>().join(", "));
        line("sni", tls.sni.unwrap_or("none sent"));
        line("alpn", tls.alpn.unwrap_or("none agreed on"));
        line("certificate", tls.certificate.unwrap_or("unknown"));
    }
    line("to the app", &seen.version);
    if seen.body > 0 {
        line("body", &format!("{} bytes", seen.body));
    }
    for (title, which) in [("Headers from the proxy", Origin::Proxy), ("Headers from the client", Origin::Client)] {
        let mut headers = seen.headers.iter().filter(|(name, _)| origin(name) == which).peekable();
        if headers.peek().is_some() {
            let _ = writeln!(out, "\n{title}:");
            for (name, value) in headers {
                let _ = writeln!(out, "  {name}: {}", safe(value));
            }
        }
    }
    out
}

fn safe(value: &str) -> String {
    value.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::sample;
    use super::*;

    #[test]
    fn the_essentials_stand_first_and_every_header_is_there() {
        let text = render(&sample(&[("x-odd", "caf\u{e9} \u{9b}31m")]));
        assert!(text.starts_with("Your connection is HTTPS.\n"), "{text}");
        for part in [
            "GET /hello?a=1",
            "TLSv1.3, TLS13_AES",
            "  sni          app.localhost\n",
            "  x-real-ip: 127.0.0.1\n",
            "cookie: a=1",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert!(!text.contains('\u{9b}'), "a control character reached the terminal:\n{text:?}");
    }

    #[test]
    fn plain_http_is_called_so() {
        let text = render(&sample(&[("x-forwarded-proto", "http")]));
        assert!(text.starts_with("Your connection is plain HTTP.\n") && !text.contains("  sni "), "{text}");
    }
}
