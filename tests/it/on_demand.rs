//! Certificates on demand: the built doorward, a real CA, and the operator's own app that is asked.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Doorward, Origin, Pebble, Setup, Tls, client_config, free, within};

const DAYS_90: u64 = 3600 * 24 * 90;

/// The operator's app: it allows names that begin with `ok`, and takes its time for those that begin with `okslow`.
fn app() -> Origin {
    Origin::answering_with(|seen| {
        if seen.target.contains("domain=okslow") {
            thread::sleep(Duration::from_millis(1500));
        }
        let status = if seen.target.contains("domain=ok") { "200 OK" } else { "404 No" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    })
}

fn setup(plan: SocketAddr, directory: &str, app: &Origin, echo: &Origin, keys: &str) -> Setup {
    let setup = Setup::new().http_at(plan);
    let trust = setup.home().join("ca.pem").display().to_string();
    setup
        .section(&Pebble::sections(directory, &trust))
        .section(&format!("[on_demand]\nask = \"http://{}/allowed\"\n{keys}", app.address))
        .section("[timeouts]\nhandshake = \"100s\"")
        .route(&format!("hosts = [\"*\"]\nbackend = \"{}\"\ncertificate = \"on-demand\"", echo.address))
}

fn orders(door: &Doorward) -> usize {
    door.log().iter().filter(|line| line["message"] == "getting a certificate").count()
}

/// What the client is told where there is no certificate.
fn alert(door: &Doorward, name: &str) -> String {
    let Err(fault) = Tls::with(client_config(&["http/1.1"]), door.https, name) else {
        panic!("{name} has a certificate that the tests' CA issued")
    };
    fault.to_string()
}

/// The status that a client from this address gets, whoever issued the certificate.
fn get(door: &Doorward, name: &str, from: &str) -> u16 {
    door.curl(&format!("https://{name}/")).args(&["-k", "--interface", from]).run().status
}

#[test]
fn one_order_for_many_handshakes_and_none_for_what_nobody_allows() {
    let (app, echo) = (app(), Origin::echo());
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = setup(plan.http(), &plan.directory(), &app, &echo, "wait = \"90s\"");
    let _pebble = plan.start();
    let door = setup.start();
    let statuses: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| get(&door, "ok.one.test", "127.0.0.1"))).collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).collect()
    });
    assert_eq!(statuses, [200; 8]);
    assert_eq!(orders(&door), 1, "single flight");
    assert_eq!(app.seen().len(), 1);
    assert_eq!(app.only().target, "/allowed?domain=ok.one.test&client=127.0.0.1");

    // A no is remembered, and told by an alert; too deep a name is not even asked about.
    for _ in 0..3 {
        let told = alert(&door, "no.one.test");
        assert!(told.contains("UnrecognisedName") || told.contains("UnrecognizedName"), "{told}");
        alert(&door, "www.www.www.one.test");
        alert(&door, "www.www.www.www.www.www.www.www.one.test");
    }
    assert_eq!(app.seen().len(), 2, "{:?}", app.seen().last());
    assert_eq!(orders(&door), 1);

    // After a restart it is served at once, and nobody is asked.
    let door = door.restart();
    assert_eq!(get(&door, "ok.one.test", "127.0.0.1"), 200);
    assert_eq!((app.seen().len(), orders(&door)), (2, 0));
}

#[test]
fn a_thousand_made_up_names_cost_the_ca_nothing_and_others_nothing() {
    let (app, echo) = (app(), Origin::echo());
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let setup = setup(plan.http(), &plan.directory(), &app, &echo, "wait = \"90s\"\nper_client = \"20 in 1h\"");
    let _pebble = plan.start();
    let door = setup.start();
    assert_eq!(get(&door, "ok.before.test", "127.0.5.1"), 200);
    let (began, asked) = (Instant::now(), app.seen().len());
    thread::scope(|scope| {
        for client in 0..4 {
            let door = &door;
            scope.spawn(move || {
                for n in 0..250 {
                    let deep = "www.".repeat(n % 5);
                    alert(door, &format!("{deep}x{client}-{n}.abuse{n}.test"));
                }
            });
        }
        // Others meanwhile: a name that is served, and a new one of another network.
        scope.spawn(|| assert_eq!(get(&door, "ok.before.test", "127.0.5.1"), 200));
        scope.spawn(|| assert_eq!(get(&door, "ok.new.test", "127.0.6.1"), 200));
    });
    println!("1,000 names in {:?}", began.elapsed());
    let asked = app.seen().len() - asked;
    assert!(asked <= 21, "{asked} questions: 20 for the network, and the new name");
    assert_eq!(orders(&door), 2, "the two that are allowed");
}

#[test]
fn a_handshake_waits_to_its_deadline_and_what_it_began_goes_on() {
    let (app, echo) = (app(), Origin::echo());
    let plan = Pebble::plan(free("127.0.0.2"), DAYS_90);
    let keys = "wait = \"300ms\"\nask_timeout = \"30s\"\nper_domain = \"1 in 1h\"";
    let setup = setup(plan.http(), &plan.directory(), &app, &echo, keys);
    let _pebble = plan.start();
    let door = setup.start();
    let told = alert(&door, "okslow.one.test");
    assert!(told.contains("InternalError"), "{told}");
    within("it goes on", || (get(&door, "okslow.one.test", "127.0.0.1") == 200).then_some(()));
    // The registered domain has had its one name; another domain has its own.
    within("no room", || {
        alert(&door, "ok2.one.test");
        let said = door.log().iter().any(|line| line.to_string().contains("one.test had too many new names"));
        (said || orders(&door) == 1).then_some(())
    });
    within("another's", || (get(&door, "ok.two.test", "127.0.0.1") == 200).then_some(()));
    assert_eq!(orders(&door), 2);
}
