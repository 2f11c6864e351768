//! The examples about backends, with their addresses replaced by those of real ones, do what they say.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use crate::backend_tls::{Server, pin};
use crate::support::{Named, Origin, Setup, TestCa, Tls, ca, nobody, within};

#[test]
fn the_example_with_several_endpoints() {
    let origins = [Origin::named("five"), Origin::named("six"), Origin::named("seven"), Origin::named("backup")];
    let wiki = [Origin::named("a"), Origin::named("b")];
    let records: String =
        wiki.iter().map(|origin| format!("_http._tcp.wiki SRV 1 1 {} ns\n", origin.address.port())).collect();
    // The same port at two addresses, and one where nobody listens.
    let api = Origin::named("api");
    let port = api.address.port();
    let standby = Origin::named("standby");
    let records = format!("{records}api A 127.0.0.1\napi A 127.0.0.9\nstandby A 127.0.0.1\nstandby A 127.0.0.9\n");
    let dns = Named::start(&records);
    let places = ["10.0.0.5:8080", "10.0.0.6:8080", "10.0.0.7:8080", "10.1.0.5:8080"];
    let mut replaced: Vec<(&str, String)> =
        places.into_iter().zip(&origins).map(|(place, origin)| (place, origin.address.to_string())).collect();
    replaced.push(("wiki.internal", "wiki.names.test".to_owned()));
    replaced.push(("api.internal:8080", format!("api.names.test:{port}")));
    replaced.push(("standby.example.net:8080", format!("standby.names.test:{}", standby.address.port())));
    let reports = Origin::named("reports");
    replaced.push(("10.0.0.8:8080", reports.address.to_string()));
    replaced.push(("10.0.0.9:8080", nobody().to_string()));
    let names = ["shop.example.com", "wiki.example.com", "api.example.com", "reports.example.com"];
    let door = Setup::new()
        .head(&format!("resolvers = [\"{}\"]", dns.address))
        .certificate("all", &ca().leaf(&names).issue())
        .example("several-endpoints.toml", &replaced)
        .start();
    let mut client = Tls::connect(door.https, names[0]);
    // The least busy for its weight, then the next; never the drained one, and the backup last.
    for (expected, origin) in ["five", "six", "backup"].into_iter().zip([&origins[0], &origins[1], &origins[3]]) {
        let seen: BTreeSet<String> = (0..6).map(|_| client.get(names[0], "/").text()).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [expected]);
        assert!(door.verb(&["backends", "drain", &origin.address.to_string()]).status.success());
    }
    assert_eq!(client.get(names[0], "/").status, 503);
    let mut client = Tls::connect(door.https, names[1]);
    let first = client.get(names[1], "/");
    let cookie = first.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("doorward_wiki=") && cookie.contains("; Max-Age=43200"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    for _ in 0..4 {
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nCookie: {pair}\r\n\r\n", names[1]);
        assert_eq!(client.send(request).reply().text(), first.text());
    }
    let mut client = Tls::connect(door.https, names[2]);
    for (expected, address) in [("api", format!("127.0.0.1:{port}")), ("standby", String::new())] {
        assert_eq!(client.get(names[2], "/").text(), expected);
        if !address.is_empty() {
            assert!(door.verb(&["backends", "disable", &format!("127.0.0.9:{port}")]).status.success());
            assert!(door.verb(&["backends", "drain", &address]).status.success());
        }
    }
    // About half of the tenants belong to the one where nobody is, and are taken to the other.
    let mut client = Tls::connect(door.https, names[3]);
    let ejected = || door.log().iter().any(|line| line["message"] == "the endpoint fails requests and is left alone");
    within("three failures in a row", || {
        (0..8).for_each(|tenant| {
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Tenant: {tenant}\r\n\r\n", names[3]);
            assert_eq!(client.send(request).reply().text(), "reports");
        });
        ejected().then_some(())
    });
}

#[test]
fn the_example_with_encrypted_backends() {
    let setup = Setup::new();
    let folder = setup.home().join("backends");
    fs::create_dir(&folder).expect("a folder");
    let client_ca = TestCa::new();
    let clients = folder.join("clients.pem");
    fs::write(&clients, format!("{}{}", client_ca.root_pem, client_ca.intermediate_pem)).expect("a file");
    fs::write(folder.join("ca.pem"), &ca().root_pem).expect("a file");
    client_ca.leaf(&["edge"]).client().issue().write(&folder);
    let clients = clients.display().to_string();
    let mutual = ["-Verify", "3", "-verify_return_error", "-CAfile", &clients];
    let shop = [1, 2].map(|n| {
        let leaf = ca().leaf(&["shop.internal"]).issue();
        Server::start(setup.home(), &format!("shop{n}"), &leaf, &mutual)
    });
    let own = TestCa::new().leaf(&["legacy"]).issue();
    let legacy = Server::start(setup.home(), "legacy", &own, &[]);
    let origin = Server::start(setup.home(), "origin", &ca().leaf(&["origin.names.test"]).issue(), &[]);
    let dns = Named::start("origin A 127.0.0.1");
    let socket = setup.home().join("app.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix");
        }
    });
    let replaced = [
        ("origin.example.net", format!("origin.names.test:{}", origin.address.port())),
        ("10.0.0.5:8443", shop[0].address.to_string()),
        ("10.0.0.6:8443", shop[1].address.to_string()),
        ("10.0.0.7:8443", legacy.address.to_string()),
        ("/etc/doorward/backends/client.pem", folder.join("fullchain.pem").display().to_string()),
        ("/etc/doorward/backends/client.key", folder.join("privkey.pem").display().to_string()),
        ("/etc/doorward/backends", folder.display().to_string()),
        ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", pin(&own, setup.home())),
        ("/run/app/app.sock", socket.display().to_string()),
    ];
    let names = ["www.example.com", "shop.example.com", "legacy.example.com", "app.example.com"];
    let door = setup
        .head(&format!("resolvers = [\"{}\"]", dns.address))
        .certificate("all", &ca().leaf(&names).issue())
        .example("encrypted-backends.toml", &replaced)
        .start();
    for name in &names[1..3] {
        let answer = door.curl(&format!("https://{name}/")).run();
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(answer.text().contains("TLSv1.3"), "{name}: {}", answer.text());
    }
    assert_eq!(door.curl("https://app.example.com/").run().text(), "unix");
    // Nobody but the tests knows this one's CA, so it is not believed.
    assert_eq!(door.curl("https://www.example.com/unknown").run().status, 502);
    let line = door.access("/unknown").to_string();
    assert!(line.contains("UnknownIssuer") && line.contains("origin.names.test"), "{line}");
}
