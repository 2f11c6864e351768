//! Credentials from what surrounds the process: the container's agent, and the instance's metadata service.

use bytes::Bytes;
use http::{Method, Request, header};
use serde::Deserialize;

use super::chain::until;
use super::{Aws, Credentials};
use crate::dns::DnsError;
use crate::net::HttpsClientError;

/// Where ECS answers `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
const ECS: &str = "http://169.254.170.2";
/// Where agents may answer without TLS, besides loopback: ECS, and EKS Pod Identity by IPv4 and IPv6.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
const INSTANCE: &str = "http://169.254.169.254";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl Aws {
    /// The container's role: ECS by a relative URI, EKS Pod Identity and others by a full one.
    pub(super) async fn of_container(&self) -> Result<Option<Credentials>, DnsError> {
        let get = |name| self.environment.get(name);
        let uri = match (get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) => format!("{ECS}{path}"),
            (None, Some(uri)) if may_be_asked(&uri) => uri,
            (None, Some(uri)) => {
                let problem = "is neither https:// nor an address of this machine or its agent";
                return Err(DnsError::Credentials(format!("AWS_CONTAINER_CREDENTIALS_FULL_URI {uri} {problem}")));
            }
            (None, None) => return Ok(None),
        };
        let token = match get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => {
                let token = tokio::fs::read_to_string(&file).await;
                let token = token.map_err(|e| DnsError::Credentials(format!("the container's token {file}: {e}")))?;
                Some(token.trim().to_owned())
            }
            None => get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let headers: Vec<_> = token.iter().map(|token| (header::AUTHORIZATION.as_str(), token.as_str())).collect();
        let (status, body) = self.ask(Method::GET, &uri, &headers).await?;
        credentials(status, &body, &uri, "the container").map(Some)
    }

    /// The instance's role, by the second version of the metadata service: with a token. None where nobody answers.
    pub(super) async fn of_instance(&self) -> Result<Option<Credentials>, DnsError> {
        if self.environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let base = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned());
        let base = base.trim_end_matches('/');
        let lifetime = [("x-aws-ec2-metadata-token-ttl-seconds", "300")];
        let asked = self.ask(Method::PUT, &format!("{base}/latest/api/token"), &lifetime).await;
        let Ok((200, token)) = asked else { return Ok(None) };
        let token = [("x-aws-ec2-metadata-token", token.as_str())];
        let roles = format!("{base}/latest/meta-data/iam/security-credentials/");
        let (status, role) = self.ask(Method::GET, &roles, &token).await?;
        let Some(role) = role.lines().next().filter(|role| status == 200 && !role.is_empty()) else {
            return Ok(None);
        };
        let uri = format!("{roles}{role}");
        let (status, body) = self.ask(Method::GET, &uri, &token).await?;
        credentials(status, &body, &uri, "the instance's role").map(Some)
    }

    async fn ask(&self, method: Method, uri: &str, headers: &[(&str, &str)]) -> Result<(u16, String), DnsError> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(Bytes::new()).map_err(|e| DnsError::Credentials(format!("{uri} cannot be asked: {e}")))?;
        let answer = self.local.send(request).await;
        let answer = answer.map_err(|e: HttpsClientError| DnsError::Credentials(e.to_string()))?;
        Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }
}

fn credentials(status: u16, body: &str, uri: &str, source: &'static str) -> Result<Credentials, DnsError> {
    let answer: Answer = match serde_json::from_str(body) {
        Ok(answer) if status == 200 => answer,
        // The body of an answer that is understood has secrets; this one does not.
        _ => return Err(DnsError::Credentials(format!("{uri} answers with status {status} and no credentials"))),
    };
    Ok(Credentials {
        id: answer.access_key_id,
        secret: answer.secret_access_key,
        token: answer.token,
        expires: answer.expiration.as_deref().and_then(until),
        source,
    })
}

fn may_be_asked(uri: &str) -> bool {
    let Ok(uri) = uri.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("https") || loopback || AGENTS.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_its_agents_are_asked_without_tls() {
        for good in [
            "http://127.0.0.1:51679/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1",
            "https://a.test/x",
        ] {
            assert!(may_be_asked(good), "{good}");
        }
        for bad in ["http://192.0.2.1/x", "http://a.test/x", "x", "http://169.254.170.2.a.test/"] {
            assert!(!may_be_asked(bad), "{bad}");
        }
    }
}
