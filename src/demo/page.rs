//! The answer for a browser: one page, no script, nothing fetched from anywhere.

use std::fmt::Write as _;

use super::notes::{Origin, note, origin};
use super::seen::Seen;

const STYLE: &str = include_str!("page.css");
/// A padlock, closed and open.
const CLOSED: &str = r#"<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 10V7a5 5 0 0 1 10 0v3"/><rect x="4.5" y="10" width="15" height="10.5" rx="2.5"/><path d="M12 14.2v2.4"/></svg>"#;
const OPEN: &str = r#"<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 10V7a5 5 0 0 1 9.6-2"/><rect x="4.5" y="10" width="15" height="10.5" rx="2.5"/><path d="M12 14.2v2.4"/></svg>"#;
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' rx='8' fill='%230f766e'/%3E%3Cpath d='M10 26V9a3 3 0 0 1 3-3h6a3 3 0 0 1 3 3v17M7 26h18' fill='none' stroke='white' stroke-width='2.4' stroke-linecap='round'/%3E%3Ccircle cx='18.6' cy='16.5' r='1.5' fill='white'/%3E%3C/svg%3E";

/// The page on `seen`.
pub(super) fn render(seen: &Seen) -> String {
    let mut out = String::with_capacity(24 * 1024);
    let mood = if seen.is_https() { "good" } else { "plain" };
    let host = escape(seen.host().unwrap_or("this app"));
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{host} · doorward</title>\n\
         <link rel=\"icon\" href=\"{ICON}\">\n<style>{STYLE}</style>\n</head>\n<body class=\"{mood}\">\n<main>\n"
    );
    hero(&mut out, seen);
    trip(&mut out, seen);
    facts(&mut out, seen);
    headers(
        &mut out,
        seen,
        Origin::Proxy,
        "What doorward tells the app",
        "A client cannot forge these: whatever it sends under these names is removed or replaced.",
    );
    headers(
        &mut out,
        seen,
        Origin::Client,
        "What your client sent",
        "Passed on as it came, but for what concerns one connection only.",
    );
    hints(&mut out, seen);
    out.push_str(
        "</main>\n<footer>This is doorward’s demo app. It stands behind the proxy like any app of yours: \
         start <code>doorward dev 3000</code> and your own app on port 3000 stands here.</footer>\n</body>\n</html>\n",
    );
    out
}

fn hero(out: &mut String, seen: &Seen) {
    let lock = if seen.is_https() { CLOSED } else { OPEN };
    let told = match (seen.scheme(), seen.tls()) {
        (Some("https"), Some(tls)) => format!(
            "Your client and doorward speak {}, and doorward showed the certificate <b>{}</b>.",
            escape(&readable(tls.version)),
            escape(tls.certificate.unwrap_or("of this name")),
        ),
        (Some("https"), None) => "doorward ended TLS and tells the app so.".to_owned(),
        (Some(_), _) => "Anybody on the way can read and change it. The same page over TLS says otherwise.".to_owned(),
        (None, _) => "The request came to the app without a proxy: open doorward’s address instead.".to_owned(),
    };
    let _ = write!(
        out,
        "<header>\n<div class=\"lock\">{lock}</div>\n<div>\n<h1>{}</h1>\n<p>{told}</p>\n</div>\n</header>\n",
        seen.headline()
    );
}

/// You → doorward → the app.
fn trip(out: &mut String, seen: &Seen) {
    let outside = match seen.tls() {
        Some(tls) => format!("{} · {}", escape(&readable(tls.version)), escape(&protocol(tls.alpn))),
        None if seen.is_https() => "TLS".to_owned(),
        None => "no TLS".to_owned(),
    };
    let port = seen.port().map_or_else(String::new, |port| format!("port {}", escape(port)));
    let _ = write!(
        out,
        "<ol class=\"trip\" aria-label=\"The way of this request\">\n\
         <li><b>You</b><span>{peer}</span></li>\n<li class=\"hop outside\"><span>{outside}</span></li>\n\
         <li><b>doorward</b><span>{port}</span></li>\n<li class=\"hop\"><span>{inside} · loopback</span></li>\n\
         <li><b>This app</b><span>{method} {path}</span></li>\n</ol>\n",
        peer = escape(seen.peer().unwrap_or("unknown")),
        inside = escape(&seen.version),
        method = escape(&seen.method),
        path = escape(&seen.path),
    );
}

fn facts(out: &mut String, seen: &Seen) {
    let tls = seen.tls();
    let mut facts: Vec<(&str, Option<&str>)> = vec![("Host", seen.host())];
    let target = format!("{} {}", seen.method, seen.target());
    facts.push(("Request", Some(&target)));
    if let Some(tls) = &tls {
        facts.extend([("Asked for (SNI)", Some(tls.sni.unwrap_or("none sent"))), ("Cipher suite", tls.cipher)]);
        facts.extend([("Protocol (ALPN)", Some(tls.alpn.unwrap_or("none"))), ("Certificate", tls.certificate)]);
    }
    let body = format!("{} bytes", seen.body);
    if seen.body > 0 {
        facts.push(("Body received", Some(&body)));
    }
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", breakable(value));
    }
    out.push_str("</dl>\n");
}

fn headers(out: &mut String, seen: &Seen, which: Origin, title: &str, lead: &str) {
    let mut headers = seen.headers.iter().filter(|(name, _)| origin(name) == which).peekable();
    if headers.peek().is_none() {
        return;
    }
    let _ = write!(out, "<section>\n<h2>{title}</h2>\n<p class=\"lead\">{lead}</p>\n<dl class=\"headers\">\n");
    for (name, value) in headers {
        let _ = writeln!(
            out,
            "<div><dt>{}</dt><dd><code>{}</code><small>{}</small></dd></div>",
            escape(name),
            escape(value),
            note(name)
        );
    }
    out.push_str("</dl>\n</section>\n");
}

fn hints(out: &mut String, seen: &Seen) {
    let scheme = seen.scheme().unwrap_or("http");
    let host = seen.host().unwrap_or("localhost");
    let url = escape(&format!("{scheme}://{host}/"));
    // The CA's path is the proxy's to know; what the terminal printed at the start has it.
    let trust = if seen.is_https() { "--cacert CA.pem " } else { "" };
    let _ = write!(
        out,
        "<section>\n<h2>Try</h2>\n<dl class=\"headers\">\n\
         <div><dt>as text</dt><dd><code>curl {trust}{url}</code></dd></div>\n\
         <div><dt>as JSON</dt><dd><code>curl {trust}-H 'Accept: application/json' {url}</code></dd></div>\n\
         <div><dt>forge a header</dt><dd><code>curl {trust}-H 'X-Forwarded-For: 192.0.2.1' {url}</code>\
         <small>and see that the app hears the truth all the same.</small></dd></div>\n</dl>\n</section>\n"
    );
}

/// `TLSv1.3` and `TLSv1_3` read `TLS 1.3`.
fn readable(version: &str) -> String {
    version.replace("TLSv", "TLS ").replace('_', ".")
}

fn protocol(alpn: Option<&str>) -> String {
    match alpn {
        Some("h2") => "HTTP/2".to_owned(),
        Some("http/1.1") | None => "HTTP/1.1".to_owned(),
        Some(other) => other.to_owned(),
    }
}

/// Escaped, and breakable at the underscores of long names.
fn breakable(text: &str) -> String {
    escape(text).replace('_', "_<wbr>")
}

/// Text that means itself, in an element and in a quoted attribute alike.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::sample;
    use super::*;

    #[test]
    fn nothing_that_a_client_sends_becomes_markup() {
        let evil = "<script>alert(\"1\")</script>'&";
        let names = [
            "host",
            "x-forwarded-host",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-tls-version",
            "x-tls-alpn",
            "x-tls-sni",
            "x-tls-cipher",
            "x-tls-certificate",
            "x-odd",
        ];
        let mut seen = sample(&names.map(|name| (name, evil)));
        seen.path = format!("/{evil}");
        seen.query = Some(evil.to_owned());
        seen.method = evil.to_owned();
        let page = render(&seen);
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("alert(\""), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;"));
    }

    #[test]
    fn the_headline_says_whether_it_was_https() {
        assert!(render(&sample(&[])).contains("<h1>Your connection is HTTPS</h1>"));
        let plain = render(&sample(&[("x-forwarded-proto", "http")]));
        assert!(plain.contains("<h1>Your connection is plain HTTP</h1>") && !plain.contains("TLS 1.3"));
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let page = render(&sample(&[]));
        for trace in ["src=", "url(", "@import", "href=\"http"] {
            assert!(!page.contains(trace), "{trace}");
        }
    }
}
