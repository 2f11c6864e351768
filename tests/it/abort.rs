//! Clients that leave: the backend's work ends with them, and nothing of them is left behind.

use bytes::Bytes;
use std::sync::mpsc::{Sender, channel};

use crate::support::{Doorward, H2, Origin, Setup, Tls, drain, within};

const HOST: &str = "app.example.test";

/// A backend that reads and never answers; it tells of each request's head.
fn silent() -> (Origin, std::sync::mpsc::Receiver<()>) {
    let (heads, seen): (Sender<()>, _) = channel();
    let origin = Origin::raw(move |mut stream, _| {
        let mut some = [0; 1024];
        let _ = std::io::Read::read(&mut stream, &mut some);
        let _ = heads.send(());
        drain(&mut stream);
    });
    (origin, seen)
}

/// Whoever was there, nobody is left.
fn check_nothing_is_left(door: &Doorward) {
    for name in ["doorward_requests_under_way", "doorward_connections_open", "doorward_tunnels_open"] {
        within(&format!("{name} is 0"), || (door.gauge(name) == 0.0).then_some(()));
    }
    assert!(!door.log().iter().any(|line| line.to_string().contains("panicked")), "{:?}", door.log());
}

#[test]
fn a_client_that_leaves_behind_what_it_sent_ahead_is_missed() {
    let (origin, heads) = silent();
    let door = Setup::new().metrics().host(HOST, origin.address).start();
    let waiting = format!("GET /1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let ahead = [format!("{waiting}{waiting}"), format!("{waiting}\r\n"), waiting];
    for (count, text) in ahead.iter().enumerate() {
        let mut client = Tls::connect(door.https, HOST);
        client.send(text);
        heads.recv().expect("a request");
        drop(client);
        origin.wait_ended(count + 1);
    }
    check_nothing_is_left(&door);
}

#[test]
fn a_client_of_h2_that_resets_or_leaves_is_missed() {
    let (origin, heads) = silent();
    let door = Setup::new().metrics().host(HOST, origin.address).start();
    let mut ended = 0;
    for upload in [false, true] {
        for reset in [false, true] {
            let h2 = H2::connect(door.https, HOST);
            let mut send = h2.send.clone();
            let request = http::Request::post(format!("https://{HOST}/")).body(()).expect("a request");
            let (response, mut stream) = h2.block_on(async move { send.send_request(request, !upload) }).expect("sent");
            if upload {
                stream.send_data(Bytes::from_static(b"a part"), false).expect("sent");
            }
            heads.recv().expect("a request");
            if reset {
                stream.send_reset(h2::Reason::CANCEL);
                ended += 1;
                origin.wait_ended(ended);
                drop((response, stream, h2));
            } else {
                drop((response, stream, h2));
                ended += 1;
                origin.wait_ended(ended);
            }
        }
    }
    check_nothing_is_left(&door);
}
