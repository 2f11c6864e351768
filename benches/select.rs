//! What a handshake costs before any byte moves: choosing a certificate among 10,000 names, and changing one of them.
//! `cargo bench --bench select`. Routes are among the steps of `data_plane`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use doorward::certs;
use doorward::certs::{Ask, Certificate, Choice, PemPart, PemParts, SignatureScheme};
use doorward::config::CertificateId;
use rcgen::{CertificateParams, KeyPair};

const NAMES: usize = 10_000;

fn main() {
    divan::main();
}

fn name(n: usize) -> String {
    format!("app-{n}.customer-{}.example.com", n % 100)
}

/// 10,000 certificates of one key: parsing is not what is measured here.
fn certificates() -> certs::Table {
    let key = KeyPair::generate().expect("a key");
    let key_pem = key.serialize_pem();
    let table = certs::Table::new();
    let made = (0..NAMES).map(|n| {
        let pem =
            CertificateParams::new(vec![name(n)]).expect("a name").self_signed(&key).expect("a certificate").pem();
        Arc::new(certificate(&name(n), &pem, &key_pem))
    });
    table.extend(made);
    table
}

fn certificate(id: &str, pem: &str, key: &str) -> Certificate {
    let parts = PemParts {
        certificate: PemPart::new("cert.pem", pem.as_bytes()),
        key: PemPart::new("key.pem", key.as_bytes()),
        chain: None,
    };
    Certificate::from_pem(CertificateId::new(id), parts, NOW).expect("a sound certificate")
}

/// In 2026: the certificates' default dates are wide.
const NOW: i64 = 1_790_000_000;

fn ask<'a>(sni: &'a str, schemes: &'a [SignatureScheme]) -> Ask<'a> {
    Ask { sni: Some(sni), local: IpAddr::V4(Ipv4Addr::LOCALHOST), schemes, default: None, now: NOW }
}

const SCHEMES: &[SignatureScheme] =
    &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ED25519];

#[divan::bench]
fn certificate_by_sni(bencher: divan::Bencher<'_, '_>) {
    let table = certificates();
    let names: Vec<String> = (0..NAMES).map(name).collect();
    let mut n = 0;
    bencher.bench_local(move || {
        n = (n + 7919) % NAMES;
        let choice = table.choose(&ask(black_box(&names[n]), SCHEMES));
        assert!(matches!(choice, Choice::Named(_)));
    });
}

#[divan::bench]
fn unknown_sni(bencher: divan::Bencher<'_, '_>) {
    let table = certificates();
    bencher.bench_local(move || {
        let choice = table.choose(&ask(black_box("no.such.example.com"), SCHEMES));
        assert!(matches!(choice, Choice::UnknownName));
    });
}

/// One certificate in 10,000 is replaced.
#[divan::bench]
fn swap_one_certificate(bencher: divan::Bencher<'_, '_>) {
    let table = certificates();
    let key = KeyPair::generate().expect("a key");
    let pem = CertificateParams::new(vec![name(1)]).expect("a name").self_signed(&key).expect("a certificate").pem();
    let new = Arc::new(certificate(&name(1), &pem, &key.serialize_pem()));
    bencher.bench_local(move || table.insert(black_box(new.clone())));
}
