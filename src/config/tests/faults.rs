//! What is said about a key or a value that is wrong.

use super::*;

#[test]
fn unknown_keys_name_the_nearest() {
    let text =
        "workerz = 1\n[[listener]]\naddress = \":443\"\nproto = \"https\"\n[listener.tls]\nhttp3 = true\nfoo = 1\n";
    assert_eq!(
        faults(text),
        [
            "1:1 workerz: unknown key; did you mean workers?",
            "4:1 listener[0].proto: unknown key; did you mean protocol?",
            "6:1 listener[0].tls.http3: unknown key; did you mean http2?",
            "7:1 listener[0].tls.foo: unknown key; the keys here are: min_version, http2, alpn",
        ]
    );
    assert_eq!(faults(&with("[listeners]\n")), ["6:2 listeners: unknown key; did you mean listener?"]);
}

#[test]
fn one_fault_in_a_listener_hides_no_other() {
    let text = "[[listener]]\naddress = \":443\"\nprotocol = \"htps\"\npublic_prot = 443\n\
                [[listener]]\naddress = \":443\"\n";
    assert_eq!(
        faults(text),
        [
            "3:12 listener[0].protocol: unknown value \"htps\"; did you mean \"https\"? one of: \"https\", \"http\", \"tls\", \"tcp\"",
            "4:1 listener[0].public_prot: unknown key; did you mean public_port?",
            "6:11 listener[1].address: [::]:443 is listened on twice; the other is at doorward.toml:2:11; remove one of them, or choose another address or port",
        ]
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    for (text, fault) in [
        ("workers = \"two\"", "6:11 workers: expected an integer, found a string; write it as in workers = 1"),
        ("workers = 0", "6:11 workers: the value is out of range; choose one from 1 to 1024"),
        ("log = true", "6:7 log: expected a table, found a boolean; write it as in log = { … }"),
        ("[[log]]", "6:1 log: expected one table, found a list; write [log], once"),
        ("[route]", "6:1 route: expected a list of tables, found one table; write [[route]], in double brackets"),
        ("route = 1", "6:9 route: expected a list, found an integer; write it as in route = [{ … }]"),
        ("route = [1]", "6:10 route[0]: expected a table, found an integer; write it as in route = { … }"),
        (
            "trusted_proxies = \"10.0.0.0/8\"",
            "6:19 trusted_proxies: expected a list, found a string; write it as in trusted_proxies = [\"10.0.0.0/8\"]",
        ),
        (
            "trusted_proxies = [\"10.0.0.0/8\", 1.5]",
            "6:34 trusted_proxies[1]: expected a string, found a float; write it as in trusted_proxies = \"…\"",
        ),
        (
            "trusted_proxies = [\"10.0.0/8\"]",
            "6:20 trusted_proxies[0]: \"10.0.0/8\" is not a network; write an address or a CIDR, as in \"10.0.0.0/8\" or \"2001:db8::/32\"",
        ),
    ] {
        // Before the listeners, at the top level: moved to where `with` puts it.
        let top = format!("\n\n\n\n\n{text}\n[[listener]]\naddress = \":443\"\n");
        assert_eq!(faults(&top), [fault], "{text}");
    }
}

#[test]
fn syntax_errors_have_a_place_and_there_can_be_several() {
    let found = faults(
        "[[listener]]\naddress = \":443\"\nprotocol = https\n\n[log]\nlevel = \"info\nformat = \"x\"\nformat = \"y\"\n",
    );
    let places: Vec<&str> = found.iter().map(|fault| fault.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(places, ["3:12", "6:14", "8:1"], "{found:#?}");
    assert!(found[2].contains("duplicate key") && found[2].contains("write each key once"), "{found:#?}");
    assert!(found[0].contains("strings stand in quotes"), "{found:#?}");
}

#[test]
fn routes_that_cannot_be() {
    for (text, expected) in [
        (
            "path = \"api\"",
            "9:8 route[0].path: \"api\" is not a path prefix; start with /, leave out ?, #, //, . and .. segments, and percent-encode what is not ASCII",
        ),
        ("https = \"on\"", "9:9 route[0].https: unknown value \"on\"; write one of: \"redirect\", \"both\", \"off\""),
        (
            "https = \"of\"",
            "9:9 route[0].https: unknown value \"of\"; did you mean \"off\"? one of: \"redirect\", \"both\", \"off\"",
        ),
        (
            "https = \"off\"\ncertificate = \"auto\"",
            "10:15 route[0].certificate: a route with https = \"off\" has no use for a certificate; remove certificate, or write https = \"redirect\" or https = \"both\"",
        ),
        (
            "self_signed_until_issued = true",
            "9:28 route[0].self_signed_until_issued: only a certificate from ACME can be waited for; write certificate = \"auto\", or remove self_signed_until_issued",
        ),
        (
            "host = \"a b\"",
            "9:8 route[0].host: \"a b\" cannot stand in a Host header; write a host, or a host and a port, as in \"app.internal\" or \"app.internal:8080\"",
        ),
        ("name = \" \"", "9:8 route[0].name: the text is empty; write something, or leave the key out"),
        (
            "[[route]]\nhosts = [\"A.example.com\"]\nbackend = 3001",
            "10:10 route[1].hosts[0]: a.example.com is on two routes; the other is at doorward.toml:7:10; remove one of them, or give one another path or other listeners",
        ),
        (
            "path = \"/x\"\n[[route]]\npath = \"/x/\"\nhosts = [\"b.example.com\", \"a.example.com\"]\nbackend = 3001",
            "12:27 route[1].hosts[1]: a.example.com with the path /x is on two routes; the other is at doorward.toml:7:10; remove one of them, or give one another path or other listeners",
        ),
        (
            "name = \"x\"\n[[route]]\nhosts = [\"b.example.com\"]\nbackend = 3001\nname = \"x\"",
            "13:8 route[1].name: two routes are called \"x\"; the other is at doorward.toml:9:8; give one of them another name",
        ),
    ] {
        assert_eq!(faults(&route(text)), [expected], "{text}");
    }
    for (hosts, expected) in [
        ("[]", "7:9 route[0].hosts: no host is listed; list at least one, or \"*\" for every host"),
        (
            "[\"a b\"]",
            "7:10 route[0].hosts[0]: \"a b\" is not a host: the name has a character that host names cannot have (use the ASCII form, xn--…); write a host as in \"app.example.com\", \"*.example.com\" or \"192.0.2.1\", or \"*\" for every host",
        ),
        (
            "[\"https://a.example.com\"]",
            "7:10 route[0].hosts[0]: \"https://a.example.com\" is not a host: the name has a character that host names cannot have (use the ASCII form, xn--…); write the host alone; a path goes into path = \"/…\"",
        ),
        (
            "[\"a.example.com:443\"]",
            "7:10 route[0].hosts[0]: \"a.example.com:443\" is not a host: the name has a character that host names cannot have (use the ASCII form, xn--…); write the host without a port; the port is a listener's",
        ),
    ] {
        assert_eq!(faults(&with(&format!("[[route]]\nhosts = {hosts}\nbackend = 3000"))), [expected], "{hosts}");
    }
    for (backend, expected) in [
        ("[]", "8:11 route[0].backend: no backend is listed; list at least one, as in [\"127.0.0.1:3000\"]"),
        (
            "true",
            "8:11 route[0].backend: expected a backend's address, found a boolean; write it as in backend = \"127.0.0.1:3000\"",
        ),
        (
            "70000",
            "8:11 route[0].backend: the backend has no port from 1 to 65535; add one, as in \"app:3000\" or \"127.0.0.1:3000\"",
        ),
        (
            "\"app\"",
            "8:11 route[0].backend: no [[backend]] is called \"app\", and as an address it has no port; add a port, as in \"app:3000\", or a [[backend]] with that name",
        ),
        (
            "\"app:+80\"",
            "8:11 route[0].backend: the backend has no port from 1 to 65535; add one, as in \"app:3000\" or \"127.0.0.1:3000\"",
        ),
        (
            "\"gopher://app:443\"",
            "8:11 route[0].backend: gopher:// is nothing that a backend speaks; write http://, https://, tcp:// or tls:// before host:port, or host:port alone for http",
        ),
        (
            "\"tcp://app:443\"",
            "8:11 route[0].backend: the backend speaks tcp, and the route's requests are HTTP; write http:// for it, or mode = \"tcp\"",
        ),
        (
            "[\"app:3000\", \"http://app:3001\", \"https://app\"]",
            "8:11 route[0].backend: one endpoint is http://, another https://; use one scheme, or make two backends",
        ),
        (
            "\"unix:app.sock\"",
            "8:11 route[0].backend: the path of a unix socket is absolute and has at most 107 bytes; write it as in \"unix:/run/app.sock\"",
        ),
        (
            "{ endpoints = [\"https://app\"], protocol = \"http\" }",
            "8:53 route[0].backend.protocol: the endpoints are https:// ones; write protocol = \"https\", or leave it out",
        ),
        (
            "{ endpoints = [\"app:1\"], tls = { insecure = true } }",
            "8:36 route[0].backend.tls: a backend that speaks http has no TLS; write protocol = \"https\", or remove tls",
        ),
        (
            "{ endpoints = [\"unix:/a\"], protocol = \"https\" }",
            "8:26 route[0].backend.endpoints[0]: a unix socket or a service has no name that its certificate could be for; add tls = { server_name = \"app.internal\" }",
        ),
        (
            "{ endpoints = [\"https://app\"], tls = { insecure = true, ca = \"system\" } }",
            "8:67 route[0].backend.tls.ca: insecure = true checks nothing, ca neither; remove insecure, so that ca is checked",
        ),
        (
            "[\"app:3000\", \"http://app:3000/api\"]",
            "8:24 route[0].backend[1]: a backend is a host and a port, without a user, a path or a query; remove them; the path of a request is passed on as it is",
        ),
        (
            "\"::1:3000\"",
            "8:11 route[0].backend: the backend's host is wrong: the name has a character that host names cannot have (use the ASCII form, xn--…); write host:port, and an IPv6 address in brackets, as in \"[::1]:3000\"",
        ),
        (
            "443",
            "8:11 route[0].backend: 127.0.0.1:443 is doorward's own listener at doorward.toml:2:11; name the address of the app",
        ),
    ] {
        let text = with(&format!("[[route]]\nhosts = [\"a.example.com\"]\nbackend = {backend}"));
        assert_eq!(faults(&text), [expected], "{backend}");
    }
    // Other paths, and a wildcard beside a name, are no duplicates.
    let rest = "[[route]]\nhosts = [\"a.example.com\"]\npath = \"/api\"\nbackend = 1\n[[route]]\nhosts = [\"*.example.com\"]\nbackend = 1";
    assert!(parse(&route(rest)).is_ok());
}

#[test]
fn the_rest_of_the_sections() {
    for (text, expected) in [
        (
            "[timeouts]\nconnect = 5",
            "7:11 timeouts.connect: expected a duration, found an integer; write it as in connect = \"10s\"",
        ),
        (
            "[timeouts]\nconnect = \"5\"",
            "7:11 timeouts.connect: \"5\" is not a duration; write a number and a unit, as in \"500ms\", \"10s\", \"5m\" or \"1h\"",
        ),
        ("[timeouts]\nidle = \"0s\"", "7:8 timeouts.idle: the value is out of range; choose one from 1ms to 1day"),
        (
            "[timeouts]\nhandshake = \"2 days\"",
            "7:13 timeouts.handshake: the value is out of range; choose one from 1ms to 1day",
        ),
        (
            "[limits]\nheader_bytes = \"10TB\"",
            "7:16 limits.header_bytes: \"10TB\" is not a size; write a number of bytes, or one with a unit, as in \"32KiB\" or \"10MiB\"",
        ),
        (
            "[limits]\nheader_bytes = 0",
            "7:16 limits.header_bytes: the value is out of range; choose one from 256 to 16MiB",
        ),
        (
            "[limits]\nheader_bytes = -1",
            "7:16 limits.header_bytes: the value is out of range; choose one from 256 to 16MiB",
        ),
        ("[limits]\nheader_count = 0", "7:16 limits.header_count: the value is out of range; choose one from 1 to 256"),
        (
            "[limits]\nconnections = 99999999999999999999",
            "7:15 limits.connections: the value is out of range; choose one from 1 to 10000000",
        ),
        (
            "[log]\nlevel = \"warning\"",
            "7:9 log.level: unknown value \"warning\"; did you mean \"warn\"? one of: \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
        ("[log]\naccess = 1.5", "7:10 log.access: the value is out of range; choose one from 0.0 to 1.0"),
        ("[log]\naccess = nan", "7:10 log.access: the value is out of range; choose one from 0.0 to 1.0"),
        (
            "[log]\naccess = \"yes\"",
            "7:10 log.access: expected true, false or a share of requests, found a string; write it as in access = 0.1",
        ),
        ("[storage]\nkind = \"etcd\"", "7:8 storage.kind: unknown value \"etcd\"; write one of: \"file\""),
        ("[metrics]", "6:1 metrics.address: the key is missing; add address = \"127.0.0.1:9464\""),
        (
            "[acme]\nissuer = \"lets-encrypt\"",
            "7:10 acme.issuer: no issuer is called \"lets-encrypt\"; did you mean \"letsencrypt\"? else add an [[issuer]] with this name",
        ),
        (
            "[acme]\nissuer = \"zz\"",
            "7:10 acme.issuer: no issuer is called \"zz\"; add an [[issuer]] with this name, or choose one of: letsencrypt, letsencrypt-staging, zerossl, google, google-staging, actalis, sslcom, sslcom-rsa",
        ),
        (
            "[acme]\ndirectory = \"http://localhost/dir\"",
            "7:13 acme.directory: \"http://localhost/dir\" is not an https:// URL; write the URL of the CA's ACME directory, as in \"https://acme.example.com/directory\"",
        ),
        (
            "[acme]\nissuer = \"letsencrypt\"\ndirectory = \"https://a.b/d\"",
            "8:13 acme.directory: issuer \"letsencrypt\" has the directory https://acme-v02.api.letsencrypt.org/directory, and another is written here; remove directory, or choose another issuer name",
        ),
        (
            "[acme]\ncontact = [\"ops\"]",
            "7:12 acme.contact[0]: \"ops\" is not one mail address; write one address a string, as in contact = [\"ops@example.com\"]",
        ),
        (
            "[acme]\neab = { key_id = \"a\" }",
            "7:7 acme.eab.hmac_key: the key is missing; add hmac_key = \"file:/etc/doorward/eab.key\"",
        ),
        (
            "[acme]\neab = { key_id = \"a\", hmac_key = \"s3cret!\" }",
            "7:34 acme.eab.hmac_key: the key is not base64url; copy it as the CA prints it: letters, digits, - and _ only",
        ),
        (
            "[[issuer]]\nname = \"letsencrypt\"\ndirectory = \"https://a.b/d\"",
            "8:13 issuer[0].directory: \"letsencrypt\" is the name of a built-in issuer with another directory; remove directory, or choose another name",
        ),
        (
            "[[issuer]]\nname = \"../x\"\ndirectory = \"https://a.b/d\"",
            "7:8 issuer[0].name: \"../x\" cannot be an issuer's name; use at most 64 letters, digits, -, _ and ., and no . in front",
        ),
        (
            "[[issuer]]\nname = \"x\"\ndirectory = \"https://a.b/d\"\n[[issuer]]\nname = \"x\"\ndirectory = \"https://c.d/d\"",
            "10:8 issuer[1].name: two issuers are called \"x\"; the other is at doorward.toml:7:8; choose another name for one of them",
        ),
    ] {
        assert_eq!(faults(&with(text)), [expected], "{text}");
    }
    let long = format!("[admin]\nsocket = \"/{}\"", "x".repeat(107));
    assert_eq!(
        faults(&with(&long)),
        [
            "7:10 admin.socket: the path has 108 bytes, and a unix socket's can have 107; choose a shorter one, as in \"/run/doorward/admin.sock\""
        ]
    );
    assert_eq!(
        warnings("trusted_proxies = [\"0.0.0.0/0\"]\n[[listener]]\naddress = \":443\""),
        [
            "1:20 trusted_proxies[0]: 0.0.0.0/0 is everybody: any client can forge the address and the protocol that the app sees; name the networks of the proxies in front of doorward"
        ]
    );
}

#[test]
fn every_fault_is_reported_in_the_order_of_the_file() {
    let text = "workers = 0\nfoo = 1\n[[listener]]\nprotocol = 1\n[[route]]\nhosts = [\"a b\", \"c d\"]\nbackend = []\n[timeouts]\nidle = 1\n";
    let found = faults(text);
    let places: Vec<&str> = found.iter().map(|fault| fault.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        places,
        [
            "1:11 workers",
            "2:1 foo",
            "3:1 listener[0].address",
            "4:12 listener[0].protocol",
            "6:10 route[0].hosts[0]",
            "6:17 route[0].hosts[1]",
            "7:11 route[0].backend",
            "9:8 timeouts.idle",
        ]
    );
}

#[test]
fn dns_solvers_that_cannot_be() {
    let dns = |lines: &str| with(&format!("[[dns]]\n{lines}"));
    for (lines, expected) in [
        (
            "id = \"1\"\nprovider = \"rout53\"\nzones = [\"a.test\"]",
            "8:12 dns[0].provider: no DNS provider is called \"rout53\"; did you mean \"route53\"? `doorward dns --help` lists all",
        ),
        (
            "id = \"1\"\nprovider = \"cloudflare\"\nzones = [\"a.test\"]\napi_key = \"x\"",
            "6:1 dns[0]: cloudflare needs either api_token, or api_key and email; give one of these, whole, and not the other",
        ),
        (
            "id = \"1\"\nprovider = \"rfc2136\"\nzones = [\"a.test\"]\nserver = \"192.0.2.1\"",
            "6:1 dns[0].tsig_key: rfc2136 needs tsig_key; add tsig_key",
        ),
        (
            "id = \"1\"\nprovider = \"hetzner\"\nzones = [\"*.a.test\"]\napi_token = \"x\"",
            "9:10 dns[0].zones[0]: \"*.a.test\" is not a zone: the name has a character that host names cannot have (use the ASCII form, xn--…); write the zone's name, as in \"example.org\"; it is for all names below it",
        ),
        (
            "id = \"1\"\nprovider = \"hetzner\"\nzones = [\"a.test\"]\napi_token = \"x\"\nemail = \"x\"",
            "11:1 dns[0].email: unknown key; the keys here are: id, provider, zones, ttl, propagation_timeout, nameservers, api_token",
        ),
    ] {
        assert_eq!(faults(&dns(lines)).last().map(String::as_str), Some(expected), "{lines}");
    }
    let two = "id = \"1\"\nprovider = \"hetzner\"\nzones = [\"a.test\"]\napi_token = \"x\"\n";
    let found = faults(&dns(&format!("{two}[[dns]]\n{two}")));
    assert!(found.len() == 1 && found[0].contains("two DNS solvers are called \"1\""), "{found:?}");
}
