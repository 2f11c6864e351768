//! Commands that ask a CA for something: generate, renew, revoke.

use std::sync::Arc;

use super::public::is_public;
use super::{Desk, day, done, failed, now, pattern, room, sound};
use crate::acme::{self, Asked, Reason, State};
use crate::admin::certs::{Done, Generate, Refused};
use crate::certs::{Origin, Wish};
use crate::config::{Acme, CertificateId};
use crate::names::HostPattern;
use crate::storage::keys;

use crate::app::certificates::{key_type, wanted};

/// The most names that a certificate of a public CA may have.
const MOST_NAMES: usize = 100;

impl Desk {
    /// Has a certificate ordered and kept from now on. What cannot work is said before anybody is asked.
    pub(super) async fn generate(&self, generate: Generate) -> Result<Done, Refused> {
        let live = self.live()?;
        self.lasting()?;
        let id = generate.id.clone().map(CertificateId::new);
        id.iter().try_for_each(sound)?;
        let mut names = Vec::new();
        for name in &generate.names {
            let name = pattern(name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut faults = self.faults(&generate, &names).await;
        faults.extend(self.no_room(&generate, &names).await?);
        if let (true, Some(acme)) = (faults.is_empty(), &self.config.acme) {
            let asked = Asked { issuer: generate.issuer.clone(), ..Asked::default() };
            faults.extend(self.forbidden(&asked.tailor(&Arc::new(acme.clone())), &names).await);
        }
        if !faults.is_empty() {
            return Err(Refused::No(format!("nothing was ordered:\n  {}", faults.join("\n  "))));
        }
        let id = id.unwrap_or_else(|| acme::certificate_id(&names));
        self.not_in_directory(&id, "choose another --id")?;
        let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
        let wish = Wish {
            id: id.to_string(),
            names: texts.clone(),
            issuer: generate.issuer,
            key: generate.key,
            profile: generate.profile,
            at: now(),
        };
        let before = self.vault.wishes().await?.into_iter().find(|wish| wish.id == id.as_str());
        if let Some(before) = before {
            if (&before.names, &before.issuer, &before.key, &before.profile)
                == (&wish.names, &wish.issuer, &wish.key, &wish.profile)
            {
                let is_there = self.table.get(&id).is_some();
                // Who asks again has mended something, and does not want to wait for the next attempt.
                let failing = || self.acme(&id).is_some_and(|status| status.state == State::Failing);
                if let Some(manager) = self.manager().filter(|_| !is_there && failing()) {
                    manager.renew(&id);
                }
                return Ok(done(&id, format!("{id} was asked for already"), is_there));
            }
            let remedy = format!("`doorward certs delete {id}` first, or choose another --id");
            return Err(Refused::No(format!("{id} was asked for already with other names or choices: {remedy}")));
        }
        if let Ok(bundle) = self.vault.bundle(&id).await
            && (generate.id.is_some() || !bundle.certificate.covers_all(&names))
        {
            return Err(Refused::No(format!("there is a certificate {id} already: choose another --id")));
        }
        self.vault.wish(&wish).await?;
        live.refresh.notify_one();
        tracing::info!(certificate = %id, names = ?texts, "an operator asked for a certificate");
        Ok(done(&id, format!("asked for {id}"), false))
    }

    /// All that can be known to go wrong.
    async fn faults(&self, generate: &Generate, names: &[HostPattern]) -> Vec<String> {
        let Some(acme) = &self.config.acme else {
            return vec!["the config has no [acme]: write one, a contact is enough".to_owned()];
        };
        let mut faults = Vec::new();
        if names.is_empty() {
            faults.push("there is no name to ask for".to_owned());
        }
        let issuer = match &generate.issuer {
            Some(name) => acme::find_issuer(acme, name),
            None => Some(&acme.issuer),
        };
        let Some(issuer) = issuer else {
            let known = acme.known_issuers().map(|issuer| issuer.name.as_str()).collect::<Vec<_>>().join(", ");
            let name = generate.issuer.as_deref().unwrap_or_default();
            faults.push(format!("no issuer is called {name:?}; add an [[issuer]], or choose one of: {known}"));
            return faults;
        };
        if issuer.lacks_eab() {
            let name = &issuer.name;
            faults.push(format!(
                "{name} opens accounts by external account binding only: \
                 write [[issuer]] name = {name:?} with eab = {{ key_id = …, hmac_key = … }}"
            ));
        }
        if generate.key.as_deref().is_some_and(|key| key_type(key).is_none()) {
            faults.push("--key is one of p256, p384 and rsa2048".to_owned());
        }
        if names.len() > MOST_NAMES {
            faults.push(format!("{} names are more than the {MOST_NAMES} that a CA takes", names.len()));
        }
        let asking = if generate.issuer.is_some() { acme.asking(issuer) } else { acme.clone() };
        for name in names {
            let can_prove = match self.manager() {
                Some(manager) => manager.can_prove(&asking, name).await,
                None => false,
            };
            if name.is_wildcard() && !can_prove {
                faults.push(format!(
                    "{name}: a CA issues wildcards by DNS-01 only, and there is no DNS solver for its zone: add one (doorward dns PROVIDER add)"
                ));
            } else if !can_prove {
                let why = self.live.iter().flat_map(|live| live.shut.iter()).map(|why| format!("\n    {why}"));
                let by_dns = "\n    dns-01: add a DNS solver for its zone (doorward dns PROVIDER add)";
                let by_dns = name.base().ip().is_none().then(|| by_dns.to_owned());
                let why: String = why.chain(by_dns).collect();
                faults.push(format!("{name}: there is no way to prove it to a CA{why}"));
            }
            if !issuer.is_built_in() {
                continue;
            }
            if !name.is_wildcard() && name.base().ip().is_some() {
                let profile = generate.profile.as_ref().or(issuer.profile.as_ref());
                if profile.is_none() {
                    let remedy = "name a profile that has them (--profile shortlived at Let's Encrypt)";
                    faults
                        .push(format!("{name}: {} issues for addresses in some profiles only: {remedy}", issuer.name));
                }
            } else if !is_public(name) {
                let remedy = "use a name under a domain that you registered, or certificate = \"self-signed\"";
                faults.push(format!("{name}: no public CA issues for it: {remedy}"));
            }
        }
        faults
    }

    /// The limits of the CA that leave nothing for new names. Where others may be asked instead, that is no fault.
    async fn no_room(&self, generate: &Generate, names: &[HostPattern]) -> Result<Vec<String>, Refused> {
        let Some(acme) = &self.config.acme else { return Ok(Vec::new()) };
        if generate.issuer.is_none() && !acme.fallback.is_empty() {
            return Ok(Vec::new());
        }
        let issuer = generate.issuer.as_ref().unwrap_or(&acme.issuer.name);
        let full =
            self.room(names).await?.into_iter().filter(|(of, limit)| of == issuer && limit.left_for_new == Some(0));
        Ok(full.map(|(of, limit)| format!("no room by the CA's limits: {}", room::line(&of, &limit))).collect())
    }

    /// Has a certificate renewed now.
    pub(super) async fn renew(&self, id: &str, force: bool) -> Result<Done, Refused> {
        let live = self.live()?;
        let id = self.find(id).await?;
        if live.local.renews_at(&id).is_some() {
            live.local.renew(&id).map_err(failed)?;
            return Ok(done(&id, format!("{id} was issued anew by doorward's own CA, and it is served"), true));
        }
        self.not_in_directory(&id, "copy a new certificate there")?;
        let manager = self.manager().ok_or_else(|| Refused::Failed("doorward is stopping".to_owned()))?;
        self.settled(&id).await;
        let Some(status) = self.acme(&id) else {
            return Err(Refused::No(match self.vault.about(&id).await?.map(|about| about.origin) {
                Some(Origin::OwnCa) => {
                    format!("nobody renews {id}: `doorward ca issue … --id {id} --replace` issues a new one")
                }
                Some(Origin::Generated) => {
                    format!("nobody wants {id} any more: `doorward certs generate` its names to have it kept renewed")
                }
                _ => format!(
                    "nobody renews {id}, as doorward did not get it from a CA: `doorward certs replace {id}` takes a new one"
                ),
            }));
        };
        match status.state {
            State::Disabled => return Err(Refused::No("the config has no [acme] to renew it by".to_owned())),
            State::Ordering => return Ok(done(&id, format!("an order for {id} is under way already"), false)),
            State::Valid if !force => {
                let at = status.renew_at.map_or_else(String::new, |at| format!(" (its renewal begins on {})", day(at)));
                let why = "a CA counts every certificate against its limits";
                return Err(Refused::No(format!("{id} is not due{at}, and {why}; --force orders all the same")));
            }
            State::Covered if !force => {
                return Err(Refused::No(format!(
                    "{id} is not needed: another certificate covers its names; --force orders"
                )));
            }
            _ => {}
        }
        if !manager.renew(&id) {
            return Err(Refused::Unknown(format!("nobody looks after {id} any more")));
        }
        tracing::info!(certificate = %id, force, "an operator asked for a renewal");
        Ok(done(&id, format!("ordering a new certificate for {id}"), false))
    }

    /// Has the CA revoke it; where somebody wants it, a new one is ordered.
    pub(super) async fn revoke(&self, id: &str, reason: &str) -> Result<Done, Refused> {
        let reason = match reason {
            "unspecified" => Reason::Unspecified,
            "key-compromise" => Reason::KeyCompromise,
            "superseded" => Reason::Superseded,
            "cessation" => Reason::Cessation,
            _ => {
                let known = "unspecified, key-compromise, superseded and cessation";
                return Err(Refused::No(format!("{reason:?} is no reason; there are {known}")));
            }
        };
        let id = self.exactly(id).await?;
        self.not_in_directory(&id, "revoke it where it was made")?;
        let acme: &Acme = self.config.acme.as_ref().ok_or_else(|| {
            Refused::No("the config has no [acme]: only its issuers' certificates can be revoked".to_owned())
        })?;
        let lease = self.vault.lock(&id).await?;
        let bundle = self.vault.bundle(&id).await?;
        acme::revoke(acme, self.vault.storage(), &bundle.certificate, reason, now()).await.map_err(
            |error| match error {
                acme::AcmeError::NotOurs(_) => Refused::No(error.to_string()),
                error => failed(error),
            },
        )?;
        // What is revoked is nothing to go back to with one command.
        self.vault.storage().delete(&keys::certificate_versions(&id)).await?;
        drop(lease);
        tracing::warn!(certificate = %id, "an operator had a certificate revoked");
        let renewed = self.manager().is_some_and(|manager| manager.renew(&id));
        let wishes = self.vault.wishes().await?;
        let is_wanted = wanted(&self.config, &wishes).iter().any(|wanted| wanted.id == id);
        let mut done = done(&id, format!("{id} is revoked"), self.live.is_some());
        done.warnings.push(match self.live.is_some() {
            true if renewed => "it is served until the new one that is ordered now is there".to_owned(),
            false if is_wanted => {
                "no doorward runs: the next one that starts serves it until the new one that it orders is there; \
                 `doorward certs renew` orders it now"
                    .to_owned()
            }
            _ => format!("it is served on, as nobody wants another one: `doorward certs delete {id}` ends that"),
        });
        Ok(done)
    }
}
