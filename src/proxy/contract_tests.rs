//! Properties of what an app gets, for any input: the header contract and re-framing, read by a second parser.

use std::sync::Arc;

use http::Method;
use proptest::prelude::*;

use super::asked::Asked;
use super::client::{Client, Entrance};
use super::headers::write_request;
use crate::backend::Backend;
use crate::config::{self, Balance, RouteHost};
use crate::http1::{Fields, Framing, HeadLimits, Progress, RequestHead, request_framing};
use crate::route::{Route, Table};

/// The words that forgery is made of, and some that are none.
const NAMES: [&str; 32] = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Host",
    "X-Forwarded-Ssl",
    "X-Real-IP",
    "Forwarded",
    "X-Scheme",
    "X-Url-Scheme",
    "Front-End-Https",
    "X-Original-URL",
    "X-Rewrite-URL",
    "True-Client-IP",
    "Client-IP",
    "X-Cluster-Client-IP",
    "Proxy",
    "Connection",
    "Keep-Alive",
    "Transfer-Encoding",
    "Content-Length",
    "Upgrade",
    "TE",
    "Proxy-Connection",
    "Host",
    "Accept",
    "Cookie",
    "X-Request-Id",
    "Expect",
    "My-Header",
    "X-Our-Client",
    "Trailer",
    "Via",
];

/// A name as an attacker spells it.
fn name() -> impl Strategy<Value = String> {
    let known = (proptest::sample::select(&NAMES[..]), any::<u64>(), any::<u64>()).prop_map(|(name, case, marks)| {
        let spell = |(at, c): (usize, char)| match c {
            '-' if marks >> at & 3 == 3 => ['_', '.', '~', '!'][(marks >> (at + 7) & 3) as usize],
            c if case >> at & 1 == 1 => c.to_ascii_uppercase(),
            c => c.to_ascii_lowercase(),
        };
        name.chars().enumerate().map(spell).collect()
    });
    prop_oneof![3 => known, 1 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,48}"]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ -~\t]{0,40}".prop_map(|text| text.trim().to_owned()),
        1 => proptest::sample::select(&["chunked", "close", "x-forwarded-proto", "6.6.6.6", "https", "x-real-ip, host", "5", "trailers"][..])
            .prop_map(str::to_owned),
        1 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned),
    ]
}

fn route(forwarded: bool, rewrite: bool) -> Arc<Route> {
    let host = RouteHost::Pattern("app.test".parse().expect("a host"));
    let made = config::Route {
        forwarded,
        rewrite_host: rewrite.then(|| "inner.test".to_owned()),
        ..config::Route::new(vec![host], [])
    };
    let backend = Arc::new(Backend::new("", Vec::new(), Balance::default()));
    Arc::clone(&Table::new(&[Arc::new(made)], &[backend]).expect("a table").routes()[0])
}

fn client(trusted: bool) -> Client {
    let listener = "192.0.2.1:443".parse().expect("an address");
    let proxies: Vec<ipnet::IpNet> = if trusted { vec!["203.0.113.0/24".parse().expect("a net")] } else { vec![] };
    let entrance = Entrance { listener, port: 443, trusted_proxies: proxies.into(), default_route: None };
    Client::new("203.0.113.9:5000".parse().expect("an address"), 443, Arc::new(entrance), None)
}

/// Splits what was written by the letter of RFC 9112, with none of our parser in it.
fn strict(text: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let end = text.windows(4).position(|w| w == b"\r\n\r\n").expect("an end");
    assert_eq!(end + 4, text.len(), "nothing is behind the head");
    let mut lines = text[..end].split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = String::from_utf8(lines.next().expect("a line").to_vec()).expect("ASCII");
    let fields = lines.map(|line| {
        let colon = line.iter().position(|&b| b == b':').expect("a colon");
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        assert!(!name.is_empty() && name.iter().all(|&b| b.is_ascii_graphic()), "{name:?}");
        assert!(value.iter().all(|&b| b == b'\t' || b >= b' '), "{value:?}");
        (String::from_utf8(name.to_vec()).expect("ASCII"), value.trim_ascii().to_vec())
    });
    (start, fields.collect())
}

/// As CGI, WSGI and their like name it.
fn as_apps_read(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_client_sends_the_app_sees_exactly_ours(
        fields in proptest::collection::vec((name(), value()), 0..12),
        forwarded in any::<bool>(),
        rewrite in any::<bool>(),
        length in proptest::option::of(0_u64..100),
        upgrade in any::<bool>(),
    ) {
        let mut head = RequestHead::default();
        head.begin(Method::POST, b"/path?query");
        head.fields.push(b"Host", b"app.test");
        fields.iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
            .for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
        let untrusted = vec![super::fate::folded("X-Our-Client")];
        let framing = length.map_or(Framing::Chunked, Framing::Length);
        let upgrade = upgrade.then_some(&b"websocket"[..]);
        let asked = Asked::new(&head, 443).map_err(|_| TestCaseError::reject("no host"))?;
        let mut out = Vec::new();
        write_request(&mut out, &head, &asked, &client(false), &route(forwarded, rewrite), &untrusted, (framing, upgrade));
        let (start, seen) = strict(&out);
        prop_assert_eq!(start, "POST /path?query HTTP/1.1");
        let all = |name: &str| -> Vec<String> {
            let of = seen.iter().filter(|(other, _)| as_apps_read(other) == as_apps_read(name));
            of.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
        };
        // Exactly ours, under every spelling.
        prop_assert_eq!(all("X-Forwarded-For"), ["203.0.113.9"]);
        prop_assert_eq!(all("X-Real-IP"), ["203.0.113.9"]);
        prop_assert_eq!(all("X-Forwarded-Proto"), ["http"]);
        prop_assert_eq!(all("X-Forwarded-Port"), ["443"]);
        prop_assert_eq!(all("X-Forwarded-Host"), ["app.test"]);
        prop_assert_eq!(all("Host"), [if rewrite { "inner.test" } else { "app.test" }]);
        prop_assert_eq!(all("Forwarded").len(), usize::from(forwarded));
        let framed = (all("Content-Length"), all("Transfer-Encoding"));
        prop_assert_eq!(framed, match length {
            Some(length) => (vec![length.to_string()], vec![]),
            None => (vec![], vec!["chunked".to_owned()]),
        });
        prop_assert_eq!(all("Upgrade"), upgrade.map(|_| "websocket".to_owned()).into_iter().collect::<Vec<_>>());
        for name in ["X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-Original-URL", "X-Rewrite-URL", "True-Client-IP", "Client-IP",
            "X-Cluster-Client-IP", "X-Forwarded-Ssl", "Proxy", "Keep-Alive", "Proxy-Connection", "X-Our-Client"] {
            prop_assert!(all(name).is_empty(), "{} reached the app", name);
        }
        // Ours come last, and nothing is there that nobody sent.
        let ours = seen.iter().position(|(name, _)| name == "X-Forwarded-For").expect("it is there");
        for (name, value) in &seen[ours..] {
            prop_assert!(name.starts_with("X-Forwarded-") || name == "X-Real-IP" || name == "Forwarded", "{} {:?}", name, value);
        }
        for (name, value) in &seen[..ours] {
            let own = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE"].contains(&name.as_str());
            prop_assert!(own || fields.iter().any(|(n, v)| n == name && v.as_bytes() == &value[..]), "{}", name);
        }
    }

    #[test]
    fn what_is_parsed_is_what_a_second_parser_reads_of_what_is_written(
        text in "(GET|POST) /[!-~]{0,20} HTTP/1\\.[01]\r\nHost: app\\.test\r\n([A-Za-z_-]{1,12}[ \t]?:[ -~\t\r\n]{0,20}\r\n){0,6}\r\n",
    ) {
        let limits = HeadLimits { bytes: 4096, fields: 100 };
        let mut head = RequestHead::default();
        let Ok(Some(end)) = Progress::default().find_end(text.as_bytes(), &limits) else { return Ok(()) };
        if head.read(&text.as_bytes()[..end], &limits).is_err() {
            return Ok(());
        }
        let (Ok(framing), Ok(asked)) = (request_framing(&head), Asked::new(&head, 80)) else { return Ok(()) };
        let mut out = Vec::new();
        write_request(&mut out, &head, &asked, &client(true), &route(false, false), &[], (framing, None));
        let (start, seen) = strict(&out);
        prop_assert_eq!(start, format!("{} {} HTTP/1.1", head.method, String::from_utf8_lossy(&asked.target)));
        // Whatever both have, both have with the same values in the same order.
        let mut written = Fields::new();
        seen.iter().for_each(|(name, value)| written.push(name.as_bytes(), value));
        for (name, value) in head.fields.iter() {
            let name = String::from_utf8_lossy(name).into_owned();
            if !written.all(&name).any(|_| true) || name.to_ascii_lowercase().starts_with("x-forwarded") || name.eq_ignore_ascii_case("x-real-ip") {
                continue;
            }
            prop_assert!(written.all(&name).any(|other| other == value), "{}: {:?}", name, value);
        }
    }
}
