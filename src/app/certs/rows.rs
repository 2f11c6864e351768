//! `certs list` and `certs show`: what there is, and what stands out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::look::Look;
use super::usage::{mismatches, sample};
use super::{Desk, day};
use crate::acme;
use crate::admin::certs::{Detail, Link, Previous, Refused, Reply, Row};
use crate::certs::{Bundle, Certificate, Origin, VaultError, Version, Warning, directory, is_trusted, links, unix_now};
use crate::config::{CertificateId, Route};
use crate::names::{HostPattern, Hostname};

/// From how many seconds before its end on a certificate that doorward does not renew stands out.
const SOON: i64 = 14 * 86_400;

impl Desk {
    pub(super) async fn list(&self) -> Result<Reply, Refused> {
        let look = self.look().await?;
        let mut certificates = Vec::new();
        for id in self.ids_of(&look) {
            certificates.push(self.row(&id, &look).await?);
        }
        Ok(Reply::List { certificates, disabled: self.table.disabled().list() })
    }

    /// One by its id, else the one that serves the name.
    pub(super) async fn show(&self, of: &str) -> Result<Detail, Refused> {
        let id = self.find(of).await?;
        if let Some(manager) = self.manager() {
            manager.refresh(&id).await;
        }
        let look = self.look().await?;
        // Before the row: what comes in between is then in the row, and a reader of both sees no half of it.
        let served = self.table.get(&id);
        let row = self.row(&id, &look).await?;
        let status = look.statuses.get(id.as_str());
        let kept = acme::Kept::load(&**self.vault.storage(), &id, SystemTime::now()).await?.with(status);
        let since = self.vault.about(&id).await?.map(|about| about.since).filter(|since| *since > 0);
        let versions = self.vault.versions(&id).await?;
        Ok(Detail {
            not_before: served.as_ref().map(|c| c.not_before()),
            key: served.as_ref().map(|c| c.key_kind().to_string()),
            serial: served.as_ref().map(|c| c.serial().to_owned()),
            fingerprint: served.as_ref().map(|c| c.fingerprint().to_owned()),
            key_fingerprint: served.as_ref().and_then(|c| links(c).into_iter().next()).map(|link| link.key_fingerprint),
            chain: served.as_deref().map(chain).unwrap_or_default(),
            serving_since: since.or(kept.issued),
            previous: versions.iter().map(|version| previous(&id, version)).collect(),
            profile: kept.profile,
            last_success: kept.issued,
            last_attempt: kept.last_failure,
            last_error: kept.last_error,
            failures: kept.failures,
            next_attempt: kept.next_attempt.or(kept.renew_at),
            progress: status.map(|status| status.progress.clone()).unwrap_or_default(),
            served_on: served.as_deref().map(|c| self.served_on(c)).unwrap_or_default(),
            row,
        })
    }

    /// The id that is meant: itself, or that of the certificate which serves the name.
    pub(super) async fn find(&self, of: &str) -> Result<CertificateId, Refused> {
        let id = CertificateId::new(of);
        let look = self.look().await?;
        let ids = self.ids_of(&look);
        if ids.contains(&id) {
            return Ok(id);
        }
        if let Ok(name) = Hostname::parse(of)
            && let Some(certificate) = self.meant(name.as_str()).certificate()
        {
            return Ok(certificate.id().clone());
        }
        // A wildcard, or a name that is only wanted yet.
        for id in &ids {
            if self.row(id, &look).await?.names.iter().any(|name| name == of) {
                return Ok(id.clone());
            }
        }
        let near = nearest(of, &ids);
        Err(Refused::Unknown(format!("no certificate is called {of:?}, and none is served for that name{near}")))
    }

    /// The id itself, for what cannot be undone: a name could mean more than is meant.
    pub(super) async fn exactly(&self, of: &str) -> Result<CertificateId, Refused> {
        let id = CertificateId::new(of);
        let ids = self.ids().await?;
        if ids.contains(&id) {
            return Ok(id);
        }
        let meant = match self.find(of).await {
            Ok(meant) => format!("; for that name there is {meant}: name it by its id"),
            Err(_) => nearest(of, &ids),
        };
        Err(Refused::Unknown(format!("there is no certificate with the id {of:?}{meant}")))
    }

    /// Everything that is served, stored, in a folder or wanted; sorted.
    pub(super) async fn ids(&self) -> Result<Vec<CertificateId>, Refused> {
        Ok(self.ids_of(&self.look().await?))
    }

    /// The same, of a look that was taken.
    fn ids_of(&self, look: &Look) -> Vec<CertificateId> {
        let mut ids: Vec<CertificateId> = self.table.list().iter().map(|c| c.id().clone()).collect();
        ids.extend(self.directories.iter().map(|status| status.id.clone()));
        ids.extend(look.stored());
        // With no doorward running, who would know what is covered does not run.
        let bare = |names: &[String]| {
            let names = names.iter().filter_map(|name| HostPattern::parse(name).ok());
            names.into_iter().any(|name| !self.table.has(&sample(&name)))
        };
        let kept_up = look.kept_up.iter().filter(|(_, names)| self.live.is_some() || bare(names));
        ids.extend(kept_up.map(|(id, _)| id.clone()));
        ids.extend(look.wishes.keys().map(|id| CertificateId::new(id.as_str())));
        ids.sort();
        ids.dedup();
        ids
    }

    async fn row(&self, id: &CertificateId, look: &Look) -> Result<Row, Refused> {
        let mut row = Row { id: id.to_string(), ..Row::default() };
        let (origin, folder) = (self.origin(id, look).await?, look.folder(id));
        let status = look.statuses.get(id.as_str());
        let kept = self.kept(id, look).await?.with(status);
        row.used_by = look.usage.get(id).into_iter().flatten().cloned().collect();
        row.source = folder.map(|status| status.path.display().to_string());
        let local = self.live.as_ref().and_then(|live| live.local.renews_at(id));
        row.origin = match (&folder, local, origin) {
            (Some(_), ..) => "directory",
            (None, Some(_), _) | (None, None, Some(Origin::OwnCa)) => "own-ca",
            (None, None, Some(Origin::Generated)) => "generated",
            (None, None, Some(Origin::Imported)) => "imported",
            (None, None, None) => "wanted",
        }
        .to_owned();
        row.renewed_by = look.renewed_by(id, self.live.as_ref()).map(str::to_owned);
        let by_acme = kept.renew_at.filter(|_| row.renewed_by.as_deref() == Some("acme"));
        row.next_renewal = local.or_else(|| by_acme.and_then(|at| i64::try_from(at).ok()));
        match self.table.get(id) {
            Some(certificate) => describe(&mut row, &certificate, look.naming(id)),
            None => self.describe_missing(&mut row, id, look).await?,
        }
        if let Some(directory::State::Pending(why) | directory::State::Refused(why)) = folder.map(|s| &s.state) {
            row.stand_out(if self.table.get(id).is_some() { "stale" } else { "not-served" }, why.clone());
        }
        if let Some(at) = kept.revoked {
            row.stand_out("revoked", format!("it was revoked on {}", day(at)));
        }
        describe_orders(&mut row, status, &kept);
        // No fault, so it does not stand out.
        if let (Some(acme), Some(certificate)) = (look.ordered_by(id), self.table.get(id)) {
            row.pending = kept.pending(&acme, certificate.key_kind());
            row.messages.extend_from_slice(&row.pending);
        }
        describe_switch(&mut row, &look.disabled);
        Ok(row)
    }

    /// Why nothing is served under this id.
    async fn describe_missing(&self, row: &mut Row, id: &CertificateId, look: &Look) -> Result<(), Refused> {
        if let Some(status) = look.statuses.get(id.as_str()) {
            (row.names, row.issuer) = (status.names.clone(), status.issuer.clone().unwrap_or_default());
        } else if let Some(wish) = look.wishes.get(id.as_str()) {
            (row.names, row.issuer) = (wish.names.clone(), wish.issuer.clone().unwrap_or_default());
        }
        if let Some(names) = look.kept_up.get(id).filter(|_| row.names.is_empty()) {
            row.names.clone_from(names);
        }
        if let Err(VaultError::Unusable(error)) = self.vault.bundle(id).await {
            row.stand_out("not-served", error.to_string());
        } else if row.origin == "wanted" && self.live.is_none() {
            row.stand_out("waiting", "it is ordered once doorward runs".to_owned());
        }
        Ok(())
    }
}

fn describe(row: &mut Row, certificate: &Certificate, naming: &[Arc<Route>]) {
    row.names = certificate.names().iter().map(ToString::to_string).collect();
    row.issuer = short_issuer(certificate);
    row.expires = Some(certificate.not_after());
    let now = unix_now();
    for warning in certificate.warnings(now) {
        let state = match warning {
            Warning::Expired(_) => "expired",
            Warning::NotYetValid(_) => "not-yet-valid",
            _ => "warning",
        };
        row.stand_out(state, warning.to_string());
    }
    if (now..now + SOON).contains(&certificate.not_after()) {
        let remedy = match (row.renewed_by.as_deref(), &row.source) {
            (None, _) => Some(format!("nobody renews it: `doorward certs replace {}` takes a new one", row.id)),
            (Some("folder"), Some(path)) => Some(format!("copy a new one to {path}")),
            _ => None,
        };
        if let Some(remedy) = remedy {
            let end = u64::try_from(certificate.not_after()).unwrap_or(0);
            row.stand_out("expiring", format!("it ends on {}; {remedy}", day(end)));
        }
    }
    for mismatch in mismatches(certificate, naming.iter()) {
        row.stand_out("mismatched", mismatch);
    }
    if is_trusted(certificate) == Some(false) {
        let why = match row.origin.as_str() {
            "own-ca" => "only clients that were told to trust doorward's own CA accept it (doorward ca trust)",
            _ => "its issuer is none that this system trusts",
        };
        row.stand_out("untrusted", why.to_owned());
    }
}

fn describe_switch(row: &mut Row, disabled: &BTreeMap<String, u64>) {
    let off: Vec<_> = disabled.keys().filter(|name| row.names.contains(name)).cloned().collect();
    if !off.is_empty() {
        row.stand_out("disabled", format!("HTTPS is off for {}", off.join(", ")));
    }
}

impl Row {
    fn stand_out(&mut self, state: &str, message: String) {
        if !self.states.iter().any(|known| known == state) {
            self.states.push(state.to_owned());
        }
        self.messages.push(message);
    }
}

fn describe_orders(row: &mut Row, status: Option<&acme::Status>, kept: &acme::Kept) {
    match status.map(|status| status.state) {
        Some(acme::State::Ordering) => row.stand_out("ordering", "an order is under way".to_owned()),
        Some(acme::State::Disabled) => {
            row.stand_out("failing", "there is no [acme] in the config to renew it by".to_owned());
        }
        Some(acme::State::Waiting | acme::State::Starting) if kept.failures == 0 => {
            row.stand_out("waiting", "waits for its turn".to_owned());
        }
        _ => {}
    }
    if let (0, Some(why)) = (kept.failures, &kept.last_error) {
        row.stand_out("waiting", why.clone());
    }
    let why = kept.last_error.as_deref().unwrap_or_default();
    match kept.failures {
        0 => {}
        1 => row.stand_out("failing", format!("the last attempt failed: {why}")),
        several => row.stand_out("failing", format!("failed {several} times in a row, the last one: {why}")),
    }
}

fn chain(certificate: &Certificate) -> Vec<Link> {
    let links = links(certificate).into_iter();
    links
        .map(|link| Link {
            subject: link.subject,
            issuer: link.issuer,
            expires: link.not_after,
            fingerprint: link.fingerprint,
        })
        .collect()
}

fn previous(id: &CertificateId, version: &Version) -> Previous {
    let bundle = Bundle::from_text(id.clone(), "an earlier version", version.bundle.as_bytes(), unix_now()).ok();
    Previous {
        since: version.since,
        until: version.until,
        expires: bundle.as_ref().map(|bundle| bundle.certificate.not_after()),
        fingerprint: bundle.map(|bundle| bundle.certificate.fingerprint().to_owned()),
    }
}

/// What the operator may have meant.
fn nearest(of: &str, ids: &[CertificateId]) -> String {
    let likeness = |id: &&CertificateId| strsim::jaro_winkler(of, id.as_str());
    let near = ids.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|id| likeness(id) > 0.8);
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// The issuer in a few words: its organisation and common name.
fn short_issuer(certificate: &Certificate) -> String {
    let part = |key: &str| {
        let all = certificate.issuer().split(", ");
        all.filter_map(|part| part.trim().strip_prefix(key)).next().map(str::to_owned)
    };
    match (part("O="), part("CN=")) {
        (Some(organisation), Some(name)) if name.contains(&organisation) => name,
        (Some(organisation), Some(name)) => format!("{organisation} {name}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => certificate.issuer().to_owned(),
    }
}
