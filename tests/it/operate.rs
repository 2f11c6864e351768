//! What an operator does while it runs, and what doorward says to it.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::support::{Curl, Doorward, Origin, Setup, Tls, ca, client_config, signal, within};

const HOST: &str = "app.example.test";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_fault_is_told_once_whatever_else_changes_beside_the_config() {
    let door = door();
    applied(&door, |text| text.replace("[log]\n", "[log]\nlevel = \"debug\"\n"));
    let from = door.mark();
    let mut before = String::new();
    door.rewrite(|text| {
        before.clone_from(&text);
        format!("{text}\n[timeouts]\nconect = \"5s\"\n")
    });
    door.wait_log(from, "the fault", |line| said_of(line).starts_with("reload failed"));
    // A log beside the config, say: each change of it had the same faults told again.
    fs::write(door.home().join("some.log"), "a line\n").expect("a file");
    door.wait_log(from, "that it says nothing", |line| said_of(line).contains("say nothing new"));
    door.rewrite(|_| before);
    door.wait_log(from, "the repair", |line| line["outcome"] == "unchanged");
    let faults = door.log().iter().filter(|line| line["outcome"] == "refused").count();
    assert_eq!(faults, 1, "{:#?}", door.log());
    assert!(said(&door.verb(&["status"])).contains("the last reload"), "and status no longer shows it as refused");
}

#[test]
fn what_needs_a_restart_is_said_until_there_was_one() {
    let door = door();
    let limits = "\n[limits]\nconnections = 77\nh2_streams = 7\n";
    let told = applied(&door, |text| text.replacen("workers = 2", "workers = 7", 1) + limits);
    let lines = ["workers changed: in force after a restart", "limits.connections changed: in force after a restart"];
    for line in lines.iter().chain(&["changed [limits]"]) {
        assert!(told.contains(line), "{line:?} is not in: {told}");
    }
    // It neither goes on as if it were another change, nor is it forgotten.
    assert!(said(&door.verb(&["reload"])).contains("nothing changed"));
    let status = said(&door.verb(&["status"]));
    lines.iter().for_each(|line| assert!(status.contains(line), "{line:?} is not in: {status}"));
    let status = said(&door.restart().verb(&["status"]));
    assert!(!status.contains("after a restart"), "{status}");
}

#[test]
fn metrics_tell_whether_the_config_on_disk_is_in_force() {
    let origin = Origin::answering(OK);
    let door = Setup::new().metrics().host(HOST, origin.address).start();
    let at = door.metrics();
    let metrics = || Curl::new("http://metrics.example.test/metrics", at, at, door.home()).run().text();
    let shows = |line: &str| within(line, || metrics().contains(line).then_some(()));
    shows("doorward_config_in_force 1");
    let mut before = String::new();
    door.rewrite(|text| {
        before.clone_from(&text);
        text + "nonsense = 1\n"
    });
    shows("doorward_config_in_force 0");
    door.rewrite(|_| before);
    shows("doorward_config_in_force 1");
}

#[test]
fn it_stops_when_all_is_done_and_not_at_a_deadline() {
    let mut door = door();
    assert!(door.stop().success());
    let log = door.log();
    assert!(log.iter().any(|line| said_of(line).starts_with("stopped: all")), "{log:#?}");
    assert!(!log.iter().any(|line| said_of(line).contains("did not end by themselves")), "{log:#?}");
}

#[test]
fn status_answers_while_it_drains() {
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::answering_with(move |_| {
        // Ends also when the test does.
        let _ = held.lock().expect("unpoisoned").recv();
        OK
    });
    let mut door = Setup::new().host(HOST, origin.address).start();
    let mut client = Tls::connect(door.https, HOST);
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    within("the request at the app", || (!origin.seen().is_empty()).then_some(()));
    signal(door.pid(), "TERM");
    within("draining", || said(&door.verb(&["status"])).contains("draining: finishes").then_some(()));
    let reload = door.verb(&["reload"]);
    assert!(String::from_utf8_lossy(&reload.stderr).contains("stopping"), "{reload:?}");
    go_on.send(()).expect("the app waits");
    assert_eq!(client.reply().status, 200);
    assert!(door.wait().success());
}

#[test]
fn a_changed_listener_is_named() {
    let door = door();
    let told = applied(&door, |text| text.replacen("[[listener]]\n", "[[listener]]\npublic_port = 4433\n", 1));
    assert!(told.contains("changed listener 127.0.0."), "{told}");
}

#[test]
fn what_is_held_back_is_taken_by_force() {
    let door = door();
    let old = served(&door);
    ca().leaf(&["other.example.test"]).issue().write(&door.certs(HOST));
    let command = format!("doorward reload --force {HOST}");
    within("the command that takes it", || said(&door.verb(&["status"])).contains(&command).then_some(()));
    assert_eq!(served(&door), old, "and until then the old one is served");

    let forced = door.verb(&["reload", "--force", HOST]);
    assert!(forced.status.success() && said(&forced).contains("done"), "{forced:?}");
    assert!(Tls::with(client_config(&["http/1.1"]), door.https, HOST).is_err(), "it has another name");
    Tls::connect(door.https, "other.example.test");

    let again = door.verb(&["reload", "--force", HOST, "--force", "nobody"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let complaint = String::from_utf8_lossy(&again.stderr);
    assert!(complaint.contains("it is served") && complaint.contains("no certificate nobody,"), "{complaint}");
}

fn door() -> Doorward {
    let origin = Origin::answering(OK);
    Setup::new().host(HOST, origin.address).start()
}

fn served(door: &Doorward) -> Vec<u8> {
    Tls::connect(door.https, HOST).certificate().to_vec()
}

/// Changes the config, waits until it is in force, and returns what the log says that changed.
fn applied(door: &Doorward, change: impl FnOnce(String) -> String) -> String {
    let from = door.mark();
    door.rewrite(change);
    door.wait_log(from, "the reload", |line| line["outcome"] == "applied")["changes"].to_string()
}

fn said_of(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
