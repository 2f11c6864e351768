//! The own CA: made once, issues, signs, is trusted by who is told to, and by nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use crate::support::{Doorward, Origin, Setup, ca, json, ok, openssl, refused};

const HOST: &str = "nas.example.test";

#[test]
fn what_it_issues_is_served_and_trusted_by_who_trusts_it() {
    let origin = Origin::echo();
    let setup = Setup::new().route(&format!("hosts = [\"{HOST}\", \"127.0.0.1\"]\nbackend = \"{}\"", origin.address));
    assert!(!setup.run(&["ca", "export"]).status.success(), "there is none yet");
    assert!(ok(&setup.run(&["ca", "init"])).contains("made a CA"));
    let folder = setup.home().join("state/local-ca");
    let mode = |name: &str| fs::metadata(folder.join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!(["ca.key", "intermediate.key"].map(mode), [0o600, 0o600]);
    let root = ok(&setup.run(&["ca", "export"]));
    assert!(ok(&setup.run(&["ca", "init"])).contains("already"));
    assert_eq!(ok(&setup.run(&["ca", "export"])), root, "made once");
    assert!(ok(&setup.run(&["ca", "trust", "--print"])).contains("update-ca-certificates"));

    let door = setup.start();
    let with_config = |verb: &[&str]| -> Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_doorward"))
            .args(verb)
            .arg("--config")
            .arg(door.home().join("doorward.toml"))
            .output()
            .expect("doorward runs")
    };
    let said = ok(&with_config(&["ca", "issue", HOST, "--ip", "127.0.0.1", "--days", "20"]));
    assert!(said.contains("issued by doorward's own CA, and it is served"), "{said}");
    let again = refused(&with_config(&["ca", "issue", HOST]));
    assert!(again.contains("--replace takes its place"), "{again}");
    let renew = refused(&door.verb(&["certs", "renew", HOST]));
    assert!(renew.contains("ca issue"), "{renew}");
    let trusting = folder.join("ca.crt").display().to_string();
    for url in [format!("https://{HOST}/"), "https://127.0.0.1/".to_owned()] {
        let answer = door.curl(&url).args(&["--cacert", &trusting]).run();
        assert_eq!(answer.status, 200, "{url}");
    }
    let list = json(&door.verb(&["certs", "list", "--json"]));
    let row = &list["certificates"][0];
    assert_eq!((&row["id"], &row["origin"]), (&HOST.into(), &"own-ca".into()), "{list:#}");
    assert_eq!(row["states"][0], "untrusted");
    let text = openssl(
        &["x509", "-noout", "-text"],
        &fs::read(door.home().join(format!("state/certificates/{HOST}/bundle.pem"))).expect("stored"),
    );
    for part in ["DNS:nas.example.test", "IP Address:127.0.0.1", "TLS Web Server Authentication", "CA:FALSE"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn requests_are_made_and_signed() {
    let setup = Setup::new();
    let out = setup.home().join("request");
    let folder = out.to_str().expect("a path").to_owned();
    // A request needs no config.
    let csr = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_doorward"))
            .args(["ca", "csr"])
            .args(arguments)
            .output()
            .expect("runs")
    };
    ok(&csr(&[HOST, "--ip", "::1", "--out", &folder]));
    assert!(!csr(&[HOST, "--out", &folder]).status.success(), "a key is never replaced");
    assert_eq!(fs::metadata(out.join("privkey.pem")).expect("there").permissions().mode() & 0o777, 0o600);
    let request = fs::read(out.join("request.csr")).expect("written");
    let text = openssl(&["req", "-noout", "-text", "-verify"], &request);
    assert!(text.contains("verify OK") && text.contains("DNS:nas.example.test"), "{text}");

    ok(&setup.run(&["ca", "init"]));
    let signed = ok(&setup.run(&["ca", "sign", out.join("request.csr").to_str().expect("a path")]));
    fs::write(out.join("fullchain.pem"), &signed).expect("written");
    ok(&setup.run(&["certs", "import", &folder, "--id", "signed"]));
    let root = setup.home().join("state/local-ca/ca.crt").display().to_string();
    let below = setup.home().join("state/local-ca/intermediate.crt").display().to_string();
    let leaf = out.join("fullchain.pem").display().to_string();
    let verified = openssl(&["verify", "-CAfile", &root, "-untrusted", &below, &leaf], b"");
    assert!(verified.contains("OK"), "{verified}");
    // What is no request is none, though it is PEM.
    let other = setup.home().join("other.pem");
    fs::write(&other, ca().leaf(&[HOST]).issue().certificate_pem).expect("written");
    let error = refused(&setup.run(&["ca", "sign", other.to_str().expect("a path")]));
    assert!(error.contains("other.pem is no signing request"), "{error}");
}

#[test]
fn a_self_signed_route_is_served_by_it() {
    let origin = Origin::echo();
    let keys = format!("hosts = [\"{HOST}\"]\nbackend = \"{}\"\ncertificate = \"self-signed\"", origin.address);
    let door = Setup::new().route(&keys).start();
    let root = door.home().join("state/local-ca/ca.crt").display().to_string();
    assert_eq!(door.curl(&format!("https://{HOST}/")).args(&["--cacert", &root]).run().status, 200);
    let serial = |door: &Doorward| {
        let shown = json(&door.verb(&["certs", "show", HOST, "--json"]));
        assert!(shown["next_renewal"].is_i64(), "{shown:#}");
        shown["serial"].as_str().expect("a serial").to_owned()
    };
    let before = serial(&door);
    ok(&door.verb(&["certs", "renew", HOST]));
    assert_ne!(serial(&door), before, "issued anew");
    // No CA is asked for it, so none of their limits and permissions is told.
    let of = json(&door.verb(&["certs", "explain", HOST, "--json"]));
    assert!(of["reasons"][0].as_str().is_some_and(|why| why.contains("doorward's own CA")), "{of:#}");
    assert_eq!(
        [&of["dns"], &of["probes"], &of["budget"]].map(|list| list.as_array().map_or(0, Vec::len)),
        [0; 3],
        "{of:#}"
    );
}
