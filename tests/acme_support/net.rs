//! Small servers on loopback: a DNS server that knows every name but those that begin with `broken`, and the
//! port-80 side of a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use doorward::certs::Challenges;
use doorward::config::TlsOptions;
use doorward::tls::{Acceptor, Tickets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Starts the DNS server (a fake: A records for 127.0.0.1, RFC 1035 §4) and returns its address.
pub async fn dns() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut query).await {
            if let Some(answer) = dns_answer(&query[..length]) {
                let _ = socket.send_to(&answer, peer).await;
            }
        }
    });
    address
}

fn dns_answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += 1 + usize::from(query[end]);
    }
    let question = query.get(12..end + 5)?;
    let broken = question.get(1..)?.starts_with(b"broken");
    let is_a = question[question.len() - 4..] == [0, 1, 0, 1];
    let answers = u8::from(is_a && !broken);
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, if broken { 0x83 } else { 0x80 }, 0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend(question);
    if answers == 1 {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

/// What answers on "port 80": the challenges of the node that runs now, if one does.
#[derive(Clone, Default)]
pub struct Responder(Arc<ArcSwapOption<Challenges>>, Arc<AtomicBool>);

impl Responder {
    /// Starts it and returns its port.
    pub async fn start(&self) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let port = listener.local_addr().expect("an address").port();
        let (current, closed) = (Arc::clone(&self.0), Arc::clone(&self.1));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if closed.load(Ordering::Relaxed) {
                    continue;
                }
                let current = current.load_full();
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let length = stream.read(&mut request).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    let token = text.strip_prefix("GET /.well-known/acme-challenge/").and_then(|t| t.split(' ').next());
                    let answer = token.zip(current).and_then(|(token, challenges)| challenges.answer(token));
                    let (status, body) = answer.as_deref().map_or(("404 Not Found", "unknown"), |a| ("200 OK", a));
                    let head =
                        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        port
    }

    /// Starts "port 443" and returns its port: doorward's own acceptor, with nothing to serve but the challenges.
    pub async fn start_tls(&self) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let current = Arc::clone(&self.0);
        let tickets = Tickets::new().expect("tickets");
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let Some(challenges) = current.load_full() else { continue };
                let acceptor = Acceptor::new(&TlsOptions::default(), None, Arc::default(), None, &tickets);
                let acceptor = acceptor.expect("an acceptor").answering(challenges);
                tokio::spawn(async move { acceptor.accept(stream, address, peer.ip()).await.err() });
            }
        });
        address.port()
    }

    /// Whether "port 80" hangs up on everybody.
    pub fn close_http(&self, closed: bool) {
        self.1.store(closed, Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<Arc<Challenges>> {
        self.0.load_full()
    }

    pub fn set(&self, challenges: Option<Arc<Challenges>>) {
        self.0.store(challenges);
    }
}
