//! What a config file may say, and what is said about one that is wrong.

use std::collections::BTreeMap;

use super::*;

/// Every key that there is, none with its default.
const FULL: &str = r#"
workers = 3
trusted_proxies = ["10.1.2.3/8", "192.0.2.7"]
include = []

[[listener]]
address = "192.0.2.1:8443"
protocol = "https"
public_port = 443
default_certificate = "apps"
trusted_proxies = ["2001:db8::/32"]
[listener.tls]
min_version = "1.3"
http2 = false

[[listener]]
address = ":8080"
protocol = "http"
public_port = 80

[certificates]
directories = ["certs", "/srv/certs"]

[storage]
kind = "file"
path = "/srv/doorward"

[acme]
issuer = "internal"
contact = ["mailto:ops@example.com"]
key = "rsa2048"
directory = "https://ca.example.com/dir"
trust = "/etc/ca.pem"
profile = "short"
eab = { key_id = "kid", hmac_key = "abc_-123" }

[[issuer]]
name = "internal"
directory = "https://ca.example.com/dir"
trust = "ca.pem"
profile = "long"
[issuer.eab]
key_id = "other"
hmac_key = "file:eab.key"

[[route]]
name = "shop"
hosts = ["Shop.example.com", "192.0.2.9"]
path = "/api/"
backend = ["127.0.0.1:3000", "[::1]:3001", "http://app:3002/", "http://app", 3003]
https = "both"
certificate = "auto"
self_signed_until_issued = true
host = "shop.internal:8080"
forwarded = true
tls_headers = true

[timeouts]
handshake = "1s"
request_header = "2s"
request_body = "3s"
keep_alive = "4s"
connect = "500ms"
first_byte = "5s"
idle = "6s"
write = "7s"
tunnel_idle = "2d"
backend_keep_alive = "8s"
drain = "9s"

[limits]
header_bytes = "16KiB"
header_count = 50
response_header_bytes = 0x4001
request_body_bytes = "10 MB"
connections = 1_000
handshakes = 10
h2_streams = 11
h2_resets = 12
backend_idle_connections = 0

[admin]
socket = "/tmp/admin.sock"

[metrics]
address = "127.0.0.1:9464"

[log]
level = "debug"
format = "json"
access = 0.25
"#;

/// The report on a config: one line for a fault, `line:column key: message; remedy`.
fn faults(text: &str) -> Vec<String> {
    short(&parse(text).expect_err("faults").faults)
}

fn warnings(text: &str) -> Vec<String> {
    short(&parse(text).unwrap_or_else(|faults| panic!("{faults}")).warnings)
}

fn short(faults: &[Fault]) -> Vec<String> {
    let short = |Fault { position, key, message, remedy, .. }: &Fault| {
        let Position { line, column } = position.expect("a place");
        format!("{line}:{column} {key}: {message}; {remedy}")
    };
    faults.iter().map(short).collect()
}

/// A config with both listeners, to put sections after; they take four lines.
fn with(rest: &str) -> String {
    format!("[[listener]]\naddress = \":443\"\n[[listener]]\naddress = \":80\"\nprotocol = \"http\"\n{rest}")
}

/// A route with these lines besides the hosts (6:1 is its header) and the backend.
fn route(lines: &str) -> String {
    with(&format!("[[route]]\nhosts = [\"a.example.com\"]\nbackend = 3000\n{lines}\n"))
}

#[test]
fn a_small_config_has_every_default() {
    let text = "[[listener]]\naddress = \":443\"\n[[route]]\nhosts = [\"example.com\"]\nbackend = 3000";
    let Loaded { config, warnings } = parse(text).expect("a config");
    assert_eq!(warnings, []);
    let address = "[::]:443".parse().expect("an address");
    let host = RouteHost::Pattern("example.com".parse().expect("a host"));
    let backend = "127.0.0.1:3000".parse().expect("a backend");
    let expected = Config {
        file: config.file.clone(),
        files: config.files.clone(),
        watched: config.watched.clone(),
        listeners: vec![Arc::new(Listener::new(address, ListenerProtocol::Https))],
        routes: vec![Arc::new(Route::new(vec![host], vec![backend]))],
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn every_key_is_read() {
    let Loaded { config, warnings } = parse(FULL).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(warnings, []);
    let listener = &config.listeners[0];
    assert_eq!(listener.tls, TlsOptions { min_version: TlsVersion::Tls13, http2: false });
    assert_eq!(listener.trusted_proxies, ["2001:db8::/32".parse().expect("a network")]);
    let trusted = ["10.0.0.0/8", "192.0.2.7/32"].map(|text| text.parse().expect("a network"));
    assert_eq!(config.listeners[1].trusted_proxies, trusted);
    assert_eq!(config.certificates.directories[0], config.file.with_file_name("certs"));
    let acme = config.acme.as_ref().expect("[acme]");
    assert_eq!((acme.contact.as_slice(), acme.key), (["ops@example.com".to_owned()].as_slice(), KeyType::Rsa2048));
    assert_eq!(acme.issuer.profile.as_deref(), Some("short"), "[acme] overrides [[issuer]]");
    let route = &config.routes[0];
    assert_eq!((route.hosts[0].to_string().as_str(), route.path.as_str()), ("shop.example.com", "/api"));
    let backends: Vec<String> = route.backend.iter().map(ToString::to_string).collect();
    assert_eq!(backends, ["127.0.0.1:3000", "[::1]:3001", "app:3002", "app:80", "127.0.0.1:3003"]);
    assert_eq!(config.limits.request_body_bytes, Some(10_000_000));
    assert_eq!(config.timeouts.tunnel_idle, std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(config.log.access, AccessLog::Share(0.25));
    // A key of FULL that were read into nothing would leave its default.
    let default = Config::default();
    assert_ne!((config.workers, &config.admin, &config.storage), (0, &default.admin, &default.storage));
    assert!(config.timeouts.clone().fields().iter().zip(default.timeouts.clone().fields()).all(|(a, b)| *a.1 != *b.1));
}

#[test]
fn what_is_shown_loads_to_the_same_config_but_for_secrets() {
    let mut config = parse(FULL).expect("a config").config;
    let shown = config.to_toml();
    assert!(shown.contains("hmac_key = \"***\"") && !shown.contains("abc_-123"), "{shown}");
    assert_eq!(faults(&shown).len(), 1, "the mask is not a key: {:?}", faults(&shown));
    let again = parse(&shown.replace("***", "abc_-123")).unwrap_or_else(|faults| panic!("{faults}\n{shown}")).config;
    assert_eq!(again, config);

    // Text that looks like a variable, or like TOML, stays text.
    let route = Arc::make_mut(&mut config.routes[0]);
    route.name = "a ${HOME} \"b\" $${c} \\ 'd' # é".to_owned();
    route.certificate = CertificateChoice::Directory;
    route.self_signed_until_issued = false;
    config.acme = None;
    assert_eq!(parse(&config.to_toml()).expect("a config").config, config);
    for access in [AccessLog::Off, AccessLog::Share(1.0), AccessLog::Share(0.000_001)] {
        config.log.access = access;
        assert_eq!(parse(&config.to_toml()).expect("a config").config.log.access, access);
    }
}

/// The keys of every section that [`FULL`] has, as the loader itself lists them.
fn known_keys() -> BTreeMap<String, Vec<String>> {
    let unknown = "zzzzzzzz = 1\n";
    let mut text = unknown.to_owned();
    for line in FULL.replace("eab = { ", "eab = { zzzzzzzz = 1, ").lines() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with('[') {
            text.push_str(unknown);
        }
    }
    let faults = parse(&text).expect_err("unknown keys").faults;
    let mut keys = BTreeMap::new();
    for fault in faults {
        let section: Vec<&str> = fault.key.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect();
        let list = fault.remedy.strip_prefix("the keys here are: ").expect("a list of keys");
        let section = section[..section.len() - 1].join(".");
        keys.insert(section, list.split(", ").map(str::to_owned).collect());
    }
    keys
}

#[test]
fn the_full_config_has_every_key_that_is_known() {
    let keys = known_keys();
    assert_eq!(keys.len(), 15, "{keys:?}");
    let table: toml::Table = FULL.parse().expect("TOML");
    for (section, keys) in &keys {
        let mut tables = vec![toml::Value::Table(table.clone())];
        for part in section.split('.').filter(|part| !part.is_empty()) {
            let inner = tables.into_iter().filter_map(|table| table.get(part).cloned());
            tables = inner.flat_map(|value| value.as_array().cloned().unwrap_or(vec![value])).collect();
        }
        for key in keys {
            assert!(tables.iter().any(|table| table.get(key).is_some()), "{section}.{key} is not in FULL");
        }
    }
}

#[test]
fn the_reference_has_every_key_that_is_known_and_no_other() {
    let reference = include_str!("../../docs/config.md");
    let mut documented: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut section = None;
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let name = heading.split('`').nth(1).map(|name| name.trim_matches(['[', ']']).to_owned());
            section = if heading == "Top level" { Some(String::new()) } else { name };
        } else if let (Some(section), Some(row)) = (&section, line.strip_prefix("| `")) {
            let key = row.split('`').next().unwrap_or_default();
            documented.entry(section.clone()).or_default().push(key.to_owned());
        }
    }
    let sorted = |keys: BTreeMap<String, Vec<String>>| -> BTreeMap<String, Vec<String>> {
        let sort = |mut keys: Vec<String>| {
            keys.sort();
            keys
        };
        keys.into_iter().map(|(section, keys)| (section, sort(keys))).collect()
    };
    let mut known = known_keys();
    // `[issuer.eab]` and `[acme.eab]` are one section of the reference.
    assert_eq!(known.remove("issuer.eab"), known.get("acme.eab").cloned());
    assert_eq!(sorted(documented), sorted(known));
}

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
            "7:1 listener[0].tls.foo: unknown key; the keys here are: min_version, http2",
        ]
    );
    assert_eq!(faults(&with("[listeners]\n")), ["6:2 listeners: unknown key; did you mean listener?"]);
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
            "3:12 listener[0].protocol: unknown value \"htps\"; did you mean \"https\"? one of: \"https\", \"http\"",
        ),
        (
            "[[listener]]\naddress = \":443\"\nprotocol = \"quic\"",
            "3:12 listener[0].protocol: unknown value \"quic\"; write one of: \"https\", \"http\"",
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
            "10:10 route[1].hosts[0]: a.example.com is on two routes; the other is at doorward.toml:7:10; remove one of them, or give one another path",
        ),
        (
            "path = \"/x\"\n[[route]]\npath = \"/x/\"\nhosts = [\"b.example.com\", \"a.example.com\"]\nbackend = 3001",
            "12:27 route[1].hosts[1]: a.example.com with the path /x is on two routes; the other is at doorward.toml:7:10; remove one of them, or give one another path",
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
            "8:11 route[0].backend: the backend has no port from 1 to 65535; add one, as in \"app:3000\" or \"127.0.0.1:3000\"",
        ),
        (
            "\"app:+80\"",
            "8:11 route[0].backend: the backend has no port from 1 to 65535; add one, as in \"app:3000\" or \"127.0.0.1:3000\"",
        ),
        (
            "\"https://app:443\"",
            "8:11 route[0].backend: https:// backends are not supported yet; doorward speaks http:// to backends; write host:port, or http://host:port",
        ),
        (
            "\"unix:/run/app.sock\"",
            "8:11 route[0].backend: unix socket backends are not supported yet; doorward speaks http:// to backends; write host:port, or http://host:port",
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
        (
            "[limits]\nheader_count = 0",
            "7:16 limits.header_count: the value is out of range; choose one from 1 to 4096",
        ),
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
            "7:10 acme.issuer: no issuer is called \"zz\"; add an [[issuer]] with this name, or choose one of: letsencrypt, letsencrypt-staging",
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
            "7:8 issuer[0].name: \"letsencrypt\" is the name of a built-in issuer; choose another name",
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
fn the_issuer_of_a_directory_has_a_name_for_the_storage() {
    for (lines, name, directory) in [
        ("", "letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
        (
            "issuer = \"letsencrypt-staging\"",
            "letsencrypt-staging",
            "https://acme-staging-v02.api.letsencrypt.org/directory",
        ),
        ("directory = \"https://[::1]:14000/dir\"", "1-14000-dir", "https://[::1]:14000/dir"),
        ("directory = \"https://localhost:14000/dir\"", "localhost-14000-dir", "https://localhost:14000/dir"),
        ("issuer = \"p\"\ndirectory = \"https://localhost:14000/dir\"", "p", "https://localhost:14000/dir"),
        ("issuer = \"mine\"\n[[issuer]]\nname = \"mine\"\ndirectory = \"https://a.b/d\"", "mine", "https://a.b/d"),
    ] {
        let config = parse(&with(&format!("[acme]\n{lines}"))).unwrap_or_else(|faults| panic!("{faults}")).config;
        assert_eq!(config.acme.map(|acme| acme.issuer), Some(Issuer::new(name, directory)), "{lines}");
    }
}
