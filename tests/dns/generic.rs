//! A provider of the `dns-update` crate against its real API: PowerDNS, by command from `add` to the certificate.

use serde_json::Value;

use super::commands::doorward;
use crate::acme::pebble::{Options, Pebble};
use crate::support::pdns::{API_KEY, Pdns, ZONE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generic_provider_is_added_tested_and_proves_a_wildcard_with_no_daemon() {
    let pdns = Pdns::start().await;
    let pebble = Pebble::start(Options { dns: Some(pdns.address()), ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let (config, server) = (folder.path().join("doorward.toml").display().to_string(), pdns.address().to_string());
    let text = format!(
        "resolvers = [\"{server}\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\n[storage]\npath = \"state\"\n\
         [admin]\nsocket = \"admin.sock\"\n[acme]\ndirectory = \"https://localhost:{}/dir\"\ntrust = \"{}\"\n",
        pebble.address().port(),
        pebble.trust().display()
    );
    std::fs::write(folder.path().join("doorward.toml"), text).unwrap();
    let run = |words: &[&str], stdin: &str| doorward(&[words, &["--config", &config]].concat(), stdin);
    let wildcard = format!("*.{ZONE}");

    let (code, _, said) = run(&["certs", "generate", &wildcard], "");
    assert!(code == 1 && said.contains("there is no DNS solver for its zone"), "{said}");

    let add = ["dns", "pdns", "add", "--id", "p", "--dns-zones", ZONE, "--nameservers", &server];
    let endpoint = pdns.endpoint();
    let to = |key: &'static str| [&add[..], &["--endpoint", &endpoint, "--api-key", key]].concat();
    let (code, _, said) = run(&to(API_KEY), "");
    assert!(code == 2 && said.contains("never the secret itself") && !said.contains(API_KEY), "{said}");
    let (code, out, said) = run(&to("-"), "another key\n");
    assert_eq!(code, 0, "{out}{said}");
    let (code, out, said) = run(&["dns", "test", "p", ZONE], "");
    assert!(code == 1 && out.contains("FAILED written"), "{out}{said}");
    assert!(
        out.contains("pdns refused to add a value to _acme-challenge") && out.contains("the credentials are not taken"),
        "{out}{said}"
    );
    assert_eq!(run(&["dns", "remove", "p"], "").0, 0);

    let (code, out, said) = run(&to("-"), API_KEY);
    assert!(code == 0 && out.contains("OK, DNS solver p (pdns)"), "{out}{said}");
    let (_, out, _) = run(&["dns", "list"], "");
    assert!(out.contains("api_key=***") && !out.contains(API_KEY), "{out}");
    let (code, out, said) = run(&["dns", "test", "p", &format!("www.{ZONE}"), "--json"], "");
    let steps: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{said}"));
    assert!(code == 0 && steps["ok"] == true && steps["steps"].as_array().unwrap().len() == 3, "{out}{said}");
    assert_eq!(pdns.values(&format!("_acme-challenge.www.{ZONE}")).await, [""; 0], "it is removed again");

    // Two values at one name: the wildcard's and the apex's.
    let (code, out, said) = run(&["certs", "generate", &wildcard, ZONE, "--id", "apps"], "");
    assert!(code == 0 && out.contains("OK, apps") && out.contains(&format!("{wildcard}: ")), "{out}{said}");
    assert_eq!(pdns.values(&format!("_acme-challenge.{ZONE}")).await, [""; 0], "no record is left");
    let (_, out, _) = run(&["certs", "list", "--json"], "");
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&list["certificates"][0]["id"], &list["certificates"][0]["origin"]),
        (&"apps".into(), &"generated".into())
    );
}
