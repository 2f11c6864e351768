//! Reloads: what changes, what stays, and that nobody notices.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use crate::support::{Doorward, H2, Origin, Setup, Tls, ca, is_failed_reload, within};

const HOST: &str = "app.example.test";

#[test]
fn a_good_reload_swaps_routes() {
    let (old, new) = (Origin::answering(ok("old")), Origin::answering(ok("new")));
    let door = Doorward::for_app(old.address);
    let mut open = Tls::connect(door.https, HOST);
    assert_eq!(open.get(HOST, "/").text(), "old");
    door.rewrite(|text| text.replace(&old.address.to_string(), &new.address.to_string()));
    assert!(door.reload());
    assert_eq!(door.curl("https://app.example.test/").run().text(), "new");
    assert_eq!(open.get(HOST, "/").text(), "new", "a connection that was open goes on, with the new routes");
}

#[test]
fn a_changed_file_is_enough() {
    let (old, new) = (Origin::answering(ok("old")), Origin::answering(ok("new")));
    let door = Doorward::for_app(old.address);
    door.rewrite(|text| text.replace(&old.address.to_string(), &new.address.to_string()));
    within("the new backend", || (door.curl("https://app.example.test/").run().text() == "new").then_some(()));
}

#[test]
fn an_included_file_may_come_change_and_go() {
    let (one, two) = (Origin::answering(ok("one")), Origin::answering(ok("two")));
    let setup = Setup::new().head("include = [\"routes.d/*.toml\"]");
    std::fs::create_dir(setup.home().join("routes.d")).expect("a folder");
    let door = setup.certificate("app", &ca().leaf(&[HOST]).issue()).start();
    let file = door.home().join("routes.d/app.toml");
    let write = |origin: &Origin| {
        let text = format!("[[route]]\nhosts = [\"{HOST}\"]\nbackend = \"{}\"\n", origin.address);
        crate::support::replace(&file, &text);
    };
    let answers = |text: &str| {
        within(text, || (door.curl("https://app.example.test/").run().text().contains(text)).then_some(()));
    };
    write(&one);
    answers("one");
    write(&two);
    answers("two");
    std::fs::remove_file(&file).expect("removed");
    answers("404");
}

#[test]
fn a_bad_one_changes_nothing_and_says_why() {
    let door = Doorward::for_app(Origin::answering(ok("old")).address);
    for fault in ["\n[timeouts]\nconect = \"5s\"\n", "\n[[route]]\nhosts = [\"b.example.test\"]\n", "\nnot toml\n"] {
        let from = door.mark();
        let mut before = String::new();
        door.rewrite(|text| {
            before.clone_from(&text);
            format!("{text}{fault}")
        });
        assert!(!door.reload(), "{fault}");
        let line = door.wait_log(from, "the fault", is_failed_reload);
        assert!(line.to_string().contains("doorward.toml"), "{line}");
        assert_eq!(door.curl("https://app.example.test/").run().text(), "old");
        let status = door.verb(&["status"]);
        assert!(String::from_utf8_lossy(&status.stdout).contains("doorward.toml"), "{status:?}");
        door.rewrite(|_| before);
        assert!(door.reload());
    }
}

#[test]
fn listeners_come_and_go_one_by_one() {
    let door = Doorward::for_app(Origin::answering(ok("here")).address);
    let mut open = Tls::connect(door.https, HOST);
    assert_eq!(open.get(HOST, "/").status, 200);
    let added = "\n[[listener]]\naddress = \"127.0.0.4:0\"\nprotocol = \"https\"\n";
    door.rewrite(|text| format!("{text}{added}"));
    assert!(door.reload());
    let more = door.bound("127.0.0.4:0");
    assert_eq!(Tls::connect(more, HOST).get(HOST, "/").text(), "here");
    assert_eq!(Tls::connect(door.https, HOST).get(HOST, "/").text(), "here", "the same port as before");
    door.rewrite(|text| text.replace(added, ""));
    assert!(door.reload());
    within("the socket is closed", || TcpStream::connect(more).is_err().then_some(()));
    assert_eq!(open.get(HOST, "/").status, 200, "the others never noticed");
    assert_eq!(Tls::connect(door.https, HOST).get(HOST, "/").text(), "here");
}

#[test]
fn the_command_reloads_too() {
    let (old, new) = (Origin::answering(ok("old")), Origin::answering(ok("new")));
    let door = Doorward::for_app(old.address);
    door.rewrite(|text| text.replace(&old.address.to_string(), &new.address.to_string()));
    let said = door.verb(&["reload"]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(door.curl("https://app.example.test/").run().text(), "new");
    door.rewrite(|text| format!("{text}\nnot toml\n"));
    let said = door.verb(&["reload"]);
    assert_eq!(said.status.code(), Some(2), "the config is at fault: {said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("doorward.toml:28"), "{said:?}");
}

/// 1,000 requests on kept h2 connections, on kept h1 connections and on new ones, while ten certificates are
/// swapped and ten reloads are made.
#[test]
fn a_thousand_requests_across_ten_swaps_and_ten_reloads() {
    let origin = Origin::answering(ok("fine"));
    let door = Doorward::for_app(origin.address);
    let changes = Arc::new(());
    let under_way = Arc::downgrade(&changes);
    let more = |rounds: usize, least: usize| rounds < least || under_way.strong_count() > 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            // Dropped at the end, whichever it is.
            let _changes = changes;
            for n in 0..10 {
                ca().leaf(&[HOST]).issue().write(&door.certs(HOST));
                door.rewrite(|text| format!("{text}\n# {n}\n"));
                assert!(door.reload(), "reload {n}");
            }
        });
        scope.spawn(|| {
            for n in (0..).take_while(|n| more(*n, 200)) {
                let reply = Tls::connect(door.https, HOST).get(HOST, "/");
                assert_eq!((reply.status, reply.text().as_str()), (200, "fine"), "new connection {n}");
            }
        });
        scope.spawn(|| {
            let mut client = Tls::connect(door.https, HOST);
            for n in (0..).take_while(|n| more(*n, 400)) {
                let reply = client.get(HOST, "/");
                assert_eq!((reply.status, reply.text().as_str()), (200, "fine"), "kept connection, {n}");
            }
        });
        let h2 = H2::connect(door.https, HOST);
        for n in (0..).take_while(|n| more(*n, 400)) {
            let reply = h2.get("https://app.example.test/").unwrap_or_else(|fault| panic!("h2, {n}: {fault}"));
            assert_eq!((reply.status, reply.text().as_str()), (200, "fine"), "h2, {n}");
        }
    });
    assert!(origin.seen().len() >= 1000);
}

/// The same by a load generator that is not ours.
#[test]
fn h2load_sees_no_failure_across_reloads() {
    let door = Doorward::for_app(Origin::answering(ok("fine")).address);
    let load = Command::new("h2load")
        .args(["--requests=3000", "--clients=8", "--max-concurrent-streams=4", "--header=:authority: app.example.test"])
        .arg(format!("--connect-to={}", door.https))
        .arg(format!("https://{HOST}:{}/", door.https.port()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("h2load, of Debian's package nghttp2-client");
    for n in 0..5 {
        ca().leaf(&[HOST]).issue().write(&door.certs(HOST));
        door.rewrite(|text| format!("{text}\n# {n}\n"));
        assert!(door.reload());
    }
    let output = load.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 3000 2xx"), "{said}");
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
