//! What is said about sections that do not fit together.

use super::*;

#[test]
fn listeners_that_cannot_be() {
    for (text, expected) in [
        (
            "",
            "1:1 listener: there is no listener; add a [[listener]] with address = \":443\", and one with address = \":80\" and protocol = \"http\"",
        ),
        ("[[listener]]\n", "1:1 listener[0].address: the key is missing; add address = \"[::]:443\""),
        (
            "[[listener]]\naddress = \"localhost:443\"",
            "2:11 listener[0].address: \"localhost:443\" is not an address to listen on; write an IP address and a port, as in \"[::]:443\", \"0.0.0.0:443\" or \":443\"",
        ),
        (
            "[[listener]]\naddress = 443",
            "2:11 listener[0].address: expected an address, found an integer; write an IP address and a port, as in \"[::]:443\", \"0.0.0.0:443\" or \":443\"",
        ),
        (
            "[[listener]]\naddress = \":443\"\n[[listener]]\naddress = \"[::]:443\"",
            "4:11 listener[1].address: [::]:443 is listened on twice; the other is at doorward.toml:2:11; remove one of them, or choose another address or port",
        ),
        (
            "[[listener]]\naddress = \":443\"\n[metrics]\naddress = \"[::]:443\"",
            "4:11 metrics.address: [::]:443 is listened on twice; the other is at doorward.toml:2:11; remove one of them, or choose another address or port",
        ),
        (
            "[[listener]]\naddress = \":443\"\nprotocol = \"htps\"",
            "3:12 listener[0].protocol: unknown value \"htps\"; did you mean \"https\"? one of: \"https\", \"http\", \"tls\", \"tcp\"",
        ),
        (
            "[[listener]]\naddress = \":443\"\nprotocol = \"quic\"",
            "3:12 listener[0].protocol: unknown value \"quic\"; write one of: \"https\", \"http\", \"tls\", \"tcp\"",
        ),
        (
            "[[listener]]\naddress = \":80\"\nprotocol = \"http\"\ndefault_certificate = \"apps\"",
            "4:1 listener[0].default_certificate: a listener with protocol http has no use for default_certificate; remove default_certificate, or write protocol = \"https\"",
        ),
        (
            "[[listener]]\naddress = \":80\"\nprotocol = \"http\"\n[listener.tls]\nhttp2 = true",
            "4:11 listener[0].tls: a listener with protocol http has no use for tls; remove tls, or write protocol = \"https\"",
        ),
        (
            "[[listener]]\naddress = \":443\"\ntls = { min_version = \"1.1\" }",
            "3:23 listener[0].tls.min_version: unknown value \"1.1\"; did you mean \"1.2\"? one of: \"1.2\", \"1.3\"",
        ),
        (
            "[[listener]]\naddress = \":443\"\npublic_port = 70000",
            "3:15 listener[0].public_port: the value is out of range; choose one from 1 to 65535",
        ),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
    assert!(parse("[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"").is_ok());
}

#[test]
fn certificates_that_cannot_be_had() {
    let auto = |hosts: &str| with(&format!("[[route]]\nhosts = {hosts}\nbackend = 3000\ncertificate = \"auto\"\n"));
    assert_eq!(
        faults(&auto("[\"a.example.com\", \"*.example.com\", \"*\"]")),
        [
            "7:27 route[0].hosts[1]: certificate = \"auto\" cannot get *.example.com: doorward proves names by HTTP-01, and a CA issues wildcards by DNS-01 only; list the hosts by name, or put a certificate for the wildcard into a folder of [certificates] directories",
            "7:44 route[0].hosts[2]: certificate = \"auto\" needs names to ask for, and \"*\" is none; list the hosts by name, or leave out certificate = \"auto\" for this route",
        ]
    );
    assert_eq!(
        warnings(&auto("[\"app.local\", \"192.0.2.1\", \"a.example.com\"]")),
        [
            "7:10 route[0].hosts[0]: letsencrypt issues no certificate for app.local: the name is not public; write certificate = \"self-signed\", or name a CA of your own in [acme]",
            "7:23 route[0].hosts[1]: letsencrypt issues for an IP address in the profile shortlived only; write profile = \"shortlived\" in [acme]",
        ]
    );
    let config = parse(&auto("[\"a.example.com\"]")).expect("a config").config;
    assert_eq!(config.acme, Some(Acme::default()), "ACME needs no section");
}

#[test]
fn http_01_without_port_80_is_worth_a_warning() {
    let warning = "certificate: the CA proves a name by a request to port 80 (HTTP-01), and no listener with protocol http has it; add a [[listener]] with address = \":80\" and protocol = \"http\", or public_port = 80 where port 80 is mapped to it";
    let route = "[[route]]\nhosts = [\"a.example.com\"]\nbackend = 3000\ncertificate = \"auto\"\n";
    let https = "[[listener]]\naddress = \":443\"\n";
    let http = "[[listener]]\naddress = \":8080\"\nprotocol = \"http\"\n";
    let own = "[acme]\ndirectory = \"https://localhost:14000/dir\"\n";
    for (text, expected) in [
        (format!("{route}{https}"), vec![format!("4:15 route[0].{warning}")]),
        (format!("{route}{https}{http}"), vec![format!("4:15 route[0].{warning}")]),
        (format!("{route}{https}{http}public_port = 80\n"), vec![]),
        (format!("{route}{https}{own}"), vec![format!("4:15 route[0].{warning}")]),
        (format!("{route}{https}{http}{own}"), vec![]),
    ] {
        assert_eq!(warnings(&text), expected, "{text}");
    }
    let two = format!("{route}{https}[[route]]\nhosts = [\"b.example.com\"]\nbackend = 1\ncertificate = \"auto\"\n");
    assert!(warnings(&two)[0].contains("has it (so it is with 1 more route);"), "{:?}", warnings(&two));
}

#[test]
fn policies_need_their_listeners() {
    let one = |protocol: &str, https: &str| {
        format!(
            "[[listener]]\naddress = \":1\"\nprotocol = \"{protocol}\"\n[[route]]\nhosts = [\"a.b\"]\nbackend = 3000\nhttps = \"{https}\"\n"
        )
    };
    assert_eq!(
        faults(&one("http", "redirect")),
        [
            "7:9 route[0].https: https = \"redirect\" (the default) leads to a listener with protocol https, and there is none; add a [[listener]] with protocol = \"https\", or write https = \"off\""
        ]
    );
    assert_eq!(
        faults(&one("https", "off")),
        [
            "7:9 route[0].https: https = \"off\" needs a listener with protocol http, and there is none; add a [[listener]] with protocol = \"http\", or write https = \"both\""
        ]
    );
    for (protocol, https) in [("http", "both"), ("http", "off"), ("https", "both"), ("https", "redirect")] {
        assert!(parse(&one(protocol, https)).is_ok(), "{protocol} {https}");
    }
    // A listener that is wrong is no listener that is missing.
    let text = one("htp", "redirect");
    assert_eq!(faults(&text).len(), 1, "{:?}", faults(&text));
}

#[test]
fn listeners_and_routes_that_do_not_fit() {
    let text = |listener: &str, route: &str| {
        format!(
            "[[listener]]\naddress = \":443\"\n{listener}\n[[route]]\nname = \"app\"\nhosts = [\"a.example.com\"]\nbackend = 3000\n{route}\n"
        )
    };
    for (listener, route, expected) in [
        (
            "protocol = \"tcp\"",
            "mode = \"tcp\"",
            "3:12 listener[0].protocol: a listener with protocol tcp needs a default_route; write default_route = \"NAME\", and a [[route]] of that name with mode = \"tcp\"",
        ),
        (
            "default_route = \"ap\"",
            "",
            "3:17 listener[0].default_route: there is no route \"ap\"; did you mean \"app\"?",
        ),
        (
            "default_route = \"app\"",
            "mode = \"tcp\"",
            "3:17 listener[0].default_route: \"app\" cannot be the default_route of a listener with protocol https; give the route mode = \"http\" or mode = \"passthrough\"",
        ),
        (
            "",
            "mode = \"tcp\"",
            "8:8 route[0].mode: no listener leads to the route \"app\"; add a [[listener]] with protocol = \"tls\", or one with protocol = \"tcp\" and this route as its default_route",
        ),
        (
            "",
            "mode = \"passthrough\"\ncertificate = \"auto\"",
            "9:1 route[0].certificate: a route with mode passthrough has no use for certificate: the app has the certificate; remove certificate, or write mode = \"http\"",
        ),
        (
            "",
            "mode = \"passthrough\"\npath = \"/x\"",
            "9:1 route[0].path: a route with mode passthrough has no use for path: it looks at no requests; remove path, or write mode = \"http\"",
        ),
        (
            "",
            "listeners = [\":8443\"]",
            "8:14 route[0].listeners[0]: there is no listener [::]:8443; write the address of a [[listener]]: [::]:443",
        ),
        (
            "proxy_protocol = true",
            "",
            "3:18 listener[0].proxy_protocol: proxy_protocol is believed from trusted_proxies alone, and there are none; write trusted_proxies = [\"10.0.0.0/8\"] with the networks of the proxies in front",
        ),
    ] {
        let faults = faults(&text(listener, route));
        assert!(faults.iter().any(|fault| fault == expected), "{listener} {route}: {faults:#?}");
    }
}
