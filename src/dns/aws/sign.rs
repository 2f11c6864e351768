//! Signing a request (AWS Signature Version 4).

use std::time::SystemTime;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Request;

/// Whose name a request is signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub id: String,
    /// The access key.
    pub secret: String,
    /// The session's token, where they are temporary.
    pub token: Option<String>,
    /// When they end; never where none.
    pub expires: Option<SystemTime>,
    /// Where they are from, for people.
    pub source: &'static str,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).field("source", &self.source).finish_non_exhaustive()
    }
}

/// Why a request cannot be signed: it has a URI or a header that is none.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be signed: {0}")]
pub struct SigningError(String);

/// Signs `request`, whose URI is absolute, for a service of a region at a time. What is signed: method, URI, host,
/// the headers that are there, and the body.
///
/// # Errors
/// [`SigningError`].
pub fn sign(
    request: &mut Request<Bytes>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    time: SystemTime,
) -> Result<(), SigningError> {
    let failed = |error: &dyn std::fmt::Display| SigningError(error.to_string());
    let identity = aws_credential_types::Credentials::new(
        &credentials.id,
        &credentials.secret,
        credentials.token.clone(),
        credentials.expires,
        credentials.source,
    )
    .into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| failed(&e))?
        .into();
    let uri = request.uri().to_string();
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(request.body()));
    let signed = aws_sigv4::http_request::sign(signable.map_err(|e| failed(&e))?, &parameters);
    let (instructions, _) = signed.map_err(|e| failed(&e))?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// `get-vanilla` and `post-vanilla` of AWS's published test suite for Signature Version 4.
    #[test]
    fn the_published_vectors_hold() {
        let credentials = Credentials {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
            expires: None,
            source: "test",
        };
        // 2015-08-30T12:36:00Z
        let time = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        for (method, signature) in [
            ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ] {
            let request = Request::builder().method(method).uri("https://example.amazonaws.com/");
            let mut request = request.body(Bytes::new()).expect("a request");
            sign(&mut request, &credentials, "us-east-1", "service", time).expect("signs");
            let signed = request.headers()["authorization"].to_str().expect("text");
            assert!(signed.ends_with(signature), "{method}: {signed}");
        }
    }
}
