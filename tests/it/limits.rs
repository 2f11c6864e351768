//! What a client or a backend may cost.

use std::io::Write as _;

use crate::support::{Doorward, H2, Origin, RawH2, Setup, Tls, within};

const HOST: &str = "app.example.test";

#[test]
fn interim_answers_without_end_are_a_502() {
    let origin = Origin::raw(|mut stream, _| {
        let mut some = [0; 1024];
        let _ = std::io::Read::read(&mut stream, &mut some);
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").is_ok() {}
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let last = within("the last answer", || Some(client.reply()).filter(|reply| reply.status != 103));
    assert_eq!(last.status, 502);
    origin.wait_ended(1);
    assert_eq!(H2::connect(door.https, HOST).get(&format!("https://{HOST}/")).expect("an answer").status, 502);
    origin.wait_ended(2);
}

#[test]
fn too_large_a_head_over_h2_has_a_page_whose_id_is_in_the_log() {
    let origin = Origin::echo();
    let door =
        Setup::new().section("[limits]\nheader_bytes = 4096\nheader_count = 20").host(HOST, origin.address).start();
    let h2 = H2::connect(door.https, HOST);
    let ask = |path: &str, fields: &mut dyn Iterator<Item = (String, String)>| {
        let mut request = http::Request::get(format!("https://{HOST}{path}"));
        for (name, value) in fields {
            request = request.header(name, value);
        }
        h2.request(request.body(()).expect("a request"), None).expect("an answer")
    };
    for (path, many, size) in [("/large", 1, 5000), ("/many", 30, 1)] {
        let reply = ask(path, &mut (0..many).map(|n| (format!("x-{n}"), "x".repeat(size))));
        assert_eq!(reply.status, 431, "{path}");
        let id = door.access(path)["request_id"].as_str().expect("an id").to_owned();
        assert!(reply.text().contains(&id), "{id}: {}", reply.text());
    }
    assert_eq!(origin.seen().len(), 0);
    // Browsers send each cookie as a field of its own, but they are one (RFC 9113 §8.2.3).
    let reply = ask("/cookies", &mut (0..30).map(|n| ("cookie".to_owned(), format!("c{n}=1"))));
    assert_eq!(reply.status, 200);
    assert_eq!(origin.only().header("cookie").map(|text| text.split("; ").count()), Some(30));
}

#[test]
fn a_value_with_space_around_it_is_malformed_over_h2() {
    let origin = Origin::echo();
    let door = Doorward::for_app(origin.address);
    for value in [" x", "x ", "\tx"] {
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/"), ("x-a", value)];
        assert_eq!(RawH2::connect(door.https, HOST).request(&fields), Some(400), "{value:?}");
    }
    assert_eq!(origin.seen().len(), 0);
}

#[test]
fn a_client_of_h2_may_finish_its_upload_behind_a_413() {
    let door = Setup::new().section("[limits]\nrequest_body_bytes = 100").host(HOST, Origin::echo().address).start();
    let h2 = H2::connect(door.https, HOST);
    let url = format!("https://{HOST}/");
    for fields in [&[][..], &[("content-length", "101")]] {
        let mut request = http::Request::post(&url).body(()).expect("a request");
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        let mut send = h2.send.clone();
        let mut rest = h2.block_on(async move {
            let (response, mut body) = send.send_request(request, false).expect("sent");
            body.send_data("x".repeat(if fields.is_empty() { 101 } else { 50 }).into(), false).expect("sent");
            assert_eq!(response.await.expect("an answer").status(), 413, "{fields:?}");
            body
        });
        // Whatever else was said about that stream came before this.
        assert_eq!(h2.get(&url).expect("an answer").status, 200);
        // A reset, which RFC 9113 §8.1 allows, makes some clients lose the answer.
        rest.send_data("x".repeat(51).into(), true).expect("the stream is open");
    }
}
