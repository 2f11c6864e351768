//! Clients that stay with their endpoint.

use crate::support::{Doorward, Origin, Setup, Tls, ca, nobody, within};

const HOST: &str = "app.example.test";

fn door(endpoints: &[String], keys: &str) -> Doorward {
    let endpoints = endpoints.join(", ");
    Setup::new()
        .certificate("app", &ca().leaf(&[HOST]).issue())
        .section(&format!("[[backend]]\nname = \"app\"\nendpoints = [{endpoints}]\n{keys}"))
        .route(&format!("hosts = [\"{HOST}\"]\nbackend = \"app\"\nhttps = \"both\""))
        .start()
}

fn table(origin: &Origin) -> String {
    format!("{{ address = \"{}\", drain = false }}", origin.address)
}

/// Asks with these cookies: the endpoint's name, and the cookie that came.
fn ask(door: &Doorward, cookie: Option<&str>) -> (String, Option<String>) {
    let mut client = Tls::connect(door.https, HOST);
    let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: a=b; {cookie}; c=d\r\n"));
    let reply = client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\n")).reply();
    assert_eq!(reply.status, 200);
    (reply.text(), reply.header("set-cookie").map(str::to_owned))
}

fn pair(set_cookie: &str) -> &str {
    set_cookie.split(';').next().expect("a pair")
}

#[test]
fn a_client_stays_and_learns_no_address() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let door = door(&[table(&one), table(&two)], "sticky = {}");
    let (first, cookie) = ask(&door, None);
    let cookie = cookie.expect("a cookie");
    assert!(
        cookie.starts_with("doorward_app=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );
    for part in ["127.0.0.1", &one.address.port().to_string(), &two.address.port().to_string()] {
        assert!(!cookie.contains(part), "{cookie}");
    }
    for _ in 0..6 {
        assert_eq!(ask(&door, Some(pair(&cookie))), (first.clone(), None), "the same, and no further cookie");
    }
    // Others take turns, and a value that nobody gave is as none.
    let mut client = Tls::connect(door.https, HOST);
    let (a, b) = (client.get(HOST, "/").text(), client.get(HOST, "/").text());
    assert_ne!(a, b);
    assert!(ask(&door, Some("doorward_app=0123456789abcdef01234567")).1.is_some());
    // Without TLS the cookie is not Secure: the browser would not send it back.
    let answer = door.curl("http://app.example.test/").run();
    let plain = answer.header("set-cookie").expect("a cookie");
    assert!(plain.ends_with("; SameSite=Lax"), "{plain}");
    // The key outlasts a restart.
    let door = door.restart();
    assert_eq!(ask(&door, Some(pair(&cookie))), (first, None));
}

#[test]
fn the_cookie_is_as_the_config_says_and_goes_with_http2() {
    let one = Origin::named("one");
    let keys = "[backend.sticky]\ncookie = \"node\"\npath = \"/x\"\nlifetime = \"1h\"\nsecure = true\nhttp_only = false\nsame_site = \"strict\"";
    let door = door(&[table(&one), table(&Origin::named("two"))], keys);
    let answer = door.curl("https://app.example.test/").run();
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.starts_with("node=") && cookie.ends_with("; Path=/x; Max-Age=3600; SameSite=Strict; Secure"),
        "{cookie}"
    );
    let first = answer.text();
    for _ in 0..4 {
        let again = door.curl("https://app.example.test/").header(&format!("Cookie: {}", pair(&cookie))).run();
        assert_eq!((again.text(), again.header("set-cookie")), (first.clone(), None));
    }
}

#[test]
fn an_endpoint_that_is_gone_is_replaced_and_one_that_drains_keeps_its_clients() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let door = door(&[table(&one), table(&two)], "sticky = {}");
    let of_one = within("a client of one", || match ask(&door, None) {
        (name, Some(cookie)) if name == "one" => Some(pair(&cookie).to_owned()),
        _ => None,
    });
    let entry = format!("{}\", drain = ", one.address);
    door.rewrite(|text| text.replace(&format!("{entry}false"), &format!("{entry}true")));
    assert!(door.reload());
    assert_eq!(ask(&door, Some(&of_one)), ("one".to_owned(), None), "it keeps its clients");
    for _ in 0..4 {
        assert_eq!(ask(&door, None).0, "two", "and gets no others");
    }
    // A command goes further.
    let told = door.verb(&["backends", "disable", &one.address.to_string()]);
    assert!(told.status.success(), "{told:?}");
    let (name, cookie) = ask(&door, Some(&of_one));
    assert_eq!(name, "two");
    assert_ne!(pair(&cookie.expect("another one")), of_one);
    let told = door.verb(&["backends", "enable", &one.address.to_string()]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("drain = true"), "{told:?}");
    assert_eq!(ask(&door, Some(&of_one)).0, "one");
    // Gone from the config altogether.
    let whole = table(&one).replace("false", "true");
    door.rewrite(|text| text.replace(&format!("{whole}, "), ""));
    assert!(door.reload());
    let (name, cookie) = ask(&door, Some(&of_one));
    assert_eq!((name.as_str(), cookie.is_some()), ("two", true));
}

#[test]
fn a_sticky_endpoint_that_takes_no_connection_is_left_for_another() {
    let down = nobody();
    let app = Origin::named("app");
    // The only one at first, so that its cookie is known: the value stays with the address.
    let server = std::net::TcpListener::bind(down).expect("a port");
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = server.accept().expect("a connection");
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nonce").expect("an answer");
    });
    let door =
        door(&[format!("\"{down}\""), format!("{{ address = \"{}\", backup = true }}", app.address)], "sticky = {}");
    let (name, cookie) = ask(&door, None);
    assert_eq!(name, "once");
    answering.join().expect("it answers");
    let (name, again) = ask(&door, Some(pair(&cookie.expect("a cookie"))));
    assert_eq!(name, "app");
    assert_eq!(ask(&door, Some(pair(&again.expect("another one")))), ("app".to_owned(), None));
}

#[test]
fn a_cookie_is_renewed_before_its_lifetime_is_over() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let door = door(&[table(&one), table(&two)], "sticky = { lifetime = \"3s\" }");
    let (first, cookie) = ask(&door, None);
    let cookie = cookie.expect("a cookie");
    assert_eq!(ask(&door, Some(pair(&cookie))), (first.clone(), None), "a new one is not set again");
    let renewed = within("another cookie", || {
        let (name, renewed) = ask(&door, Some(pair(&cookie)));
        assert_eq!(name, first, "it stays all the while");
        renewed
    });
    assert!(pair(&renewed) != pair(&cookie) && renewed.contains("; Max-Age=3;"), "{renewed}");
    assert_eq!(ask(&door, Some(pair(&renewed))), (first, None));
}
