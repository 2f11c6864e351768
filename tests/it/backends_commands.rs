//! `doorward backends`: endpoints drained, disabled and brought back, under load.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Doorward, Origin, Setup, Tls, ca, refused, within};

const HOST: &str = "app.example.test";

/// Takes a little while for each answer, so that some are under way at any time.
fn slow(name: &'static str) -> Origin {
    Origin::scripted(move |_, stream| {
        std::thread::sleep(Duration::from_millis(3));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", name.len() + 1);
        if stream.write_all(head.as_bytes()).is_err() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
        stream.write_all(format!("{name}!").as_bytes()).is_ok()
    })
}

fn door(endpoints: &[&Origin], keys: &str) -> Doorward {
    let endpoints: Vec<String> = endpoints.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    Setup::new()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[backend]]\nname = \"app\"\nendpoints = [{}]\n{keys}", endpoints.join(", ")))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\""))
        .start()
}

fn list(door: &Doorward) -> Vec<serde_json::Value> {
    let shown = door.verb(&["backends", "list", "--json"]);
    serde_json::from_slice(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {shown:?}"))
}

#[test]
fn endpoints_come_and_go_under_load_and_no_request_is_lost() {
    let (one, two) = (slow("one"), slow("two"));
    let door = door(&[&one, &two], "");
    let (stop, failed, answered) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, failed, answered) = (Arc::clone(&stop), Arc::clone(&failed), Arc::clone(&answered));
            let https = door.https;
            std::thread::spawn(move || {
                let mut client = Tls::connect(https, HOST);
                while !stop.load(Ordering::SeqCst) {
                    // A POST, which nothing would send twice.
                    let post = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi");
                    let reply = client.send(post).reply();
                    let whole = reply.status == 200 && reply.text().ends_with('!');
                    if whole { &answered } else { &failed }.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let address = one.address.to_string();
    for _ in 0..3 {
        let before = answered.load(Ordering::SeqCst);
        within("some load", || (answered.load(Ordering::SeqCst) > before + 40).then_some(()));
        let drained = door.verb(&["backends", "drain", &address, "--wait", "10s", "--json"]);
        assert!(drained.status.success(), "{drained:?}");
        let told: Vec<serde_json::Value> = serde_json::from_slice(&drained.stdout).expect("JSON");
        assert_eq!((&told[0]["state"], &told[0]["in_flight"]), (&"draining".into(), &0.into()));
        let (seen, before) = (one.seen().len(), answered.load(Ordering::SeqCst));
        within("the other one serves", || (answered.load(Ordering::SeqCst) > before + 40).then_some(()));
        assert_eq!(one.seen().len(), seen, "it gets nothing any more");
        assert!(door.verb(&["backends", "enable", &address]).status.success());
        within("it is used again", || (one.seen().len() > seen + 5).then_some(()));
        // The same by the config: it goes, and comes back.
        let listed = format!("[\"{}\", \"{}\"]", one.address, two.address);
        door.rewrite(|text| text.replace(&listed, &format!("[\"{}\"]", two.address)));
        assert!(door.reload());
        door.rewrite(|text| {
            let zero = format!("[{{ address = \"{}\", weight = 0 }}, \"{}\"]", one.address, two.address);
            text.replace(&format!("[\"{}\"]", two.address), &zero)
        });
        assert!(door.reload());
        door.rewrite(|text| {
            text.replace(&format!("{{ address = \"{address}\", weight = 0 }}"), &format!("\"{address}\""))
        });
        assert!(door.reload());
    }
    stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("no panic"));
    assert_eq!(failed.load(Ordering::SeqCst), 0, "of {}", answered.load(Ordering::SeqCst));
}

#[test]
fn a_command_outlasts_a_reload_and_what_is_under_way_is_waited_for() {
    let go_on = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&go_on);
    let one = Origin::scripted(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").is_ok() && {
            within("leave to go on", || told.load(Ordering::SeqCst).then_some(()));
            stream.write_all(b"lf").is_ok()
        }
    });
    let two = slow("two");
    let door = door(&[&one, &two], "");
    let address = one.address.to_string();
    // In turn: the first or the second goes to the one that holds it.
    let seen = || one.seen().len() + two.seen().len();
    let mut clients = Vec::new();
    while one.seen().is_empty() {
        let mut client = Tls::connect(door.https, HOST);
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        clients.push(client);
        within("an endpoint to have it", || (seen() == clients.len()).then_some(()));
    }
    let drained = door.verb(&["backends", "drain", &address, "--backend", "app", "--wait", "100ms"]);
    assert_eq!(drained.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&drained.stderr).contains("1 request still under way"), "{drained:?}");
    go_on.store(true, Ordering::SeqCst);
    let mut under_way = clients.pop().expect("a client");
    assert_eq!(under_way.reply().text(), "half");
    let drained = door.verb(&["backends", "drain", &address, "--wait", "10s"]);
    assert!(drained.status.success(), "{drained:?}");
    assert!(String::from_utf8_lossy(&drained.stdout).contains("draining"), "{drained:?}");
    // A reload that makes the endpoint anew.
    door.rewrite(|text| text.replace("name = \"app\"\n", "name = \"app\"\nejection = { failures = 9 }\n"));
    assert!(door.reload());
    let state = |at: usize| list(&door)[at]["state"].as_str().map(str::to_owned);
    assert_eq!((state(0).as_deref(), state(1).as_deref()), (Some("draining"), Some("up")));
    for _ in 0..4 {
        assert_eq!(door.curl("https://app.example.test/").run().text(), "two!");
    }
    let error = refused(&door.verb(&["backends", "drain", "127.0.0.9:1"]));
    assert!(error.starts_with("doorward: no endpoint is \"127.0.0.9:1\"; there are: "), "{error}");
    let error = refused(&door.verb(&["backends", "list", "--backend", "nope"]));
    assert!(error.contains("no backend in use is called \"nope\"; there are: app"), "{error}");
    assert!(door.verb(&["backends", "disable", &two.address.to_string()]).status.success());
    assert_eq!(door.curl("https://app.example.test/").run().status, 503);
    assert_eq!(state(1).as_deref(), Some("disabled"));
}

#[test]
fn an_endpoint_that_is_not_there_is_told_apart() {
    let (one, two) = (slow("one"), slow("two"));
    let door = door(&[&one, &two], "");
    let refused = door.verb(&["backends", "drain", "10.0.0.5:1"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("10.0.0.5:1") && text.contains(&one.address.to_string()), "{text}");
    let refused = door.verb(&["backends", "drain", &one.address.to_string(), "--backend", "other"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("\"other\""), "{refused:?}");
    assert!(list(&door).iter().all(|view| view["state"] == "up" && view["backend"] == "app"));
}
