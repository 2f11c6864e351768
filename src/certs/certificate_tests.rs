//! What is a certificate, and what is refused.

use super::super::testing::{DAY, Issued, Order, TestCa, ecdsa, self_signed};
use super::super::{PemPart, unix_now};
use super::*;

fn read(certificate: &[u8], key: &[u8], chain: Option<&str>) -> Result<Certificate, CertificateError> {
    let parts = PemParts {
        certificate: PemPart::new("/c/a/ssl.crt", certificate),
        key: PemPart::new("/c/a/ssl.key", key),
        chain: chain.map(|chain| PemPart::new("/c/a/ssl.chain", chain.as_bytes())),
    };
    Certificate::from_pem(CertificateId::new("a"), parts, unix_now())
}

fn message(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> String {
    read(certificate.as_ref(), key.as_ref(), None).expect_err("a refusal").to_string()
}

#[test]
fn the_chain_is_put_right_whatever_its_order() {
    let ca = TestCa::new("test");
    let Issued { certificate: leaf, key } = ca.issue(Order::new(&["example.com"]));
    let (intermediate, root) = (ca.intermediate.pem(), ca.root.pem());
    let expected = |certificate: &Certificate| {
        let chain: Vec<&[u8]> = certificate.chain().collect();
        assert_eq!(chain.len(), 2);
        assert_eq!(chain[1], ca.intermediate.der().as_ref());
        assert_eq!(certificate.warnings(unix_now()), []);
    };
    for file in [
        format!("{leaf}{intermediate}"),
        format!("{intermediate}{leaf}"),
        format!("{root}{intermediate}{leaf}{leaf}{intermediate}"),
    ] {
        expected(&read(file.as_bytes(), key.as_bytes(), None).expect("sound"));
    }
    expected(&read(leaf.as_bytes(), key.as_bytes(), Some(&format!("{root}{intermediate}"))).expect("sound"));
    expected(&read(leaf.replace('\n', "\r\n").as_bytes(), key.as_bytes(), Some(&intermediate)).expect("sound"));
}

#[test]
fn a_gap_in_the_chain_and_strangers_are_warned_of() {
    let (ca, other) = (TestCa::new("test"), TestCa::new("other"));
    let Issued { certificate: leaf, key } = ca.issue(Order::new(&["example.com"]));
    let alone = read(leaf.as_bytes(), key.as_bytes(), None).expect("sound");
    assert!(alone.is_chain_incomplete());
    assert!(
        matches!(&alone.warnings(unix_now())[..], [Warning::MissingIntermediate { issuer }] if issuer.contains("test intermediate"))
    );
    let strange = read(leaf.as_bytes(), key.as_bytes(), Some(&other.intermediate.pem())).expect("sound");
    assert_eq!(strange.chain().count(), 1);
    assert!(strange.warnings(unix_now()).iter().any(|w| matches!(w, Warning::Unrelated { .. })));
}

#[test]
fn names_are_those_of_the_san_and_else_the_common_name() {
    let order = Order { common_name: "cn.example", ..Order::new(&["Example.com", "*.example.com", "192.0.2.1"]) };
    let certificate = TestCa::new("test").certificate("a", order);
    let names: Vec<_> = certificate.names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["example.com", "*.example.com", "192.0.2.1"]);
    assert!(certificate.covers("a.example.com") && !certificate.covers("cn.example"));
    assert!(certificate.covers_all(&["*.example.com".parse().expect("a pattern")]));
    assert!(!certificate.covers_all(&["*.b.example.com".parse().expect("a pattern")]));

    let order = Order { common_name: "cn.example", ..Order::new(&[]) };
    let only_common = TestCa::new("test").certificate("a", order);
    assert!(only_common.covers("cn.example"));
    assert_eq!(only_common.warnings(unix_now()), [Warning::CommonNameOnly]);
}

#[test]
fn dates_warn() {
    let ca = TestCa::new("test");
    let expired = ca.certificate("a", Order::new(&["a.example"]).valid(-20, -10));
    let early = ca.certificate("a", Order::new(&["a.example"]).valid(10, 20));
    assert!(matches!(expired.warnings(unix_now())[..], [Warning::Expired(_)]));
    assert!(matches!(early.warnings(unix_now())[..], [Warning::NotYetValid(_)]));
    assert_eq!(early.warnings(unix_now() + 15 * DAY), []);
    assert!(!format!("{early:?}").contains("PRIVATE") && format!("{early:?}").contains("a.example"));
}

#[test]
fn refusals_name_the_file_and_the_remedy() {
    let ca = TestCa::new("test");
    let Issued { certificate, key } = ca.issue(Order::new(&["example.com"]));
    let (leaf, pem_key) = (certificate.as_str(), key.as_str());
    let contains = |message: String, parts: &[&str]| {
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    };
    let convert = "-in /c/a/ssl.key -out /c/a/ssl.key.new && mv /c/a/ssl.key.new /c/a/ssl.key";
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        contains(message(leaf, encrypted), &["passphrase", &format!("openssl pkey {convert}")]);
    }
    let key_der = KeyPairDer::of(&key);
    contains(message(leaf, &key_der), &["/c/a/ssl.key is DER", &format!("openssl pkey -inform DER {convert}")]);
    contains(message(ca.root.der(), pem_key), &["/c/a/ssl.crt is DER", "openssl x509 -inform DER -in /c/a/ssl.crt"]);
    let pkcs12 = [0x30, 0x82, 1, 0, 2, 1, 3, 0x30];
    contains(message(pkcs12, pem_key), &["/c/a/ssl.crt is PKCS#12", "openssl pkcs12 -nokeys -in /c/a/ssl.crt"]);
    contains(message(leaf, pkcs12), &["/c/a/ssl.key is PKCS#12", "openssl pkcs12 -nocerts -nodes -in /c/a/ssl.key"]);
    let other = ecdsa().serialize_pem();
    contains(message(leaf, other), &["/c/a/ssl.key", "/c/a/ssl.crt", "does not belong", "openssl pkey -pubout"]);
    contains(message("", pem_key), &["/c/a/ssl.crt is empty"]);
    contains(message("\n\n", pem_key), &["/c/a/ssl.crt is empty"]);
    for cut in [3, 20, 27, 60, leaf.len() / 2, leaf.len() - 10] {
        contains(message(&leaf[..cut], pem_key), &["/c/a/ssl.crt", "copied only in part"]);
        contains(message(leaf, &pem_key[..cut.min(pem_key.len() - 10)]), &["/c/a/ssl.key", "copied only in part"]);
    }
    contains(message("hello", pem_key), &["/c/a/ssl.crt is no PEM"]);
    contains(message(pem_key, pem_key), &["/c/a/ssl.crt has no certificate"]);
    contains(message(leaf, leaf), &["/c/a/ssl.key has no private key"]);
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    contains(message(leaf, broken), &["/c/a/ssl.key is damaged, or of a kind", "openssl genpkey -algorithm EC"]);
    let nameless = self_signed(Order::new(&[]));
    contains(message(&nameless.certificate, &nameless.key), &["no usable name", "subjectAltName"]);
}

#[test]
fn every_cut_of_a_file_is_refused_or_whole() {
    let issued = self_signed(Order::new(&["example.com"]));
    let whole = issued.certificate.trim_end().len();
    for cut in 0..whole {
        assert!(read(&issued.certificate.as_bytes()[..cut], issued.key.as_bytes(), None).is_err(), "{cut}");
    }
    assert!(read(&issued.certificate.as_bytes()[..whole], issued.key.as_bytes(), None).is_ok());
}

#[test]
fn key_kinds_are_told_and_sign_what_they_can() {
    let ca = TestCa::new("test");
    let rsa = ca.certificate("a", Order::new(&["a.example"]).rsa());
    assert_eq!(rsa.key_kind(), KeyKind::Rsa(2048));
    assert!(rsa.allowed_by(&[SignatureScheme::RSA_PSS_SHA256]));
    assert!(!rsa.allowed_by(&[SignatureScheme::ECDSA_NISTP256_SHA256]));
    for (algorithm, kind, scheme) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcdsaP256, SignatureScheme::ECDSA_NISTP256_SHA256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcdsaP384, SignatureScheme::ECDSA_NISTP384_SHA384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, KeyKind::EcdsaP521, SignatureScheme::ECDSA_NISTP521_SHA512),
        (&rcgen::PKCS_ED25519, KeyKind::Ed25519, SignatureScheme::ED25519),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let certificate = ca.certificate("a", Order { key, ..Order::new(&["a.example"]) });
        assert_eq!(certificate.key_kind(), kind);
        assert!(certificate.allowed_by(&[scheme]) && !certificate.allowed_by(&[SignatureScheme::RSA_PSS_SHA256]));
        assert!(certificate.certified_key().key.choose_scheme(&[scheme]).is_some(), "{kind}: as rustls has it");
    }
}

struct KeyPairDer;

impl KeyPairDer {
    fn of(pem: &str) -> Vec<u8> {
        rcgen::KeyPair::from_pem(pem).expect("a key").serialize_der()
    }
}
