//! One question to one DNS server and its answer: over UDP, and over TCP where the answer is too long (RFC 7766).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::DnsError;

/// How long one try takes at the most.
const TRY: Duration = Duration::from_secs(3);
/// How often a question is sent over UDP: datagrams get lost.
const TRIES: usize = 2;

/// Asks over UDP, and over TCP where the answer does not fit.
///
/// # Errors
/// [`DnsError::Server`], where no sound answer comes.
pub(super) async fn ask(server: SocketAddr, message: &Message) -> Result<Message, DnsError> {
    let bytes = message.to_vec().map_err(|e| problem(server, format!("cannot be asked: {e}")))?;
    let mut failed = problem(server, "does not answer");
    for _ in 0..TRIES {
        match tokio::time::timeout(TRY, over_udp(server, message.id, &bytes)).await {
            Ok(Ok(answer)) if answer.truncation => {
                return parse(server, message.id, &ask_over_tcp(server, &bytes).await?);
            }
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => failed = problem(server, format!("cannot be asked: {error}")),
            Err(_) => failed = problem(server, "does not answer"),
        }
    }
    Err(failed)
}

/// Sends a message over TCP, and gives the answer's bytes.
///
/// # Errors
/// [`DnsError::Server`].
pub(super) async fn ask_over_tcp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, DnsError> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(message);
        stream.write_all(&framed).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(2 * TRY, exchange).await {
        Ok(answer) => answer.map_err(|e| problem(server, format!("cannot be asked over TCP: {e}"))),
        Err(_) => Err(problem(server, "does not answer over TCP")),
    }
}

/// The message in an answer's bytes.
///
/// # Errors
/// [`DnsError::Server`], where it is none, or the answer to something else.
pub(super) fn parse(server: SocketAddr, id: u16, bytes: &[u8]) -> Result<Message, DnsError> {
    match Message::from_vec(bytes) {
        Ok(answer) if answer.id == id => Ok(answer),
        Ok(_) => Err(problem(server, "answers another question than was asked")),
        Err(error) => Err(problem(server, format!("sends no DNS message: {error}"))),
    }
}

/// An answer that says that there is something, or that there is nothing.
///
/// # Errors
/// [`DnsError::Server`], where the server says that it failed.
pub(super) fn sound(server: SocketAddr, answer: Message) -> Result<Message, DnsError> {
    match answer.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => Err(problem(server, format!("answers {code}"))),
    }
}

pub(super) fn problem(server: SocketAddr, problem: impl Into<String>) -> DnsError {
    DnsError::Server { server: server.to_string(), problem: problem.into() }
}

async fn over_udp(server: SocketAddr, id: u16, message: &[u8]) -> std::io::Result<Message> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A port at random, and nobody else's datagrams: the kernel lets only the server's in.
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is broken or foreign is not waited for twice: the next datagram may be the answer.
        if let Ok(answer) = Message::from_vec(&buffer[..length])
            && answer.id == id
        {
            return Ok(answer);
        }
    }
}
