//! Several workers: a connection is served where there is room, whichever socket the kernel gave it to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::{Origin, Setup, tcp, within};

/// A connection that was served and stays open.
fn served(address: SocketAddr) -> TcpStream {
    let mut stream = tcp(address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n").expect("sent");
    let mut start = [0; 9];
    stream.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 ");
    stream
}

#[test]
fn of_two_connections_that_stay_each_worker_has_one() {
    let app = Origin::echo();
    let door = Setup::new().host("app.example.test", app.address).metrics().start();
    let open = |worker: usize| door.gauge(&format!("doorward_worker_connections_open{{worker=\"{worker}\"}}"));
    // The kernel goes by a hash of addresses and ports: left to it, half of these pairs would share a worker.
    for round in 0..12 {
        let held = [served(door.http), served(door.http)];
        assert_eq!((open(0), open(1)), (1.0, 1.0), "round {round}");
        drop(held);
        within("both are closed", || (open(0) + open(1) == 0.0).then_some(()));
    }
    assert!(door.gauge("doorward_connections_given_total") > 0.0, "none was given away");
}
