//! How certificates are to be had, by settings of several sections together.

use super::*;

#[test]
fn certificates_that_cannot_be_had() {
    let auto = |hosts: &str| with(&format!("[[route]]\nhosts = {hosts}\nbackend = 3000\ncertificate = \"auto\"\n"));
    assert_eq!(
        faults(&auto("[\"a.example.com\", \"*.example.com\", \"*\"]")),
        [
            "7:44 route[0].hosts[2]: certificate = \"auto\" needs names to ask for, and \"*\" is none; list the hosts by name, or leave out certificate = \"auto\" for this route",
        ]
    );
    assert_eq!(
        warnings(&auto("[\"app.local\", \"192.0.2.1\", \"a.example.com\"]")),
        [
            "7:10 route[0].hosts[0]: letsencrypt issues no certificate for app.local: the name is not public; write certificate = \"self-signed\", or name a CA of your own in [acme]",
            "7:23 route[0].hosts[1]: letsencrypt issues for an IP address in the profile shortlived only; write profile = \"shortlived\" in [acme], or in an [[issuer]] with name = \"letsencrypt\"",
        ]
    );
    let config = parse(&auto("[\"a.example.com\"]")).expect("a config").config;
    assert_eq!(config.acme, Some(Acme::default()), "ACME needs no section");
}

#[test]
fn no_port_to_prove_a_name_at_is_worth_a_warning() {
    let warning = "certificate: the CA proves a name by a request to port 80 (HTTP-01) or 443 (TLS-ALPN-01), and no listener has them; add a [[listener]] with address = \":80\" and protocol = \"http\" or one with address = \":443\", or public_port where a port is mapped to it";
    let route = "[[route]]\nhosts = [\"a.example.com\"]\nbackend = 3000\ncertificate = \"auto\"\n";
    let https = "[[listener]]\naddress = \":443\"\n";
    let other = "[[listener]]\naddress = \":8443\"\n";
    let http = "[[listener]]\naddress = \":8080\"\nprotocol = \"http\"\n";
    let own = "[acme]\ndirectory = \"https://localhost:14000/dir\"\nchallenges = [\"http-01\", \"tls-alpn-01\"]\n";
    let http_only = "[acme]\nchallenges = [\"http-01\"]\n";
    let none = || vec![format!("4:15 route[0].{warning}")];
    for (text, expected) in [
        (format!("{route}{https}"), vec![]),
        (format!("{route}{https}{http_only}"), none()),
        (format!("{route}{https}{http}{http_only}"), none()),
        (format!("{route}{https}{http}public_port = 80\n{http_only}"), vec![]),
        (format!("{route}{other}{own}"), vec![]),
        (format!("{route}{https}{http}{own}"), vec![]),
    ] {
        assert_eq!(warnings(&text), expected, "{text}");
    }
    let two = format!(
        "{route}{https}[[route]]\nhosts = [\"b.example.com\"]\nbackend = 1\ncertificate = \"auto\"\n{http_only}"
    );
    assert!(warnings(&two)[0].contains("has them (so it is with 1 more route);"), "{:?}", warnings(&two));
}

#[test]
fn names_are_proven_where_the_listeners_are() {
    let challenges = |text: &str| {
        let config = parse(&format!("{text}[acme]\n")).unwrap_or_else(|faults| panic!("{faults}")).config;
        config.acme.expect("[acme]").challenges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let (https, http) =
        ("[[listener]]\naddress = \":443\"\n", "[[listener]]\naddress = \":80\"\nprotocol = \"http\"\n");
    let elsewhere = "[[listener]]\naddress = \":8080\"\nprotocol = \"http\"\n";
    assert_eq!(challenges(&format!("{https}{http}")), "http-01 tls-alpn-01 dns-01");
    assert_eq!(challenges(https), "tls-alpn-01 dns-01");
    assert_eq!(challenges(http), "http-01 dns-01");
    assert_eq!(
        challenges(&format!("{elsewhere}{https}")),
        "tls-alpn-01 http-01 dns-01",
        "the port that CAs dial first"
    );
}

#[test]
fn issuers_are_asked_in_the_order_of_the_list() {
    let zerossl = "[[issuer]]\nname = \"zerossl\"\neab = { key_id = \"k\", hmac_key = \"abc\" }\n";
    let text = format!("{zerossl}[acme]\nissuer = [\"letsencrypt\", \"zerossl\", \"google\"]\n");
    let acme = parse(&with(&text)).unwrap_or_else(|faults| panic!("{faults}")).config.acme.expect("[acme]");
    let names: Vec<_> = acme.issuers().map(|issuer| issuer.name.as_str()).collect();
    assert_eq!(names, ["letsencrypt", "zerossl", "google"]);
    assert!(acme.fallback[0].eab.is_some() && acme.fallback[0].is_built_in());
    assert_eq!(acme.issuer.staging().map(|s| s.name).as_deref(), Some("letsencrypt-staging"));
    assert_eq!(acme.issuer.limits.per_domain.map(|rate| rate.to_string()).as_deref(), Some("50 in 7days"));
    let alone = acme.asking(&acme.fallback[0]);
    assert_eq!((alone.issuer.name.as_str(), alone.fallback.len()), ("zerossl", 0));

    for (lines, expected) in [
        (
            "issuer = []",
            "7:10 acme.issuer: no issuer is listed; list at least one, as in [\"letsencrypt\", \"zerossl\"]",
        ),
        ("issuer = [\"google\", \"google\"]", "7:21 acme.issuer[1]: \"google\" is listed twice; remove one of them"),
        (
            "issuer = [\"google\", \"zerossl\"]\nprofile = \"x\"",
            "8:1 acme.profile: the key is for one issuer, and several are listed; write it in an [[issuer]] with the name of the CA that it is for",
        ),
        (
            "challenges = [\"http-01\", \"http-01\"]",
            "7:26 acme.challenges[1]: http-01 is listed twice; remove one of them",
        ),
    ] {
        assert_eq!(faults(&with(&format!("[acme]\n{lines}"))), [expected], "{lines}");
    }
    // Without its binding a CA that wants one opens no account, which is worth a word where it is needed.
    let text = route("certificate = \"auto\"\n[acme]\nissuer = \"google\"");
    assert!(warnings(&text)[0].contains("external account binding"), "{:?}", warnings(&text));
}

#[test]
fn addresses_need_a_ca_that_issues_for_them() {
    let route = |acme: &str| {
        with(&format!("[[route]]\nhosts = [\"192.0.2.1\"]\nbackend = 3000\ncertificate = \"auto\"\n[acme]\n{acme}"))
    };
    assert_eq!(warnings(&route("profile = \"shortlived\"")), Vec::<String>::new());
    assert!(warnings(&route("profile = \"tlsserver\""))[0].contains("in the profile shortlived only"));
    let actalis = "issuer = \"actalis\"\neab = { key_id = \"k\", hmac_key = \"abc\" }";
    assert!(warnings(&route(actalis))[0].contains("actalis issues for no IP address"));
    assert_eq!(warnings(&route("directory = \"https://localhost/dir\"")), Vec::<String>::new());
}

#[test]
fn on_demand_needs_somebody_to_ask() {
    let on_demand = route("certificate = \"on-demand\"");
    assert!(faults(&on_demand)[0].contains("needs [on_demand]"), "{:?}", faults(&on_demand));
    let asked = format!("{on_demand}[on_demand]\nask = \"http://127.0.0.1:3000/allowed\"\n");
    assert_eq!(warnings(&asked), Vec::<String>::new());
    assert_eq!(parse(&asked).expect("a config").config.on_demand, Some(OnDemand::new("http://127.0.0.1:3000/allowed")));
    assert!(warnings(&format!("{asked}wait = \"11s\""))[0].contains("timeouts.handshake"));
    for (line, word) in [
        ("ask = \"ftp://a\"", "is not an http"),
        ("ask = \"http://a\"\nper_client = \"0 in 1h\"", "is no number in a time"),
    ] {
        let text = format!("{on_demand}[on_demand]\n{line}");
        assert!(faults(&text)[0].contains(word), "{:?}", faults(&text));
    }
}
