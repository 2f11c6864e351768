//! [`probe`]: whether a CA is up, by the two requests with which every ACME client begins.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response};

use super::AcmeError;
use super::session::parse_retry_after;
use crate::config::Issuer;
use crate::net::{ClientTimeouts, HttpsClient, Roots};

/// Fetches the directory (RFC 8555 §7.1.1) and a nonce (§7.2).
///
/// # Errors
/// [`AcmeError`]: nobody answers, or not as an ACME server that is up.
pub(super) async fn probe(issuer: &Issuer) -> Result<(), AcmeError> {
    let roots = issuer.trust.clone().map_or(Roots::System, Roots::File);
    let client = HttpsClient::new(&roots, ClientTimeouts::default()).map_err(AcmeError::Unreachable)?;
    let directory = ask(&client, issuer, Method::GET, &issuer.directory).await?;
    let directory: serde_json::Value = serde_json::from_slice(directory.body())
        .map_err(|error| AcmeError::Protocol(format!("{} is no ACME directory ({error})", issuer.directory)))?;
    let nonce = directory["newNonce"].as_str().unwrap_or_default();
    ask(&client, issuer, Method::HEAD, nonce).await.map(drop)
}

async fn ask(client: &HttpsClient, issuer: &Issuer, method: Method, url: &str) -> Result<Response<Bytes>, AcmeError> {
    let request = Request::builder().method(method).uri(url).body(Bytes::new());
    let request = request.map_err(|_| AcmeError::Protocol(format!("{} has no usable newNonce", issuer.directory)))?;
    let answer = client.send(request).await.map_err(AcmeError::Unreachable)?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(AcmeError::Unavailable {
        status: answer.status().as_u16(),
        directory: issuer.directory.clone(),
        retry_after: answer.headers().get(RETRY_AFTER).and_then(|at| parse_retry_after(at, SystemTime::now())),
    })
}
