//! Handshakes of rustls clients with an [`Acceptor`], over a pipe.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::certs::testing::{Order, TestCa};
use crate::certs::{BoxFuture, OnDemand, OnDemandError, Table, provider};
use crate::config::{CertificateId, TlsOptions, TlsVersion};
use crate::names::Hostname;

type Served = Result<Accepted<DuplexStream>, AcceptError<DuplexStream>>;
type Connected = std::io::Result<client::TlsStream<DuplexStream>>;

struct World {
    ca: TestCa,
    table: Arc<Table>,
    tickets: Tickets,
    now: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = Arc::clone(&now);
        let tickets = Tickets::with_clock(Arc::new(move || clock.load(Ordering::Relaxed))).expect("randomness");
        let world = Self { ca: TestCa::new("test"), table: Arc::new(Table::new()), tickets, now };
        world.serve("a", Order::new(&["a.example", "*.wild.example"]));
        world.serve("b", Order::new(&["b.example"]));
        world.serve("ip", Order::new(&["192.0.2.1"]));
        world
    }

    fn serve(&self, id: &str, order: Order<'_>) {
        self.table.insert(self.ca.certificate(id, order));
    }

    fn acceptor(&self, options: &TlsOptions, default: Option<&str>) -> Acceptor {
        let default = default.map(|id| CertificateId::new(id));
        Acceptor::new(options, default, Arc::clone(&self.table), None, &self.tickets).expect("an acceptor")
    }

    fn plain(&self) -> Acceptor {
        self.acceptor(&TlsOptions::default(), None)
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.root.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider())).with_protocol_versions(versions);
        let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(16);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

fn local(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::from((ip, 443))
}

/// Connects, and lets the client read what the server says, so that it has its tickets.
async fn connect(acceptor: &Acceptor, config: &Arc<ClientConfig>, name: &str) -> (Served, Connected) {
    connect_at(acceptor, config, name, local([198, 51, 100, 1])).await
}

async fn connect_at(
    acceptor: &Acceptor,
    config: &Arc<ClientConfig>,
    name: &str,
    at: SocketAddr,
) -> (Served, Connected) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::clone(config));
    let (mut served, mut connected) = tokio::join!(acceptor.accept(far, at), connector.connect(name, near));
    if let (Ok(served), Ok(connected)) = (&mut served, &mut connected) {
        served.stream.write_all(b"x").await.expect("a write");
        served.stream.flush().await.expect("a flush");
        connected.read_u8().await.expect("a read");
    }
    (served, connected)
}

async fn info(acceptor: &Acceptor, config: &Arc<ClientConfig>, name: &str) -> TlsInfo {
    let (served, connected) = connect(acceptor, config, name).await;
    connected.expect("the client is content");
    served.expect("a handshake").info
}

fn id(info: &TlsInfo) -> &str {
    info.certificate.as_ref().expect("a certificate").id().as_str()
}

async fn refused(acceptor: &Acceptor, config: ClientConfig, name: &str) -> (&'static str, String) {
    let (served, connected) = connect(acceptor, &Arc::new(config), name).await;
    let alert = connected.expect_err("the client is refused").to_string();
    (served.expect_err("a refusal").outcome(), alert)
}

#[tokio::test]
async fn the_certificate_is_the_one_for_the_name() {
    let world = World::new();
    let config = Arc::new(world.client(&[&TLS13]));
    let acceptor = world.plain();
    let first = info(&acceptor, &config, "A.example").await;
    assert_eq!((id(&first), first.sni.as_ref().map(Hostname::as_str)), ("a", Some("a.example")));
    assert_eq!((first.alpn, first.version, first.cipher), (Alpn::Http2, "TLSv1.3", "TLS_AES_256_GCM_SHA384"));
    assert_eq!((first.group, first.resumed), (Some("X25519MLKEM768"), false));
    assert_eq!(id(&info(&acceptor, &config, "b.example").await), "b");
    assert_eq!(id(&info(&acceptor, &config, "x.wild.example").await), "a");

    let (outcome, alert) = refused(&acceptor, world.client(&[&TLS13]), "other.example").await;
    assert_eq!(outcome, "unknown_name");
    assert!(alert.contains("UnrecognisedName"), "{alert}");
}

#[tokio::test]
async fn without_a_name_the_address_decides_and_then_the_default() {
    let world = World::new();
    let config = Arc::new(world.client(&[&TLS13]));
    let acceptor = world.plain();
    let (served, connected) = connect_at(&acceptor, &config, "192.0.2.1", local([192, 0, 2, 1])).await;
    connected.expect("the client is content");
    let served = served.expect("a handshake").info;
    assert_eq!((id(&served), served.sni.is_none()), ("ip", true));

    let (outcome, alert) = refused(&acceptor, world.client(&[&TLS13]), "192.0.2.1").await;
    assert_eq!(outcome, "no_certificate");
    assert!(alert.contains("HandshakeFailure"), "{alert}");

    let with_default = world.acceptor(&TlsOptions::default(), Some("ip"));
    assert_eq!(id(&info(&with_default, &config, "192.0.2.1").await), "ip");
    let (served, _) = connect(&with_default, &config, "other.example").await;
    assert!(served.is_err(), "the client does not like the default's name, but it was offered");
}

#[tokio::test]
async fn rsa_for_clients_that_take_nothing_else() {
    let world = World::new();
    world.serve("a-rsa", Order::new(&["a.example"]).rsa());
    let acceptor = world.plain();
    let any = Arc::new(world.client(&[&TLS13, &TLS12]));
    assert_eq!(id(&info(&acceptor, &any, "a.example").await), "a");

    // In TLS 1.2 the suite decides, though the client's signature schemes allow ECDSA too.
    let mut limited = (**provider()).clone();
    limited.cipher_suites.retain(|s| s.suite() == CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
    let mut roots = RootCertStore::empty();
    roots.add(world.ca.root.der().clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(limited)).with_protocol_versions(&[&TLS12]);
    let config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let info = info(&acceptor, &Arc::new(config), "a.example").await;
    assert_eq!((id(&info), info.version, info.alpn), ("a-rsa", "TLSv1.2", Alpn::Http1));
    assert_eq!(info.cipher, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
}

#[tokio::test]
async fn a_session_resumes_for_its_name_and_policy_only() {
    let world = World::new();
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(world.client(&[version]));
        let acceptor = world.plain();
        assert!(!info(&acceptor, &config, "a.example").await.resumed);
        let again = connect(&acceptor, &config, "a.example").await.0.expect("a handshake");
        assert_eq!((again.info.resumed, again.outcome()), (true, "resumed"), "{version:?}");
        assert_eq!(id(&again.info), "a");
        // Workers share the tickets: another acceptor with the same policy opens them.
        assert!(info(&world.plain(), &config, "a.example").await.resumed);
        // Another policy does not.
        let other = world.acceptor(&TlsOptions { http2: false, ..TlsOptions::default() }, None);
        assert!(!info(&other, &config, "a.example").await.resumed);
        let config = Arc::new(world.client(&[version]));
        assert!(!info(&acceptor, &config, "a.example").await.resumed);
        assert!(!info(&world.acceptor(&TlsOptions::default(), Some("b")), &config, "a.example").await.resumed);
    }
}

/// Makes the client offer a session of `x.wild.example` to `y.wild.example`, by one store for all names.
#[derive(Debug)]
struct AnyName(Arc<dyn client_store::Store>);

mod client_store {
    pub(super) use rustls::client::ClientSessionStore as Store;
}

impl client_store::Store for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(any(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&any())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: rustls::client::Tls12ClientSessionValue) {
        self.0.set_tls12_session(any(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&any())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&any());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: rustls::client::Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(any(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&any())
    }
}

fn any() -> ServerName<'static> {
    ServerName::try_from("any.example").expect("a name")
}

#[tokio::test]
async fn a_session_of_one_name_does_not_resume_on_another() {
    let world = World::new();
    for version in [&TLS13, &TLS12] {
        let mut config = world.client(&[version]);
        let store = Arc::new(rustls::client::ClientSessionMemoryCache::new(16));
        config.resumption = Resumption::store(Arc::new(AnyName(store)));
        let config = Arc::new(config);
        let acceptor = world.plain();
        assert!(!info(&acceptor, &config, "x.wild.example").await.resumed);
        assert!(!info(&acceptor, &config, "y.wild.example").await.resumed, "{version:?}");
        assert!(info(&acceptor, &config, "y.wild.example").await.resumed, "the client does offer its sessions");
    }
}

#[tokio::test]
async fn without_a_name_a_session_is_bound_to_the_address() {
    let world = World::new();
    world.serve("ips", Order::new(&["192.0.2.1", "192.0.2.2"]));
    let config = Arc::new(world.client(&[&TLS13]));
    let acceptor = world.acceptor(&TlsOptions::default(), Some("ips"));
    let resumed = async |ip| {
        let (served, _) = connect_at(&acceptor, &config, "192.0.2.1", local(ip)).await;
        served.expect("a handshake").info.resumed
    };
    assert!(!resumed([192, 0, 2, 1]).await);
    assert!(resumed([192, 0, 2, 1]).await);
    assert!(!resumed([192, 0, 2, 2]).await);
}

#[tokio::test]
async fn keys_rotate_and_old_tickets_end_in_full_handshakes() {
    let world = World::new();
    let hour = 3600;
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(world.client(&[version]));
        let acceptor = world.plain();
        info(&acceptor, &config, "a.example").await;
        world.now.fetch_add(7 * hour, Ordering::Relaxed);
        assert!(info(&acceptor, &config, "a.example").await.resumed, "under the key before");
        world.now.fetch_add(19 * hour, Ordering::Relaxed);
        assert!(!info(&acceptor, &config, "a.example").await.resumed, "the key is gone");
        assert!(info(&acceptor, &config, "a.example").await.resumed);
    }
}

#[tokio::test]
async fn one_byte_segments_and_split_records_are_read() {
    let world = World::new();
    let acceptor = world.plain();
    let hello = first_flight(&world.client(&[&TLS13]), "a.example");
    let body = &hello[5..];
    let split: Vec<u8> = body
        .chunks(100)
        .flat_map(|piece| [&[22, 3, 1, 0, u8::try_from(piece.len()).expect("short")], piece].concat())
        .collect();
    for bytes in [hello, split] {
        let (mut near, mut far) = tokio::io::duplex(1);
        let sent = bytes.clone();
        let (read, ()) = tokio::join!(Hello::read(&mut far), async {
            for byte in &sent {
                near.write_all(&[*byte]).await.expect("a write");
            }
        });
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.sni.as_ref().map(Hostname::as_str), Some("a.example"));
        assert_eq!(read.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(read.bytes, bytes, "not a byte is lost");
        assert!(read.schemes.contains(&SignatureScheme::ECDSA_NISTP256_SHA256));

        // And the handshake goes on from there.
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        near.write_all(&bytes).await.expect("a write");
        let server = acceptor.accept(far, local([127, 0, 0, 1]));
        let answer = tokio::select! {
            _ = server => panic!("the client has not finished"),
            answer = near.read_u8() => answer,
        };
        assert_eq!(answer.ok(), Some(22), "a ServerHello");
    }
}

fn first_flight(config: &ClientConfig, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config.clone()), name).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("a ClientHello");
    bytes
}

/// What the server makes of these bytes, and what it answers to them.
async fn says(acceptor: &Acceptor, bytes: &[u8]) -> (AcceptError<DuplexStream>, Vec<u8>) {
    let (mut near, far) = tokio::io::duplex(256 * 1024);
    near.write_all(bytes).await.expect("a write");
    let error = acceptor.accept(far, local([127, 0, 0, 1])).await.expect_err("no handshake");
    if let AcceptError::PlainHttp(mut io) = error {
        io.write_all(b"400").await.expect("a write");
        io.shutdown().await.expect("a shutdown");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.expect("a read");
        return (AcceptError::PlainHttp(io), answer);
    }
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.expect("a read");
    (error, answer)
}

#[tokio::test]
async fn plain_http_is_handed_back_and_garbage_gets_an_alert() {
    let world = World::new();
    let acceptor = world.plain();
    for plain in ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "PROPFIND /x HTTP/1.1\r\n"] {
        let (error, answer) = says(&acceptor, plain.as_bytes()).await;
        assert_eq!((error.outcome(), &answer[..]), ("plain_http", &b"400"[..]), "{plain}");
    }
    let hello = first_flight(&world.client(&[&TLS13]), "a.example");
    let name = hello.windows(9).position(|w| w == b"a.example").expect("the SNI");
    let mut with_nul = hello.clone();
    with_nul[name + 1] = 0;
    let mut cut = hello.clone();
    cut[8] = 1; // the handshake message claims to be shorter than its contents
    let mut random = vec![0; 3000];
    fastrand::Rng::with_seed(7).fill(&mut random);
    let endless = [&[22, 3, 1, 0x40, 0], &vec![0; 0x4000][..]].concat().repeat(8);
    let huge = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0], &vec![0; 0x3ffc][..]].concat();
    let huge = [&huge[..], &[&[22, 3, 1, 0x40, 0], &vec![0; 0x4000][..]].concat().repeat(8)].concat();
    for (what, bytes) in [
        ("text", &b"hello, world"[..]),
        ("lower case", b"get / HTTP/1.1\r\n\r\n"),
        ("capitals", b"GARBAGE/GARBAGE"),
        ("many capitals", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("SSLv2", &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
        ("random", &random),
        ("a NUL in the name", &with_nul),
        ("wrong length", &cut),
        ("endless", &endless),
        ("huge", &huge),
        ("an alert", &[21, 3, 3, 0, 2, 2, 40]),
        ("application data", &[23, 3, 3, 0, 3, 1, 2, 3]),
    ] {
        let (error, answer) = says(&acceptor, bytes).await;
        assert_eq!(error.outcome(), "malformed", "{what}: {error}");
        assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{what}: a fatal alert, not {answer:?}");
    }
    let (near, far) = tokio::io::duplex(1024);
    drop(near);
    let gone = acceptor.accept(far, local([127, 0, 0, 1])).await.expect_err("nobody there");
    assert_eq!(gone.outcome(), "closed");
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    near.write_all(&hello).await.expect("a write");
    let (gone, ()) = tokio::join!(acceptor.accept(far, local([127, 0, 0, 1])), async { drop(near) });
    assert_eq!(gone.expect_err("nobody there").outcome(), "closed");
}

#[tokio::test]
async fn versions_and_protocols_follow_the_options() {
    let world = World::new();
    let strict = world.acceptor(&TlsOptions { min_version: TlsVersion::Tls13, http2: false }, None);
    let (outcome, alert) = refused(&strict, world.client(&[&TLS12]), "a.example").await;
    assert_eq!(outcome, "tls_error");
    assert!(alert.contains("ProtocolVersion"), "{alert}");
    let config = Arc::new(world.client(&[&TLS13]));
    assert_eq!(info(&strict, &config, "a.example").await.alpn, Alpn::Http1);

    let mut acme = world.client(&[&TLS13]);
    acme.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let (outcome, alert) = refused(&world.plain(), acme, "a.example").await;
    assert_eq!(outcome, "tls_error");
    assert!(alert.contains("NoApplicationProtocol"), "{alert}");
}

#[tokio::test]
async fn a_swap_leaves_open_connections_alone() {
    let world = World::new();
    let acceptor = world.plain();
    let config = Arc::new(world.client(&[&TLS13]));
    let (served, connected) = connect(&acceptor, &config, "a.example").await;
    let (mut served, mut connected) = (served.expect("a handshake"), connected.expect("a connection"));
    let before = served.info.certificate.as_ref().expect("a certificate").fingerprint().to_owned();

    world.serve("a", Order::new(&["a.example"]));
    served.stream.write_all(b"still here").await.expect("a write");
    served.stream.flush().await.expect("a flush");
    let mut heard = [0; 10];
    connected.read_exact(&mut heard).await.expect("a read");
    assert_eq!(&heard, b"still here");

    let fresh = Arc::new(world.client(&[&TLS13]));
    let (served, connected) = connect(&acceptor, &fresh, "a.example").await;
    let after = served.expect("a handshake").info.certificate.expect("a certificate");
    assert_ne!(after.fingerprint(), before);
    let seen = connected.expect("a connection").get_ref().1.peer_certificates().expect("certificates")[0].to_vec();
    assert_eq!(after.chain().next(), Some(&seen[..]), "what the log says is what the client saw");
}

/// Issues for `*.demand.example`, and counts how often it is asked.
struct Demand {
    ca: TestCa,
    table: Arc<Table>,
    asked: AtomicUsize,
}

impl OnDemand for Demand {
    fn obtain(&self, name: Hostname) -> BoxFuture<'_, Result<(), OnDemandError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            if !name.as_str().ends_with(".demand.example") {
                return Err(OnDemandError::NotAllowed);
            }
            self.table.insert(self.ca.certificate(name.as_str(), Order::new(&[name.as_str()])));
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_missing_certificate_is_made_on_demand_where_that_is_allowed() {
    let world = World::new();
    let demand =
        Arc::new(Demand { ca: TestCa::new("demand"), table: Arc::clone(&world.table), asked: AtomicUsize::new(0) });
    let roots = demand.ca.root.der().clone();
    let options = TlsOptions::default();
    let on_demand: Arc<dyn OnDemand> = demand.clone();
    let acceptor = Acceptor::new(
        &options,
        Some(CertificateId::new("b")),
        Arc::clone(&world.table),
        Some(on_demand),
        &world.tickets,
    )
    .expect("an acceptor");
    let mut store = RootCertStore::empty();
    store.add(roots).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider())).with_protocol_versions(&[&TLS13]);
    let config = Arc::new(builder.expect("versions").with_root_certificates(store).with_no_client_auth());
    for _ in 0..2 {
        assert_eq!(id(&info(&acceptor, &config, "new.demand.example").await), "new.demand.example");
    }
    assert_eq!(demand.asked.load(Ordering::Relaxed), 1, "the table had it the second time");
    let config = Arc::new(world.client(&[&TLS13]));
    assert_eq!(id(&info(&acceptor, &config, "a.example").await), "a");
    assert_eq!(demand.asked.load(Ordering::Relaxed), 1);
    let (served, _) = connect(&acceptor, &config, "no.example").await;
    assert_eq!(demand.asked.load(Ordering::Relaxed), 2);
    assert_eq!(served.expect_err("the client does not want the default").outcome(), "tls_error");
}
