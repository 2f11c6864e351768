//! `doorward check` and `config show`: every fault at once, and what a config comes to.

use std::process::{Command, Output};

use crate::support::{Origin, Setup, ca, nobody};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_sound_config_is_0() {
    let said = Setup::new().host("app.example.test", Origin::echo().address).run(&["check"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
}

#[test]
fn every_fault_is_named_with_file_line_and_remedy() {
    let setup = Setup::new()
        .host("app.example.test", nobody())
        .route("hosts = [\"app.example.test\"]\nbackend = \"127.0.0.1:1\"")
        .route("hosts = [\"b.example.test\"]\nbackend = \"127.0.0.1:2\"\nhtps = \"both\"")
        .section("[timeouts]\nconect = \"5s\"\nidle = \"soon\"\n[limits]\nheader_count = \"many\"");
    let said = setup.run(&["check"]);
    let text = text(&said);
    assert_eq!(said.status.code(), Some(2), "{text}");
    for hint in ["conect", "connect", "soon", "header_count", "htps", "https", "app.example.test"] {
        assert!(text.contains(hint), "nothing of {hint}: {text}");
    }
    let config = std::fs::read_to_string(setup.home().join("doorward.toml")).expect("the config");
    for key in ["conect", "htps", "idle = \"soon\""] {
        let line = 1 + config.lines().position(|line| line.starts_with(key)).expect("it is there");
        assert!(text.contains(&format!("doorward.toml:{line}")), "not line {line} of {key}: {text}");
    }
}

#[test]
fn a_bad_certificate_is_a_fault_of_the_check() {
    let setup = Setup::new().host("app.example.test", nobody());
    let folder = setup.home().join("certs/bad");
    ca().leaf(&["bad.example.test"]).issue().write(&folder);
    std::fs::write(folder.join("privkey.pem"), &ca().leaf(&["other.example.test"]).issue().key_pem).expect("a file");
    let said = setup.run(&["check"]);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    assert!(text(&said).contains("privkey.pem"), "{}", text(&said));
}

#[test]
fn a_wildcard_that_http_01_cannot_prove_fails_at_once() {
    let setup = Setup::new()
        .route("hosts = [\"*.example.test\"]\nbackend = \"127.0.0.1:1\"\ncertificate = \"auto\"")
        .section("[acme]\ncontact = [\"ops@example.test\"]");
    let said = setup.run(&["check"]);
    assert_ne!(said.status.code(), Some(0));
    assert!(text(&said).contains("*.example.test") && text(&said).contains("wildcard"), "{}", text(&said));
}

#[test]
fn a_file_that_is_not_there_is_2() {
    let said = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["check", "--config", "no/such/doorward.toml"])
        .output()
        .expect("doorward runs");
    assert_eq!(said.status.code(), Some(2), "{}", text(&said));
    assert!(text(&said).contains("no/such/doorward.toml"));
}

#[test]
fn wrong_usage_is_2() {
    for args in [&["no-such-verb"][..], &["run"], &["run", "--no-such-option"], &[]] {
        let said = Command::new(env!("CARGO_BIN_EXE_doorward")).args(args).output().expect("doorward runs");
        // `run` without a config falls back to the usual place, where there is none.
        assert_eq!(said.status.code(), Some(2), "{args:?}: {}", text(&said));
    }
}

#[test]
fn run_refuses_what_check_refuses() {
    let said = Setup::new().section("[timeouts]\nconect = \"5s\"").run(&["run"]);
    assert_eq!(said.status.code(), Some(2), "{}", text(&said));
    assert!(text(&said).contains("conect"));
}

#[test]
fn the_effective_config_hides_its_secrets() {
    let setup = Setup::new().host_with("app.example.test", nobody(), "certificate = \"auto\"").section(
        "[acme]\nissuer = \"own\"\n[[issuer]]\nname = \"own\"\ndirectory = \"https://127.0.0.1:1/dir\"\n\
         eab = { key_id = \"kid-1\", hmac_key = \"c2VjcmV0LXNlY3JldC1zZWNyZXQ\" }",
    );
    let said = setup.run(&["config", "show"]);
    let text = text(&said);
    assert_eq!(said.status.code(), Some(0), "{text}");
    assert!(text.contains("kid-1") && !text.contains("c2VjcmV0"), "{text}");
    assert!(text.contains("first_byte"), "defaults are shown too: {text}");
}
