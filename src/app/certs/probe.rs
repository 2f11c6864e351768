//! The probe of HTTP-01: what each address of a name answers where a CA would ask.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::admin::certs::Probe;

/// How long one address may take: CAs wait about as long.
const PATIENCE: Duration = Duration::from_secs(10);
/// As much of an answer as is looked at, in bytes.
const ANSWER: u64 = 4096;

/// Asks `http://NAME:PORT/.well-known/acme-challenge/TOKEN` at one address, as a CA does (RFC 8555 §8.3), and
/// holds the answer against what this doorward would say.
pub(super) async fn ask(address: IpAddr, port: u16, name: &str, token: &str, expected: &str) -> Probe {
    let asked = tokio::time::timeout(PATIENCE, exchange(SocketAddr::new(address, port), name, token));
    let (reached, message) = match asked.await {
        Err(_) => (false, format!("no answer within {} s: is port {port} open in the firewall?", PATIENCE.as_secs())),
        Ok(Err(error)) => (false, format!("no connection to port {port}: {error}")),
        Ok(Ok(answer)) => judge(&answer, expected),
    };
    Probe { address, reached, message }
}

async fn exchange(address: SocketAddr, name: &str, token: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let host = if address.port() == 80 { name.to_owned() } else { format!("{name}:{}", address.port()) };
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: doorward-probe\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether it is this doorward that answered, and what else it looks like.
fn judge(answer: &str, expected: &str) -> (bool, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or("");
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    if status == "200" && body.contains(expected) {
        return (true, "this doorward answers the CA's question".to_owned());
    }
    let server = field("server").map_or_else(String::new, |server| format!(" (Server: {})", clean(&server)));
    let what = match (status, field("location")) {
        ("", _) => "what answers there does not speak HTTP".to_owned(),
        (status, Some(location)) if status.starts_with('3') => {
            format!("redirected to {}; a CA follows that, but it has to end at this doorward", clean(&location))
        }
        (status, _) => format!("something else answers, with status {status}"),
    };
    (false, format!("{what}{server}: does the name lead to this doorward?"))
}

/// What a foreign server said, with nothing that a terminal would obey, and not too long.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert!(judge("HTTP/1.1 200 OK\r\n\r\nexpected", "expected").0);
        for (answer, says) in [
            ("HTTP/1.1 404 Not Found\r\nServer: nginx\x1b\r\n\r\nexpected", "status 404 (Server: nginx)"),
            ("HTTP/1.1 200 OK\r\n\r\nother", "status 200"),
            ("HTTP/1.1 301 Moved\r\nLocation: https://x.test/\r\n\r\n", "redirected to https://x.test/"),
            ("\x16\x03", "does not speak HTTP"),
            ("", "does not speak HTTP"),
        ] {
            let (reached, message) = judge(answer, "expected");
            assert!(!reached && message.contains(says), "{answer:?}: {message}");
        }
    }
}
