//! Cloudflare, by its API v4: with a token, or with the global key and its mail address.

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use serde::Deserialize;
use serde_json::json;

use super::provider::{Change, DnsProvider, ancestors};
use super::{DnsError, TxtRecord};
use crate::net::{ClientTimeouts, HttpsClient, HttpsClientError, Roots, form};

const PROVIDER: &str = "Cloudflare";
const API: &str = "https://api.cloudflare.com/client/v4";
/// Records a page: the API's default.
const PAGE: &str = "100";
/// Zones a page: the most that the API gives.
const ZONES_PAGE: &str = "50";
/// Cloudflare's "automatic" is 1; else 60 is the least.
const LEAST_TTL: u32 = 60;

/// Zones at Cloudflare.
pub(super) struct Cloudflare {
    client: HttpsClient,
    api: String,
    headers: Vec<(&'static str, HeaderValue)>,
}

/// What is common to all answers.
#[derive(Deserialize)]
struct Answer<T> {
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Fault>,
    result: Option<T>,
    result_info: Option<PageInfo>,
}

#[derive(Deserialize)]
struct Fault {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct PageInfo {
    total_pages: Option<u32>,
}

#[derive(Deserialize)]
struct Zone {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    content: String,
}

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "id")]
    _id: String,
}

impl Cloudflare {
    /// Access by a token, or by key and mail address.
    ///
    /// # Errors
    /// What is wrong with them, or that the trusted roots cannot be read.
    pub(super) fn new(token: Option<&str>, key: Option<(&str, &str)>, api: Option<&str>) -> Result<Self, String> {
        let client = HttpsClient::new(&Roots::System, ClientTimeouts::default());
        let mut client = client.map_err(|e: HttpsClientError| e.to_string())?;
        // Only where an operator wrote it.
        if api.is_some() {
            client = client.allowing_http();
        }
        let value = |text: &str| {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| "the secret has a character that no secret of Cloudflare has; copy it again".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        let headers = match (token, key) {
            (Some(token), _) => vec![("authorization", value(&format!("Bearer {}", token.trim()))?)],
            (None, Some((key, email))) => {
                vec![("x-auth-key", value(key.trim())?), ("x-auth-email", value(email.trim())?)]
            }
            (None, None) => return Err("it needs api_token, or api_key and email".to_owned()),
        };
        Ok(Self { client, api: api.unwrap_or(API).trim_end_matches('/').to_owned(), headers })
    }

    async fn zone_of(&self, name: &str) -> Result<Zone, DnsError> {
        for zone in ancestors(name) {
            let found: Vec<Zone> = self.list("/zones", &[("name", zone)], &format!("look for the zone {zone}")).await?;
            if let Some(found) = found.into_iter().find(|found| found.name.eq_ignore_ascii_case(zone)) {
                return Ok(found);
            }
        }
        Err(DnsError::NoZone {
            provider: PROVIDER.to_owned(),
            name: name.to_owned(),
            remedy: "add the zone to the account, and allow the token Zone:Read and DNS:Edit for it".to_owned(),
        })
    }

    /// The records that hold the value: one, or by the hand of others several.
    async fn find(&self, zone: &Zone, record: &TxtRecord) -> Result<Vec<Record>, DnsError> {
        let path = format!("/zones/{}/dns_records", zone.id);
        let action = format!("list the values of {}", record.name);
        let all: Vec<Record> = self.list(&path, &[("type", "TXT"), ("name", record.name.as_str())], &action).await?;
        Ok(all.into_iter().filter(|found| found.content.trim_matches('"') == record.value).collect())
    }

    /// Every page of a list.
    async fn list<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        action: &str,
    ) -> Result<Vec<T>, DnsError> {
        let mut all = Vec::new();
        for page in 1.. {
            let number = page.to_string();
            let mut fields = query.to_vec();
            fields.extend([("page", number.as_str()), ("per_page", if path == "/zones" { ZONES_PAGE } else { PAGE })]);
            let answer: Answer<Vec<T>> =
                self.ask(Method::GET, &format!("{path}?{}", form(&fields)), None, action).await?;
            let items = answer.result.unwrap_or_default();
            let last = items.is_empty() || answer.result_info.and_then(|info| info.total_pages).unwrap_or(1) <= page;
            all.extend(items);
            if last {
                break;
            }
        }
        Ok(all)
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
        action: &str,
    ) -> Result<Answer<T>, DnsError> {
        let refused = |reason: String| DnsError::refused(PROVIDER, action, reason);
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.api));
        for (name, value) in &self.headers {
            request = request.header(*name, value.clone());
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(bytes).map_err(|e| refused(e.to_string()))?;
        let answer = self.client.send(request).await?;
        let status = answer.status();
        let parsed = serde_json::from_slice::<Answer<T>>(answer.body());
        match parsed {
            Ok(parsed) if parsed.success && status.is_success() => Ok(parsed),
            Ok(parsed) => {
                let said: Vec<_> =
                    parsed.errors.iter().map(|fault| format!("{} ({})", fault.message, fault.code)).collect();
                Err(refused(if said.is_empty() { format!("status {status}") } else { said.join("; ") }))
            }
            Err(error) if status.is_success() => Err(refused(format!("it answers nonsense: {error}"))),
            Err(_) => Err(refused(format!("status {status}"))),
        }
    }
}

#[async_trait]
impl DnsProvider for Cloudflare {
    async fn add(&self, record: &TxtRecord, ttl: u32) -> Result<Option<Change>, DnsError> {
        let zone = self.zone_of(record.name.as_str()).await?;
        if !self.find(&zone, record).await?.is_empty() {
            return Ok(None);
        }
        let body = json!({
            "type": "TXT",
            "name": record.name.as_str(),
            "content": format!("\"{}\"", record.value),
            "ttl": ttl.max(LEAST_TTL),
            "comment": "doorward: ACME DNS-01",
        });
        let path = format!("/zones/{}/dns_records", zone.id);
        let action = format!("add a value to {}", record.name);
        self.ask::<Id>(Method::POST, &path, Some(&body), &action).await.map(|_| None)
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let zone = self.zone_of(record.name.as_str()).await?;
        for found in self.find(&zone, record).await? {
            let path = format!("/zones/{}/dns_records/{}", zone.id, found.id);
            let action = format!("remove a value from {}", record.name);
            self.ask::<Id>(Method::DELETE, &path, None, &action).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(PROVIDER).field("api", &self.api).finish_non_exhaustive()
    }
}
