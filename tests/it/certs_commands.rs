//! The certs commands against a running doorward, and on its storage alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Doorward, Leaf, Origin, Setup, Tls, ca, client_config, json, ok, refused};

const HOST: &str = "app.example.test";

/// A doorward with a route for [`HOST`] and no certificate.
fn bare(origin: &Origin) -> Setup {
    Setup::new().route(&format!("hosts = [\"{HOST}\"]\nbackend = \"{}\"", origin.address))
}

fn files(folder: &Path, leaf: &Leaf) -> [String; 2] {
    leaf.write(folder);
    ["fullchain.pem", "privkey.pem"].map(|name| folder.join(name).display().to_string())
}

fn row(door: &Doorward, id: &str) -> Value {
    let list = json(&door.verb(&["certs", "list", "--json"]));
    let rows = list["certificates"].as_array().expect("a list");
    rows.iter().find(|row| row["id"] == id).cloned().unwrap_or_else(|| panic!("no {id}: {list:#}"))
}

fn served(door: &Doorward, name: &str) -> Option<Vec<u8>> {
    Tls::with(client_config(&[]), door.https, name).ok().map(|tls| tls.certificate().to_vec())
}

#[test]
fn a_certificate_is_imported_replaced_rolled_back_exported_and_deleted() {
    let origin = Origin::echo();
    let door = bare(&origin).start();
    assert_eq!(served(&door, HOST), None);
    let (first, second) = (ca().leaf(&[HOST]).issue(), ca().leaf(&[HOST]).issue());
    let (a, b) = (door.home().join("app"), door.home().join("new"));
    let [chain, key] = files(&a, &first);

    let said = ok(&door.verb(&["certs", "import", a.to_str().expect("a path")]));
    assert!(said.contains("app imported, and it is served"), "{said}");
    assert_eq!(served(&door, HOST).as_deref(), Some(first.der.as_ref()), "at once");
    assert_eq!(door.curl(&format!("https://{HOST}/")).run().status, 200);
    let bundle = door.home().join("state/certificates/app/bundle.pem");
    assert_eq!(fs::metadata(&bundle).expect("stored").permissions().mode() & 0o777, 0o600);

    let again = ok(&door.verb(&["certs", "import", &chain, &key, "--id", "app"]));
    assert!(again.contains("was there already"), "{again}");
    let [chain, key] = files(&b, &second);
    let taken = refused(&door.verb(&["certs", "import", &chain, &key, "--id", "app"]));
    assert!(taken.contains("certs replace app"), "{taken}");
    ok(&door.verb(&["certs", "replace", "app", &chain, &key]));
    assert_eq!(served(&door, HOST).as_deref(), Some(second.der.as_ref()));

    let shown = json(&door.verb(&["certs", "show", HOST, "--json"]));
    assert_eq!((&shown["id"], &shown["origin"]), (&Value::from("app"), &Value::from("imported")));
    assert_eq!(shown["key"], "ECDSA P-256");
    assert_eq!(shown["used_by"][0], HOST);
    assert_eq!(shown["previous"].as_array().map(Vec::len), Some(1), "{shown:#}");
    assert_eq!(shown["chain"].as_array().map(Vec::len), Some(2), "leaf and intermediate");
    assert_eq!(shown["served_on"][0]["listener"], door.https.to_string());
    assert_eq!(shown["states"][0], "untrusted", "no system trusts the tests' CA");

    ok(&door.verb(&["certs", "rollback", "app"]));
    assert_eq!(served(&door, HOST).as_deref(), Some(first.der.as_ref()));
    ok(&door.verb(&["certs", "rollback", "app"]));
    assert_eq!(served(&door, HOST).as_deref(), Some(second.der.as_ref()), "and back again");

    let out = door.home().join("out");
    ok(&door.verb(&["certs", "export", "app", "--to", out.to_str().expect("a path")]));
    assert_eq!(fs::metadata(out.join("privkey.pem")).expect("written").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(out.join("cert.pem")).expect("written").trim(), second.certificate_pem.trim());

    let in_use = refused(&door.verb(&["certs", "delete", "app"]));
    assert!(in_use.contains(HOST) && in_use.contains("--force"), "{in_use}");
    let said = ok(&door.verb(&["certs", "delete", "app", "--force"]));
    assert!(said.contains(&format!("no other certificate for {HOST}")), "{said}");
    assert_eq!(served(&door, HOST), None);
    assert!(!bundle.exists());
    assert!(refused(&door.verb(&["certs", "show", "app"])).contains("no certificate is called"));
}

#[test]
fn what_is_refused_from_a_folder_is_refused_by_command() {
    let origin = Origin::echo();
    let door = bare(&origin).certificate("there", &ca().leaf(&["there.example.test"]).issue()).start();
    let folder = door.home().join("bad");
    let [chain, _] = files(&folder, &ca().leaf(&[HOST]).issue());
    let other = door.home().join("other");
    let [_, key] = files(&other, &ca().leaf(&[HOST]).issue());
    let error = refused(&door.verb(&["certs", "import", &chain, &key]));
    assert!(error.contains("does not belong to the certificate"), "{error}");
    let error = refused(&door.verb(&["certs", "import", &chain]));
    assert!(error.contains("no private key"), "{error}");
    fs::write(folder.join("privkey.pem"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n").expect("written");
    let error = refused(&door.verb(&["certs", "import", folder.to_str().expect("a path")]));
    assert!(error.contains("passphrase") && error.contains("openssl pkey"), "{error}");

    // As lego has them: the layout is not one of a watched folder.
    let lego = door.home().join("lego");
    fs::create_dir(&lego).expect("a folder");
    fs::write(lego.join("a.example.test.crt"), "").expect("written");
    fs::write(lego.join("a.example.test.key"), "").expect("written");
    let error = refused(&door.verb(&["certs", "import", lego.to_str().expect("a path")]));
    assert!(error.contains("is taken with --from"), "{error}");

    // An id is one line, in a table and on a command line.
    let [chain, key] = files(&other, &ca().leaf(&[HOST]).issue());
    for id in ["", " ", "a\nb", "a ", &"x".repeat(201), &"ä".repeat(34)] {
        for verb in [&["certs", "import", &chain, &key, "--id", id][..], &["certs", "generate", HOST, "--id", id]] {
            let error = refused(&door.verb(verb));
            assert!(error.contains("an id has 1 to 200 bytes"), "{id:?}: {error}");
        }
    }

    let longest = "ä".repeat(33);
    ok(&door.verb(&["certs", "import", &chain, &key, "--id", &longest]));
    ok(&door.verb(&["certs", "delete", &longest, "--force"]));

    // What comes from a folder is the folder's.
    for verb in [&["certs", "delete", "there"][..], &["certs", "rollback", "there"], &["certs", "renew", "there"]] {
        let error = refused(&door.verb(verb));
        assert!(error.contains("certs/there"), "{verb:?}: {error}");
    }
    // A new one that is worse does not take the place of one that works.
    let good = door.home().join("good");
    files(&good, &ca().leaf(&[HOST, "www.example.test"]).issue());
    ok(&door.verb(&["certs", "import", good.to_str().expect("a path")]));
    for (worse, says) in [
        (ca().leaf(&[HOST]).issue(), "lacks www.example.test"),
        (ca().leaf(&[HOST, "www.example.test"]).valid_days(-9, -2).issue(), "expired"),
    ] {
        let [chain, key] = files(&folder, &worse);
        let error = refused(&door.verb(&["certs", "replace", "good", &chain, &key]));
        assert!(error.contains(says) && error.contains("--force"), "{error}");
    }
    ok(&door.verb(&["certs", "replace", "good", folder.to_str().expect("a path"), "--force"]));
    let row = row(&door, "good");
    assert!(row["states"].as_array().is_some_and(|states| states.contains(&"expired".into())), "{row:#}");
}

#[test]
fn a_key_may_come_by_stdin_and_is_in_no_process_list() {
    let door = bare(&Origin::echo()).start();
    let leaf = ca().leaf(&["*.example.test"]).issue();
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["certs", "import", "-", "--socket"])
        .arg(door.home().join("admin.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("doorward runs");
    let text = format!("{}{}", leaf.full_chain(), leaf.key_pem);
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("written");
    drop(stdin);
    let said = ok(&child.wait_with_output().expect("ends"));
    assert!(said.contains("wildcard.example.test imported"), "{said}");
    assert_eq!(served(&door, HOST).as_deref(), Some(leaf.der.as_ref()));
    let log = door.log().iter().map(ToString::to_string).collect::<String>();
    assert!(!log.contains("PRIVATE KEY"));
}

#[test]
fn https_is_off_for_a_name_while_http_works_and_stays_so() {
    let origin = Origin::echo();
    let door = Setup::new().host(HOST, origin.address).host("*.example.test", origin.address).start();
    let status = |door: &Doorward, url: &str| door.curl(url).run().status;
    assert_eq!(status(&door, &format!("http://{HOST}/")), 308);
    assert_eq!(status(&door, &format!("https://{HOST}/")), 200);
    ok(&door.verb(&["certs", "disable", HOST]));
    assert_eq!(served(&door, HOST), None, "no handshake");
    let kept = row(&door, HOST);
    assert_eq!((&kept["used_by"][0], &kept["renewed_by"]), (&HOST.into(), &"folder".into()), "{kept:#}");
    assert_eq!(status(&door, &format!("http://{HOST}/")), 200, "in place of the redirect");
    assert_eq!(status(&door, "https://other.example.test/"), 200, "others are left alone");
    let list = json(&door.verb(&["certs", "list", "--json"]));
    assert!(list["disabled"][HOST].is_u64(), "{list:#}");
    let door = door.restart();
    assert_eq!(served(&door, HOST), None, "over a restart");
    ok(&door.verb(&["certs", "enable", HOST]));
    assert_eq!(status(&door, &format!("https://{HOST}/")), 200);
    assert_eq!(status(&door, &format!("http://{HOST}/")), 308);
}

#[test]
fn with_no_doorward_running_the_storage_is_worked_on() {
    let origin = Origin::echo();
    let setup = bare(&origin);
    let leaf = ca().leaf(&[HOST]).issue();
    let folder = setup.home().join("site");
    files(&folder, &leaf);
    let said = ok(&setup.run(&["certs", "import", folder.to_str().expect("a path")]));
    assert!(said.contains("no doorward runs"), "{said}");
    let list = json(&setup.run(&["certs", "list", "--json"]));
    assert_eq!(list["certificates"][0]["id"], "site");
    assert_eq!(list["certificates"][0]["used_by"][0], HOST);
    let out = setup.home().join("out");
    ok(&setup.run(&["certs", "export", "site", "--to", out.to_str().expect("a path")]));
    files(&folder, &ca().leaf(&[HOST]).issue());
    ok(&setup.run(&["certs", "replace", "site", folder.to_str().expect("a path")]));
    ok(&setup.run(&["certs", "rollback", "site"]));
    assert!(refused(&setup.run(&["certs", "generate", "x.example.test"])).contains("the config has no [acme]"));
    let door = setup.start();
    assert_eq!(served(&door, HOST).as_deref(), Some(leaf.der.as_ref()));
}

#[test]
fn a_name_is_explained() {
    let origin = Origin::echo();
    let door = Setup::new()
        .host("*.example.test", origin.address)
        .certificate("old", &ca().leaf(&[HOST]).valid_days(-20, -2).issue())
        .route(&format!("hosts = [\"127.0.0.2\"]\nbackend = \"{}\"", origin.address))
        .start();
    let port = door.http.port().to_string();
    let explain = |name: &str| door.verb(&["certs", "explain", name, "--port", &port, "--json"]);
    let of = json(&explain(HOST));
    assert_eq!(of["certificate"], "wildcard.example.test", "{of:#}");
    let reasons = of["reasons"].to_string();
    assert!(reasons.contains("its wildcard covers") && reasons.contains("old has the name too"), "{reasons}");
    assert!(of["advice"].to_string().contains("resolver"), "{of:#}");

    // The address of the http listener is this doorward's own; that of the https listener has another port.
    let none = explain("127.0.0.2");
    assert_eq!(none.status.code(), Some(1), "nothing is served for it");
    let of: Value = serde_json::from_slice(&none.stdout).expect("JSON");
    assert_eq!(of["certificate"], Value::Null);
    assert_eq!(of["probes"][0]["reached"], true, "{of:#}");
    let of: Value = serde_json::from_slice(&explain("127.0.0.9").stdout).expect("JSON");
    assert_eq!(of["probes"][0]["reached"], false, "{of:#}");
    assert!(of["probes"][0]["message"].as_str().is_some_and(|m| m.contains("no connection")), "{of:#}");
}

#[test]
fn the_table_is_for_people() {
    let door = Setup::new()
        .host(HOST, Origin::echo().address)
        .certificate("old", &ca().leaf(&["old.example.test"]).valid_days(-20, -2).issue())
        .start();
    let table = ok(&door.verb(&["certs", "list"]));
    let mut lines = table.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("ID") && line.contains("NEXT RENEWAL")), "{table}");
    assert!(lines.next().is_some_and(|line| line.starts_with("old") && line.contains("EXPIRED 2 days ago")), "{table}");
    assert!(table.contains("in 89 days") || table.contains("in 90 days"), "{table}");
    let expiring = json(&door.verb(&["certs", "list", "--expiring", "30d", "--json"]));
    assert_eq!(expiring["certificates"].as_array().map(Vec::len), Some(1));
    let generated = json(&door.verb(&["certs", "list", "--generated", "--json"]));
    assert_eq!(generated["certificates"].as_array().map(Vec::len), Some(0));
}

#[test]
fn check_holds_stored_certificates_against_the_routes_that_name_them() {
    let backend = Origin::echo().address;
    let route = |host: &str| format!("hosts = [\"{host}\"]\nbackend = \"{backend}\"\ncertificate = \"site\"");
    let setup = Setup::new().route(&route(HOST)).route(&route("b.example.test"));
    let missing = setup.run(&["check"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no certificate \"site\""), "{missing:?}");
    let folder = setup.home().join("site");
    files(&folder, &ca().leaf(&[HOST, "b.example.test"]).issue());
    ok(&setup.run(&["certs", "import", folder.to_str().expect("a path")]));
    let sound = setup.run(&["check"]);
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    let setup = setup.route(&route("c.example.org"));
    let lacking = setup.run(&["check"]);
    assert!(
        refused(&lacking).contains("site is not valid for c.example.org: it is for app.example.test"),
        "{lacking:?}"
    );
    // One certificate by its id on any number of routes.
    let door = setup.start();
    for host in [HOST, "b.example.test"] {
        assert_eq!(door.curl(&format!("https://{host}/")).run().status, 200, "{host}");
    }
    let row = row(&door, "site");
    assert!(row["states"].as_array().is_some_and(|states| states.contains(&"mismatched".into())), "{row:#}");
    assert!(row["messages"].to_string().contains("c.example.org"), "{row:#}");
}
#[test]
fn with_no_doorward_running_names_are_switched_certificates_deleted_and_explained() {
    let origin = Origin::echo();
    let auto = format!("hosts = [\"auto.example.org\"]\nbackend = \"{}\"\ncertificate = \"auto\"", origin.address);
    let setup = bare(&origin).section("[acme]\nissuer = \"letsencrypt\"").route(&auto);
    let folder = setup.home().join("site");
    files(&folder, &ca().leaf(&[HOST]).valid_days(-1, 9).issue());
    ok(&setup.run(&["certs", "import", folder.to_str().expect("a path")]));

    let of = setup.run(&["certs", "explain", HOST, "--json"]);
    let of = json(&of);
    assert_eq!((&of["certificate"], &of["probes"]), (&"site".into(), &Value::Array(Vec::new())), "{of:#}");
    assert!(of["advice"].to_string().contains("no doorward runs"), "{of:#}");
    let budget = json(&setup.run(&["certs", "budget", "--json"]));
    assert_eq!(budget[0]["issuer"], "letsencrypt", "{budget:#}");

    // It is used while its HTTPS is off, too.
    ok(&setup.run(&["certs", "disable", HOST]));
    let list = json(&setup.run(&["certs", "list", "--json"]));
    assert!(list["disabled"][HOST].is_u64(), "{list:#}");
    let rows = list["certificates"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["id"] != "site").expect("the one that is wanted");
    assert_eq!((&row["names"][0], &row["origin"]), (&"auto.example.org".into(), &"wanted".into()), "{row:#}");
    assert_eq!((&row["used_by"][0], &row["states"][0]), (&"auto.example.org".into(), &"waiting".into()), "{row:#}");
    let row = rows.iter().find(|row| row["id"] == "site").expect("the imported one");
    assert_eq!((&row["used_by"][0], &row["renewed_by"]), (&HOST.into(), &Value::Null), "{row:#}");
    for state in ["disabled", "expiring", "untrusted"] {
        assert!(row["states"].as_array().is_some_and(|states| states.contains(&state.into())), "{state}: {row:#}");
    }
    assert!(row["messages"].to_string().contains("nobody renews it: `doorward certs replace site`"), "{row:#}");
    assert!(ok(&setup.run(&["certs", "list"])).contains("by nobody"));
    assert!(refused(&setup.run(&["certs", "delete", "site"])).contains("is in use by app.example.test"));
    ok(&setup.run(&["certs", "enable", HOST]));
    let list = json(&setup.run(&["certs", "list", "--json"]));
    assert_eq!(list["disabled"], serde_json::json!({}), "{list:#}");

    // What cannot be undone takes an id and nothing else.
    for verb in ["delete", "rollback"] {
        let error = refused(&setup.run(&["certs", verb, HOST]));
        assert!(error.contains("for that name there is site"), "{verb}: {error}");
    }
    let typo = refused(&setup.run(&["certs", "delete", "sitte"]));
    assert!(typo.contains("did you mean site?"), "{typo}");
    let said = ok(&setup.run(&["certs", "delete", "site", "--force"]));
    assert!(said.contains(&format!("no other certificate for {HOST}")), "{said}");
    assert!(!setup.home().join("state/certificates/site/bundle.pem").exists());
    let none = setup.run(&["certs", "explain", HOST]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stdout).contains("certs generate app.example.test"), "{none:?}");
    let said = ok(&setup.run(&["certs", "disable", "tpyo.example.net"]));
    assert!(said.contains("is it spelt right?"), "{said}");
}

#[test]
fn a_thousand_certificates_are_listed_and_filtered() {
    const MANY: usize = 1_200;
    let setup = Setup::new();
    let stored = setup.home().join("state/certificates");
    let ca = ca();
    // Every twentieth ends soon, every fifth was brought by an operator; the others are of a CA that nobody asks now.
    for n in 0..MANY {
        let name = format!("n{n}.example.test");
        let days = if n % 20 == 0 { 10 } else { 90 };
        let leaf = ca.leaf(&[&name]).valid_days(-1, days).issue();
        let folder = stored.join(format!("c{n}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("bundle.pem"), format!("{}{}", leaf.key_pem, leaf.full_chain())).expect("written");
        let (file, text) = match n % 5 {
            0 => ("about.json", r#"{"origin":"imported","since":1700000000,"from":null}"#),
            _ => (
                "meta.json",
                r#"{"issuer":"x","directory":"https://x.test/","profile":null,"issued":1700000000,"ari":null}"#,
            ),
        };
        fs::write(folder.join(file), text).expect("written");
    }
    let ids = |output: std::process::Output| {
        let list = json(&output);
        let rows = list["certificates"].as_array().expect("a list").iter();
        rows.map(|row| row["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let check = |run: &dyn Fn(&[&str]) -> std::process::Output| {
        let all = ids(run(&["certs", "list", "--json"]));
        assert_eq!(all.len(), MANY);
        let imported = ids(run(&["certs", "list", "--json", "--imported"]));
        assert_eq!(imported.len(), MANY / 5);
        assert!(imported.contains(&"c5".to_owned()) && !imported.contains(&"c6".to_owned()));
        assert_eq!(ids(run(&["certs", "list", "--json", "--generated"])).len(), MANY - MANY / 5);
        let soon = ids(run(&["certs", "list", "--json", "--expiring", "30d"]));
        assert_eq!(soon.len(), MANY / 20);
        assert!(soon.iter().all(|id| id[1..].parse::<usize>().is_ok_and(|n| n % 20 == 0)), "{soon:?}");
        let table = ok(&run(&["certs", "list", "--expiring", "30d"]));
        // Nobody renews them: that stands out, a line each.
        assert_eq!(table.matches("nobody renews it").count(), MANY / 20, "{table}");
        assert_eq!(table.lines().filter(|line| line.starts_with('c') && line.contains("in 9 days")).count(), MANY / 20);
    };
    check(&|verb| setup.run(verb));
    let door = setup.start();
    check(&|verb| door.verb(verb));
}
