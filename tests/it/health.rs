//! Which endpoints can serve: active checks, and endpoints that fail requests.

use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use std::io::{Read as _, Write as _};

use crate::backend_tls::Server;
use crate::support::{Doorward, Leaf, Origin, Setup, TestCa, Tls, ca, cut, nobody, within};

const HOST: &str = "app.example.test";
const CHECK: &str = "interval = \"100ms\", timeout = \"1s\", rise = 2, fall = 2";

/// Answers its name, and to `/healthz` what the switch says.
fn switched(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&healthy);
    let origin = Origin::scripted(move |seen, stream| {
        let status = if seen.target == "/healthz" && !switch.load(Ordering::SeqCst) { "503 No" } else { "200 OK" };
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        stream.write_all(text.as_bytes()).is_ok()
    });
    (origin, healthy)
}

fn door(endpoints: &[std::net::SocketAddr], keys: &str) -> Doorward {
    let endpoints = endpoints.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
    Setup::new()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[backend]]\nname = \"app\"\nendpoints = [{endpoints}]\n{keys}"))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\""))
        .start()
}

fn is(text: &'static str) -> impl Fn(&serde_json::Value) -> bool {
    move |line| line["message"] == text
}

#[test]
fn an_endpoint_that_says_it_is_ill_gets_nothing_until_it_is_well() {
    let ((one, healthy), (two, other)) = (switched("one"), switched("two"));
    let door = door(&[one.address, two.address], &format!("check = {{ path = \"/healthz\", {CHECK} }}"));
    let mut client = Tls::connect(door.https, HOST);
    let from = door.mark();
    healthy.store(false, Ordering::SeqCst);
    let line = door.wait_log(from, "that it is down", is("the endpoint is down"));
    assert!(line.to_string().contains("503") && line["endpoint"] == one.address.to_string(), "{line}");
    for _ in 0..6 {
        assert_eq!(client.get(HOST, "/").text(), "two");
    }
    let from = door.mark();
    other.store(false, Ordering::SeqCst);
    door.wait_log(from, "that the other is down", is("the endpoint is down"));
    assert_eq!(door.curl("https://app.example.test/").run().status, 503);
    // A reload that changes something else forgets nothing.
    door.rewrite(|text| text.replace("[[backend]]", "[timeouts]\nconnect = \"3s\"\n[[backend]]"));
    assert!(door.reload());
    assert_eq!(door.curl("https://app.example.test/").run().status, 503);
    healthy.store(true, Ordering::SeqCst);
    within("it serves again", || (door.curl("https://app.example.test/").run().text() == "one").then_some(()));
}

#[test]
fn a_connection_is_enough_where_no_path_is_named() {
    let (app, _) = switched("app");
    let down = nobody();
    let door = door(&[app.address, down], &format!("check = {{ {CHECK} }}"));
    let line = door.wait_log(0, "that it is down", is("the endpoint is down"));
    assert_eq!(line["endpoint"], down.to_string());
    let shown = String::from_utf8_lossy(&door.verb(&["backends", "list"]).stdout).into_owned();
    let lines: Vec<_> = shown.lines().skip_while(|line| !line.contains("DOWN")).take(2).collect();
    assert!(lines[0].contains(&down.to_string()) && lines[1].contains("Connection refused"), "{shown}");
    let listener = TcpListener::bind(down).expect("the port is free still");
    door.wait_log(0, "that it is up", is("the endpoint is up again"));
    drop(listener);
}

/// An app that breaks its connections without an answer for as long as it is told to.
fn breaking(broken: bool) -> (Origin, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(broken));
    let switch = Arc::clone(&broken);
    let origin = Origin::scripted(move |_, stream| {
        if switch.load(Ordering::SeqCst) {
            cut(stream);
            return false;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad").is_ok()
    });
    (origin, broken)
}

#[test]
fn an_endpoint_that_fails_requests_is_left_alone_and_tried_again() {
    let (bad, broken) = breaking(true);
    let (good, _) = switched("good");
    let door =
        door(&[bad.address, good.address], "ejection = { failures = 3, time = \"1s\" }\nretry = { attempts = 0 }");
    let mut client = Tls::connect(door.https, HOST);
    let mut failed = 0;
    let ejected = || door.log().iter().any(is("the endpoint fails requests and is left alone"));
    within("the ejection", || {
        failed += usize::from(client.get(HOST, "/").status == 502);
        ejected().then_some(())
    });
    assert!(failed >= 3, "{failed}");
    for _ in 0..4 {
        assert_eq!(client.get(HOST, "/").text(), "good");
    }
    broken.store(false, Ordering::SeqCst);
    within("it is tried again", || (client.get(HOST, "/").text() == "bad").then_some(()));
}

#[test]
fn what_is_left_alone_costs_one_request_each_time() {
    let (good, _) = switched("good");
    let bad = nobody();
    let door = door(&[bad, good.address], "ejection = { failures = 4, time = \"200ms\" }\nretry = { attempts = 0 }");
    let counts = || {
        let shown = door.verb(&["backends", "list", "--json"]);
        let list: Vec<serde_json::Value> = serde_json::from_slice(&shown.stdout).expect("JSON");
        let of_bad = list.iter().find(|view| view["endpoint"] == bad.to_string()).expect("it is there");
        ["failures", "ejections"].map(|key| of_bad[key].as_u64().expect("a number"))
    };
    let mut client = Tls::connect(door.https, HOST);
    let mut after = |ejections: u64| {
        within("it is left alone", || {
            // Faster than the verdict on them.
            for _ in 0..20 {
                client.get(HOST, "/");
            }
            (counts()[1] >= ejections).then(counts)
        })
    };
    let (begin, end) = (after(1), after(5));
    let [failures, times] = [0, 1].map(|index| end[index] - begin[index]);
    // The verdict on the last one may not be counted yet, neither at the beginning nor at the end.
    assert!(failures.abs_diff(times) <= 1, "{failures} failures, and left alone {times} times");
}

#[test]
fn by_a_hash_what_is_left_alone_is_tried_by_a_request_of_its_own() {
    let (bad, broken) = breaking(false);
    let (good, _) = switched("good");
    let keys = "balance = \"hash-header:x\"\nejection = { failures = 1, time = \"200ms\" }\nretry = { attempts = 0 }";
    let door = door(&[bad.address, good.address], keys);
    let mut client = Tls::connect(door.https, HOST);
    let mut ask =
        |key: usize| client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {key}\r\n\r\n")).reply().text();
    let [of_bad, of_good] = ["bad", "good"].map(|name| (0..200).find(|key| ask(*key) == name).expect("its key"));
    broken.store(true, Ordering::SeqCst);
    within("it is left alone", || (ask(of_bad) == "good").then_some(()));
    // Most of the time it is another's turn when it may be tried.
    let mut failed = 0;
    within("its own requests fail, again and again", || {
        (0..9).for_each(|_| assert_eq!(ask(of_good), "good"));
        failed += usize::from(ask(of_bad) != "good");
        (failed >= 4).then_some(())
    });
    broken.store(false, Ordering::SeqCst);
    within("its own come back to it", || (ask(of_bad) == "bad").then_some(()));
}

#[test]
fn the_last_endpoint_is_not_left_alone() {
    let door = door(&[nobody()], "ejection = { failures = 1, time = \"1h\" }");
    let ask = || door.curl("https://app.example.test/").run().status;
    assert_eq!(ask(), 502);
    door.wait_log(0, "the ejection", is("the endpoint fails requests and is left alone"));
    assert_eq!(ask(), 502, "tried all the same, not 503");
}

#[test]
fn a_reload_that_changes_endpoints_forgets_nothing_of_them() {
    let ((one, healthy), (two, _), (three, _)) = (switched("one"), switched("two"), switched("three"));
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let both = std::sync::Mutex::new((asked, goes));
    let held = Origin::scripted(move |seen, stream| {
        if seen.target == "/held" {
            let both = both.lock().expect("no panic");
            both.0.send(()).expect("somebody waits");
            let _ = both.1.recv();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld").is_ok()
    });
    let addresses = [one.address, two.address, three.address, held.address];
    let keys = format!("balance = \"hash-header:x\"\nmax_connections = 7\ncheck = {{ path = \"/healthz\", {CHECK} }}");
    let door = door(&addresses, &keys);
    healthy.store(false, Ordering::SeqCst);
    door.wait_log(0, "that it is down", is("the endpoint is down"));
    for (verb, origin) in [("drain", &two), ("disable", &three)] {
        assert!(door.verb(&["backends", verb, &origin.address.to_string()]).status.success());
    }
    let https = door.https;
    let asking = std::thread::spawn(move || Tls::connect(https, HOST).get(HOST, "/held"));
    is_asked.recv().expect("the request came");
    let shown = || -> Vec<String> {
        let shown = door.verb(&["backends", "list", "--json"]);
        let list: Vec<serde_json::Value> = serde_json::from_slice(&shown.stdout).expect("JSON");
        list.iter().map(|view| format!("{} {} {}", view["state"], view["in_flight"], view["requests"])).collect()
    };
    let before = shown();
    assert_eq!(before, ["\"down\" 0 0", "\"draining\" 0 0", "\"disabled\" 0 0", "\"up\" 1 1"]);
    // The answer to the next check is far away: whoever forgot that it is down would take it for up.
    for (from, to) in [
        ("max_connections = 7", "max_connections = 1\nqueue = { length = 0 }"),
        ("interval = \"100ms\"", "interval = \"1h\""),
        ("balance =", "slow_start = \"10s\"\nejection = { time = \"1m\" }\nproxy_protocol = \"v1\"\nbalance ="),
    ] {
        door.rewrite(|text| text.replace(from, to));
        assert!(door.reload());
        assert_eq!(shown(), before, "{to}");
        // What is under way counts among the fewer places.
        let answer = door.curl("https://app.example.test/").run();
        assert_eq!(answer.status, 503, "one is busy, the others get nothing: {to}");
    }
    let weights = addresses.map(|address| format!("{{ address = \"{address}\", weight = 3 }}")).join(", ");
    let plain = addresses.map(|address| format!("\"{address}\"")).join(", ");
    door.rewrite(|text| text.replace(&plain, &weights));
    assert!(door.reload());
    assert_eq!(shown(), before);
    go.send(()).expect("the app waits");
    assert_eq!(asking.join().expect("no panic").status, 200);
    // Without a check nobody would bring it back.
    door.rewrite(|text| text.lines().filter(|line| !line.starts_with("check =")).collect::<Vec<_>>().join("\n"));
    assert!(door.reload());
    assert!(shown()[0].starts_with("\"up\""), "{:?}", shown());
}

#[test]
fn whatever_is_wrong_with_an_endpoint_its_check_finds_and_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = |name: &str, leaf: &Leaf| Server::start(folder.path(), name, leaf, &[]);
    let leaf = || ca().leaf(&["app.internal"]);
    let [good, name, expired, unknown] = [
        server("good", &leaf().issue()),
        server("name", &ca().leaf(&["other.internal"]).issue()),
        server("expired", &leaf().valid_days(-9, -2).issue()),
        server("unknown", &TestCa::new().leaf(&["app.internal"]).issue()),
    ];
    let tls = "tls = { ca = \"ca.pem\", server_name = \"app.internal\" }";
    let resets = Origin::raw(|mut stream, _| {
        let _ = stream.read(&mut [0; 5]);
        let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    });
    let moved = Origin::answering("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n");
    let silent = Origin::raw(|mut stream, _| {
        crate::support::drain(&mut stream);
    });
    let babbles = Origin::answering("SSH-2.0-OpenSSH_9.2\r\n");
    // It has said all, and goes on listening.
    let half = Origin::raw(|mut stream, _| {
        let _ = stream.read(&mut [0; 500]);
        let _ = stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").and_then(|()| stream.shutdown(Shutdown::Write));
        crate::support::drain(&mut stream);
    });
    let check =
        "check = { path = \"/\", status = \"200-204\", interval = \"100ms\", timeout = \"500ms\", rise = 1, fall = 1 }";
    for (scheme, address, keys, reason) in [
        ("http", nobody(), "", "refused"),
        ("http", resets.address, "", "reset"),
        ("http", silent.address, "", "timed out"),
        ("http", moved.address, "", "it answers 302"),
        ("http", babbles.address, "", "its answer is no HTTP/1"),
        ("https", name.address, tls, "not valid for name"),
        ("https", expired.address, tls, "expired"),
        ("https", unknown.address, tls, "invalid peer certificate"),
    ] {
        let backend = format!("[route.backend]\nendpoints = [\"{scheme}://{address}\"]\n{check}\n{keys}");
        let door = Setup::new().route(&format!("hosts = [\"{HOST}\"]\n{backend}")).start();
        let line = door.wait_log(0, reason, is("the endpoint is down"));
        assert!(line["error"].as_str().is_some_and(|error| error.contains(reason)), "{reason}: {line}");
    }
    let backend = |host: &str, scheme: &str, address, keys: &str| {
        format!("hosts = [\"{host}\"]\n[route.backend]\nendpoints = [\"{scheme}://{address}\"]\n{check}\n{keys}")
    };
    // Those that are well, however they end their side, stay up.
    let door = Setup::new()
        .route(&backend("half.example.test", "http", half.address, ""))
        .route(&backend("good.example.test", "https", good.address, tls))
        .start();
    within("checks", || (half.opened() >= 4).then_some(()));
    let shown = door.verb(&["backends", "list"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(!shown.contains("DOWN") && shown.matches("  up ").count() == 2, "{shown}");
}
