//! The whole way of a certificate from a real CA: asked for, proven on `:80`, stored, served, kept.

use crate::support::{Doorward, Origin, Pebble, Setup, Tls, ca, client_config, free, json, ok, within};

const HOST: &str = "app.example.test";

/// Who issued what is served for `name`; none where nothing is.
fn issuer(door: &Doorward, name: &str) -> Option<String> {
    let mut config = client_config(&[]);
    config.dangerous().set_certificate_verifier(std::sync::Arc::new(blind::Blind));
    let certificate = Tls::with(config, door.https, name).ok()?.certificate();
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
    Some(parsed.issuer().to_string())
}

fn setup(origin: &Origin, http: std::net::SocketAddr, directory: &str) -> Setup {
    let setup = Setup::new().http_at(http);
    let trust = setup.home().join("ca.pem").display().to_string();
    setup
        .section(&Pebble::sections(directory, &trust))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"{}\"\ncertificate = \"auto\"", origin.address))
}

#[test]
fn a_certificate_is_issued_served_and_kept() {
    let origin = Origin::echo();
    let plan = Pebble::plan(free("127.0.0.2"), 3600 * 24 * 90);
    let setup = setup(&origin, plan.http(), &plan.directory());
    let pebble = plan.start();
    let door = setup.start();
    within("a certificate of pebble", || issuer(&door, HOST).filter(|issuer| issuer.contains("Pebble")).map(drop));
    let answer = door.curl("https://app.example.test/").args(&["--insecure"]).run();
    assert_eq!(answer.status, 200, "the route forwards");
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));
    let before = served(&door);
    // With the CA gone, what is stored has to do.
    drop(pebble);
    let door = door.restart();
    assert_eq!(served(&door), before, "the same certificate after a restart");
}

#[test]
fn a_ca_that_is_down_holds_up_nobody_and_is_asked_again() {
    let origin = Origin::echo();
    let plan = Pebble::plan(free("127.0.0.2"), 3600 * 24 * 90);
    let door = setup(&origin, plan.http(), &plan.directory())
        .certificate("other", &ca().leaf(&["other.example.test"]).issue())
        .route(&format!("hosts = [\"other.example.test\"]\nbackend = \"{}\"", origin.address))
        .start();
    // One line for all certificates, and `status` says for which.
    let down = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains("the CA is down"));
    door.wait_log(0, "that it is down", |line| down(line) && line["issuer"] == "pebble");
    let status = door.verb(&["status"]);
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.contains("DOWN since") && said.contains("FAILING") && said.contains("cannot be reached"), "{said}");
    assert_eq!(door.log().iter().filter(|line| down(line)).count(), 1);
    assert_eq!(door.curl("https://other.example.test/").run().status, 200);
    assert_eq!(issuer(&door, HOST), None, "nothing to serve yet");
    // Everywhere the same next attempt: when the CA is asked again.
    let id = within("all say the same", || {
        let shown = json(&door.verb(&["certs", "show", HOST, "--json"]));
        let next = shown["next_attempt"].as_u64().expect("said");
        assert!(shown["last_error"].as_str().is_some_and(|error| error.contains("the CA is down")), "{shown:#}");
        let status = json(&door.verb(&["status", "--json"]));
        let explained = door.verb(&["certs", "explain", HOST, "--port", "1", "--json"]);
        let explained: serde_json::Value = serde_json::from_slice(&explained.stdout).expect("JSON");
        let same = status["acme"][0]["next"] == next && explained["next_attempt"] == next;
        (same && next > 1_700_000_000).then(|| shown["id"].as_str().expect("an id").to_owned())
    });
    // It waits no longer once another one has its name, though its turn has not come.
    let own = door.home().join("own");
    ca().leaf(&[HOST]).issue().write(&own);
    ok(&door.verb(&["certs", "import", own.to_str().expect("a path")]));
    ok(&door.verb(&["certs", "explain", HOST, "--port", "1"]));
    within("it is not needed", || refused_or_none(&door, &id));
}

/// Whether nothing is shown for this id any more.
fn refused_or_none(door: &Doorward, id: &str) -> Option<()> {
    let list = json(&door.verb(&["certs", "list", "--json"]));
    list["certificates"].as_array()?.iter().all(|row| row["id"] != id).then_some(())
}

#[test]
fn a_self_signed_one_serves_until_then_where_the_route_allows_it() {
    let origin = Origin::echo();
    let plan = Pebble::plan(free("127.0.0.2"), 3600 * 24 * 90);
    let setup = Setup::new().http_at(plan.http());
    let trust = setup.home().join("ca.pem").display().to_string();
    let keys = "certificate = \"auto\"\nself_signed_until_issued = true";
    let door = setup
        .section(&Pebble::sections(&plan.directory(), &trust))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"{}\"\n{keys}", origin.address))
        .start();
    within("a certificate of our own", || issuer(&door, HOST));
    assert_eq!(door.curl("https://app.example.test/").args(&["--insecure"]).run().status, 200);
}

fn served(door: &Doorward) -> Vec<u8> {
    let mut config = client_config(&[]);
    config.dangerous().set_certificate_verifier(std::sync::Arc::new(blind::Blind));
    Tls::with(config, door.https, HOST).expect("a handshake").certificate().to_vec()
}

/// A client that takes any certificate: pebble's root is new at each start.
mod blind {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Blind;

    impl ServerCertVerifier for Blind {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}
