//! The steps of a handshake and a request that cost no system call, each ready to be run over and over. Shared by
//! `data_plane` (time) and `instructions` (counts), so that both speak of the same work.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use doorward::backend::{Registry, StickyKey};
use doorward::certs::{Ask, Certificate, Choice, PemPart, PemParts, SignatureScheme, Table};
use doorward::config::{BackendAddress, CertificateId, Route, RouteHost};
use doorward::http1::{HeadLimits, Progress, RequestHead, ResponseHead};
use doorward::names::HostPattern;
use doorward::proxy::{Client, Entrance, Tls, measured};
use doorward::route;
use rcgen::{CertificateParams, KeyPair};

/// Hosts among which one is chosen.
const NAMES: usize = 10_000;
/// Certificates among which one is chosen: fewer, as each has to be signed, also under valgrind.
const CERTIFICATES: usize = 1_000;
const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
const LIMITS: HeadLimits = HeadLimits { bytes: 32 << 10, fields: 100 };
/// In 2026: the certificates' default dates are wide.
const NOW: i64 = 1_790_000_000;
const SCHEMES: &[SignatureScheme] =
    &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ED25519];

/// As a browser sends it.
const REQUEST: &str = "GET /api/users?page=2 HTTP/1.1\r\n\
    Host: HOST\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=5f2b1c9e8d7a4f60b3c2d1e0f9a8b7c6\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    X-Forwarded-For: 192.0.2.1\r\n\r\n";

/// As an app answers it.
const ANSWER: &str = "HTTP/1.1 200 OK\r\n\
    Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Cache-Control: private, max-age=0\r\n\
    ETag: \"5f2b1c9e\"\r\n\
    Set-Cookie: seen=1; Path=/; Secure; HttpOnly\r\n\
    Vary: Accept-Encoding\r\n\
    Connection: keep-alive\r\n\r\n";

/// A step: its name, and what makes it ready.
pub(crate) type Step = (&'static str, fn() -> Box<dyn FnMut()>);

/// All of them, in the order of a connection's trip.
pub(crate) const STEPS: &[Step] = &[
    ("choose a certificate by SNI", choose_certificate),
    ("parse a request head", parse_request),
    ("route by host and path", find_route),
    ("request head to the backend", request_to_backend),
    ("parse a response head", parse_answer),
    ("response head to HTTP/1.1", answer_to_http1),
    ("response head to HTTP/2", answer_to_http2),
    ("line of the access log", access_line),
];

fn name(n: usize) -> String {
    format!("app-{n}.customer-{}.example.com", n % 100)
}

/// The next of so many names, not in order: what a cache holds of the last one does not help.
fn names(count: usize) -> impl FnMut() -> &'static str {
    let all: &'static [String] = (0..count).map(name).collect::<Vec<_>>().leak();
    let mut at = 0;
    move || {
        at = (at + 7919) % count;
        &all[at]
    }
}

/// Certificates of one key.
fn choose_certificate() -> Box<dyn FnMut()> {
    let key = KeyPair::generate().expect("a key");
    let pem =
        |n| CertificateParams::new(vec![name(n)]).expect("a name").self_signed(&key).expect("a certificate").pem();
    let key_pem = key.serialize_pem();
    let table = Table::new();
    table.extend((0..CERTIFICATES).map(|n| Arc::new(certificate(&name(n), &pem(n), &key_pem))));
    let mut names = names(CERTIFICATES);
    Box::new(move || {
        let sni = Some(names());
        let ask = Ask { sni, local: IpAddr::V4(Ipv4Addr::LOCALHOST), schemes: SCHEMES, default: None, now: NOW };
        assert!(matches!(table.choose(black_box(&ask)), Choice::Named(_)));
    })
}

fn certificate(id: &str, pem: &str, key: &str) -> Certificate {
    let parts = PemParts {
        certificate: PemPart::new("cert.pem", pem.as_bytes()),
        key: PemPart::new("key.pem", key.as_bytes()),
        chain: None,
    };
    Certificate::from_pem(CertificateId::new(id), parts, NOW).expect("a sound certificate")
}

fn parse_request() -> Box<dyn FnMut()> {
    let text = REQUEST.replace("HOST", &name(1));
    let mut head = RequestHead::default();
    Box::new(move || {
        let text = black_box(text.as_bytes());
        let end = Progress::default().find_end(text, &LIMITS).expect("a head").expect("its end");
        head.read(&text[..end], &LIMITS).expect("a head");
    })
}

fn parse_answer() -> Box<dyn FnMut()> {
    let mut head = ResponseHead::default();
    Box::new(move || {
        let text = black_box(ANSWER.as_bytes());
        let end = Progress::default().find_end(text, &LIMITS).expect("a head").expect("its end");
        head.read(&text[..end], &LIMITS).expect("a head");
    })
}

/// A table of 10,000 hosts with two paths each.
fn routes() -> route::Table {
    let backend: BackendAddress = BackendAddress::Socket(([127, 0, 0, 1], 3000).into());
    let routes: Vec<Arc<Route>> = (0..NAMES)
        .flat_map(|n| ["/", "/api"].map(|path| (n, path)))
        .map(|(n, path)| {
            let host = RouteHost::Pattern(HostPattern::parse(&name(n)).expect("a name"));
            let route = Route::new(vec![host], vec![backend.clone()]);
            Arc::new(Route { name: format!("{}{path}", name(n)), path: path.into(), ..route })
        })
        .collect();
    let backends =
        Registry::new(StickyKey::new(b"bench")).backends(routes.iter().map(|route| &route.backend)).expect("backends");
    route::Table::new(&routes, &backends).expect("no conflict")
}

fn find_route() -> Box<dyn FnMut()> {
    let table = routes();
    let mut names = names(NAMES);
    Box::new(move || {
        assert!(table.find(black_box(names()), black_box(b"/api/users"), LISTENER).is_ok_and(|found| found.is_some()));
    })
}

/// Host and target checked, route found, headers rewritten, head written.
fn request_to_backend() -> Box<dyn FnMut()> {
    let table = routes();
    let (head, client) = (request(), client());
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        assert!(measured::request_to_backend(black_box(&head), &client, &table, &mut out));
        black_box(&out);
    })
}

fn access_line() -> Box<dyn FnMut()> {
    let (head, client, name) = (request(), client(), name(1));
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        measured::access_line(black_box(&head), &client, &name, &mut out);
        black_box(&out);
    })
}

fn request() -> RequestHead {
    let text = REQUEST.replace("HOST", &name(1));
    let mut head = RequestHead::default();
    head.read(text.as_bytes(), &LIMITS).expect("a head");
    head
}

fn client() -> Client {
    let entrance = Entrance { listener: LISTENER, port: 443, trusted_proxies: [].into(), default_route: None };
    let tls = Tls {
        sni: None,
        version: "TLSv1.3",
        cipher: "",
        alpn: Some("http/1.1".to_owned()),
        resumed: false,
        certificate: None,
    };
    Client::new(([192, 0, 2, 7], 50_000).into(), 443, Arc::new(entrance), Some(tls))
}

fn answer() -> ResponseHead {
    let mut head = ResponseHead::default();
    head.read(ANSWER.as_bytes(), &LIMITS).expect("a head");
    head
}

fn answer_to_http1() -> Box<dyn FnMut()> {
    let (head, mut out) = (answer(), Vec::new());
    Box::new(move || {
        out.clear();
        measured::answer_to_http1(black_box(&head), 1024, &mut out);
        black_box(&out);
    })
}

fn answer_to_http2() -> Box<dyn FnMut()> {
    let head = answer();
    Box::new(move || drop(black_box(measured::answer_to_http2(black_box(&head), 1024))))
}
