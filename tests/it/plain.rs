//! `:80`: redirects, forwards or refuses, as each route says.

use crate::support::{Doorward, Origin, Setup, ca};

#[test]
fn a_redirect_keeps_path_and_query() {
    let door = Doorward::for_app(Origin::echo().address);
    for method in ["GET", "POST"] {
        let answer = door.curl("http://app.example.test/a%20b/c?d=e&f=%2F").args(&["-X", method]).run();
        assert_eq!(answer.status, 308, "{method}");
        let location = format!("https://app.example.test:{}/a%20b/c?d=e&f=%2F", door.https.port());
        assert_eq!(answer.header("location"), Some(location.as_str()));
    }
}

#[test]
fn a_redirect_goes_to_the_public_port() {
    let redirected = |public_port: u16| {
        let door = Setup::new()
            .https(&format!("public_port = {public_port}"))
            .host("app.example.test", Origin::echo().address)
            .start();
        let answer = door.curl("http://app.example.test:8080/x").run();
        assert_eq!(answer.status, 308);
        answer.header("location").expect("a location").to_owned()
    };
    assert_eq!(redirected(443), "https://app.example.test/x", "the usual port is not written");
    assert_eq!(redirected(8443), "https://app.example.test:8443/x");
}

#[test]
fn a_redirect_cannot_be_led_astray() {
    let door = Doorward::for_app(Origin::echo().address);
    let answer = door.curl("http://app.example.test//evil.example.test/x").run();
    let location = format!("https://app.example.test:{}//evil.example.test/x", door.https.port());
    assert_eq!(answer.header("location"), Some(location.as_str()));
    let unknown = door.curl("http://evil.example.test/").run();
    assert_eq!(unknown.status, 404, "only hosts of a route are sent on");
}

#[test]
fn both_forwards_and_off_refuses_tls() {
    let origin = Origin::echo();
    let door = Setup::new()
        .host_with("both.example.test", origin.address, "https = \"both\"")
        .host_with("off.example.test", origin.address, "https = \"off\"")
        .start();
    assert_eq!(door.curl("http://both.example.test/").run().status, 200);
    assert_eq!(door.curl("https://both.example.test/").run().status, 200);
    assert_eq!(door.curl("http://off.example.test/").run().status, 200);
    assert_eq!(door.curl("https://off.example.test/").run().status, 404);
}

#[test]
fn unknown_acme_tokens_are_no_apps_business() {
    let origin = Origin::echo();
    let door = Setup::new().host("app.example.test", origin.address).start();
    let answer = door.curl("http://app.example.test/.well-known/acme-challenge/unknown-token").run();
    // An app that runs its own ACME client on :80 is redirected like anybody else.
    assert!([308, 404].contains(&answer.status), "{answer:?}");
}

#[test]
fn a_path_prefix_ends_at_a_segment() {
    let (root, api) = (Origin::echo(), Origin::echo());
    let door = Setup::new()
        .certificate("app", &ca().leaf(&["app.example.test"]).issue())
        .route(&format!("hosts = [\"app.example.test\"]\nbackend = \"{}\"", root.address))
        .route(&format!("hosts = [\"app.example.test\"]\npath = \"/api\"\nbackend = \"{}\"", api.address))
        .start();
    for path in ["/api", "/api/", "/api/x", "/api?x"] {
        assert_eq!(door.curl(&format!("https://app.example.test{path}")).run().status, 200);
    }
    assert_eq!(api.seen().len(), 4);
    for path in ["/", "/apis", "/x/api"] {
        assert_eq!(door.curl(&format!("https://app.example.test{path}")).run().status, 200);
    }
    assert_eq!((root.seen().len(), api.seen().len()), (3, 4));
}

#[test]
fn an_exact_host_before_a_wildcard_before_any() {
    let (exact, wildcard, any) = (Origin::echo(), Origin::echo(), Origin::echo());
    let route = |host: &str, origin: &Origin| {
        format!("hosts = [\"{host}\"]\nhttps = \"both\"\nbackend = \"{}\"", origin.address)
    };
    let door = Setup::new()
        .certificate("all", &ca().leaf(&["app.example.test", "*.example.test"]).issue())
        .route(&route("*", &any))
        .route(&route("*.example.test", &wildcard))
        .route(&route("app.example.test", &exact))
        .start();
    for host in ["app.example.test", "APP.EXAMPLE.TEST", "b.example.test", "c.b.example.test", "else.test"] {
        assert_eq!(door.curl(&format!("http://{host}/")).run().status, 200, "{host}");
    }
    assert_eq!((exact.seen().len(), wildcard.seen().len(), any.seen().len()), (2, 1, 2));
}
