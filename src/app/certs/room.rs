//! What the CAs' limits leave for some names, of the ledger that ACME keeps in the storage.

use std::time::{Duration, SystemTime};

use super::Desk;
use crate::acme::{self, LimitView};
use crate::admin::certs::Refused;
use crate::names::HostPattern;

impl Desk {
    /// The limits that concern one of these names, by issuer; those that have none are left out.
    pub(super) async fn room(&self, names: &[HostPattern]) -> Result<Vec<(String, LimitView)>, Refused> {
        let Some(acme) = &self.config.acme else { return Ok(Vec::new()) };
        let storage = &**self.vault.storage();
        let views = acme::budget(acme, storage, SystemTime::now()).await?;
        let all =
            views.into_iter().flat_map(|view| view.limits.into_iter().map(move |limit| (view.issuer.clone(), limit)));
        Ok(all.filter(|(_, limit)| limit.most.is_some() && concerns(limit, names)).collect())
    }
}

/// Whether an order for one of the names counts against it.
fn concerns(limit: &LimitView, names: &[HostPattern]) -> bool {
    match (limit.limit.as_str(), &limit.subject) {
        (_, None) => true,
        ("per_domain", Some(domain)) => names.iter().any(|name| is_below(name.base().as_str(), domain)),
        ("failures", Some(subject)) => names.iter().any(|name| name.to_string() == *subject),
        // Of a certificate that there was: its renewal is another matter.
        _ => false,
    }
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The limit in words, as `certs budget` has it in a table.
pub(super) fn line(issuer: &str, limit: &LimitView) -> String {
    let what = match (limit.limit.as_str(), &limit.subject) {
        ("per_domain", Some(domain)) => format!("certificates for {domain}"),
        ("failures", Some(name)) => format!("failed validations of {name}"),
        (other, _) => other.to_owned(),
    };
    let within = humantime::format_duration(Duration::from_secs(limit.within.unwrap_or(0)));
    let left = limit.left_for_new.map_or_else(String::new, |left| format!(", {left} left for new names"));
    format!("{issuer}: {what}: {} of {} in {within}{left}", limit.used, limit.most.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_counts_an_order_concerns_it() {
        let limit = |limit: &str, subject: Option<&str>| LimitView {
            limit: limit.to_owned(),
            subject: subject.map(str::to_owned),
            used: 1,
            most: Some(5),
            within: Some(3600),
            left_for_new: Some(3),
            room_at: None,
        };
        let names: Vec<HostPattern> = vec!["*.apps.example.org".parse().expect("a name")];
        for (view, does) in [
            (limit("orders", None), true),
            (limit("per_domain", Some("example.org")), true),
            (limit("per_domain", Some("ample.org")), false),
            (limit("failures", Some("*.apps.example.org")), true),
            (limit("failures", Some("example.org")), false),
            (limit("duplicates", Some("cert-1")), false),
        ] {
            assert_eq!(concerns(&view, &names), does, "{view:?}");
        }
        let line = line("ca", &limit("per_domain", Some("example.org")));
        assert_eq!(line, "ca: certificates for example.org: 1 of 5 in 1h, 3 left for new names");
    }
}
