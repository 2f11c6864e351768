//! What operators see: metrics, health, logs, status.

use crate::support::{Curl, Doorward, Origin, Setup, Tls, client_config, nobody};

fn get(door: &Doorward, path: &str) -> (u16, String) {
    let at = door.metrics();
    let answer = Curl::new(&format!("http://metrics.example.test{path}"), at, at, door.home()).run();
    (answer.status, answer.text())
}

#[test]
fn health_and_metrics() {
    let door = Setup::new()
        .metrics()
        .host("app.example.test", Origin::echo().address)
        .host("down.example.test", nobody())
        .start();
    assert_eq!(get(&door, "/healthz").0, 200);
    assert_eq!(get(&door, "/readyz").0, 200);
    assert_eq!(get(&door, "/else").0, 404);
    for _ in 0..3 {
        assert_eq!(door.curl("https://app.example.test/").run().status, 200);
    }
    assert_eq!(door.curl("https://down.example.test/").run().status, 502);
    assert!(Tls::with(client_config(&[]), door.https, "unknown.example.test").is_err());
    let (status, text) = get(&door, "/metrics");
    assert_eq!(status, 200);
    let sample = |parts: &[&str]| {
        let line = text.lines().find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
        let line = line.unwrap_or_else(|| panic!("no sample with {parts:?} in\n{text}"));
        line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    assert!(sample(&["doorward_", "requests_total", "app.example.test", "200"]) >= 3.0);
    assert!(sample(&["doorward_", "requests_total", "down.example.test", "502"]) >= 1.0);
    assert!(sample(&["doorward_", "handshakes_total", "\"ok\""]) >= 4.0);
    assert!(sample(&["doorward_", "handshakes_total", "\"unknown_name\""]) >= 1.0);
    let expiry = sample(&["doorward_certificate", "app.example.test"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now + 86_400.0 * 80.0..now + 86_400.0 * 95.0).contains(&expiry), "unix seconds: {expiry}");
    assert!(!text.contains("unknown.example.test"), "no label may hold what any client can invent");
}

#[test]
fn the_access_log_tells_the_whole_request() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let path = format!("/log{protocol}");
        door.curl(&format!("https://app.example.test{path}?secret=1")).args(&[protocol, "-d", "hello"]).run();
        let line = door.access(&path);
        assert_eq!(line["status"], 200, "{line}");
        assert_eq!(line["method"], "POST", "{line}");
        assert_eq!(line["host"], "app.example.test", "{line}");
        assert_eq!(line["sni"], "app.example.test", "{line}");
        assert_eq!(line["backend"], origin.address.to_string(), "{line}");
        assert!(line["route"].as_str().is_some_and(|route| route.contains("app.example.test")), "{line}");
        assert!(line["protocol"].as_str().is_some_and(|protocol| protocol.contains(version)), "{line}");
        assert!(line["tls"].as_str().is_some_and(|tls| tls.contains("1.3")), "{line}");
        assert!(line["request_id"].as_str().is_some_and(|id| id.len() >= 8), "{line}");
        let text = line.to_string();
        assert!(text.contains("bytes") && text.contains("duration"), "{line}");
    }
}

#[test]
fn the_access_log_can_be_off() {
    let origin = Origin::echo();
    let setup = Setup::new().host("app.example.test", origin.address);
    let door = setup.start();
    door.rewrite(|text| text.replace("[log]\n", "[log]\naccess = false\n"));
    assert!(door.reload());
    door.curl("https://app.example.test/quiet").run();
    // A later line shows that nothing more is to come.
    assert!(door.reload());
    assert!(!door.log().iter().any(|line| line["path"] == "/quiet"));
}

#[test]
fn status_shows_what_runs() {
    let door = Doorward::for_app(Origin::echo().address);
    let said = door.verb(&["status"]);
    assert!(said.status.success(), "{said:?}");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(text.contains("app.example.test"), "{text}");
    let said = door.verb(&["status", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert!(value.is_object(), "{value}");
}

#[test]
fn status_without_a_doorward_fails() {
    let setup = Setup::new().host("app.example.test", nobody());
    let said = setup.run(&["status"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("admin.sock"), "{said:?}");
}
