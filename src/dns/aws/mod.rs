//! What of AWS doorward needs: signed requests, and whose name to sign them with.
//!
//! The official SDK would double the build; requests are signed by its signing crate over our HTTPS client, and
//! the credential chain is followed in `chain`.

mod chain;
mod metadata;
mod profile;
mod sign;
mod sts;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response};

use super::DnsError;
use crate::net::{ClientTimeouts, HttpsClient, HttpsClientError, Roots};

pub use sign::{Credentials, SigningError, sign};
pub use sts::Identity;

/// How long before their end credentials are renewed.
const MARGIN: Duration = Duration::from_secs(300);
/// How often a request is tried that AWS wants to be tried again.
const TRIES: u32 = 6;

/// The environment variables, or what a test has in their place.
#[derive(Clone)]
pub struct Environment(Arc<LookUp>);

type LookUp = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What a solver says of AWS; all of it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A role to assume.
    pub role: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// The region to sign for.
    pub region: Option<String>,
    /// A profile of the shared files.
    pub profile: Option<String>,
    /// Static credentials: id and secret.
    pub keys: Option<(String, String)>,
    /// The URL of every service, in place of AWS's.
    pub endpoint: Option<String>,
}

/// Signed access to AWS.
pub struct Aws {
    client: HttpsClient,
    /// For what answers at once on this machine or not at all.
    local: HttpsClient,
    environment: Environment,
    settings: Settings,
    cached: tokio::sync::Mutex<Option<Credentials>>,
}

/// An AWS service: its name in signatures and in hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Route53,
    Sts,
}

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok().filter(|value| !value.is_empty())))
    }

    /// One that `look` answers for.
    pub fn of(look: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

impl Aws {
    /// Access by these settings; nothing is asked yet.
    ///
    /// # Errors
    /// [`HttpsClientError`], where the trusted roots cannot be read.
    pub fn new(settings: Settings, environment: Environment) -> Result<Self, HttpsClientError> {
        let roots = environment.get("AWS_CA_BUNDLE").map_or(Roots::System, |file| Roots::File(file.into()));
        let client = HttpsClient::new(&roots, ClientTimeouts::default())?.allowing_http();
        let quick = ClientTimeouts { connect: Duration::from_secs(1), request: Duration::from_secs(3) };
        let local = HttpsClient::new(&roots, quick)?.allowing_http();
        Ok(Self { client, local, environment, settings, cached: tokio::sync::Mutex::default() })
    }

    /// Who this is, after the role was assumed where there is one.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn identity(&self) -> Result<Identity, DnsError> {
        let credentials = self.credentials().await?;
        self.caller_identity(&credentials).await
    }

    /// The credentials to sign with: those of the chain, or of the role that they may assume.
    ///
    /// # Errors
    /// [`DnsError::Credentials`], and what AWS answers.
    pub async fn credentials(&self) -> Result<Credentials, DnsError> {
        // Held while they are fetched: many records at once need them once.
        let mut cached = self.cached.lock().await;
        let lasts = |c: &Credentials| c.expires.is_none_or(|end| end > SystemTime::now() + MARGIN);
        if let Some(credentials) = cached.as_ref().filter(|c| lasts(c)) {
            return Ok(credentials.clone());
        }
        let mut credentials = self.chain().await?;
        if let Some(role) = &self.settings.role {
            credentials = self.assume_role(&credentials, role, self.settings.external_id.as_deref()).await?;
        }
        *cached = Some(credentials.clone());
        Ok(credentials)
    }

    /// Sends a signed request, again where AWS asks for that.
    pub(super) async fn send(
        &self,
        service: Service,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<Response<Bytes>, DnsError> {
        let credentials = self.credentials().await?;
        self.send_as(Some(&credentials), service, method, path, body).await
    }

    async fn send_as(
        &self,
        credentials: Option<&Credentials>,
        service: Service,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<Response<Bytes>, DnsError> {
        let (endpoint, region) = self.endpoint(service);
        let url = format!("{}{path}", endpoint.trim_end_matches('/'));
        let setup = |reason: String| DnsError::refused("AWS", "be asked", reason);
        let mut pause = Duration::from_millis(250);
        for attempt in 1.. {
            let content = if service == Service::Sts { "application/x-www-form-urlencoded" } else { "application/xml" };
            let request =
                Request::builder().method(method.clone()).uri(&url).header(http::header::CONTENT_TYPE, content);
            let mut request =
                request.body(Bytes::copy_from_slice(body.as_bytes())).map_err(|e| setup(e.to_string()))?;
            if let Some(credentials) = credentials {
                let name = service.name();
                sign(&mut request, credentials, &region, name, SystemTime::now()).map_err(|e| setup(e.to_string()))?;
            }
            let answer = self.client.send(request).await;
            let again = match &answer {
                Ok(answer) => is_to_be_tried_again(answer),
                Err(_) => true,
            };
            if !again || attempt >= TRIES {
                return Ok(answer?);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(setup("it was never asked".to_owned()))
    }

    /// Where a service is, and the region to sign for.
    fn endpoint(&self, service: Service) -> (String, String) {
        let region = self.region();
        let (suffix, home) = match region.split('-').next() {
            Some("cn") => ("amazonaws.com.cn", "cn-northwest-1"),
            _ if region.starts_with("us-gov-") => ("us-gov.amazonaws.com", "us-gov-west-1"),
            _ => ("amazonaws.com", "us-east-1"),
        };
        let name = match service {
            Service::Route53 => "AWS_ENDPOINT_URL_ROUTE_53",
            Service::Sts => "AWS_ENDPOINT_URL_STS",
        };
        let given = self.settings.endpoint.clone();
        let given = given.or_else(|| self.environment.get(name)).or_else(|| self.environment.get("AWS_ENDPOINT_URL"));
        match service {
            // One for the whole partition, and signed for where it is at home.
            Service::Route53 => (given.unwrap_or_else(|| format!("https://route53.{suffix}")), home.to_owned()),
            Service::Sts => {
                let suffix = suffix.trim_start_matches("us-gov.");
                (given.unwrap_or_else(|| format!("https://sts.{region}.{suffix}")), region)
            }
        }
    }

    fn region(&self) -> String {
        let written = self.settings.region.clone();
        let variable = || self.environment.get("AWS_REGION").or_else(|| self.environment.get("AWS_DEFAULT_REGION"));
        let found = written.or_else(variable).or_else(|| self.profile_region());
        found.unwrap_or_else(|| "us-east-1".to_owned())
    }
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Route53 => "route53",
            Self::Sts => "sts",
        }
    }
}

impl std::fmt::Debug for Aws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.settings.keys.as_ref().map(|(id, _)| id);
        f.debug_struct("Aws").field("role", &self.settings.role).field("keys", &keys).finish_non_exhaustive()
    }
}

/// Route 53 allows five requests a second and account, and one change a zone at a time.
fn is_to_be_tried_again(answer: &Response<Bytes>) -> bool {
    let body = String::from_utf8_lossy(answer.body());
    let busy = ["Throttling", "PriorRequestNotComplete", "RequestLimitExceeded", "PriorRequestNotComplete"];
    answer.status().is_server_error() || (!answer.status().is_success() && busy.iter().any(|word| body.contains(word)))
}

/// What AWS says in an answer that is an error: its code and words.
pub(super) fn reason(answer: &Response<Bytes>) -> String {
    let body = String::from_utf8_lossy(answer.body());
    let between = |tag: &str| {
        let rest = body.split_once(&format!("<{tag}>"))?.1;
        Some(rest.split_once("</")?.0.trim().to_owned())
    };
    match (between("Code"), between("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => format!("status {}", answer.status()),
    }
}
