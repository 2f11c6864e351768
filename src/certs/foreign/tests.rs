//! The layouts as these tools document them; files that they made themselves are read in `tests/it/takeover.rs`.

use super::super::testing::{Issued, Order, TestCa};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;

fn names(taken: &Taken) -> Vec<(&str, bool)> {
    taken.found.iter().map(|gathered| (gathered.name.as_str(), gathered.result.is_ok())).collect()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("written");
}

fn issue(ca: &TestCa, name: &str, days: i64) -> Issued {
    ca.issue(Order::new(&[name]).valid(-1, days))
}

#[test]
fn traefik_of_version_2_and_1() {
    let (folder, ca) = (tempfile::tempdir().expect("a folder"), TestCa::new("traefik"));
    let (file, issued) = (folder.path().join("acme.json"), issue(&ca, "*.a.test", 30));
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let chain = format!("{}{}", issued.certificate, ca.intermediate.pem());
    let two = serde_json::json!({ "le": {
        "Account": { "Email": "ops@a.test", "PrivateKey": "x" },
        "Certificates": [
            { "domain": { "main": "*.a.test", "sans": ["a.test"] }, "certificate": encoded(&chain),
              "key": encoded(&issued.key), "Store": "default" },
            { "domain": { "main": "b.test" }, "certificate": "junk!", "key": "junk!", "Store": "default" },
        ],
    }, "empty": { "Account": null, "Certificates": null } });
    write(&file, &two.to_string());
    let taken = read(Tool::Traefik, &file).expect("read");
    assert_eq!(names(&taken), [("b.test", false), ("wildcard.a.test", true)]);
    assert_eq!(taken.left.len(), 1, "{:?}", taken.left);

    let one = serde_json::json!({ "Account": null, "Certificates": [
        { "Domain": { "Main": "*.a.test" }, "Certificate": encoded(&chain), "Key": encoded(&issued.key) },
    ] });
    write(&file, &one.to_string());
    assert_eq!(names(&read(Tool::Traefik, folder.path()).expect("read")), [("wildcard.a.test", true)]);
    for junk in ["", "[]", "{}", "{\"le\": 3}"] {
        write(&file, junk);
        read(Tool::Traefik, &file).expect_err(junk);
    }
}

#[test]
fn of_two_of_one_name_the_one_that_lasts_longer_is_taken() {
    let (folder, ca) = (tempfile::tempdir().expect("a folder"), TestCa::new("caddy"));
    for (issuer, days) in [("acme-v02", 20), ("acme.zerossl.com-v2-dv90", 60), ("local", 1)] {
        let issued = issue(&ca, "a.test", days);
        let site = folder.path().join("certificates").join(issuer).join("a.test");
        write(&site.join("a.test.crt"), &issued.certificate);
        write(&site.join("a.test.key"), &issued.key);
    }
    fs::create_dir(folder.path().join("acme")).expect("a folder");
    let taken = read(Tool::Caddy, folder.path()).expect("read");
    assert_eq!(names(&taken), [("a.test", true)]);
    assert!(taken.found[0].path.to_string_lossy().contains("zerossl"));
    assert_eq!(taken.left.len(), 3, "{:?}", taken.left);
    read(Tool::Caddy, &folder.path().join("acme")).expect_err("nothing of Caddy's");
}

#[test]
fn lego_has_its_certificates_side_by_side() {
    let (folder, ca) = (tempfile::tempdir().expect("a folder"), TestCa::new("lego"));
    let (certificates, issued) = (folder.path().join("certificates"), issue(&ca, "*.a.test", 30));
    write(&certificates.join("_.a.test.crt"), &issued.certificate);
    write(&certificates.join("_.a.test.issuer.crt"), &ca.intermediate.pem());
    write(&certificates.join("_.a.test.key"), &issued.key);
    write(&certificates.join("csr.test.crt"), &issued.certificate);
    let taken = read(Tool::Lego, folder.path()).expect("read");
    assert_eq!(names(&taken), [("wildcard.a.test", true)]);
    assert!(taken.left[0].contains("key is not there"), "{:?}", taken.left);
}

#[test]
fn certbots_hooks_are_told_of() {
    let (folder, ca) = (tempfile::tempdir().expect("a folder"), TestCa::new("certbot"));
    let (root, issued) = (folder.path(), issue(&ca, "a.test", 30));
    write(&root.join("live/a.test/fullchain.pem"), &issued.certificate);
    write(&root.join("live/a.test/privkey.pem"), &issued.key);
    write(&root.join("live/README"), "text");
    write(&root.join("archive/a.test/privkey1.pem"), "");
    write(&root.join("archive/a.test/privkey2.pem"), "");
    write(&root.join("renewal/a.test.conf"), "[renewalparams]\nauthenticator = webroot\nrenew_hook = reload it\n");
    let taken = read(Tool::Certbot, root).expect("read");
    assert_eq!(names(&taken), [("a.test", true)]);
    let left = taken.left.join("\n");
    for part in ["1 older versions", "webroot", "renew_hook is not run by doorward: reload it"] {
        assert!(left.contains(part), "{left}");
    }
    assert_eq!(names(&read(Tool::Certbot, &root.join("live")).expect("read")).len(), 1);
}
