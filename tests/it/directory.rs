//! Certificate folders: the layouts, what is refused and how, and what a change does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::support::{Doorward, Leaf, Origin, Setup, TestCa, Tls, ca, client_config, openssl, replace, within};

const HOST: &str = "app.example.test";

/// A doorward with a default certificate (so that it is always sound) and a route for every name.
fn setup() -> Setup {
    Setup::new().host("sound.example.test", Origin::echo().address)
}

fn leaf() -> Leaf {
    ca().leaf(&[HOST]).issue()
}

fn serves(door: &Doorward, name: &str, leaf: &Leaf) -> bool {
    Tls::with(client_config(&[]), door.https, name).is_ok_and(|tls| tls.certificate() == leaf.der)
}

/// Waits until this certificate is served, with a chain that a client can follow.
fn wait_served(door: &Doorward, leaf: &Leaf) {
    within("the certificate", || serves(door, HOST, leaf).then_some(()));
}

fn put(folder: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(folder).expect("a folder");
    for (name, text) in files {
        replace(&folder.join(name), text);
    }
}

#[test]
fn every_layout_is_understood() {
    let root = &ca().root_pem;
    let leaf = leaf();
    let (certificate, chain, key) = (&leaf.certificate_pem, &leaf.chain_pem, &leaf.key_pem);
    let full = leaf.full_chain();
    let combined = format!("{key}{full}");
    let jumbled = format!("{root}{chain}{certificate}{chain}");
    let layouts: &[(&str, &[(&str, &str)])] = &[
        ("app", &[("ssl.key", key), ("ssl.crt", certificate), ("ssl.chain", chain)]),
        ("app", &[("ssl.key", key), ("ssl.crt", &full)]),
        ("app", &[("privkey.pem", key), ("fullchain.pem", &full), ("cert.pem", certificate), ("chain.pem", chain)]),
        ("app", &[("tls.key", key), ("tls.crt", &full)]),
        ("app", &[("key.pem", key), ("cert.pem", certificate), ("chain.pem", chain)]),
        ("app", &[("key.pem", key), ("cert.pem", &full)]),
        ("app", &[("key.pem", key), ("cert.pem", &jumbled)]),
        ("deep/er/app", &[("ssl.key", key), ("ssl.crt", &full)]),
        (".", &[("app.pem", &combined)]),
    ];
    for (folder, files) in layouts {
        // At the start, and into a doorward that runs.
        let cold = setup();
        put(&cold.home().join("certs").join(folder), files);
        let door = cold.start();
        assert!(serves(&door, HOST, &leaf), "at the start: {files:?}");
        let door = setup().start();
        put(&door.certs(folder), files);
        wait_served(&door, &leaf);
    }
}

#[test]
fn the_root_and_doubles_are_not_sent() {
    let leaf = leaf();
    let jumbled = format!("{}{}{}{}", ca().root_pem, leaf.chain_pem, leaf.certificate_pem, leaf.chain_pem);
    let setup = setup();
    put(&setup.home().join("certs/app"), &[("key.pem", &leaf.key_pem), ("cert.pem", &jumbled)]);
    let door = setup.start();
    let tls = Tls::with(client_config(&[]), door.https, HOST).expect("a handshake");
    assert_eq!(tls.stream.conn.peer_certificates().expect("certificates").len(), 2);
}

#[test]
fn certbots_symlinks_are_followed_through_a_renewal() {
    let (old, new) = (leaf(), leaf());
    let setup = setup();
    let (live, archive) = (setup.home().join("certs/live/app"), setup.home().join("archive/app"));
    fs::create_dir_all(&live).expect("a folder");
    fs::create_dir_all(&archive).expect("a folder");
    let store = |leaf: &Leaf, n: u8| {
        for (name, text) in [("privkey", &leaf.key_pem), ("fullchain", &leaf.full_chain())] {
            fs::write(archive.join(format!("{name}{n}.pem")), text).expect("a file");
            let link = live.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../../archive/app/{name}{n}.pem"), link).expect("a link");
        }
    };
    store(&old, 1);
    let door = setup.start();
    assert!(serves(&door, HOST, &old));
    store(&new, 2);
    wait_served(&door, &new);
}

#[test]
fn a_kubernetes_secret_is_swapped_as_one() {
    let setup = setup();
    let folder = setup.home().join("certs/app");
    fs::create_dir_all(&folder).expect("a folder");
    let swap = |leaf: &Leaf, n: u8| {
        let data = format!("..2026_{n}");
        fs::create_dir(folder.join(&data)).expect("a folder");
        fs::write(folder.join(&data).join("tls.key"), &leaf.key_pem).expect("a file");
        fs::write(folder.join(&data).join("tls.crt"), leaf.full_chain()).expect("a file");
        symlink(&data, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("a rename");
        if n > 1 {
            fs::remove_dir_all(folder.join(format!("..2026_{}", n - 1))).expect("removed");
        }
    };
    let leaves = [leaf(), leaf(), leaf(), leaf()];
    swap(&leaves[0], 1);
    symlink("..data/tls.key", folder.join("tls.key")).expect("a link");
    symlink("..data/tls.crt", folder.join("tls.crt")).expect("a link");
    let door = setup.start();
    assert!(serves(&door, HOST, &leaves[0]));
    for n in 2..=4u8 {
        swap(&leaves[usize::from(n) - 1], n);
        wait_served(&door, &leaves[usize::from(n) - 1]);
    }
}

#[test]
fn what_is_refused_is_named_with_its_remedy_and_blocks_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let leaf = ca().leaf(&[HOST]).rsa().issue();
    fs::write(file("key"), &leaf.key_pem).expect("a file");
    fs::write(file("crt"), leaf.full_chain()).expect("a file");
    let make = |args: &[&str]| -> Vec<u8> {
        let out = file("out");
        openssl(&[args, &["-out", &out]].concat(), b"");
        fs::read(&out).expect("openssl wrote it")
    };
    let aes = make(&["pkcs8", "-topk8", "-in", &file("key"), "-v2", "aes-256-cbc", "-passout", "pass:x"]);
    let legacy = make(&["rsa", "-traditional", "-in", &file("key"), "-aes128", "-passout", "pass:x"]);
    let der_key = make(&["pkey", "-in", &file("key"), "-outform", "DER"]);
    let der = make(&["x509", "-in", &file("crt"), "-outform", "DER"]);
    let pkcs12 = make(&["pkcs12", "-export", "-inkey", &file("key"), "-in", &file("crt"), "-passout", "pass:"]);
    let stranger = TestCa::new().leaf(&[HOST]).issue().key_pem;
    let (key, certificate) = (leaf.key_pem.as_bytes(), leaf.full_chain().into_bytes());
    let half = &certificate[..certificate.len() / 4];
    /// Id, key, certificate, and what the message has to say.
    type Case<'a> = (&'a str, &'a [u8], &'a [u8], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("aes", &aes, &certificate, &["ssl.key", "passphrase", "openssl"]),
        ("legacy", &legacy, &certificate, &["ssl.key", "passphrase", "openssl"]),
        ("der-key", &der_key, &certificate, &["ssl.key", "DER", "openssl"]),
        ("der", key, &der, &["ssl.crt", "DER", "openssl x509"]),
        ("pkcs12", key, &pkcs12, &["ssl.crt", "PKCS#12", "openssl pkcs12"]),
        ("mismatch", stranger.as_bytes(), &certificate, &["ssl.key", "does not belong"]),
        ("empty-key", b"", &certificate, &["ssl.key", "empty"]),
        ("empty", key, b"", &["ssl.crt", "empty"]),
        ("half", key, half, &["ssl.crt"]),
    ];
    let sound = setup();
    for (id, key, certificate, _) in cases {
        let folder = sound.home().join("certs").join(id);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("ssl.key"), key).expect("a file");
        fs::write(folder.join("ssl.crt"), certificate).expect("a file");
    }
    let door = sound.start();
    assert_eq!(door.curl("https://sound.example.test/").run().status, 200, "the good one is served");
    for (id, _, _, hints) in cases {
        let line = door.wait_log(0, id, |line| {
            let text = line.to_string();
            line["level"] != "INFO" && text.contains(&format!("certs/{id}/"))
        });
        for hint in *hints {
            assert!(line.to_string().to_lowercase().contains(&hint.to_lowercase()), "{id}: no {hint:?} in {line}");
        }
        assert!(!line.to_string().contains("PRIVATE KEY"), "{id}: a key in the log");
    }
}

#[test]
fn expired_and_missing_intermediates_are_warned_of() {
    let expired = ca().leaf(&["expired.example.test"]).valid_days(-90, -1).issue();
    let setup = setup().certificate("expired", &expired);
    let alone = ca().leaf(&["alone.example.test"]).issue();
    put(&setup.home().join("certs/alone"), &[("ssl.key", &alone.key_pem), ("ssl.crt", &alone.certificate_pem)]);
    let door = setup.start();
    door.wait_log(0, "expired", |line| line["level"] == "WARN" && line.to_string().contains("expired"));
    let warning = |line: &serde_json::Value| line["level"] == "WARN" && line.to_string().contains("intermediate");
    door.wait_log(0, "intermediate", warning);
}

#[test]
fn a_bad_change_leaves_the_old_one_in_service() {
    let old = leaf();
    let door = setup().certificate("app", &old).start();
    let folder = door.certs("app");
    let from = door.mark();
    let stranger = TestCa::new().leaf(&[HOST]).issue();
    put(&folder, &[("privkey.pem", &stranger.key_pem)]);
    door.wait_log(from, "the key that does not match", |line| line.to_string().contains("does not belong"));
    assert!(serves(&door, HOST, &old));
    put(&folder, &[("fullchain.pem", "-----BEGIN CERTIFICATE-----\nMII")]);
    fs::write(folder.join("privkey.pem"), "").expect("a file");
    let new = leaf();
    assert!(serves(&door, HOST, &old));
    new.write(&folder);
    wait_served(&door, &new);
}

#[test]
fn an_expired_one_or_one_for_fewer_names_does_not_push_out_a_good_one() {
    let old = ca().leaf(&[HOST, "www.example.test"]).issue();
    let door = setup().certificate("app", &old).start();
    for (what, worse) in [
        ("expired", ca().leaf(&[HOST, "www.example.test"]).valid_days(-90, -1).issue()),
        ("fewer names", leaf()),
        ("other names", ca().leaf(&["other.example.test"]).issue()),
    ] {
        let from = door.mark();
        worse.write(&door.certs("app"));
        door.wait_log(from, what, |line| line["level"] == "WARN" && line.to_string().contains("app"));
        assert!(serves(&door, HOST, &old), "{what}");
        assert!(serves(&door, "www.example.test", &old), "{what}");
    }
    let more = ca().leaf(&[HOST, "www.example.test", "more.example.test"]).issue();
    more.write(&door.certs("app"));
    wait_served(&door, &more);
}

#[test]
fn a_pair_that_is_copied_slowly_is_judged_when_it_is_whole() {
    let old = leaf();
    let door = setup().certificate("app", &old).start();
    let new = leaf();
    let from = door.mark();
    let folder = door.certs("app");
    // The certificate first, in two pieces; then the key.
    let full = new.full_chain();
    fs::write(folder.join("fullchain.pem"), &full[..200]).expect("a file");
    fs::write(folder.join("fullchain.pem"), &full).expect("a file");
    fs::write(folder.join("privkey.pem"), &new.key_pem).expect("a file");
    wait_served(&door, &new);
    let complaints: Vec<_> = door.log().into_iter().skip(from).filter(|line| line["level"] == "ERROR").collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn a_deleted_folder_is_withdrawn_once_it_stays_gone() {
    let leaf = leaf();
    let door = setup().certificate("app", &leaf).start();
    // Gone for a moment, as some tools replace a folder.
    fs::remove_dir_all(door.certs("app")).expect("removed");
    assert!(serves(&door, HOST, &leaf));
    leaf.write(&door.certs("app"));
    assert!(serves(&door, HOST, &leaf));
    fs::remove_dir_all(door.certs("app")).expect("removed");
    let started = std::time::Instant::now();
    while serves(&door, HOST, &leaf) {
        assert!(started.elapsed() < Duration::from_secs(60), "still served a minute after it went");
        std::thread::sleep(Duration::from_millis(50));
    }
}
