//! The shared files `~/.aws/config` and `~/.aws/credentials`, and what a profile in them leads to.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Aws, Credentials};
use crate::dns::DnsError;

/// How many profiles may name one another as their source.
const LONGEST_CHAIN: usize = 8;

type Profile = HashMap<String, String>;

impl Aws {
    /// The credentials of the profile, where the shared files have one; none where nothing is said of it.
    pub(super) async fn of_profile(&self) -> Result<Option<Credentials>, DnsError> {
        let profiles = self.profiles();
        let (name, explicit) = self.profile_name();
        if !profiles.contains_key(&name) {
            let nothing =
                || DnsError::Credentials(format!("the shared files have no profile {name:?}; see ~/.aws/config"));
            return if explicit { Err(nothing()) } else { Ok(None) };
        }
        self.resolve(&profiles, &name).await
    }

    /// The region that the profile names.
    pub(super) fn profile_region(&self) -> Option<String> {
        self.profiles().remove(&self.profile_name().0)?.remove("region")
    }

    /// From the profile that has credentials to the one that was asked for, a role at each step.
    async fn resolve(&self, profiles: &HashMap<String, Profile>, name: &str) -> Result<Option<Credentials>, DnsError> {
        let bad = |problem: String| DnsError::Credentials(problem);
        let (mut roles, mut name) = (Vec::new(), name.to_owned());
        let mut credentials = loop {
            let profile = profiles.get(&name).ok_or_else(|| bad(format!("there is no profile {name:?}")))?;
            let get = |key: &str| profile.get(key).map(String::as_str);
            let statics = get("aws_access_key_id").zip(get("aws_secret_access_key"));
            let statics = statics.map(|(id, secret)| Credentials {
                id: id.to_owned(),
                secret: secret.to_owned(),
                token: get("aws_session_token").map(str::to_owned),
                expires: None,
                source: "the shared files",
            });
            match (get("role_arn"), get("web_identity_token_file"), get("source_profile"), get("credential_source")) {
                (Some(role), Some(file), _, _) => {
                    break self.of_token_file(file, role, get("role_session_name")).await?;
                }
                (Some(role), None, Some(source), _) => {
                    roles.push((role.to_owned(), get("external_id").map(str::to_owned)));
                    // A profile may be its own source: then its keys are meant.
                    if source == name {
                        break statics.ok_or_else(|| bad(format!("the profile {name:?} has no keys")))?;
                    }
                    name = source.to_owned();
                }
                (Some(role), None, None, Some(source)) => {
                    roles.push((role.to_owned(), get("external_id").map(str::to_owned)));
                    let found = match source {
                        "Environment" => self.of_environment(),
                        "EcsContainer" => self.of_container().await?,
                        "Ec2InstanceMetadata" => self.of_instance().await?,
                        other => {
                            return Err(bad(format!(
                                "the profile {name:?} has the unknown credential_source {other:?}"
                            )));
                        }
                    };
                    break found.ok_or_else(|| bad(format!("the profile {name:?} names {source}, which has none")))?;
                }
                _ => match statics {
                    Some(statics) => break statics,
                    None if get("sso_session").or(get("sso_start_url")).or(get("credential_process")).is_some() => {
                        let problem = "needs SSO or another program, which a daemon cannot ask; give it a role or keys";
                        return Err(bad(format!("the profile {name:?} {problem}")));
                    }
                    None if roles.is_empty() => return Ok(None),
                    None => return Err(bad(format!("the profile {name:?} has no credentials"))),
                },
            }
            if roles.len() > LONGEST_CHAIN {
                return Err(bad("profiles name one another as source in a circle".to_owned()));
            }
        };
        for (role, external_id) in roles.iter().rev() {
            credentials = self.assume_role(&credentials, role, external_id.as_deref()).await?;
        }
        Ok(Some(credentials))
    }

    fn profile_name(&self) -> (String, bool) {
        let named = self.settings.profile.clone().or_else(|| self.environment.get("AWS_PROFILE"));
        named.map_or_else(|| ("default".to_owned(), false), |name| (name, true))
    }

    fn profiles(&self) -> HashMap<String, Profile> {
        let home = |file: &str| Some(PathBuf::from(self.environment.get("HOME")?).join(".aws").join(file));
        let path =
            |variable: &str, file: &str| self.environment.get(variable).map(PathBuf::from).or_else(|| home(file));
        let read = |path: Option<PathBuf>| path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let mut profiles = parse(&read(path("AWS_CONFIG_FILE", "config")), true);
        for (name, profile) in parse(&read(path("AWS_SHARED_CREDENTIALS_FILE", "credentials")), false) {
            profiles.entry(name).or_default().extend(profile);
        }
        profiles
    }
}

/// `[profile NAME]` in the config file, `[NAME]` in the credentials file; the default one is `[default]` in both.
fn parse(text: &str, config: bool) -> HashMap<String, Profile> {
    let mut profiles: HashMap<String, Profile> = HashMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if line.trim().is_empty() || line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = line.trim().strip_prefix('[') {
            let head = head.split(']').next().unwrap_or_default().trim();
            current = match head.strip_prefix("profile ") {
                Some(name) if config => Some(name.trim().to_owned()),
                None if !config || head == "default" => Some(head.to_owned()),
                _ => None,
            };
            profiles.extend(
                current.clone().map(|name| (name, Profile::new())).filter(|(name, _)| !profiles.contains_key(name)),
            );
        } else if let (Some(name), Some((key, value))) = (&current, line.split_once('='))
            // What is indented belongs to the key above, and none of these is ours.
            && !line.starts_with([' ', '\t'])
        {
            // A comment needs a blank before it: secrets may hold the characters.
            let value = value.split(" #").next().unwrap_or_default().split(" ;").next().unwrap_or_default();
            profiles.entry(name.clone()).or_default().insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    profiles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_files_have_two_ways_of_naming_profiles() {
        let text =
            "[default]\nregion = eu-west-1 # home\n[profile  ops]\nrole_arn=arn\ns3 =\n  role_arn = no\n[ops2]\nx=1\n";
        let profiles = parse(text, true);
        assert_eq!(profiles["default"]["region"], "eu-west-1");
        assert_eq!(profiles["ops"]["role_arn"], "arn");
        assert!(!profiles.contains_key("ops2"));
        let profiles = parse("[ops]\nAWS_Secret_Access_Key = a=b#c+/\n; x\n", false);
        assert_eq!(profiles["ops"]["aws_secret_access_key"], "a=b#c+/");
    }
}
