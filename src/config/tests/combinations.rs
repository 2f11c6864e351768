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
    let listed = |listeners: &str, https: &str| {
        format!(
            "{}[[route]]\nhosts = [\"a.b\"]\nbackend = 3000\nlisteners = [{listeners}]\nhttps = \"{https}\"\n",
            with("")
        )
    };
    assert_eq!(
        faults(&listed("\":80\"", "redirect")),
        [
            "10:9 route[0].https: https = \"redirect\" (the default) leads to a listener with protocol https, and the route lists none; add one to its listeners, or write https = \"off\""
        ]
    );
    assert_eq!(
        faults(&listed("\":443\"", "off")),
        [
            "10:9 route[0].https: https = \"off\" needs a listener with protocol http, and the route lists none; add one to its listeners, or write https = \"both\""
        ]
    );
    for (listeners, https) in [("\":443\"", "redirect"), ("\":80\"", "off"), ("\":80\", \":443\"", "redirect")] {
        assert!(parse(&listed(listeners, https)).is_ok(), "{listeners} {https}");
    }
    // A listener that is wrong is no listener that is missing.
    let text = one("htp", "redirect");
    assert_eq!(faults(&text).len(), 1, "{:?}", faults(&text));
}

#[test]
fn who_sends_no_name_has_a_certificate_or_a_warning_says_so() {
    let text = |listener: &str, route: &str| {
        format!(
            "[[listener]]\naddress = \":443\"\ndefault_route = \"app\"\n{listener}\n[[route]]\nname = \"app\"\nbackend = 3000\n{route}\n"
        )
    };
    let default_host = |listener: &str, route: &str| {
        let loaded = parse(&text(listener, route)).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.warnings, []);
        loaded.config.listeners[0].default_host.as_ref().map(ToString::to_string)
    };
    let named = "hosts = [\"*.example.com\", \"a.example.com\"]";
    assert_eq!(default_host("", named).as_deref(), Some("a.example.com"));
    assert_eq!(default_host("default_certificate = \"apps\"", named), None);
    assert_eq!(default_host("", &format!("{named}\nmode = \"passthrough\"")), None);
    assert_eq!(
        warnings(&text("protocol = \"tls\"", "mode = \"tcp\"")),
        [
            "3:17 listener[0].default_route: clients that send no name (SNI) are for the route \"app\", but have no certificate; write default_certificate = \"ID\" as well"
        ]
    );
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

#[test]
fn what_only_requests_have_a_use_for_is_refused_where_bytes_are_passed_on() {
    let text = |listener: &str, route: &str, backend: &str| {
        format!(
            "[[listener]]\naddress = \":1\"\n{listener}\n[[route]]\nname = \"app\"\n{route}\n[route.backend]\nendpoints = [3000, 3001]\n{backend}\n"
        )
    };
    let (tls, tcp) = ("protocol = \"tls\"", "protocol = \"tcp\"\ndefault_route = \"app\"");
    let by_name = "hosts = [\"a.example.com\"]\nmode = \"tcp\"";
    for (listener, route, backend, expected) in [
        (
            tls,
            by_name,
            "sticky = {}",
            "8:1 route[0].backend: sticky goes by cookies, and a route with mode tcp passes on bytes; remove sticky, and write balance = \"hash-client\" to keep clients together",
        ),
        (
            tls,
            "hosts = [\"a.example.com\"]\nmode = \"passthrough\"",
            "balance = \"hash-header:x-user\"",
            "8:1 route[0].backend: balance = \"hash-header:x-user\" goes by requests, and a route with mode passthrough passes on bytes; write balance = \"hash-client\"",
        ),
        (
            tls,
            by_name,
            "check = { path = \"/\" }",
            "8:1 route[0].backend: check asks for a path, and a route with mode tcp passes on bytes; remove path from check: a connection is enough then",
        ),
        (
            tcp,
            by_name,
            "",
            "7:10 route[0].hosts[0]: the route \"app\" is reached through protocol tcp alone, which tells no names; remove hosts, or write protocol = \"tls\" at the listener",
        ),
        (
            tcp,
            "mode = \"tcp\"\ncertificate = \"self-signed\"",
            "",
            "8:15 route[0].certificate: the route \"app\" is reached through protocol tcp alone, and no TLS ends there; remove certificate, or write protocol = \"tls\" at the listener",
        ),
    ] {
        assert_eq!(faults(&text(listener, route, backend)), [expected]);
    }
    // A [[backend]] that other routes speak HTTP with may have all of it.
    let backend = "[[backend]]\nname = \"b\"\nendpoints = [\"http://app:1\"]\nbalance = \"hash-cookie:x\"\n";
    let raw = "[[listener]]\naddress = \":1\"\nprotocol = \"tls\"\n[[route]]\nhosts = [\"a.b\"]\nmode = \"tcp\"\nbackend = \"b\"\n";
    let http = "[[listener]]\naddress = \":443\"\n[[route]]\nname = \"web\"\nhosts = [\"b.b\"]\nbackend = \"b\"\n";
    assert!(parse(&format!("{backend}{raw}{http}")).is_ok());
    let alone = faults(&format!("{backend}{raw}"));
    assert!(alone.len() == 2 && alone[0].contains("the backend speaks http"), "{alone:?}");
}

#[test]
fn endpoints_that_say_nothing_or_too_much() {
    let text =
        |endpoints: &str| route(&format!("[route.backend]\nendpoints = {endpoints}")).replace("backend = 3000\n", "");
    for (endpoints, expected) in [
        (
            "[3000, \"127.0.0.1:3000\"]",
            "127.0.0.1:3000 is listed twice; remove one of them; for a greater share write weight = 2 for the other",
        ),
        (
            "\"https://unix:/run/app.sock\"",
            "unix: has no scheme; write it alone, and what it speaks as the backend's protocol, as in protocol = \"https\"",
        ),
        (
            "\"tls://srv:_x._tcp.app\"",
            "srv: has no scheme; write it alone, and what it speaks as the backend's protocol, as in protocol = \"https\"",
        ),
        (
            "{ address = 3000, addresses = \"one\" }",
            "127.0.0.1:3000 is no name with addresses; remove addresses, or write a name and a port, as in \"app.internal:8080\"",
        ),
        (
            "3000\ncheck = { path = \"/\", status = \"2xx\" }",
            "\"2xx\" is not a list of statuses; write statuses from 100 to 599 and ranges of them, as in \"200-299\" or \"200,401\"",
        ),
        (
            "3000\ncheck = { status = 200 }",
            "a check without a path gets no status; add path = \"/healthz\", or remove status",
        ),
        ("3000\nproxy_protocol = true", "expected a word, found a boolean; write it as in proxy_protocol = \"v1\""),
    ] {
        let faults = faults(&text(endpoints));
        assert!(faults.len() == 1 && faults[0].ends_with(expected), "{endpoints}: {faults:?}");
    }
    for (endpoints, expected) in [
        (
            "[{ address = 3000, weight = 0 }, { address = 3001, drain = true }]",
            "all endpoints are drained: requests get 503; take drain = true or weight = 0 from one of them, if that is not meant",
        ),
        (
            "{ address = 3000, backup = true }",
            "all endpoints are backups, so none of them is one; take backup = true from those that are to be used first",
        ),
    ] {
        let warnings = warnings(&text(endpoints));
        assert!(warnings.len() == 1 && warnings[0].ends_with(expected), "{endpoints}: {warnings:?}");
    }
}

#[test]
fn a_redirect_to_a_port_that_nobody_dials_is_worth_a_warning() {
    let text = |port: u16, keys: &str, https: &str| {
        format!(
            "[[listener]]\naddress = \":{port}\"\n{keys}\n[[listener]]\naddress = \":80\"\nprotocol = \"http\"\n[[route]]\nhosts = [\"a.b\"]\nbackend = 3000\nhttps = \"{https}\"\n"
        )
    };
    let proxied = "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.1\"]";
    assert_eq!(
        warnings(&text(8443, proxied, "redirect")),
        [
            "2:11 listener[0].address: redirects to https lead clients to port 8443, and they come here by way of a proxy (proxy_protocol); write public_port = 443, or whatever port they dial there"
        ]
    );
    let said = format!("{proxied}\npublic_port = 443");
    for text in [
        text(443, proxied, "redirect"),
        text(8443, "", "redirect"),
        text(8443, &said, "redirect"),
        text(8443, proxied, "both"),
        format!("{}[[listener]]\naddress = \":443\"\n", text(8443, proxied, "redirect")),
    ] {
        assert_eq!(warnings(&text), Vec::<String>::new(), "{text}");
    }
}
