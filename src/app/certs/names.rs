//! What DNS says of a name to a CA: CAA, and the record of DNS-01.

use std::time::Duration;

use super::Desk;
use crate::config::Acme;
use crate::dns::{RecordType, Resolver, challenge_name, txt};
use crate::names::{HostPattern, Hostname};

/// How long all questions about one name may take together.
const PATIENCE: Duration = Duration::from_secs(8);

impl Desk {
    /// The CAA verdict and the DNS-01 record for a name, as the config's resolvers see them, a line each.
    pub(super) async fn dns_lines(&self, name: &Hostname) -> Vec<String> {
        if name.ip().is_some() || !name.as_str().contains('.') {
            return Vec::new();
        }
        let resolver = Resolver::new(&self.config.resolvers);
        let ask = async {
            let caa = self.caa(&resolver, name).await;
            let challenge = challenge(&resolver, name).await;
            vec![caa, challenge]
        };
        let late = || vec![format!("CAA and DNS-01: the resolvers have not answered within {} s", PATIENCE.as_secs())];
        tokio::time::timeout(PATIENCE, ask).await.unwrap_or_else(|_| late())
    }

    async fn caa(&self, resolver: &Resolver, name: &Hostname) -> String {
        match resolver.permissions(name.as_str()).await {
            Err(error) => format!("CAA: cannot be looked up, and a CA would then not issue: {error}"),
            Ok(None) => "CAA: none, so every CA may issue".to_owned(),
            Ok(Some(caa)) => {
                let verdict = match self.config.acme.as_ref().and_then(ca_word) {
                    None => String::new(),
                    Some(ca) if caa.allows(ca, false) => format!("; {ca} may issue"),
                    Some(ca) => format!("; {ca} may NOT issue: add `issue \"{ca}\"`"),
                };
                format!("CAA: {caa}{verdict}")
            }
        }
    }

    /// The names for which CAA forbids the CA to issue, with the record that does. What cannot be looked up from
    /// here is left to the CA.
    pub(super) async fn forbidden(&self, acme: &Acme, names: &[HostPattern]) -> Vec<String> {
        let Some(ca) = ca_word(acme) else { return Vec::new() };
        let resolver = Resolver::new(&self.config.resolvers);
        let ask = async {
            let mut faults = Vec::new();
            for name in names.iter().filter(|name| name.base().ip().is_none()) {
                if let Ok(Some(caa)) = resolver.permissions(name.base().as_str()).await
                    && !caa.allows(ca, name.is_wildcard())
                {
                    let tag = if name.is_wildcard() { "issuewild" } else { "issue" };
                    faults.push(format!("{name}: CAA forbids {ca} to issue: {caa}; add `{tag} \"{ca}\"`"));
                }
            }
            faults
        };
        tokio::time::timeout(PATIENCE, ask).await.unwrap_or_default()
    }
}

/// The record that a CA looks at for DNS-01, and where it leads.
async fn challenge(resolver: &Resolver, name: &Hostname) -> String {
    let Some(at) = challenge_name(name) else { return format!("DNS-01: {name} is too long for it") };
    let target = match resolver.follow(&at).await {
        Ok(target) if target == at => String::new(),
        Ok(target) => format!(" (delegated to {target})"),
        Err(error) => return format!("DNS-01: {at} cannot be looked up: {error}"),
    };
    match resolver.look_up(at.as_str(), RecordType::TXT).await {
        Ok(answers) => match answers.iter().filter_map(txt).collect::<Vec<_>>() {
            none if none.is_empty() => {
                format!("DNS-01: no TXT at {at}{target}, as is usual while no order is under way")
            }
            all => format!("DNS-01: TXT at {at}{target}: {}", all.join(", ")),
        },
        Err(error) => format!("DNS-01: {at}{target} cannot be looked up: {error}"),
    }
}

/// What CAA records call the issuer, for those that doorward knows.
fn ca_word(acme: &Acme) -> Option<&'static str> {
    let host = acme.issuer.directory.trim_start_matches("https://").split(['/', ':']).next()?;
    let known = [("letsencrypt.org", "letsencrypt.org"), ("zerossl.com", "sectigo.com"), ("pki.goog", "pki.goog")];
    known.iter().find(|(domain, _)| host.ends_with(domain)).map(|(_, ca)| *ca)
}
