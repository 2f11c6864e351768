//! What DNS says of a name to a CA: CAA, and the record of DNS-01.

use std::time::Duration;

use super::Desk;
use crate::acme;
use crate::config::Acme;
use crate::dns::{Issuance, RecordType, Resolver, challenge_name, txt};
use crate::names::{HostPattern, Hostname};
use crate::storage::Storage;

/// How long all questions about one name may take together.
const PATIENCE: Duration = Duration::from_secs(8);

impl Desk {
    /// The CAA verdict and the DNS-01 record for a name, as the config's resolvers see them, a line each.
    /// `wildcard`: a certificate for all names of its level is what is ordered, and the name above is what counts.
    pub(super) async fn dns_lines(&self, name: &Hostname, wildcard: bool) -> Vec<String> {
        let above = name.as_str().split_once('.').and_then(|(_, above)| Hostname::parse(above).ok());
        let name = above.as_ref().filter(|_| wildcard).unwrap_or(name);
        if name.ip().is_some() || !name.as_str().contains('.') {
            return Vec::new();
        }
        let resolver = Resolver::new(&self.config.resolvers);
        let ask = async {
            let caa = self.caa(&resolver, name, wildcard).await;
            let challenge = challenge(&resolver, name).await;
            vec![caa, challenge]
        };
        let late = || vec![format!("CAA and DNS-01: the resolvers have not answered within {} s", PATIENCE.as_secs())];
        tokio::time::timeout(PATIENCE, ask).await.unwrap_or_else(|_| late())
    }

    async fn caa(&self, resolver: &Resolver, name: &Hostname, wildcard: bool) -> String {
        let caa = match resolver.permissions(name.as_str()).await {
            Err(error) => return format!("CAA: cannot be looked up, and a CA would then not issue: {error}"),
            Ok(None) => return "CAA: none, so every CA may issue".to_owned(),
            Ok(Some(caa)) => caa,
        };
        let Some(acme) = &self.config.acme else { return format!("CAA: {caa}") };
        let asker = Asker::find(&acme.asking(&acme.issuer), &**self.vault.storage()).await;
        let what = if wildcard { " the wildcard" } else { "" };
        match (asker.ca.first(), caa.permits(&asker.issuance(wildcard))) {
            (None, _) => {
                let issuer = &acme.issuer.name;
                format!("CAA: {caa}; what {issuer} is called in it is not known: its directory does not say")
            }
            (Some(ca), Ok(())) => format!("CAA: {caa}; {ca} may issue{what}"),
            (Some(ca), Err(why)) => format!("CAA: {caa}; {ca} may NOT issue{what}: {why}"),
        }
    }

    /// The names for which CAA forbids every issuer of `acme` to issue, with the record that does. What cannot be
    /// looked up from here is left to the CA.
    pub(super) async fn forbidden(&self, acme: &Acme, names: &[HostPattern]) -> Vec<String> {
        let resolver = Resolver::new(&self.config.resolvers);
        let ask = async {
            let (mut faults, mut askers) = (Vec::new(), Vec::new());
            for name in names.iter().filter(|name| name.base().ip().is_none()) {
                let Ok(Some(caa)) = resolver.permissions(name.base().as_str()).await else { continue };
                // Only who finds a record has to know who asks.
                if askers.is_empty() {
                    for issuer in acme.issuers() {
                        askers.push(Asker::find(&acme.asking(issuer), &**self.vault.storage()).await);
                    }
                }
                let refusal = |asker: &Asker| {
                    let ca = asker.ca.first()?;
                    Some((ca.clone(), caa.permits(&asker.issuance(name.is_wildcard())).err()?))
                };
                let refusals: Vec<_> = askers.iter().filter_map(refusal).collect();
                if let (true, Some((ca, why))) = (refusals.len() == askers.len(), refusals.first()) {
                    faults.push(format!("{name}: CAA forbids {ca} to issue: {caa}; {why}"));
                }
            }
            faults
        };
        tokio::time::timeout(PATIENCE, ask).await.unwrap_or_default()
    }
}

/// As whom doorward asks an issuer: what CAA records can speak of.
struct Asker {
    ca: Vec<String>,
    account: Option<String>,
    methods: Vec<&'static str>,
}

impl Asker {
    async fn find(acme: &Acme, storage: &dyn Storage) -> Self {
        Self {
            ca: acme::caa_identities(&acme.issuer).await,
            account: acme::account_uri(acme, storage).await.ok().flatten(),
            methods: acme.challenges.iter().map(|challenge| challenge.as_str()).collect(),
        }
    }

    fn issuance(&self, wildcard: bool) -> Issuance<'_> {
        Issuance { ca: &self.ca, account: self.account.as_deref(), methods: &self.methods, wildcard }
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
