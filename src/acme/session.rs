//! [`Session`]: an account at a CA for the length of one attempt, and what instant-acme does not tell.
//!
//! instant-acme drops Retry-After and the status of answers that are no JSON, and gives up after three bad
//! nonces; so its requests go through [`Recorder`], and every call through [`ask`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Order, Problem};

use super::AcmeError;
use crate::net::HttpsClient;

/// How often a call whose nonces were refused is made again; each is three attempts inside instant-acme.
pub(super) const NONCE_ROUNDS: u32 = 8;
const ERROR_PREFIX: &str = "urn:ietf:params:acme:error:";
const AGENT: &str = concat!("doorward/", env!("CARGO_PKG_VERSION"));

/// An account, ready to be used. Made for one attempt, so that its last answer is that attempt's.
pub(super) struct Session {
    pub(super) account: instant_acme::Account,
    pub(super) seen: Seen,
}

/// The last answer of the CA.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    directory: Arc<str>,
    last: Arc<Mutex<Last>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    status: u16,
    retry_after: Option<SystemTime>,
}

/// Makes a call of instant-acme until its nonce is taken, and explains its error.
macro_rules! ask {
    ($seen:expr, $call:expr) => {{
        let mut rounds = 0;
        loop {
            match $call.await {
                Err(error)
                    if rounds < $crate::acme::session::NONCE_ROUNDS && $crate::acme::session::is_bad_nonce(&error) =>
                {
                    rounds += 1;
                }
                Err(error) => break Err($seen.explain(error)),
                Ok(value) => break Ok(value),
            }
        }
    }};
}
pub(super) use ask;

impl Seen {
    pub(super) fn new(directory: &str) -> Self {
        Self { directory: directory.into(), last: Arc::default() }
    }

    /// The client for instant-acme whose answers are seen here.
    pub(super) fn recorder(&self, client: HttpsClient) -> Box<dyn HttpClient> {
        Box::new(Recorder { client, last: Arc::clone(&self.last) })
    }

    /// When the CA's last answer asked to be asked again.
    pub(super) fn retry_after(&self) -> Option<SystemTime> {
        self.last().retry_after
    }

    /// instant-acme's error, with what it left out.
    pub(super) fn explain(&self, error: Error) -> AcmeError {
        let last = self.last();
        match error {
            Error::Api(problem) => AcmeError::Refused {
                kind: kind(&problem),
                detail: detail(&problem),
                status: problem.status.unwrap_or(last.status),
                retry_after: last.retry_after,
            },
            Error::Json(_) if !(200..400).contains(&last.status) => AcmeError::Unavailable {
                status: last.status,
                directory: self.directory.to_string(),
                retry_after: last.retry_after,
            },
            Error::Json(e) => {
                AcmeError::Protocol(format!("{} does not answer as an ACME server ({e})", self.directory))
            }
            Error::Other(error) => match error.downcast() {
                Ok(error) => AcmeError::Unreachable(*error),
                Err(error) => AcmeError::Protocol(error.to_string()),
            },
            other => AcmeError::Protocol(other.to_string()),
        }
    }

    fn last(&self) -> Last {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "badNonce")
}

/// The type of a problem, short.
pub(super) fn kind(problem: &Problem) -> String {
    let full = problem.r#type.as_deref().unwrap_or("no type given");
    full.strip_prefix(ERROR_PREFIX).unwrap_or(full).to_owned()
}

/// What the CA said, with what it said of single names.
pub(super) fn detail(problem: &Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_else(|| "no reason given".to_owned());
    for sub in &problem.subproblems {
        text.push_str("; ");
        text.push_str(&sub.to_string());
    }
    text
}

/// Fetches what the CA wants proven; iterating over it then needs no network.
pub(super) async fn fetch_authorizations(session: &Session, order: &mut Order) -> Result<(), AcmeError> {
    ask!(session.seen, async {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            authorization?;
        }
        Ok(())
    })
}

struct Recorder {
    client: HttpsClient,
    last: Arc<Mutex<Last>>,
}

impl HttpClient for Recorder {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, last) = (self.client.clone(), Arc::clone(&self.last));
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            // RFC 8555 §6.1 wants to know the client first, then its library.
            if let Some(library) = parts.headers.get(USER_AGENT).and_then(|v| v.to_str().ok())
                && let Ok(agent) = HeaderValue::from_str(&format!("{AGENT} {library}"))
            {
                parts.headers.insert(USER_AGENT, agent);
            }
            let body = body.collect().await.unwrap_or_else(|never| match never {}).to_bytes();
            let answer = client.send(Request::from_parts(parts, body)).await.map_err(|e| Error::Other(Box::new(e)))?;
            let retry_after = answer.headers().get(RETRY_AFTER).and_then(|v| parse_retry_after(v, SystemTime::now()));
            *last.lock().unwrap_or_else(PoisonError::into_inner) =
                Last { status: answer.status().as_u16(), retry_after };
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// Seconds or a date (RFC 9110 §10.2.3).
pub(super) fn parse_retry_after(value: &HeaderValue, now: SystemTime) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => now.checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::now();
        let parse = |text: &'static str| parse_retry_after(&HeaderValue::from_static(text), now);
        assert_eq!(parse("120"), Some(now + Duration::from_secs(120)));
        assert_eq!(
            parse("Fri, 31 Dec 1999 23:59:59 GMT"),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_799))
        );
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("18446744073709551615"), None);
    }

    #[test]
    fn answers_that_are_no_json_are_explained() {
        let seen = Seen::new("https://ca.test/dir");
        let at = SystemTime::now() + Duration::from_secs(60);
        *seen.last.lock().expect("not poisoned") = Last { status: 503, retry_after: Some(at) };
        let error = seen.explain(Error::Json(serde_json::from_str::<u8>("<html>").expect_err("no JSON")));
        assert_eq!(error.retry_after(), Some(at));
        assert!(error.to_string().contains("503"), "{error}");
    }
}
