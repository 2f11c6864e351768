//! How much an endpoint is given: places and queues, slow starts, retries and their budget.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Doorward, Origin, Setup, Tls, ca, cut, nobody, within};

const HOST: &str = "app.example.test";

fn door(endpoints: &[String], keys: &str) -> Doorward {
    let endpoints = endpoints.join(", ");
    Setup::new()
        .metrics()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[backend]]\nname = \"app\"\nendpoints = [{endpoints}]\n{keys}"))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\""))
        .start()
}

fn plain(origin: &Origin) -> String {
    format!("\"{}\"", origin.address)
}

/// Holds requests back until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let (open, opened) = &*self.0;
        drop(opened.wait_while(open.lock().expect("no panic"), |open| !*open).expect("no panic"));
    }

    fn set(&self, open: bool) {
        *self.0.0.lock().expect("no panic") = open;
        self.0.1.notify_all();
    }
}

/// An app that answers when its gate is open, and the most requests that it had at once.
fn gated() -> (Origin, Gate, Arc<AtomicUsize>) {
    let (gate, now, most) = (Gate::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inner, seen) = (gate.clone(), Arc::clone(&most));
    let origin = Origin::scripted(move |_, stream| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        inner.pass();
        now.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    (origin, gate, most)
}

/// The value of a metric of the backend's only endpoint; none where it is not there.
fn metric(door: &Doorward, name: &str) -> Option<u64> {
    let text = door.scrape();
    let line = text.lines().find(|line| line.starts_with(&format!("doorward_backend_{name}{{backend=\"app\"")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn no_more_than_so_many_requests_at_once_and_the_others_wait() {
    let (origin, gate, most) = gated();
    let keys = "max_connections = 3\nqueue = { length = 5, wait = \"20s\" }";
    let door = door(&[plain(&origin)], keys);
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let https = door.https;
            std::thread::spawn(move || Tls::connect(https, HOST).get(HOST, "/"))
        })
        .collect();
    within("five in the queue", || (metric(&door, "queued") == Some(5)).then_some(()));
    assert_eq!(metric(&door, "in_flight"), Some(3));
    let refused = door.curl("https://app.example.test/refused").header("Accept: application/json").run();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("20")));
    assert_eq!(refused.json()["error"], "busy");
    let shown = door.verb(&["backends", "list"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("3 of 3 under way, 5 queued"), "{shown}");
    gate.set(true);
    for asked in asking {
        assert_eq!(asked.join().expect("no panic").text(), "ok");
    }
    assert_eq!(most.load(Ordering::SeqCst), 3, "over both workers");
    within("nothing is left", || (metric(&door, "in_flight") == Some(0)).then_some(()));
    assert_eq!((metric(&door, "queued"), metric(&door, "refused_total")), (Some(0), Some(1)));
    assert_eq!(metric(&door, "requests_total"), Some(8));
}

#[test]
fn a_limit_that_a_reload_brings_counts_what_is_under_way() {
    let (origin, gate, most) = gated();
    let door = door(&[plain(&origin)], "slow_start = \"1ms\"");
    let ask = || {
        let https = door.https;
        std::thread::spawn(move || Tls::connect(https, HOST).get(HOST, "/"))
    };
    let mut asking = vec![ask(), ask()];
    within("two are there", || (metric(&door, "in_flight") == Some(2)).then_some(()));
    let keys = "max_connections = 2\nqueue = { length = 1, wait = \"20s\" }";
    door.rewrite(|text| text.replace("slow_start = \"1ms\"", keys));
    assert!(door.reload());
    asking.push(ask());
    within("the third waits", || (metric(&door, "queued") == Some(1)).then_some(()));
    assert_eq!(door.curl("https://app.example.test/fourth").run().status, 503);
    assert_eq!(metric(&door, "in_flight"), Some(2));
    gate.set(true);
    for asked in asking {
        assert_eq!(asked.join().expect("no panic").text(), "ok");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    // Both places are there again.
    gate.set(false);
    let asking = [ask(), ask()];
    within("two at once", || (metric(&door, "in_flight") == Some(2)).then_some(()));
    gate.set(true);
    asking.into_iter().for_each(|asked| assert_eq!(asked.join().expect("no panic").text(), "ok"));
}

#[test]
fn kept_connections_give_way_where_the_app_serves_so_many_and_no_more() {
    // One connection after the other, as a process for each has it: the next is not looked at before this one ends.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let opened = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&opened);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            seen.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 4096];
            while matches!(stream.read(&mut buffer), Ok(1..)) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let door = door(&[format!("\"{address}\"")], "max_connections = 1");
    // Each is on one of two workers, whose kept connection the other one cannot use.
    let mut clients: Vec<Tls> = (0..8).map(|_| Tls::connect(door.https, HOST)).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get(HOST, "/").text(), "ok");
        }
    }
    let opened = opened.load(Ordering::SeqCst);
    assert!((2..=24).contains(&opened), "{opened}: both workers came to it");
}

#[test]
fn who_waits_too_long_or_goes_away_leaves_the_queue() {
    let (origin, gate, _) = gated();
    let door = door(&[plain(&origin)], "max_connections = 1\nqueue = { length = 2, wait = \"300ms\" }");
    let https = door.https;
    let first = std::thread::spawn(move || Tls::connect(https, HOST).get(HOST, "/"));
    within("the first is there", || (metric(&door, "in_flight") == Some(1)).then_some(()));
    let mut gone = Tls::connect(door.https, HOST);
    gone.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    within("it waits", || (metric(&door, "queued") == Some(1)).then_some(()));
    drop(gone);
    within("it is forgotten", || (metric(&door, "queued") == Some(0)).then_some(()));
    let began = Instant::now();
    let late = door.curl("https://app.example.test/late").run();
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(door.access("/late").to_string().contains("no place came free in time"));
    gate.set(true);
    assert_eq!(first.join().expect("no panic").status, 200);
    assert_eq!(door.curl("https://app.example.test/").run().status, 200, "the place came back");
}

#[test]
fn nobody_waits_for_one_endpoint_while_another_has_a_place() {
    let ((slow, gate, _), quick) = (gated(), Origin::named("quick"));
    let door = door(&[plain(&slow), plain(&quick)], "max_connections = 1");
    let https = door.https;
    let mut held = Vec::new();
    within("one at the slow endpoint", || {
        let mut client = Tls::connect(https, HOST);
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        held.push(client);
        (slow.seen().len() == 1).then_some(())
    });
    let mut client = Tls::connect(https, HOST);
    // Some of those that are held may still be on their way to the other.
    within("a place at the other", || (client.get(HOST, "/").status == 200).then_some(()));
    for _ in 0..6 {
        assert_eq!(client.get(HOST, "/").text(), "quick");
    }
    gate.set(true);
    drop(held);
}

#[test]
fn a_slow_start_is_a_tenth_at_first_and_whole_after_its_time() {
    let (old, new) = (Origin::named("old"), Origin::named("new"));
    let door = door(&[plain(&old)], "slow_start = \"2s\"");
    let began = Instant::now();
    within("the old one is warm", || (began.elapsed() > Duration::from_secs(2)).then_some(()));
    // One that a reload brings starts slowly; the old one has its whole share by now.
    door.rewrite(|text| text.replace(&format!("[{}]", plain(&old)), &format!("[{}, {}]", plain(&old), plain(&new))));
    assert!(door.reload());
    let mut client = Tls::connect(door.https, HOST);
    let mut of_new = |requests: usize| (0..requests).filter(|_| client.get(HOST, "/").text() == "new").count();
    let first = of_new(40);
    assert!(first <= 12, "{first} of 40 at once");
    within("the whole share", || (of_new(40) >= 18).then_some(()));
}

/// Takes requests and ends the connection without an answer.
fn cutting() -> Origin {
    Origin::scripted(|_, stream| {
        cut(stream);
        false
    })
}

#[test]
fn what_may_be_sent_twice_is_taken_to_another_endpoint() {
    let (bad, good) = (cutting(), Origin::named("good"));
    let keys = "ejection = { failures = 0 }";
    let door = door(&[plain(&bad), plain(&good)], keys);
    let mut client = Tls::connect(door.https, HOST);
    for _ in 0..8 {
        let reply = client.get(HOST, "/");
        assert_eq!((reply.status, reply.text().as_str()), (200, "good"));
    }
    assert!(bad.seen().len() >= 3, "it was asked");
    assert!(door.scrape().contains("doorward_backend_retries_total{backend=\"app\",outcome=\"retried\"}"));
    // A POST may have been carried out: it is told of.
    let failed = (0..4).filter(|_| {
        let post = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi");
        client.send(post).reply().status == 502
    });
    assert_eq!(failed.count(), 2);
}

#[test]
fn retries_end_where_the_budget_does() {
    let (bad, good) = (cutting(), Origin::named("good"));
    let keys = "ejection = { failures = 0 }\nretry = { share = 0.0, per_second = 0 }";
    let without = door(&[plain(&bad), plain(&good)], keys);
    let mut client = Tls::connect(without.https, HOST);
    let statuses: Vec<u16> = (0..6).map(|_| client.get(HOST, "/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 3, "{statuses:?}");
    assert!(without.scrape().contains("doorward_backend_retries_total{backend=\"app\",outcome=\"over_budget\"} 3"));
    // A share of the requests: a quarter of those that fail half the time is half of what they need.
    let keys = "ejection = { failures = 0 }\nretry = { share = 0.25, per_second = 0 }";
    let some = door(&[plain(&bad), plain(&good)], keys);
    let mut client = Tls::connect(some.https, HOST);
    let failed = (0..80).filter(|_| client.get(HOST, "/").status == 502).count();
    assert!((10..=32).contains(&failed), "{failed} of 80");
    // None at all, and no word of it.
    let none = door(&[plain(&bad), plain(&good)], "ejection = { failures = 0 }\nretry = { attempts = 0 }");
    let mut client = Tls::connect(none.https, HOST);
    assert_eq!((0..4).filter(|_| client.get(HOST, "/").status == 502).count(), 2);
    assert!(!none.scrape().contains("doorward_backend_retries_total"));
}

#[test]
fn health_and_counts_show_in_metrics_and_status() {
    let (app, down) = (Origin::named("app"), nobody());
    let keys = "check = { interval = \"100ms\", fall = 1 }";
    let door = door(&[plain(&app), format!("\"{down}\"")], keys);
    door.wait_log(0, "that it is down", |line| line["message"] == "the endpoint is down");
    for _ in 0..3 {
        assert_eq!(door.curl("https://app.example.test/").run().status, 200);
    }
    let text = door.scrape();
    let line = |name: &str, endpoint: std::net::SocketAddr, value: u64| {
        let line = format!("doorward_backend_{name}{{backend=\"app\",endpoint=\"{endpoint}\"}} {value}");
        assert!(text.lines().any(|seen| seen == line), "{line} in:\n{text}");
    };
    line("up", app.address, 1);
    line("up", down, 0);
    line("requests_total", app.address, 3);
    for name in ["in_flight", "queued", "failures_total", "ejections_total", "tls_failures_total"] {
        line(name, app.address, 0);
    }
    let status = door.verb(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let states: Vec<_> = status["backends"].as_array().expect("a list").iter().map(|view| &view["state"]).collect();
    assert_eq!(states, ["up", "down"]);
    let shown = door.verb(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("DOWN") && shown.contains(&down.to_string()), "{shown}");
}

#[test]
fn raw_connections_have_places_too() {
    let greeting = Origin::raw(|mut stream, _| {
        let _ = stream.write_all(b"hello");
        crate::support::drain(&mut stream);
    });
    let route = format!(
        "[[route]]\nname = \"raw\"\nmode = \"tcp\"\n[route.backend]\nendpoints = [\"tcp://{}\"]\nmax_connections = 1\n\
         queue = {{ length = 0 }}",
        greeting.address
    );
    let door = Setup::new()
        .section("[[listener]]\naddress = \"127.0.0.7:0\"\nprotocol = \"tcp\"\ndefault_route = \"raw\"")
        .section(&route)
        .start();
    let connect = || {
        let mut stream = TcpStream::connect(door.bound("127.0.0.7:0")).expect("connects");
        let mut text = [0; 5];
        stream.read_exact(&mut text).is_ok().then_some(stream)
    };
    let first = connect().expect("a place");
    assert!(connect().is_none(), "one too many");
    drop(first);
    within("the place is free again", connect);
}
