//! Where credentials come from: the order in which AWS's own tools look.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Aws, Credentials};
use crate::dns::DnsError;

impl Aws {
    /// The first that has some: the solver's settings, the environment, the shared files, a web identity, the
    /// container's agent (ECS, EKS), the instance's metadata service. A profile that is named in the settings comes
    /// before the environment.
    pub(super) async fn chain(&self) -> Result<Credentials, DnsError> {
        if let Some((id, secret)) = &self.settings.keys {
            let (id, secret) = (id.clone(), secret.clone());
            return Ok(Credentials { id, secret, token: None, expires: None, source: "the solver's settings" });
        }
        if self.settings.profile.is_none()
            && let Some(found) = self.of_environment()
        {
            return Ok(found);
        }
        if let Some(found) = self.of_profile().await? {
            return Ok(found);
        }
        if let Some(found) = self.of_web_identity().await? {
            return Ok(found);
        }
        if let Some(found) = self.of_container().await? {
            return Ok(found);
        }
        if let Some(found) = self.of_instance().await? {
            return Ok(found);
        }
        let places = "the environment, ~/.aws, a web identity, the container and the instance's metadata have none";
        Err(DnsError::Credentials(format!("{places}; `doorward dns route53 role` shows who this process is")))
    }

    pub(super) fn of_environment(&self) -> Option<Credentials> {
        Some(Credentials {
            id: self.environment.get("AWS_ACCESS_KEY_ID")?,
            secret: self.environment.get("AWS_SECRET_ACCESS_KEY")?,
            token: self.environment.get("AWS_SESSION_TOKEN"),
            expires: None,
            source: "the environment",
        })
    }

    async fn of_web_identity(&self) -> Result<Option<Credentials>, DnsError> {
        let get = |name| self.environment.get(name);
        let (Some(file), Some(role)) = (get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN")) else {
            return Ok(None);
        };
        self.of_token_file(&file, &role, get("AWS_ROLE_SESSION_NAME").as_deref()).await.map(Some)
    }

    /// The file is read each time: Kubernetes writes a new token now and then.
    pub(super) async fn of_token_file(
        &self,
        file: &str,
        role: &str,
        session: Option<&str>,
    ) -> Result<Credentials, DnsError> {
        let token = tokio::fs::read_to_string(file).await;
        let token = token.map_err(|e| DnsError::Credentials(format!("the web identity's token {file}: {e}")))?;
        self.assume_role_with_web_identity(token.trim(), role, session).await
    }
}

/// A time as AWS writes it; none where it is no time, as for credentials that never end.
pub(super) fn until(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}
