//! [`Asker`]: asks the operator's own app whether a name may have a certificate.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Request, Uri};

use crate::config;
use crate::names::Hostname;
use crate::net::{ClientTimeouts, HttpsClient, HttpsClientError, Roots};

/// Asks the `ask` URL of `[on_demand]`.
#[derive(Debug)]
pub(super) struct Asker {
    url: String,
    client: HttpsClient,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The name may have a certificate.
    Allowed,
    /// It may not: the status.
    Refused(u16),
    /// Nobody could say: why.
    Unknown(String),
}

impl Asker {
    /// Asks as the config says.
    ///
    /// # Errors
    /// [`HttpsClientError`], where the roots to trust cannot be read.
    pub(super) fn new(config: &config::OnDemand) -> Result<Self, HttpsClientError> {
        let timeouts = ClientTimeouts { connect: config.ask_timeout, request: config.ask_timeout };
        let roots = config.trust.clone().map_or(Roots::System, Roots::File);
        let client = match config.ask.starts_with("http://") {
            // No roots are needed then, and a small machine may have none.
            true => HttpsClient::plain(timeouts),
            false => HttpsClient::new(&roots, timeouts)?,
        };
        Ok(Self { url: config.ask.clone(), client })
    }

    /// Whether `name` may have a certificate; `client` is who wants it, none at a renewal.
    pub(super) async fn ask(&self, name: &Hostname, client: Option<IpAddr>) -> Verdict {
        let request = uri(&self.url, name, client).and_then(|uri| Request::get(uri).body(Bytes::new()).ok());
        let Some(request) = request else { return Verdict::Unknown("the ask URL cannot be used".to_owned()) };
        match self.client.send(request).await {
            Ok(answer) if answer.status().is_success() => Verdict::Allowed,
            // A fault of its own is no verdict on the name.
            Ok(answer) if answer.status().is_server_error() => {
                Verdict::Unknown(format!("the ask URL answered with status {}", answer.status().as_u16()))
            }
            Ok(answer) => Verdict::Refused(answer.status().as_u16()),
            Err(error) => Verdict::Unknown(format!("the ask URL does not answer: {error}")),
        }
    }
}

/// Host names and addresses have no character that would have to be escaped in a query (RFC 3986 §3.4).
fn uri(url: &str, name: &Hostname, client: Option<IpAddr>) -> Option<Uri> {
    let url = url.split('#').next().unwrap_or(url);
    let separator = if url.contains('?') { '&' } else { '?' };
    let client = client.map_or_else(String::new, |client| format!("&client={client}"));
    let path = if url.splitn(4, '/').count() < 4 && !url.contains('?') { "/" } else { "" };
    format!("{url}{path}{separator}domain={name}{client}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_part_of_the_url() {
        let name: Hostname = "a.test".parse().expect("a name");
        let asked = |url: &str, client: Option<&str>| {
            let client = client.map(|client| client.parse().expect("an address"));
            uri(url, &name, client).expect("a URI").to_string()
        };
        assert_eq!(asked("http://app:3000/ok", Some("192.0.2.1")), "http://app:3000/ok?domain=a.test&client=192.0.2.1");
        assert_eq!(asked("http://app/ok?key=1", None), "http://app/ok?key=1&domain=a.test");
        assert_eq!(asked("https://app", Some("2001:db8::1")), "https://app/?domain=a.test&client=2001:db8::1");
    }
}
