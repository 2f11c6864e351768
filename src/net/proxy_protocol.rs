//! The PROXY protocol, received: who is at the other end of a proxy that passes TCP on (HAProxy's
//! `proxy-protocol.txt`, versions 1 and 2).

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is read: addresses, and TLVs as large as they come in practice.
const LONGEST_V2: usize = 4096;

/// The two ends of the connection that a proxy passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client.
    pub source: SocketAddr,
    /// What the client dialled.
    pub destination: SocketAddr,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyProtocolError {
    /// What came is none. The connection is worth nothing: who it is from is not known.
    #[error("the connection does not begin with a PROXY protocol header")]
    Malformed,
    /// Longer than any that a proxy sends.
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// The connection ended or broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header, and not a byte behind it. None: the proxy speaks for itself, as in a health check.
/// The caller bounds the time.
///
/// # Errors
/// [`ProxyProtocolError`].
pub async fn read(stream: &mut TcpStream) -> Result<Option<Proxied>, ProxyProtocolError> {
    let mut bytes = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == SIGNATURE {
        bytes.resize(16, 0);
        stream.read_exact(&mut bytes[12..]).await?;
        let length = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        if length > LONGEST_V2 {
            return Err(ProxyProtocolError::TooLong);
        }
        bytes.resize(length, 0);
        stream.read_exact(&mut bytes[16..]).await?;
    } else if bytes.starts_with(b"PROXY ") {
        read_line(stream, &mut bytes).await?;
    } else {
        return Err(ProxyProtocolError::Malformed);
    }
    parse(&bytes)
}

/// Reads up to the line's end. What is there is looked at before it is taken, as what follows is not ours.
async fn read_line(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), ProxyProtocolError> {
    while bytes.last() != Some(&b'\n') {
        let mut ahead = [0; LONGEST_V1];
        let room = LONGEST_V1.saturating_sub(bytes.len());
        if room == 0 {
            return Err(ProxyProtocolError::TooLong);
        }
        let seen = stream.peek(&mut ahead[..room]).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let take = memchr::memchr(b'\n', &ahead[..seen]).map_or(seen, |end| end + 1);
        let start = bytes.len();
        bytes.resize(start + take, 0);
        stream.read_exact(&mut bytes[start..]).await?;
    }
    Ok(())
}

/// Reads a header that is `bytes`, all of it.
///
/// # Errors
/// [`ProxyProtocolError::Malformed`].
pub fn parse(bytes: &[u8]) -> Result<Option<Proxied>, ProxyProtocolError> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (header, used) = ProxyHeader::parse(bytes, config).map_err(|_| ProxyProtocolError::Malformed)?;
    match header.proxied_address() {
        _ if used != bytes.len() => Err(ProxyProtocolError::Malformed),
        None => Ok(None),
        Some(address) if address.protocol == Protocol::Stream => {
            Ok(Some(Proxied { source: address.source, destination: address.destination }))
        }
        Some(_) => Err(ProxyProtocolError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What is read of `bytes` when they come in pieces of `step`, and what is left behind it.
    async fn send(bytes: &[u8], step: usize) -> (Result<Option<Proxied>, ProxyProtocolError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        client.set_nodelay(true).expect("set");
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let sending = async {
            for piece in bytes.chunks(step) {
                client.write_all(piece).await.expect("sent");
                tokio::task::yield_now().await;
            }
            client.shutdown().await.expect("ended");
        };
        let (result, ()) = tokio::join!(read(&mut stream), sending);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("the rest");
        (result, rest)
    }

    #[tokio::test]
    async fn both_versions_are_read_to_the_last_byte_and_no_further() {
        let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nREST".to_vec();
        let mut v2 = SIGNATURE.to_vec();
        v2.extend([0x21, 0x11, 0, 15, 192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb, 4, 0, 0]);
        v2.extend(b"REST");
        let proxied = Proxied {
            source: "192.0.2.7:56324".parse().expect("an address"),
            destination: "198.51.100.1:443".parse().expect("an address"),
        };
        for step in [1, 5, 1000] {
            for bytes in [&v1, &v2] {
                let (result, rest) = send(bytes, step).await;
                assert_eq!(result.expect("a header"), Some(proxied));
                assert_eq!(rest, b"REST");
            }
            let (result, rest) = send(b"PROXY UNKNOWN\r\nREST", step).await;
            assert_eq!((result.expect("a header"), rest), (None, b"REST".to_vec()));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            b"PROXY TCP4 999.0.2.7 198.51.100.1 56324 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n\n\n",
            b"PROXY TCP4",
            b"PROXY ",
            &[b"PROXY ".to_vec(), vec![b'x'; 200]].concat(),
            &[SIGNATURE.to_vec(), vec![0x21, 0x11, 0xff, 0xff]].concat(),
            &[SIGNATURE.to_vec(), vec![0x21, 0x11, 0, 2, 1, 2]].concat(),
        ] {
            let (result, _) = send(bytes, 1000).await;
            assert!(result.is_err(), "{bytes:?}: {result:?}");
        }
    }
}
