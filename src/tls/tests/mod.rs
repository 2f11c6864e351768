//! Handshakes of rustls clients with an [`Acceptor`], over a pipe.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsConnector, client};

mod hello;
mod resumption;
mod stream;

use super::*;
use crate::certs::testing::{Order, TestCa};
use crate::certs::{BoxFuture, OnDemand, OnDemandError, Table, provider};
use crate::config::{CertificateId, TlsOptions, TlsVersion};
use crate::names::Hostname;

/// Who asks.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

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
        let default = default.map(CertificateId::new);
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
    let (mut served, mut connected) = tokio::join!(acceptor.accept(far, at, PEER), connector.connect(name, near));
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
async fn versions_and_protocols_follow_the_options() {
    let world = World::new();
    let strict = world.acceptor(&TlsOptions { min_version: TlsVersion::Tls13, http2: false, alpn: None }, None);
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
    fn obtain(&self, name: Hostname, _client: IpAddr) -> BoxFuture<'_, Result<(), OnDemandError>> {
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

/// Cannot get any certificate for now.
struct Busy;

impl OnDemand for Busy {
    fn obtain(&self, _name: Hostname, client: IpAddr) -> BoxFuture<'_, Result<(), OnDemandError>> {
        assert_eq!(client, PEER);
        Box::pin(async { Err(OnDemandError::Failed("the CA is down".to_owned())) })
    }
}

#[tokio::test]
async fn what_is_not_ready_is_no_unknown_name() {
    let world = World::new();
    let acceptor =
        Acceptor::new(&TlsOptions::default(), None, Arc::clone(&world.table), Some(Arc::new(Busy)), &world.tickets)
            .expect("an acceptor");
    let config = Arc::new(world.client(&[&TLS13]));
    let (served, connected) = connect(&acceptor, &config, "later.example").await;
    assert_eq!(served.expect_err("no handshake").outcome(), "not_ready");
    let error = connected.expect_err("an alert").to_string();
    assert!(error.contains("InternalError"), "{error}");
}

#[tokio::test]
async fn a_cas_question_is_answered_and_nothing_else_is_served_there() {
    let world = World::new();
    let challenges = Arc::new(crate::certs::Challenges::new());
    let storage = crate::storage::MemoryStorage::new();
    let now = std::time::SystemTime::now();
    let name: Hostname = "a.example".parse().expect("a name");
    challenges.publish_certificate(&storage, &name, "t", "t.x", now).await.expect("publishes");
    let acceptor = world.acceptor(&TlsOptions::default(), None).answering(challenges);
    let asking = |protocols: &[&[u8]]| {
        let mut config = world.client(&[&TLS13]);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.dangerous().set_certificate_verifier(Arc::new(Anything));
        Arc::new(config)
    };
    let (served, connected) = connect(&acceptor, &asking(&[b"acme-tls/1"]), "a.example").await;
    assert_eq!(served.expect_err("no connection").outcome(), "challenge");
    let mut connected = connected.expect("a handshake");
    let (_, session) = connected.get_ref();
    assert_eq!(session.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    let seen = session.peer_certificates().expect("certificates")[0].to_vec();
    assert!(seen.windows(10).any(|bytes| bytes == [6, 8, 43, 6, 1, 5, 5, 7, 1, 31]), "acmeIdentifier");
    let mut rest = Vec::new();
    connected.read_to_end(&mut rest).await.expect("a close_notify");
    assert_eq!(rest, b"");
    // Nobody has asked for this one, whose certificate is there all the same.
    let (served, _) = connect(&acceptor, &asking(&[b"acme-tls/1"]), "b.example").await;
    assert_eq!(served.expect_err("no handshake").outcome(), "tls_error");
    // Who speaks anything else besides gets the app.
    let (served, _) = connect(&acceptor, &asking(&[b"acme-tls/1", b"http/1.1"]), "a.example").await;
    assert_eq!(id(&served.expect("a handshake").info), "a");
}

/// Takes any certificate, as a CA does that asks a question.
#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        // No parser of rustls takes the certificate: its extension is critical and unknown to it.
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        // No parser of rustls takes the certificate: its extension is critical and unknown to it.
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
