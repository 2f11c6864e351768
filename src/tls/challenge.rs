//! A CA's question: a handshake in which `acme-tls/1` alone is offered (RFC 8737 §3).

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::accept::{AcceptError, Accepted, failure};
use super::hello::{self, Hello};
use super::stream::Stream;
use crate::certs::Challenges;

/// The protocol (RFC 8737 §6.2).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Answers with the certificate that proves the name, and closes. Never gives a connection.
pub(super) async fn answer<IO>(
    challenges: Option<&Challenges>,
    base: &ServerConfig,
    mut io: IO,
    hello: Hello,
) -> Result<Accepted<IO>, AcceptError<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Hello { sni, bytes, .. } = hello;
    let found = sni.zip(challenges).and_then(|(name, all)| Some((all.certificate(name.as_str())?, name)));
    let Some((certificate, name)) = found else {
        hello::send_alert(&mut io, hello::NO_APPLICATION_PROTOCOL).await;
        return Err(AcceptError::Tls(
            "acme-tls/1 alone is offered, and nobody asked for proof of this name".to_owned(),
        ));
    };
    let mut config = base.clone();
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.cert_resolver = certificate as Arc<dyn ResolvesServerCert>;
    // A session of this handshake is good for nothing.
    config.send_tls13_tickets = 0;
    let mut stream = Stream::handshake(io, Arc::new(config), bytes).await.map_err(failure)?;
    // The CA has seen what it wanted; whether it waits for the end is its own business.
    let _gone = stream.shutdown().await;
    Err(AcceptError::Challenge(name))
}
