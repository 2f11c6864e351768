//! The commands about DNS, and those about certificates that need it, through the built program.

use std::path::Path;

use serde_json::Value;

use crate::acme::front::{Front, change_json};
use crate::acme::pebble::{Options, Pebble};
use crate::support::bind::{Bind, KEY, ZONE};
use crate::support::moto::Moto;

/// Runs the program with these words, and this on its stdin.
pub fn doorward(words: &[&str], stdin: &str) -> (i32, String, String) {
    use std::io::Write;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.args(words).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that takes no secret may have ended by now.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A running doorward, ended by its own id.
struct Daemon(std::process::Child);

impl Daemon {
    /// On `doorward.toml` in the folder, with its log beside it.
    fn start(folder: &Path) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.args(["run", "--config"]).arg(folder.join("doorward.toml")).stdin(std::process::Stdio::null());
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solver_is_added_tested_listed_and_removed_by_command_and_a_daemon_takes_it_up() {
    use std::os::unix::fs::PermissionsExt;
    let bind = Bind::start().await;
    let pebble = Pebble::start(Options { dns: Some(bind.address()), ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("doorward.toml"), folder.path().join("state"));
    let (config, server) = (file.display().to_string(), bind.address().to_string());
    let text = format!(
        "resolvers = [\"{server}\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\n[storage]\npath = \"state\"\n[admin]\nsocket = \"admin.sock\"\n\
         [acme]\ndirectory = \"https://localhost:{}/dir\"\ntrust = \"{}\"\n\
         [[route]]\nhosts = [\"*.apps.example.org\"]\nbackend = 1\ncertificate = \"auto\"\n",
        pebble.address().port(),
        pebble.trust().display()
    );
    std::fs::write(&file, text).unwrap();
    let (code, out, _) = doorward(&["dns", "list", "--config", &config], "");
    assert!(code == 0 && out.contains(&format!("no DNS solvers in the config and in {}", state.display())), "{out}");
    assert!(!state.exists(), "a look makes no storage");
    let (code, _, said) = doorward(&["check", "--config", &config], "");
    assert!(code == 1 && said.contains("no DNS solver is for its zone"), "{said}");

    // The daemon runs first, and fails for want of a solver.
    let _daemon = Daemon::start(folder.path());
    let logged = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    crate::acme::until("it failed for want of a solver", || logged().contains("needs a DNS solver").then_some(()))
        .await;

    let add =
        ["dns", "rfc2136", "add", "--config", &config, "--id", "ns", "--dns-zones", ZONE, "--nameservers", &server];
    let add = |key: &'static str| [&add[..], &["--server", &server, "--tsig-key", key]].concat();
    let (code, _, said) = doorward(&add(KEY), "");
    assert!(code == 2 && said.contains("never the secret itself") && !said.contains("bm90IGEg"), "{said}");
    let (code, _, said) = doorward(&add("-"), "nonsense\n");
    assert!(code == 2 && said.contains("not understood"), "{said}");
    let (code, out, said) = doorward(&add("-"), KEY);
    assert!(code == 0 && out.contains("OK, DNS solver ns (rfc2136) for example.org"), "{out}{said}");
    let stored = state.join("dns/ns.json");
    assert_eq!(stored.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    crate::acme::until(&format!("the daemon got the certificate: {}", logged()), || {
        logged().contains("got the certificate").then_some(())
    })
    .await;
    assert_eq!(bind.values("_acme-challenge.apps.example.org").await, [""; 0]);

    let (code, out, _) = doorward(&["dns", "list", "--config", &config], "");
    assert!(code == 0 && out.contains("tsig_key=***") && !out.contains("bm90IGEg"), "{out}");
    let (code, out, said) =
        doorward(&["dns", "test", "ns", "*.delegated2.example.org", "--config", &config, "--json"], "");
    let steps: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{said}"));
    assert!(code == 0 && steps["ok"] == true && steps["steps"].as_array().unwrap().len() == 3, "{out}{said}");
    assert_eq!(bind.values("_acme-challenge.delegated2.example.org").await, [""; 0]);
    assert!(bind.log().contains("adding an RR at '_acme-challenge.delegated2.example.org'"));
    let (code, out, _) = doorward(&["dns", "test", "ns", "www.example.com", "--config", &config], "");
    assert!(code == 1 && out.contains("FAILED written"), "{out}");

    let (code, out, said) =
        doorward(&["dns", "plan", "--config", &config, "--address", "127.0.0.1,192.0.2.7", "--json"], "");
    let plan: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{said}"));
    let state_of = |kind: &str, needed: &str| {
        let is = |record: &&Value| record["type"] == kind && record["needed"].as_str().unwrap().contains(needed);
        plan["records"].as_array().unwrap().iter().find(is).map(|record| record["state"].clone())
    };
    assert_eq!(code, 0);
    assert_eq!(state_of("A", "127.0.0.1"), Some("ok".into()));
    assert_eq!(state_of("A", "192.0.2.7"), Some("DIFFERS".into()));
    assert_eq!(state_of("TXT", "through the solver ns"), Some("ok".into()));

    let (code, _, said) = doorward(&add("-"), KEY);
    assert!(code == 1 && said.contains("there is a DNS solver \"ns\" already"), "{said}");
    let (code, out, _) = doorward(&["dns", "remove", "ns", "--config", &config], "");
    assert!(code == 0 && out.contains("OK") && !stored.exists());
    assert_eq!(doorward(&["dns", "remove", "ns", "--config", &config], "").0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_who_it_is_for_aws_and_what_it_has_to_be_allowed() {
    let moto = Moto::start().await;
    let state = tempfile::tempdir().unwrap();
    let (storage, endpoint) = (state.path().display().to_string(), moto.endpoint.as_str());
    let role = "arn:aws:iam::123456789012:role/dns";
    let add =
        ["dns", "route53", "add", "--storage", &storage, "--id", "1", "--dns-zones", "example.org", "--role", role];
    let keys = ["--access-key-id", "AKIAIOSFODNN7EXAMPLE", "--secret-access-key", "-", "--endpoint", endpoint];
    let (code, _, said) = doorward(&[&add[..], &keys].concat(), "s3cret\n");
    assert_eq!(code, 0, "{said}");
    let (code, out, said) = doorward(&["dns", "route53", "role", "--storage", &storage, "--id", "1", "--json"], "");
    let who: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{said}"));
    assert!(code == 0 && who["arn"].as_str().unwrap().contains(":assumed-role/dns/doorward"), "{out}");
    let policy = [
        "dns",
        "route53",
        "policy",
        "--hosted-zone-id",
        "Z1",
        "--dns-zones",
        "example.org",
        "--principal",
        "arn:p",
        "--json",
    ];
    let (code, out, _) = doorward(&policy, "");
    let both: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    let change = &both["permissions"]["Statement"][3];
    assert_eq!(change["Resource"][0], "arn:aws:route53:::hostedzone/Z1");
    let names =
        &change["Condition"]["ForAllValues:StringLike"]["route53:ChangeResourceRecordSetsNormalizedRecordNames"];
    assert_eq!(names[0], "_acme-challenge.example.org");
    assert_eq!(both["trust"]["Statement"][0]["Principal"]["AWS"], "arn:p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_generated_by_command_and_what_dns_forbids_is_said_before() {
    let bind = Bind::start().await;
    let pebble = Pebble::start(Options { dns: Some(bind.address()), ..Options::default() }).await;
    // Pebble calls itself nothing in CAA records; what its directory says of that here is made up.
    let front = Front::start(&pebble).await;
    front.amend(|seen, reply| {
        if seen.path == "/dir" {
            change_json(reply, |directory| directory["meta"]["caaIdentities"] = serde_json::json!(["pebble.test"]));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let (config, server) = (folder.path().join("doorward.toml").display().to_string(), bind.address().to_string());
    std::fs::write(folder.path().join("tsig"), KEY).unwrap();
    let issuer = front.acme().issuer;
    let text = format!(
        "resolvers = [\"{server}\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\n[storage]\npath = \"state\"\n\
         [admin]\nsocket = \"admin.sock\"\n[acme]\ndirectory = \"{}\"\ntrust = \"{}\"\n\
         [[dns]]\nid = \"ns\"\nprovider = \"rfc2136\"\nzones = [\"{ZONE}\"]\nserver = \"{server}\"\n\
         tsig_key = \"file:tsig\"\nnameservers = [\"{server}\"]\n\
         [[route]]\nhosts = [\"app.example.org\", \"alias.example.org\", \"example.org\", \"*.gone.example.net\"]\nbackend = 1\n\
         [[route]]\nhosts = [\"forbidden.example.org\", \"*.example.org\"]\nbackend = 1\ncertificate = \"cert-x\"\n",
        issuer.directory,
        issuer.trust.unwrap().display()
    );
    std::fs::write(folder.path().join("doorward.toml"), &text).unwrap();
    let certs = |words: &[&str]| doorward(&[&["certs"][..], words, &["--config", &config]].concat(), "");

    // With no daemon first: the command orders by itself, and finds the same faults.
    let (code, _, said) = certs(&["generate", "*.forbidden.example.org"]);
    assert!(code == 1 && said.contains("CAA forbids pebble.test to issue"), "{said}");
    let (code, out, said) = certs(&["generate", "*.alone.example.org", "--id", "alone"]);
    assert!(code == 0 && out.contains("OK, alone") && out.contains("no doorward runs"), "{out}{said}");
    assert_eq!(bind.values("_acme-challenge.alone.example.org").await, [""; 0], "no record is left");
    assert_eq!(certs(&["revoke", "alone"]).0, 0);
    assert_eq!(certs(&["delete", "alone"]).0, 0);
    let orders = front.seen("/order-plz").len();

    let _daemon = Daemon::start(folder.path());
    let socket = folder.path().join("admin.sock");
    crate::acme::until("it answers", || std::os::unix::net::UnixStream::connect(&socket).ok()).await;

    let (code, _, said) = certs(&["generate", "*.forbidden.example.org", "fine.example.org"]);
    assert!(code == 1 && said.contains("nothing was ordered"), "{said}");
    assert!(said.contains("*.forbidden.example.org: CAA forbids pebble.test to issue: issue \"other.test\""), "{said}");
    assert!(said.contains("add `issue \"pebble.test\"`") && !said.contains("fine.example.org:"), "{said}");
    assert_eq!(front.seen("/order-plz").len(), orders);

    let (code, out, said) = certs(&["generate", "*.example.org", "myapp.example.org", "--id", "apps"]);
    assert!(code == 0 && out.contains("OK, apps"), "{out}{said}");
    assert!(out.contains("  *.example.org: ") && out.contains("  myapp.example.org: "), "progress per name: {out}");
    assert_eq!(bind.values("_acme-challenge.example.org").await, [""; 0], "no record is left");
    let (code, out, _) = certs(&["list", "--generated"]);
    assert!(code == 0 && out.contains("apps") && out.contains("myapp.example.org, *.example.org"), "{out}");

    // The account is there now, and the record names another one.
    let (code, _, said) = certs(&["generate", "*.account.example.org"]);
    assert!(code == 1 && said.contains("only the account https://other.test/1 may ask pebble.test"), "{said}");
    assert!(said.contains("set accounturi=https://localhost"), "{said}");
    let (_, out, _) = certs(&["explain", "account.example.org", "--port", "1"]);
    assert!(out.contains("pebble.test may NOT issue: only the account"), "{out}");
    let (_, out, _) = certs(&["explain", "any.example.org", "--port", "1", "--json"]);
    let of: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(of["certificate"], "apps");
    assert!(of["dns"].to_string().contains("CAA: none"), "{of:#}");

    // The wildcard serves an app that comes later, with no order for it.
    let orders = front.seen("/order-plz").len();
    let route = "[[route]]\nhosts = [\"later.example.org\"]\nbackend = 1\ncertificate = \"auto\"\n";
    std::fs::write(folder.path().join("doorward.toml"), format!("{text}{route}")).unwrap();
    assert_eq!(doorward(&["reload", "--config", &config], "").0, 0);
    let (_, out, _) = certs(&["explain", "later.example.org", "--port", "1"]);
    assert!(out.contains("is served with apps") && out.contains("another certificate covers its names"), "{out}");
    assert_eq!(front.seen("/order-plz").len(), orders);

    // What the config needs, beside what BIND says.
    let plan = |target: &[&str]| {
        let (code, out, said) = doorward(&[&["dns", "plan", "--config", &config, "--json"], target].concat(), "");
        assert_eq!(code, 0, "{said}");
        serde_json::from_str::<Value>(&out).unwrap()["records"].as_array().unwrap().clone()
    };
    let state = |records: &[Value], name: &str, kind: &str| {
        let is = |record: &&Value| record["name"] == name && record["type"] == kind;
        let record = records.iter().find(is).unwrap_or_else(|| panic!("{name} {kind}: {records:#?}"));
        (record["state"].as_str().unwrap().to_owned(), record["now"].as_str().unwrap().to_owned())
    };
    let both = |state: &str, now: &str| (state.to_owned(), now.to_owned());
    let records = plan(&["--address", "127.0.0.1,::1"]);
    assert_eq!(state(&records, "app.example.org", "A"), both("ok", "127.0.0.1"));
    assert_eq!(state(&records, "app.example.org", "AAAA"), both("MISSING", ""));
    assert_eq!(state(&records, "alias.example.org", "AAAA"), both("ok", "::1"));
    assert_eq!(state(&records, "*.example.org", "A"), both("ok", "127.0.0.1"));
    assert_eq!(state(&records, "*.gone.example.net", "A"), both("MISSING", ""));
    assert_eq!(state(&records, "later.example.org", "CAA").0, "advised");
    let records = plan(&["--target", "edge.example.org"]);
    assert_eq!(state(&records, "alias.example.org", "CNAME"), both("ok", "edge.example.org."));
    assert_eq!(state(&records, "app.example.org", "CNAME"), both("DIFFERS", "127.0.0.1"));
    // Nothing can be beside a CNAME.
    assert_eq!(state(&records, "example.org", "CAA").0, "advised");
    assert!(records.iter().all(|record| record["type"] != "CAA" || record["name"] == "example.org"), "{records:#?}");
    // At the apex nothing but addresses can be.
    assert_eq!(state(&records, "example.org", "ALIAS").0, "DIFFERS");
}
