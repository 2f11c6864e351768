//! Commands that change what is stored: import, replace, rollback, delete, disable, enable; and export.

use super::usage::sample;
use super::{Desk, done, failed, now, pattern, sound};
use crate::acme::State;
use crate::admin::certs::{Done, Import, Refused, Reply, Secret};
use crate::certs::{About, Bundle, Certificate, Origin, directory, unix_now};
use crate::config::{CertificateChoice, CertificateId, RouteHost};
use crate::names::HostPattern;

impl Desk {
    /// Stores a certificate, new or in place of another, and waits until it is served.
    pub(super) async fn import(&self, import: Import) -> Result<Done, Refused> {
        self.lasting()?;
        let id = CertificateId::new(import.id.as_str());
        sound(&id)?;
        let remedy = match import.replace {
            true => "copy the new files there; they are served at once",
            false => "choose another --id, or copy the files there",
        };
        self.not_in_directory(&id, remedy)?;
        let bundle = Bundle::from_text(id.clone(), &import.from, import.bundle.0.as_bytes(), unix_now())
            .map_err(|error| Refused::No(error.to_string()))?;
        let _lease = self.vault.lock(&id).await?;
        let before = match self.vault.bundle(&id).await {
            Ok(before) => Some(before),
            Err(crate::certs::VaultError::Unknown(_)) => None,
            // What cannot be used is no loss.
            Err(crate::certs::VaultError::Unusable(_)) => None,
            Err(error) => return Err(error.into()),
        };
        match &before {
            Some(before) if before.certificate.fingerprint() == bundle.certificate.fingerprint() => {}
            Some(before) if !import.replace => return Err(taken(&before.certificate, import.own_ca)),
            Some(before) if !import.force => {
                if let Some(why) = objection(&bundle.certificate, &before.certificate) {
                    return Err(Refused::No(format!("{why}; --force takes it all the same")));
                }
            }
            None if import.replace && !self.vault.ids().await?.contains(&id) => {
                return Err(Refused::Unknown(format!(
                    "there is no certificate {id} in the storage to replace; `doorward certs import --id {id}` adds one"
                )));
            }
            _ => {}
        }
        let origin = if import.own_ca { Origin::OwnCa } else { Origin::Imported };
        let about = About { origin, since: now(), from: Some(import.from.clone()) };
        let same = before.is_some_and(|before| before.pem == bundle.pem);
        if !same {
            self.vault.put(&bundle, &about).await?;
        }
        let serving = self.is_served(&id, bundle.certificate.fingerprint()).await;
        tracing::info!(certificate = %id, from = import.from, serving, "an operator brought a certificate");
        let what = match (same, import.replace, import.own_ca) {
            (true, ..) => "was there already",
            (false, true, _) => "replaced",
            (false, false, true) => "issued by doorward's own CA",
            (false, false, false) => "imported",
        };
        let mut done = done(&id, self.outcome(&id, what, serving), serving);
        done.warnings = bundle.certificate.warnings(unix_now()).iter().map(ToString::to_string).collect();
        done.warnings.extend(self.mismatches(&bundle.certificate));
        Ok(done)
    }

    pub(super) async fn roll_back(&self, id: &str, force: bool) -> Result<Done, Refused> {
        self.lasting()?;
        let id = self.exactly(id).await?;
        self.not_in_directory(&id, "copy the old files there")?;
        let _lease = self.vault.lock(&id).await?;
        let current = self.vault.bundle(&id).await.ok();
        let allow = |bundle: &Bundle| match &current {
            Some(current) if !force => match objection(&bundle.certificate, &current.certificate) {
                Some(why) => Err(Refused::No(format!("{why}; --force brings it back all the same"))),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        let bundle = self.vault.roll_back(&id, now(), allow).await?;
        let serving = self.is_served(&id, bundle.certificate.fingerprint()).await;
        tracing::warn!(certificate = %id, serving, "an operator brought an earlier certificate back");
        Ok(done(&id, self.outcome(&id, "rolled back to the version before", serving), serving))
    }

    pub(super) async fn delete(&self, id: &str, force: bool) -> Result<Done, Refused> {
        self.lasting()?;
        let id = self.exactly(id).await?;
        self.not_in_directory(&id, "remove its files there, and it is served no longer")?;
        if self.live.as_ref().is_some_and(|live| live.local.renews_at(&id).is_some()) {
            let why = "a route has certificate = \"self-signed\" for it: change the route";
            return Err(Refused::No(format!("{id} is kept by doorward's own CA as {why}")));
        }
        let users = self.usage().remove(&id).unwrap_or_default();
        let breaks = self.breaks(&id);
        if !users.is_empty() && !force {
            let users = users.into_iter().collect::<Vec<_>>().join(", ");
            let would = if breaks.is_empty() { String::new() } else { format!(" ({})", breaks.join("; ")) };
            return Err(Refused::No(format!("{id} is in use by {users}{would}; --force deletes it all the same")));
        }
        let _lease = self.vault.lock(&id).await?;
        self.vault.delete(&id).await?;
        let gone = self.live.is_none() || self.await_table(|| self.table.get(&id).is_none()).await;
        tracing::warn!(certificate = %id, ?users, "an operator deleted a certificate");
        let mut done = done(&id, format!("deleted {id}"), false);
        done.warnings = breaks;
        if !gone {
            done.warnings.push("it is still served: look at doorward's log".to_owned());
        }
        // A route that has it from ACME has a new one ordered at once.
        if let Some(manager) = self.manager()
            && self.acme(&id).is_some_and(|status| !matches!(status.state, State::Covered))
            && manager.renew(&id)
        {
            done.warnings.push("a route has certificate = \"auto\" for its names: a new one is ordered".to_owned());
        }
        Ok(done)
    }

    /// What no longer works without this certificate.
    fn breaks(&self, id: &CertificateId) -> Vec<String> {
        let Some(certificate) = self.table.get(id) else { return Vec::new() };
        let mut breaks = Vec::new();
        for route in self.config.routes.iter().filter(|route| route.certificate == CertificateChoice::Id(id.clone())) {
            breaks
                .push(format!("route {} names it: its hosts get what else there is for them, or nothing", route.name));
        }
        let bare: Vec<_> = certificate
            .names()
            .iter()
            .filter(|name| !self.table.all_for(&sample(name)).iter().any(|other| other.id() != id))
            .map(ToString::to_string)
            .collect();
        if !bare.is_empty() {
            breaks.push(format!("there is no other certificate for {}", bare.join(", ")));
        }
        breaks
    }

    /// Switches HTTPS on or off for a name.
    pub(super) async fn switch(&self, name: &str, on: bool) -> Result<Done, Refused> {
        self.lasting()?;
        let pattern = pattern(name)?;
        let (disabled, name) = (self.table.disabled(), pattern.to_string());
        let was_off = disabled.list().contains_key(&name);
        disabled.set(&**self.vault.storage(), &pattern, (!on).then(now)).await?;
        let covering = disabled.list().into_keys().find(|other| {
            *other != name && crate::names::HostPattern::parse(other).is_ok_and(|other| other.covers(&pattern))
        });
        tracing::warn!(name, on, "an operator switched HTTPS for a name");
        let message = match (on, was_off) {
            (true, true) => format!("HTTPS is on again for {name}"),
            (true, false) => format!("HTTPS was not off for {name}"),
            (false, true) => format!("HTTPS was off for {name} already"),
            (false, false) => {
                format!("HTTPS is off for {name}: handshakes are refused, and requests over HTTP reach the app")
            }
        };
        let mut done = done(&CertificateId::new(name), message, on);
        if !on && !self.is_known(&pattern) {
            done.warnings.push(format!("no route has {pattern} and no certificate is for it: is it spelt right?"));
        }
        if let Some(covering) = covering.filter(|_| on) {
            done.warnings.push(format!("it is still off by {covering}"));
        }
        Ok(done)
    }

    /// Whether the name concerns any route or certificate.
    fn is_known(&self, name: &HostPattern) -> bool {
        let hosts = self.config.routes.iter().flat_map(|route| &route.hosts);
        let mut patterns = hosts.filter_map(|host| if let RouteHost::Pattern(host) = host { Some(host) } else { None });
        patterns.any(|host| host.covers(name) || name.covers(host)) || !self.table.all_for(&sample(name)).is_empty()
    }

    pub(super) async fn export(&self, id: &str) -> Result<Reply, Refused> {
        let id = self.find(id).await?;
        let bundle = match self.in_directory(&id) {
            Some(status) => directory::gather(&status.path)
                .into_iter()
                .find(|gathered| gathered.path == status.path)
                .ok_or_else(|| Refused::Unknown(format!("{} is gone", status.path.display())))?
                .result
                .map_err(failed)?,
            None if self.live.as_ref().is_some_and(|live| live.local.renews_at(&id).is_some()) => {
                let why = "it is made anew at each start and never written down: `doorward ca issue` makes one to keep";
                return Err(Refused::No(format!("{id} cannot be exported: {why}")));
            }
            None => self.vault.bundle(&id).await?,
        };
        tracing::warn!(certificate = %id, "an operator exported a certificate with its key");
        Ok(Reply::Export { id: id.to_string(), bundle: Secret(bundle.pem) })
    }

    fn outcome(&self, id: &CertificateId, what: &str, serving: bool) -> String {
        match (serving, &self.live) {
            (true, _) => format!("{id} {what}, and it is served"),
            (false, None) => format!("{id} {what}; no doorward runs, it is served from the next start on"),
            (false, Some(_)) => format!("{id} {what}, but it is not served yet: look at doorward's log"),
        }
    }
}

fn taken(before: &Certificate, own_ca: bool) -> Refused {
    let names = before.names().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let id = before.id();
    let remedy = match own_ca {
        true => "--replace takes its place".to_owned(),
        false => format!("`doorward certs replace {id}` takes its place"),
    };
    Refused::No(format!("there is a certificate {id} already, for {names}: {remedy}, --id names another"))
}

/// What speaks against `new` in the place of `old`; nothing where the old one is of no use any more.
fn objection(new: &Certificate, old: &Certificate) -> Option<String> {
    let now = unix_now();
    if !old.is_valid_at(now) {
        return None;
    }
    if !new.is_valid_at(now) {
        return new
            .warnings(now)
            .into_iter()
            .find(|warning| {
                matches!(warning, crate::certs::Warning::Expired(_) | crate::certs::Warning::NotYetValid(_))
            })
            .map(|warning| format!("the certificate that is to take its place {warning}"));
    }
    let covered = |name: &&crate::names::HostPattern| new.covers_all(std::slice::from_ref(*name));
    let lost: Vec<_> = old.names().iter().filter(|name| !covered(name)).map(ToString::to_string).collect();
    (!lost.is_empty()).then(|| format!("it lacks {}, which the one before has", lost.join(", ")))
}
