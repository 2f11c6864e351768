//! Every key: read, shown again, and in the reference.

use std::collections::BTreeMap;

use super::*;

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
        routes: vec![Arc::new(Route::new(vec![host], [backend]))],
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn every_key_is_read() {
    let Loaded { config, warnings } = parse(FULL).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(warnings, []);
    let listener = &config.listeners[0];
    assert_eq!(listener.tls, TlsOptions { min_version: TlsVersion::Tls13, http2: false, alpn: None });
    assert_eq!(listener.trusted_proxies, ["2001:db8::/32".parse().expect("a network")]);
    let trusted = ["10.0.0.0/8", "192.0.2.7/32"].map(|text| text.parse().expect("a network"));
    assert_eq!(config.listeners[1].trusted_proxies, trusted);
    assert_eq!(config.certificates.directories[0], config.file.with_file_name("certs"));
    let acme = config.acme.as_ref().expect("[acme]");
    assert_eq!((acme.contact.as_slice(), acme.key), (["ops@example.com".to_owned()].as_slice(), KeyType::Rsa2048));
    assert_eq!(acme.issuer.profile.as_deref(), Some("short"), "[acme] overrides [[issuer]]");
    let solver = &config.dns[0];
    assert_eq!((solver.ttl, solver.propagation_timeout.as_secs()), (30, 90));
    assert_eq!(solver.settings.len(), solver.provider.settings.len());
    assert_eq!(solver.zones[0].as_str(), "example.org");
    assert_eq!(solver.nameservers, ["192.0.2.54:53".parse().expect("an address")]);
    assert_eq!(config.resolvers[1], "[2001:db8::53]:5353".parse().expect("an address"));
    let route = &config.routes[0];
    assert_eq!((route.hosts[0].to_string().as_str(), route.path.as_str()), ("shop.example.com", "/api"));
    let backends: Vec<String> = route.backend.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
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
    Arc::make_mut(&mut config.listeners[0]).default_route = Some(route.name.clone());
    route.certificate = CertificateChoice::Directory;
    route.self_signed_until_issued = false;
    config.acme = None;
    config.dns[0].settings.retain(|name, _| !name.contains("access_key"));
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
    assert_eq!(keys.len(), 26, "{keys:?}");
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
    let reference = include_str!("../../../docs/config.md");
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
fn the_reference_has_every_dns_provider_and_what_it_is_told() {
    let reference = include_str!("../../../docs/config.md");
    for provider in DnsProvider::all() {
        let row = reference.lines().find(|line| line.starts_with(&format!("| {} |", provider.name)));
        let row = row.unwrap_or_else(|| panic!("{} is in the reference", provider.name));
        for setting in provider.settings {
            assert!(row.contains(&format!("`{}`", setting.name)), "{}.{}: {row}", provider.name, setting.name);
        }
        assert_eq!(row.matches('`').count(), 2 * provider.settings.len(), "{row}");
    }
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

/// The keys whose documented default is compared with the one that holds.
const DEFAULTS: [&str; 6] = ["listener.tls", "storage", "timeouts", "limits", "admin", "log"];

#[test]
fn the_reference_has_the_defaults_that_hold() {
    let shown = parse("[[listener]]\naddress = \":443\"").expect("a config").config.to_toml();
    let mut compared = 0;
    for section in DEFAULTS {
        let values = shown.split(&format!("[{section}]\n")).nth(1).expect("the section").lines();
        for line in values.take_while(|line| line.contains(" = ")) {
            let (key, value) = line.split_once(" = ").expect("a value");
            let row = include_str!("../../../docs/config.md")
                .split(&format!("\n## `[{section}]`\n"))
                .nth(1)
                .and_then(|text| text.lines().find(|line| line.starts_with(&format!("| `{key}` |"))))
                .unwrap_or_else(|| panic!("{section}.{key} is in the reference"));
            assert_eq!(row.split('|').nth(3).map(str::trim), Some(format!("`{value}`").as_str()), "{section}.{key}");
            compared += 1;
        }
    }
    assert_eq!(compared, 31);
}
