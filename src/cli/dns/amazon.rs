//! `doorward dns route53 role` and `doorward dns route53 policy`.

use clap::Args;
use serde_json::json;

use super::place::Place;
use super::{Failure, say_json};
use crate::cli::DONE;
use crate::cli::output::say;
use crate::dns::aws::{Aws, Environment, Settings};
use crate::dns::{amazon, policies};
use crate::names::Hostname;

/// Show who this process is for AWS, and who a solver becomes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  doorward dns route53 role\n  doorward dns route53 role --id 1")]
pub(in crate::cli) struct RoleArgs {
    /// As this solver, its role assumed
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Assume this role
    #[arg(long, value_name = "ARN", conflicts_with = "id")]
    role: Option<String>,
    /// The external id that the role asks for
    #[arg(long, value_name = "TEXT", requires = "role")]
    external_id: Option<String>,
    /// The region whose STS is asked
    #[arg(long, value_name = "REGION", conflicts_with = "id")]
    region: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Print the least IAM policy for a zone, and the trust policy of a role that doorward assumes.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  doorward dns route53 policy --hosted-zone-id Z123 --dns-zones example.org --json | jq .permissions"
)]
pub(in crate::cli) struct PolicyArgs {
    /// The hosted zones; all of the account's where there are none
    #[arg(long = "hosted-zone-id", value_name = "ID", value_delimiter = ',')]
    zones: Vec<String>,
    /// The names under which challenges may be written
    #[arg(long = "dns-zones", value_name = "ZONE", value_delimiter = ',', value_parser = Hostname::parse)]
    names: Vec<Hostname>,
    /// Who may assume the role: an ARN; who this process is where it is not given and AWS says so
    #[arg(long, value_name = "ARN")]
    principal: Option<String>,
    /// Both policies in one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn role(args: &RoleArgs) -> Result<u8, Failure> {
    let access = match &args.id {
        None => {
            let (role, external_id, region) = (args.role.clone(), args.external_id.clone(), args.region.clone());
            Aws::new(Settings { role, external_id, region, ..Settings::default() }, Environment::process())?
        }
        Some(id) => {
            let (_, _, solvers) = args.place.solvers().await?;
            let found = solvers.all().into_iter().find(|s| s.config.id == *id && s.config.provider.name == "route53");
            let found = found.ok_or_else(|| Failure::Failed(format!("there is no DNS solver {id:?} of route53")))?;
            amazon(&found.config)?
        }
    };
    let credentials = access.credentials().await?;
    let identity = access.identity().await?;
    match args.json {
        true => say_json(&json!({
            "arn": identity.arn,
            "account": identity.account,
            "user_id": identity.user_id,
            "source": credentials.source,
            "access_key_id": credentials.id,
        })),
        false => {
            say(format_args!(
                "{}\naccount {}, credentials from {}\n",
                identity.arn, identity.account, credentials.source
            ));
        }
    }
    Ok(DONE)
}

pub(super) async fn policy(args: &PolicyArgs) -> Result<u8, Failure> {
    let principal = match &args.principal {
        Some(principal) => Some(principal.clone()),
        None => match Aws::new(Settings::default(), Environment::process()) {
            Ok(access) => access.identity().await.ok().map(|identity| lasting(&identity.arn)),
            Err(_) => None,
        },
    };
    let zones: Vec<_> = args.zones.iter().map(|zone| zone.trim_start_matches("/hostedzone/").to_owned()).collect();
    let names: Vec<_> = args.names.iter().map(ToString::to_string).collect();
    let (permissions, trust) = policies(&zones, &names, principal.as_deref());
    match args.json {
        true => say_json(&json!({ "permissions": permissions, "trust": trust })),
        false => {
            say(format_args!("# the permissions of the user or role that changes the zone\n{permissions:#}\n"));
            say(format_args!("# the trust policy of that role, where doorward assumes one\n{trust:#}\n"));
        }
    }
    Ok(DONE)
}

/// A session of a role is gone tomorrow; the role itself stays.
fn lasting(arn: &str) -> String {
    let parts = arn.replacen(":sts:", ":iam:", 1).replacen(":assumed-role/", ":role/", 1);
    match parts.split('/').collect::<Vec<_>>().as_slice() {
        [role, name, ..] if arn.contains(":assumed-role/") => format!("{role}/{name}"),
        _ => arn.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_role_is_named_and_not_the_session() {
        assert_eq!(lasting("arn:aws:sts::1:assumed-role/node/i-0123"), "arn:aws:iam::1:role/node");
        assert_eq!(lasting("arn:aws:iam::1:user/x"), "arn:aws:iam::1:user/x");
    }
}
