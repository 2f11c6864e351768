//! What a config needs in DNS: computed, with nothing asked.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::{CertificateChoice, Config, HttpsPolicy, RouteHost};
use crate::names::HostPattern;

/// A record that has to be there, or may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    pub(super) name: String,
    pub(super) what: What,
}

/// What a record is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// An address of doorward; none where it is not known.
    Address { v6: bool, ip: Option<IpAddr> },
    /// An alias of the host that doorward is known by.
    Alias(String),
    /// Who may issue, by the CA's word for itself.
    Permission { wildcard: bool, ca: String, account: Option<String> },
    /// The answer to DNS-01.
    Answer,
}

/// Where clients are to find doorward.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A host that has doorward's addresses.
    Host(String),
    /// Its addresses themselves; a family without one is not known.
    Addresses(Vec<IpAddr>),
}

/// All that the routes need. `ca` is what CAA records call the issuer, `account` the account with it, where known.
pub(super) fn needed(config: &Config, target: &Target, ca: Option<&str>, account: Option<&str>) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    for route in &config.routes {
        let auto = route.certificate == CertificateChoice::Auto && route.https != HttpsPolicy::Off;
        for host in &route.hosts {
            let RouteHost::Pattern(pattern) = host else { continue };
            if pattern.base().ip().is_some() {
                continue;
            }
            let mut need = |name: String, what: What| {
                needs.insert(Need { name, what });
            };
            for what in reaching(target) {
                need(pattern.to_string(), what);
            }
            if let Some(ca) = ca.filter(|_| auto) {
                let account = account.map(str::to_owned);
                let what = What::Permission { wildcard: pattern.is_wildcard(), ca: ca.to_owned(), account };
                need(pattern.base().to_string(), what);
            }
            if let (true, HostPattern::Wildcard(base)) = (auto, pattern) {
                need(format!("_acme-challenge.{base}"), What::Answer);
            }
        }
    }
    needs
}

fn reaching(target: &Target) -> Vec<What> {
    match target {
        Target::Host(host) => vec![What::Alias(host.clone())],
        Target::Addresses(ips) if ips.is_empty() => vec![What::Address { v6: false, ip: None }],
        Target::Addresses(ips) => ips.iter().map(|ip| What::Address { v6: ip.is_ipv6(), ip: Some(*ip) }).collect(),
    }
}

impl What {
    /// The record's type.
    pub(super) fn kind(&self, at_apex: bool) -> &'static str {
        match self {
            Self::Address { v6: false, .. } => "A",
            Self::Address { v6: true, .. } => "AAAA",
            // A CNAME cannot stand beside a zone's SOA and NS (RFC 1034 §3.6.2).
            Self::Alias(_) if at_apex => "ALIAS",
            Self::Alias(_) => "CNAME",
            Self::Permission { .. } => "CAA",
            Self::Answer => "TXT",
        }
    }

    /// The record's value, as a zone file has it.
    pub(super) fn value(&self) -> String {
        match self {
            Self::Address { ip: Some(ip), .. } => ip.to_string(),
            Self::Address { .. } => "(this machine's public address: give it with --address)".to_owned(),
            Self::Alias(host) => format!("{host}."),
            Self::Permission { wildcard, ca, account } => {
                let tag = if *wildcard { "issuewild" } else { "issue" };
                let account = account.as_ref().map(|uri| format!("; accounturi={uri}")).unwrap_or_default();
                format!("0 {tag} \"{ca}{account}\"")
            }
            Self::Answer => "(written by doorward while it orders)".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_needs_what_its_routes_need() {
        let text = "[[listener]]\naddress = \":443\"\n[[listener]]\naddress = \":80\"\nprotocol = \"http\"\n\
            [[route]]\nhosts = [\"*.example.org\", \"example.org\", \"192.0.2.1\"]\nbackend = 1\ncertificate = \"auto\"\n\
            [[route]]\nhosts = [\"own.example.net\"]\nbackend = 1\n";
        let config = crate::config::parse(text).expect("a config").config;
        let shown = |target: &Target| -> Vec<String> {
            let needs = needed(&config, target, Some("letsencrypt.org"), Some("https://ca/acct/1"));
            needs.iter().map(|need| format!("{} {} {}", need.name, need.what.kind(false), need.what.value())).collect()
        };
        assert_eq!(
            shown(&Target::Addresses(vec!["192.0.2.9".parse().expect("an address")])),
            [
                "*.example.org A 192.0.2.9",
                "_acme-challenge.example.org TXT (written by doorward while it orders)",
                "example.org A 192.0.2.9",
                "example.org CAA 0 issue \"letsencrypt.org; accounturi=https://ca/acct/1\"",
                "example.org CAA 0 issuewild \"letsencrypt.org; accounturi=https://ca/acct/1\"",
                "own.example.net A 192.0.2.9",
            ]
        );
        assert!(
            shown(&Target::Host("edge.example.org".to_owned()))
                .contains(&"own.example.net CNAME edge.example.org.".to_owned())
        );
    }
}
