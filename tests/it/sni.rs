//! Which certificate a client gets, and how soon a new one.

use std::time::{Duration, Instant};

use crate::support::{Doorward, Origin, Setup, Tls, ca, client_config, openssl, within};

/// The certificate that is served for `name`; none where the handshake fails.
fn served(door: &Doorward, name: &str) -> Option<rustls::pki_types::CertificateDer<'static>> {
    Tls::with(client_config(&[]), door.https, name).ok().map(|tls| tls.certificate())
}

#[test]
fn exact_before_wildcard_and_a_wildcard_is_one_label() {
    let exact = ca().leaf(&["app.example.test"]).issue();
    let wildcard = ca().leaf(&["*.example.test"]).issue();
    let door = Setup::new()
        .certificate("exact", &exact)
        .certificate("wildcard", &wildcard)
        .route(&format!("hosts = [\"app.example.test\", \"*.example.test\"]\nbackend = \"{}\"", Origin::echo().address))
        .start();
    assert_eq!(served(&door, "app.example.test"), Some(exact.der.clone()));
    assert_eq!(served(&door, "APP.Example.Test"), Some(exact.der), "case does not matter");
    assert_eq!(served(&door, "other.example.test"), Some(wildcard.der));
    assert_eq!(served(&door, "a.b.example.test"), None);
    assert_eq!(served(&door, "example.test"), None);
}

#[test]
fn an_unknown_name_is_told_so() {
    let door = Doorward::for_app(Origin::echo().address);
    let fault = Tls::with(client_config(&[]), door.https, "unknown.example.test").err().expect("no certificate");
    assert!(fault.to_string().contains("UnrecognisedName"), "{fault}");
}

#[test]
fn the_default_certificate_serves_unknown_names_and_clients_without_sni() {
    let fallback = ca().leaf(&["fallback.example.test"]).issue();
    let door = Setup::new()
        .https("default_certificate = \"fallback\"")
        .certificate("fallback", &fallback)
        .host("app.example.test", Origin::echo().address)
        .start();
    let target = door.https.to_string();
    for args in [&["-noservername"][..], &["-servername", "unknown.example.test"]] {
        let said = openssl(&[&["s_client", "-connect", &target, "-showcerts"], args].concat(), b"");
        let pem = fallback.certificate_pem.replace("\r\n", "\n");
        assert!(said.contains(pem.trim()), "{args:?}: {said}");
    }
    assert_ne!(served(&door, "app.example.test"), Some(fallback.der), "a known name has its own");
}

#[test]
fn a_client_without_sni_gets_the_certificate_of_the_address() {
    let by_address = ca().leaf(&["127.0.0.1"]).issue();
    let door =
        Setup::new().certificate("address", &by_address).host("app.example.test", Origin::echo().address).start();
    // rustls sends no SNI for an address.
    assert_eq!(served(&door, "127.0.0.1"), Some(by_address.der));
}

#[test]
fn without_sni_and_without_a_default_there_is_no_certificate() {
    let door = Doorward::for_app(Origin::echo().address);
    let said = openssl(&["s_client", "-connect", &door.https.to_string(), "-noservername"], b"");
    assert!(said.contains("no peer certificate available"), "{said}");
}

#[test]
fn ecdsa_before_rsa_and_rsa_where_the_client_wants_it() {
    let names = &["app.example.test"];
    let door = Setup::new()
        .certificate("ecdsa", &ca().leaf(names).issue())
        .certificate("rsa", &ca().leaf(names).rsa().issue())
        .route(&format!("hosts = [\"app.example.test\"]\nbackend = \"{}\"", Origin::echo().address))
        .start();
    let target = door.https.to_string();
    let connect = |more: &[&str]| {
        openssl(&[&["s_client", "-connect", &target, "-servername", "app.example.test"], more].concat(), b"")
    };
    assert!(connect(&[]).contains("Peer signature type: ECDSA"));
    for version in ["-tls1_3", "-tls1_2"] {
        let said = connect(&[version, "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"]);
        assert!(said.contains("Peer signature type: RSA"), "{version}: {said}");
    }
}

#[test]
fn of_two_the_valid_one_and_of_two_valid_ones_the_newer() {
    let names = &["app.example.test"];
    let old = ca().leaf(names).valid_days(-20, 60).issue();
    let new = ca().leaf(names).valid_days(-2, 60).issue();
    let expired = ca().leaf(names).valid_days(-90, -1).issue();
    let future = ca().leaf(names).valid_days(5, 90).issue();
    let door = Setup::new()
        .certificate("a-new", &new)
        .certificate("b-old", &old)
        .certificate("c-expired", &expired)
        .certificate("d-future", &future)
        .route(&format!("hosts = [\"app.example.test\"]\nbackend = \"{}\"", Origin::echo().address))
        .start();
    assert_eq!(served(&door, "app.example.test"), Some(new.der));
}

#[test]
fn a_new_certificate_is_served_within_a_second_and_open_connections_go_on() {
    let door = Doorward::for_app(Origin::echo().address);
    let mut open = Tls::connect(door.https, "app.example.test");
    assert_eq!(open.get("app.example.test", "/before").status, 200);
    for _ in 0..3 {
        let new = ca().leaf(&["app.example.test"]).issue();
        new.write(&door.certs("app.example.test"));
        let written = Instant::now();
        within("the new certificate", || (served(&door, "app.example.test").as_ref() == Some(&new.der)).then_some(()));
        let took = written.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(open.get("app.example.test", "/after").status, 200);
}
