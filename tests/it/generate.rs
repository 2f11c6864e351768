//! `certs generate`, `renew` and `revoke` with a real CA, and one wildcard that serves many apps.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Doorward, Origin, Pebble, Setup, ca, free, json, nobody, ok, refused, within};

const DAYS_90: u64 = 3600 * 24 * 90;

fn show(door: &Doorward, of: &str) -> Value {
    json(&door.verb(&["certs", "show", of, "--json"]))
}

fn with_acme(setup: Setup, directory: &str) -> Setup {
    let trust = setup.home().join("ca.pem").display().to_string();
    setup.section(&Pebble::sections(directory, &trust))
}

#[test]
fn a_certificate_is_generated_before_any_route_kept_renewed_and_revoked() {
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = with_acme(Setup::new().http_at(plan.http()), &plan.directory());
    let _pebble = plan.start();
    let door = setup.start();
    let said = ok(&door.verb(&["certs", "generate", "a.example.test", "b.example.test", "--key", "p384"]));
    let id = said.lines().find_map(|line| line.strip_prefix("OK, ")).expect("the id").to_owned();
    assert!(id.starts_with("cert-"), "{said}");
    assert!(said.contains("a.example.test: "), "progress per name: {said}");
    let shown = show(&door, "b.example.test");
    assert_eq!((&shown["id"], &shown["key"]), (&id.as_str().into(), &"ECDSA P-384".into()), "{shown:#}");
    assert_eq!(shown["origin"], "generated");
    assert!(shown["next_renewal"].is_i64(), "{shown:#}");
    assert!(
        ok(&door.verb(&["certs", "generate", "a.example.test", "b.example.test", "--key", "p384"])).contains("already")
    );

    let error = refused(&door.verb(&["certs", "renew", &id]));
    assert!(error.contains("not due (its renewal begins on 20") && error.contains("--force"), "{error}");
    ok(&door.verb(&["certs", "renew", &id, "--force"]));
    let renewed = show(&door, &id);
    assert_ne!(renewed["fingerprint"], shown["fingerprint"]);
    assert_eq!(renewed["previous"][0]["fingerprint"], shown["fingerprint"], "the one before is kept: {renewed:#}");

    // It stays wanted over a restart, though no route names it.
    let door = door.restart();
    within("the wish is known again", || show(&door, &id)["next_renewal"].is_i64().then_some(()));
    let said = ok(&door.verb(&["certs", "revoke", &id, "--reason", "key-compromise"]));
    assert!(said.contains("is revoked"), "{said}");
    let after = within("a new one in its place", || {
        let now = show(&door, &id);
        (now["fingerprint"] != renewed["fingerprint"] && now["states"].as_array()?.iter().all(|s| s != "revoked"))
            .then_some(now)
    });
    assert_eq!(after["previous"].as_array().map(Vec::len), Some(1), "only the revoked one: {after:#}");
    ok(&door.verb(&["certs", "delete", &id]));
    assert!(refused(&door.verb(&["certs", "show", &id])).contains("no certificate"));
}

#[test]
fn who_waits_no_longer_hears_that_the_order_goes_on() {
    // A CA that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let directory = format!("https://{}/dir", silent.local_addr().expect("bound"));
    let door = with_acme(Setup::new(), &directory).start();
    let child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["certs", "generate", "a.example.test", "--socket"])
        .arg(door.home().join("admin.sock"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("doorward starts");
    // By then the command waits.
    within("the wish is known", || door.verb(&["certs", "show", "a.example.test"]).status.success().then_some(()));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
    let output = child.wait_with_output().expect("it has ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the order goes on"), "{said}");
}

#[test]
fn without_a_doorward_certificates_are_generated_renewed_and_revoked_all_the_same() {
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = with_acme(Setup::new().http_at(plan.http()), &plan.directory());
    let http = plan.http();
    let _pebble = plan.start();
    // Whoever has the port: then nobody could answer the CA. The https listener is not where it asks.
    let taken = std::net::TcpListener::bind(http).expect("free");
    let narrow = format!("[acme]\nchallenges = [\"http-01\"]\ndirectory = \"https://{}/dir\"", nobody());
    let narrow = Setup::new().http_at(http).section(&narrow);
    let error = refused(&narrow.run(&["certs", "generate", "a.example.test"]));
    assert!(error.contains("no way to prove it") && error.contains("http-01: cannot listen on"), "{error}");
    assert!(error.contains("another program has port") && error.contains("dns-01: add a DNS solver"), "{error}");
    drop(taken);
    assert!(refused(&setup.run(&["certs", "generate", "a.example.test", "--no-wait"])).contains("--no-wait"));

    let said = ok(&setup.run(&["certs", "generate", "a.example.test", "b.example.test", "--id", "two"]));
    assert!(
        said.contains("OK, two") && said.contains("b.example.test: ") && said.contains("no doorward runs"),
        "{said}"
    );
    let shown = json(&setup.run(&["certs", "show", "two", "--json"]));
    assert_eq!((&shown["origin"], &shown["renewed_by"]), (&"generated".into(), &"acme".into()), "{shown:#}");
    assert!(
        ok(&setup.run(&["certs", "generate", "a.example.test", "b.example.test", "--id", "two"])).contains("already")
    );
    let left = std::fs::read_dir(setup.home().join("state/challenges")).map_or(0, |all| all.flatten().count());
    assert_eq!(left, 0, "no answer is left behind");

    let error = refused(&setup.run(&["certs", "renew", "two"]));
    assert!(error.contains("not due (its renewal begins on 20"), "{error}");
    let renewed = json(&setup.run(&["certs", "renew", "b.example.test", "--force", "--json"]));
    assert_ne!(renewed["fingerprint"], shown["fingerprint"]);
    assert_eq!(renewed["previous"][0]["fingerprint"], shown["fingerprint"], "{renewed:#}");

    let said = ok(&setup.run(&["certs", "revoke", "two", "--reason", "superseded"]));
    assert!(said.contains("two is revoked") && said.contains("no doorward runs"), "{said}");
    let shown = json(&setup.run(&["certs", "show", "two", "--json"]));
    assert!(shown["states"].as_array().is_some_and(|all| all.iter().any(|state| state == "revoked")), "{shown:#}");
    // One that a route wants and that was never there.
    let wanted = setup.route("hosts = [\"route.example.test\"]\nbackend = 1\ncertificate = \"auto\"");
    let said = ok(&wanted.run(&["certs", "renew", "route.example.test"]));
    assert!(said.contains("OK, cert-") && said.contains("for route.example.test"), "{said}");
    let setup = wanted;
    // What is revoked is due, so no --force; and doorward then takes it up as it is.
    let again = json(&setup.run(&["certs", "renew", "two", "--json"]));
    let door = setup.start();
    assert_eq!(show(&door, "two")["fingerprint"], again["fingerprint"]);
    assert!(refused(&door.verb(&["certs", "renew", "two"])).contains("not due"), "also right after the start");
    assert!(door.log().iter().all(|line| line["message"] != "getting a certificate"), "nothing was left to do");
}

#[test]
fn what_the_config_has_otherwise_is_shown_until_the_renewal() {
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = with_acme(Setup::new().http_at(plan.http()), &plan.directory());
    let _pebble = plan.start();
    let door = setup.start();
    ok(&door.verb(&["certs", "generate", "a.example.test", "--id", "a"]));
    assert_eq!(show(&door, "a")["pending"], serde_json::json!([]));
    let profile = "name = \"pebble\"\nprofile = \"brief\"\n";
    door.rewrite(|text| {
        text.replacen("[acme]\n", "[acme]\nkey = \"p384\"\n", 1).replace("name = \"pebble\"\n", profile)
    });
    assert!(door.reload());
    let shown = show(&door, "a");
    let pending = shown["pending"].to_string();
    assert!(pending.contains("from its renewal on it is p384") && pending.contains("of profile brief"), "{shown:#}");
    assert_eq!(
        (&shown["key"], &shown["states"]),
        (&"ECDSA P-256".into(), &serde_json::json!(["untrusted"])),
        "{shown:#}"
    );
    let said = ok(&door.verb(&["certs", "show", "a"]));
    assert!(said.contains("its key is ECDSA P-256; from its renewal on"), "{said}");
    // Pebble has no profiles.
    let error = refused(&door.verb(&["certs", "renew", "a", "--force"]));
    assert!(error.contains("no profile \"brief\"") && !error.contains("certs delete"), "{error}");
    door.rewrite(|text| text.replace(profile, "name = \"pebble\"\n"));
    assert!(door.reload());
    ok(&door.verb(&["certs", "renew", "a", "--force"]));
    let shown = show(&door, "a");
    assert_eq!((&shown["key"], &shown["pending"]), (&"ECDSA P-384".into(), &serde_json::json!([])), "{shown:#}");
}

#[test]
fn an_issuer_that_is_only_asked_by_name_issues_and_revokes() {
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = Setup::new().http_at(plan.http());
    let trust = setup.home().join("ca.pem").display().to_string();
    let other = format!("[[issuer]]\nname = \"second\"\ndirectory = \"{}\"\ntrust = \"{trust}\"", plan.directory());
    let setup = with_acme(setup, &plan.directory()).section(&other);
    let _pebble = plan.start();
    let door = setup.start();
    let said = ok(&door.verb(&["certs", "generate", "b.example.test", "--issuer", "second", "--id", "b"]));
    assert!(said.contains("OK, b"), "{said}");
    let accounts = std::fs::read_dir(door.home().join("state/accounts")).expect("there").flatten();
    let accounts: Vec<String> = accounts.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(accounts.len() == 1 && accounts[0].starts_with("second-"), "{accounts:?}");
    ok(&door.verb(&["certs", "revoke", "b"]));
}

#[test]
fn what_cannot_work_is_said_before_anything_is_ordered() {
    let directory = format!("https://{}/dir", nobody());
    let door = with_acme(Setup::new(), &directory).start();
    for (arguments, says) in [
        (&["*.example.test"][..], "wildcards by DNS-01 only"),
        (
            &["a.example.test", "--issuer", "nobody"],
            "no issuer is called \"nobody\"; add an [[issuer]], or choose one of: pebble, letsencrypt",
        ),
        (&["a.example.test", "--issuer", "zerossl"], "external account binding"),
        (&["not a name"], "is no name"),
    ] {
        let error = refused(&door.verb(&[&["certs", "generate"], arguments].concat()));
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    let plain = Setup::new().start();
    assert!(refused(&plain.verb(&["certs", "generate", "a.example.test"])).contains("no [acme]"));
    assert!(door.log().iter().all(|line| line["message"] != "getting a certificate"));
    // A public CA is not asked for what it never issues.
    let public = Setup::new().section("[acme]\ncontact = [\"ops@example.com\"]").start();
    for name in ["nas.local", "intranet", "10.0.0.1"] {
        let error = refused(&public.verb(&["certs", "generate", name]));
        assert!(error.contains(name), "{error}");
    }
    // And a CA that cannot be reached is told in plain words, at once.
    let error = refused(&door.verb(&["certs", "generate", "a.example.test"]));
    assert!(error.contains("cannot be reached") && error.contains("next try"), "{error}");
}

#[test]
fn one_wildcard_serves_every_app_with_no_order_for_each() {
    let origin = Origin::echo();
    let app = |name: &str| {
        format!("hosts = [\"{name}.apps.example.test\"]\nbackend = \"{}\"\ncertificate = \"auto\"", origin.address)
    };
    let wildcard = ca().leaf(&["*.apps.example.test"]).issue();
    // By folder, by import, and by import while apps come and go.
    for folder in [true, false] {
        let mut setup = with_acme(Setup::new(), &format!("https://{}/dir", nobody()));
        if folder {
            setup = setup.certificate("wild", &wildcard);
        } else {
            wildcard.write(&setup.home().join("wild"));
            ok(&setup.run(&["certs", "import", setup.home().join("wild").to_str().expect("a path")]));
        }
        let door = setup.route(&app("one")).route(&app("two")).start();
        for name in ["one", "two"] {
            assert_eq!(door.curl(&format!("https://{name}.apps.example.test/")).run().status, 200, "{name}");
        }
        let more = app("three");
        door.rewrite(|text| format!("{text}\n[[route]]\n{more}\n"));
        assert!(door.reload());
        assert_eq!(door.curl("https://three.apps.example.test/").run().status, 200);
        assert!(door.log().iter().all(|line| line["message"] != "getting a certificate"), "no order for an app");
        let shown = show(&door, "three.apps.example.test");
        assert_eq!(shown["id"], "wild");
        assert_eq!(shown["used_by"].as_array().map(Vec::len), Some(3), "{shown:#}");
        let status = json(&door.verb(&["status", "--json"]));
        assert!(
            status["acme"].as_array().is_some_and(|all| all.iter().all(|one| one["state"] == "issued")),
            "{status:#}"
        );
    }
}

#[test]
fn a_budget_that_is_used_up_is_said_before_the_ca_is_asked() {
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = with_acme(Setup::new().http_at(plan.http()), &plan.directory());
    let setup = setup.section("[issuer.limits]\norders = \"1 in 7d\"");
    let _pebble = plan.start();
    let door = setup.start();
    ok(&door.verb(&["certs", "generate", "a.example.test"]));
    let error = refused(&door.verb(&["certs", "generate", "b.example.test"]));
    assert!(error.contains("no room") && error.contains("orders: 1 of 1"), "{error}");
    let budget = json(&door.verb(&["certs", "budget", "--json"]));
    assert_eq!((&budget[0]["issuer"], &budget[0]["limits"][0]["used"]), (&"pebble".into(), &1.into()), "{budget:#}");
    let said = ok(&door.verb(&["certs", "budget"]));
    assert!(said.contains("orders: 1 of 1 in 7days, 0 left for new names, room again in"), "{said}");
    let explained = ok(&door.verb(&["certs", "explain", "a.example.test", "--json"]));
    assert!(explained.contains("pebble: orders: 1 of 1"), "{explained}");
}

#[test]
fn caa_and_the_record_of_dns_01_are_explained() {
    let pebble = Pebble::plan(free("127.0.0.2"), DAYS_90).start();
    pebble.forbid("example.com", "other.test");
    // A public CA that nobody asks for anything here.
    let door = Setup::new()
        .head(&format!("resolvers = [\"{}\"]", pebble.dns()))
        .section("[acme]\nissuer = \"letsencrypt\"")
        .start();
    let explain = |name: &str| {
        let output = door.verb(&["certs", "explain", name, "--port", "1", "--json"]);
        let of: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        of["dns"].to_string()
    };
    let forbidden = explain("www.example.com");
    assert!(forbidden.contains("letsencrypt.org may NOT issue") && forbidden.contains("at example.com"), "{forbidden}");
    assert!(forbidden.contains("no TXT at _acme-challenge.www.example.com"), "{forbidden}");
    assert!(explain("www.example.org").contains("CAA: none"), "{}", explain("www.example.org"));
}
