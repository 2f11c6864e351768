//! `:80`: redirects, forwards or refuses, as each route says.

use crate::support::{Answer, Curl, Doorward, Origin, Setup, ca};

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

/// A request without TLS to one of the listeners.
fn plain(door: &Doorward, host: &str, listener: &str) -> Answer {
    let at = door.bound(listener);
    Curl::new(&format!("http://{host}:8080/x?y"), at, at, &door.home().join("ca.pem")).run()
}

#[test]
fn a_redirect_goes_to_where_the_route_is() {
    let app = Origin::echo().address;
    let (one, two) =
        ("listeners = [\"127.0.0.1:0\", \"127.0.0.2:0\"]", "listeners = [\"127.0.0.9:0\", \"127.0.0.2:0\"]");
    let door = Setup::new()
        .section("[[listener]]\naddress = \"127.0.0.7:0\"")
        .section("[[listener]]\naddress = \"127.0.0.8:0\"\nprotocol = \"http\"")
        .section("[[listener]]\naddress = \"127.0.0.9:0\"")
        .section("[[listener]]\naddress = \"127.0.0.10:0\"\nprotocol = \"tls\"\npublic_port = 443")
        .host("all.example.test", app)
        .host_with("one.example.test", app, one)
        .host_with("two.example.test", app, two)
        .route(&format!("hosts = [\"own.example.test\"]\nmode = \"passthrough\"\nlisteners = [\"127.0.0.10:0\", \"127.0.0.2:0\"]\nbackend = \"{app}\""))
        .start();
    let port = |listener: &str| format!(":{}", door.bound(listener).port());
    let (first, last) = (port("127.0.0.1:0"), port("127.0.0.9:0"));
    for (host, listener, port) in [
        ("all.example.test", "127.0.0.2:0", first.as_str()),
        ("one.example.test", "127.0.0.2:0", &first),
        ("two.example.test", "127.0.0.2:0", &last),
        // TLS that passes through ends elsewhere, but begins on a listener too; and 443 is not written.
        ("own.example.test", "127.0.0.2:0", ""),
        ("all.example.test", "127.0.0.8:0", &first),
    ] {
        let answer = plain(&door, host, listener);
        assert_eq!(answer.status, 308, "{host} {listener}");
        assert_eq!(answer.header("location"), Some(format!("https://{host}{port}/x?y").as_str()), "{listener}");
    }
    assert_eq!(plain(&door, "one.example.test", "127.0.0.8:0").status, 404, "it is not there");
}

#[test]
fn a_redirect_stays_on_the_address_that_was_dialled() {
    let app = Origin::echo().address;
    let http = crate::support::free("127.0.0.7");
    let https = crate::support::free("127.0.0.7");
    let door = Setup::new()
        .section(&format!("[[listener]]\naddress = \"{http}\"\nprotocol = \"http\""))
        .section(&format!("[[listener]]\naddress = \"{https}\""))
        .host("app.example.test", app)
        .start();
    for (listener, port) in [(http.to_string(), https.port()), ("127.0.0.2:0".to_owned(), door.https.port())] {
        let answer = plain(&door, "app.example.test", &listener);
        assert_eq!(answer.header("location"), Some(format!("https://app.example.test:{port}/x?y").as_str()));
    }
}

#[test]
fn a_redirect_keeps_an_ipv6_address_in_brackets_and_leaves_the_old_port_out() {
    let (http, https) = (crate::support::free("::1"), crate::support::free("::1"));
    let door = Setup::new()
        .section(&format!("[[listener]]\naddress = \"{http}\"\nprotocol = \"http\""))
        .section(&format!("[[listener]]\naddress = \"{https}\""))
        .host("::1", Origin::echo().address)
        .start();
    door.bound(&https.to_string());
    let answer =
        Curl::new(&format!("http://[::1]:{}/x?y", http.port()), https, http, &door.home().join("ca.pem")).run();
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, Some(&*format!("https://[::1]:{}/x?y", https.port())))
    );
}

#[test]
fn behind_a_proxy_a_redirect_leads_to_the_port_that_clients_dial_there() {
    // HAProxy, or whoever, has 80 and 443 and passes them on to other ports, with the PROXY protocol.
    let proxied = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]";
    let door = Setup::new()
        .http(proxied)
        .https(&format!("{proxied}\npublic_port = 443"))
        .section("[[listener]]\naddress = \"127.0.0.7:0\"")
        .host("app.example.test", Origin::echo().address)
        .start();
    for (header, port) in [
        ("PROXY TCP4 203.0.113.9 198.51.100.1 56324 80", String::new()),
        ("PROXY TCP6 2001:db8::9 2001:db8::1 56324 80", String::new()),
        // What the proxy says of the address that was dialled counts, not where it connected to itself.
        ("PROXY TCP4 203.0.113.9 127.0.0.7 56324 80", format!(":{}", door.bound("127.0.0.7:0").port())),
    ] {
        let mut stream = crate::support::tcp(door.http);
        let request = format!("{header}\r\nGET /x HTTP/1.1\r\nHost: app.example.test:8080\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
        let reply = crate::support::read_reply(&mut stream, false);
        let location = format!("https://app.example.test{port}/x");
        assert_eq!((reply.status, reply.header("location")), (308, Some(&*location)), "{header}");
    }
}

#[test]
fn each_policy_holds_on_every_listener() {
    let app = Origin::echo().address;
    let mut setup = Setup::new()
        .section("[[listener]]\naddress = \"127.0.0.7:0\"")
        .section("[[listener]]\naddress = \"127.0.0.8:0\"\nprotocol = \"http\"");
    for policy in ["redirect", "both", "off"] {
        setup = setup.host_with(&format!("{policy}.example.test"), app, &format!("https = \"{policy}\""));
    }
    let door = setup.start();
    for (policy, without, with) in [("redirect", 308, 200), ("both", 200, 200), ("off", 200, 404)] {
        let host = format!("{policy}.example.test");
        for listener in ["127.0.0.2:0", "127.0.0.8:0"] {
            assert_eq!(plain(&door, &host, listener).status, without, "{policy} {listener}");
        }
        for listener in ["127.0.0.1:0", "127.0.0.7:0"] {
            let at = door.bound(listener);
            let answer = Curl::new(&format!("https://{host}/"), at, at, &door.home().join("ca.pem")).run();
            assert_eq!(answer.status, with, "{policy} {listener}");
        }
    }
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
