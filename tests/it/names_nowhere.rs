//! Names of backends that lead nowhere, at a real BIND.

use crate::names::{HOST, answers, door, servers};
use crate::support::{Doorward, Named, Setup, Tls, ca, within};

#[test]
fn a_name_that_leads_nowhere_is_down_and_takes_nothing_that_another_can() {
    const REASON: &str = "late.names.test cannot be looked up: it has no address in DNS";
    let port = servers(&["127.0.0.1", "127.0.0.5"]);
    let mut named = Named::start("web A 127.0.0.1");
    let (web, late) = (format!("web.names.test:{port}"), format!("late.names.test:{port}"));
    let door = Setup::new()
        .head(&format!("resolvers = [\"{}\"]", named.address))
        .metrics()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!(
            "[[backend]]\nname = \"app\"\nendpoints = [\"{web}\", \"{late}\"]\nretry = {{ attempts = 0 }}"
        ))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\""))
        .start();
    let mut client = Tls::connect(door.https, HOST);
    assert_eq!(answers(&mut client, 12)["127.0.0.1"], 12);
    let list = |verb: &[&str]| String::from_utf8_lossy(&door.verb(verb).stdout).into_owned();
    for shown in [list(&["backends", "list"]), list(&["status"])] {
        let line = shown.lines().position(|line| line.contains(&late)).expect("its line");
        let lines: Vec<_> = shown.lines().map(str::trim).collect();
        assert!(lines[line].starts_with("DOWN  app  ") && lines[line + 1] == REASON, "{shown}");
    }
    let late_of = |shown: &str| -> serde_json::Value {
        let list: Vec<serde_json::Value> = serde_json::from_str(shown).expect("JSON");
        list.into_iter().find(|view| view["endpoint"].as_str().is_some_and(|it| it.starts_with(&late))).expect("it")
    };
    let view = late_of(&list(&["backends", "list", "--json"]));
    assert_eq!((&view["state"], &view["reason"], &view["requests"]), (&"down".into(), &REASON.into(), &0.into()));
    let up = |endpoint: &str| door.gauge(&format!("doorward_backend_up{{backend=\"app\",endpoint=\"{endpoint}"));
    assert!(up(&late) < 0.5 && up(&web) > 0.5);
    // Where there is no other, it says at least why.
    assert!(door.verb(&["backends", "disable", &web]).status.success());
    assert_eq!(door.curl("https://app.example.test/nowhere").run().status, 502);
    assert!(door.access("/nowhere").to_string().contains(&format!("{late}: it has no address in DNS")));
    assert!(door.verb(&["backends", "enable", &web]).status.success());
    named.change("web A 127.0.0.1\nlate A 127.0.0.5");
    within("it has its share", || (answers(&mut client, 10).get("127.0.0.5") == Some(&5)).then_some(()));
    let view = late_of(&list(&["backends", "list", "--json"]));
    assert_eq!((&view["state"], view.get("reason")), (&"up".into(), None));
    assert!(up(&late) > 0.5);
}

#[test]
fn a_client_that_stays_goes_elsewhere_once_its_endpoints_name_leads_nowhere() {
    let port = servers(&["127.0.0.1", "127.0.0.5"]);
    let mut named = Named::start("one A 127.0.0.1\ntwo A 127.0.0.5");
    let endpoints = format!("one.names.test:{port}\", \"two.names.test:{port}");
    let door = door(&named, &endpoints, "sticky = {}");
    let ask = |door: &Doorward, cookie: &str| {
        let answer = door.curl("https://app.example.test/").header(&format!("Cookie: {cookie}")).run();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let given = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
        (answer.text(), given)
    };
    let cookie = within("the second one's turn", || match ask(&door, "none=here") {
        (at, cookie) if at == "127.0.0.5" => cookie,
        _ => None,
    });
    assert_eq!(ask(&door, &cookie), ("127.0.0.5".to_owned(), None), "it stays");
    named.change("one A 127.0.0.1");
    let door = door.restart();
    let (at, given) = ask(&door, &cookie);
    assert_eq!(at, "127.0.0.1");
    let given = given.expect("a cookie for where it is now");
    assert_eq!(ask(&door, &given), ("127.0.0.1".to_owned(), None));
}

#[test]
fn a_retry_leads_to_no_name_that_leads_nowhere() {
    let port = servers(&["127.0.0.1"]);
    // Nobody listens at 127.0.0.9.
    let mut named = Named::start("web A 127.0.0.9");
    let door = door(&named, &format!("web.names.test:{port}\", \"late.names.test:{port}"), "");
    // More than one: whose turn it is must not matter.
    for path in ["/dead", "/gone", "/lost"] {
        assert_eq!(door.curl(&format!("https://app.example.test{path}")).run().status, 502);
        let line = door.access(path).to_string();
        assert!(line.contains("refused") && !line.contains("late.names.test"), "{line}");
    }
    named.change("web A 127.0.0.1");
    within("an answer", || (door.curl("https://app.example.test/").run().status == 200).then_some(()));
}

#[test]
fn a_service_that_is_not_found_is_shown_with_the_reason_until_it_is() {
    let port = servers(&["127.0.0.1"]);
    let mut named = Named::start("web A 127.0.0.1");
    let door = door(&named, "srv:_http._tcp.web.names.test", "");
    let shown = String::from_utf8_lossy(&door.verb(&["backends", "list"]).stdout).into_owned();
    let reason = "_http._tcp.web.names.test cannot be looked up: it has no SRV record in DNS";
    assert!(shown.contains("DOWN  app  srv:_http._tcp.web.names.test") && shown.contains(reason), "{shown}");
    assert_eq!(door.curl("https://app.example.test/none").run().status, 502);
    assert!(door.access("/none").to_string().contains("it has no SRV record in DNS"));
    named.change(&format!("web A 127.0.0.1\n_http._tcp.web SRV 1 1 {port} web\n"));
    within("an answer", || (door.curl("https://app.example.test/").run().status == 200).then_some(()));
    let shown = String::from_utf8_lossy(&door.verb(&["backends", "list"]).stdout).into_owned();
    assert!(shown.contains(&format!("up  app  web.names.test:{port}")) && !shown.contains("DOWN"), "{shown}");
}
