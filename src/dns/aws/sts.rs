//! STS: assuming a role, and asking who one is.

use http::Method;
use serde::Deserialize;

use super::chain::until;
use super::{Aws, Credentials, Service, reason};
use crate::dns::DnsError;
use crate::net::form;

const VERSION: &str = "2011-06-15";
/// What sessions are called in CloudTrail.
const SESSION: &str = "doorward";

/// Who a process is for AWS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
pub struct Identity {
    /// The account's number.
    pub account: String,
    /// The ARN of user or role.
    pub arn: String,
    /// The unique id of user or role.
    pub user_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize)]
struct WithCredentials {
    #[serde(rename = "Credentials")]
    credentials: Assumed,
}

#[derive(Deserialize)]
struct Answer<T> {
    #[serde(alias = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult", alias = "GetCallerIdentityResult")]
    result: T,
}

impl Aws {
    /// The credentials of a role.
    pub(super) async fn assume_role(
        &self,
        credentials: &Credentials,
        role: &str,
        external_id: Option<&str>,
    ) -> Result<Credentials, DnsError> {
        let mut fields = vec![("Action", "AssumeRole"), ("Version", VERSION), ("RoleArn", role)];
        fields.push(("RoleSessionName", SESSION));
        fields.extend(external_id.map(|id| ("ExternalId", id)));
        let answer: Answer<WithCredentials> =
            self.ask_sts(Some(credentials), &format!("let us assume the role {role}"), &fields).await?;
        Ok(of(answer.result.credentials, "an assumed role"))
    }

    /// The credentials of a role that a web identity may assume: the token proves who asks, nothing is signed.
    pub(super) async fn assume_role_with_web_identity(
        &self,
        token: &str,
        role: &str,
        session: Option<&str>,
    ) -> Result<Credentials, DnsError> {
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", VERSION),
            ("RoleArn", role),
            ("RoleSessionName", session.unwrap_or(SESSION)),
            ("WebIdentityToken", token),
        ];
        let action = format!("let the web identity assume the role {role}");
        let answer: Answer<WithCredentials> = self.ask_sts(None, &action, &fields).await?;
        Ok(of(answer.result.credentials, "a web identity"))
    }

    pub(super) async fn caller_identity(&self, credentials: &Credentials) -> Result<Identity, DnsError> {
        let fields = [("Action", "GetCallerIdentity"), ("Version", VERSION)];
        let answer: Answer<Identity> = self.ask_sts(Some(credentials), "say who we are", &fields).await?;
        Ok(answer.result)
    }

    async fn ask_sts<T: for<'de> Deserialize<'de>>(
        &self,
        credentials: Option<&Credentials>,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<T, DnsError> {
        let answer = self.send_as(credentials, Service::Sts, Method::POST, "/", &form(fields)).await?;
        if !answer.status().is_success() {
            return Err(DnsError::refused("STS", action, reason(&answer)));
        }
        let text = String::from_utf8_lossy(answer.body());
        quick_xml::de::from_str(&text)
            .map_err(|e| DnsError::refused("STS", action, format!("it answers nonsense: {e}")))
    }
}

fn of(assumed: Assumed, source: &'static str) -> Credentials {
    Credentials {
        id: assumed.access_key_id,
        secret: assumed.secret_access_key,
        token: Some(assumed.session_token),
        expires: until(&assumed.expiration),
        source,
    }
}
