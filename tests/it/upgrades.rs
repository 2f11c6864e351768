//! Changes of protocol, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use crate::support::{Doorward, Origin, Tls, drain, read_reply};

const HOST: &str = "app.example.test";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

fn request(more: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n{more}\r\n")
}

#[test]
fn what_stands_right_behind_either_head_is_said_in_the_tunnel() {
    let origin = Origin::scripted(|_, stream| {
        let _ = stream.write_all(&[SWITCH, b"hello "].concat());
        let mut early = [0; 5];
        stream.read_exact(&mut early).is_ok() && stream.write_all(&early).is_ok() && {
            // Half closed: the client still speaks.
            let _ = stream.shutdown(Shutdown::Write);
            let mut late = [0; 4];
            let _ = stream.read_exact(&mut late);
            assert_eq!(&late, b"late");
            false
        }
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(request("") + "early");
    assert_eq!(read_reply(&mut client.stream, true).status, 101);
    let mut said = Vec::new();
    client.stream.read_to_end(&mut said).expect("a clean end of the backend's side");
    assert_eq!(String::from_utf8_lossy(&said), "hello early");
    client.send("late");
    drop(client);
    origin.wait_ended(1);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_switch_before_the_end_of_the_request_is_a_502() {
    let origin = Origin::raw(|mut stream, _| {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some);
        let _ = stream.write_all(SWITCH);
        drain(&mut stream);
    });
    let door = Doorward::for_app(origin.address);
    let mut client = Tls::connect(door.https, HOST);
    client.send(request("Content-Length: 10\r\n") + "half");
    assert_eq!(client.reply().status, 502);
    origin.wait_ended(1);
}
