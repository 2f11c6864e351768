//! The decisions: what was found, against what is served. No file and no clock is touched here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::certificate::date;
use super::super::pem::quoted;
use super::ids::Ids;
use super::layouts::{Found, Stamp};
use super::{ForceError, State, Status};
use crate::certs::{Certificate, CertificateError, Table};
use crate::config::CertificateId;

/// How long a pair may not match, or a file be half there, before that is reported.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a certificate whose chain is no longer complete waits for its chain file.
const CHAIN_SETTLE: Duration = Duration::from_millis(600);
/// How often files that have yet to settle are looked at.
const RETRY: Duration = Duration::from_millis(200);
/// How long a deleted folder's certificate is served on, in case it comes back.
const GRACE: Duration = Duration::from_secs(10);

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For waiting.
    pub(super) at: Instant,
    /// For validity, in unix seconds.
    pub(super) unix: i64,
}

/// All certificates of the folders, and the table that they are served from.
pub(super) struct Ledger {
    table: Arc<Table>,
    roots: Vec<PathBuf>,
    entries: BTreeMap<PathBuf, Entry>,
    ids: Ids,
    due: BTreeSet<(Instant, PathBuf)>,
}

struct Entry {
    name: String,
    id: CertificateId,
    stamp: Stamp,
    state: State,
    served: Option<Arc<Certificate>>,
    /// Sound, but waits.
    candidate: Option<Arc<Certificate>>,
    /// Since when the files are not as they should be.
    unsettled: Option<Instant>,
    /// Since when the files are not there.
    gone: Option<Instant>,
    due: Option<Instant>,
}

/// What is to be done with a sound certificate.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Serve,
    Wait(String),
}

impl Ledger {
    pub(super) fn new(table: Arc<Table>, roots: Vec<PathBuf>) -> Self {
        Self { table, roots, entries: BTreeMap::new(), ids: Ids::default(), due: BTreeSet::new() }
    }

    /// Takes note of what was found at `path`. At the first load (`initial`) what is wrong is reported at once.
    pub(super) fn note(&mut self, path: &Path, found: Found, initial: bool, now: Moment) {
        match found {
            Found::Gone => self.note_gone(path, now),
            Found::Read { stray: true, .. } if self.entries.get(path).is_none_or(|entry| entry.served.is_none()) => {
                self.withdraw(path);
            }
            Found::Read { name, stamp, result, .. } => {
                if !self.entries.contains_key(path) {
                    self.add(path, name, &stamp);
                }
                let Some(entry) = self.entries.get_mut(path) else { return };
                if entry.gone.take().is_some() || (entry.stamp != stamp && matches!(entry.state, State::Refused(_))) {
                    entry.unsettled = None;
                }
                entry.stamp = stamp;
                let due = match result {
                    Ok(certificate) => entry.note_sound(&certificate, &self.table, path, initial, now),
                    Err(error) => entry.note_error(&error, path, initial, now),
                };
                self.set_due(path, due);
            }
        }
    }

    /// Whether the files at `path` have to be read to know more than is known.
    pub(super) fn is_news(&self, path: &Path, stamp: &Stamp) -> bool {
        self.entries.get(path).is_none_or(|entry| entry.stamp != *stamp || entry.gone.is_some())
    }

    /// What has to be looked at again by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<PathBuf> {
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, path)| path.clone()).collect()
    }

    /// When something has to be looked at again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Every path at or below `path` that has an entry.
    pub(super) fn below(&self, path: &Path) -> Vec<PathBuf> {
        let from = self.entries.range(path.to_owned()..).map(|(entry, _)| entry);
        from.take_while(|entry| entry.starts_with(path)).cloned().collect()
    }

    /// Looks once more at all that is pending: time may have decided.
    pub(super) fn reconsider(&mut self, now: Moment) {
        for (path, entry) in &mut self.entries {
            let (Some(candidate), Some(served)) = (&entry.candidate, &entry.served) else { continue };
            if decide(served, candidate, now.unix) == Verdict::Serve {
                entry.serve(&self.table, path, false, now);
            }
        }
    }

    /// Serves what is pending for `id`.
    pub(super) fn force(&mut self, id: &CertificateId, now: Moment) -> Result<(), ForceError> {
        let Some((path, entry)) = self.entries.iter_mut().find(|(_, entry)| entry.id == *id) else {
            return Err(ForceError::Unknown(id.clone()));
        };
        if entry.candidate.is_none() {
            let why = match &entry.state {
                State::Served => "it is served".to_owned(),
                State::Pending(why) | State::Refused(why) => why.clone(),
            };
            return Err(ForceError::NotPending(id.clone(), why));
        }
        entry.serve(&self.table, path, false, now);
        Ok(())
    }

    /// Changes the roots; what is below none of them is withdrawn at once.
    pub(super) fn set_roots(&mut self, roots: Vec<PathBuf>) {
        let gone = self.entries.keys().filter(|path| !roots.iter().any(|root| path.starts_with(root)));
        for path in gone.cloned().collect::<Vec<_>>() {
            self.withdraw(&path);
        }
        self.roots = roots;
        // The roots decide who of a group comes first.
        self.ids = Ids::default();
        for (path, name) in
            self.entries.iter().map(|(path, entry)| (path.clone(), entry.name.clone())).collect::<Vec<_>>()
        {
            let assigned = self.ids.add(&name, &path, &self.roots);
            self.rename(assigned);
        }
    }

    pub(super) fn status(&self) -> Vec<Status> {
        let status = |(path, entry): (&PathBuf, &Entry)| Status {
            id: entry.id.clone(),
            path: path.clone(),
            state: entry.state.clone(),
            served: entry.served.clone(),
        };
        self.entries.iter().map(status).collect()
    }

    fn add(&mut self, path: &Path, name: String, stamp: &Stamp) {
        let assigned = self.ids.add(&name, path, &self.roots);
        let id = assigned.iter().find(|(member, _)| member == path).map(|(_, id)| id.clone());
        let id = id.unwrap_or_else(|| CertificateId::new(name.clone()));
        self.rename(assigned);
        let state = State::Pending("not read yet".to_owned());
        let stamp = stamp.clone();
        let entry =
            Entry { name, id, stamp, state, served: None, candidate: None, unsettled: None, gone: None, due: None };
        self.entries.insert(path.to_owned(), entry);
    }

    /// Gives certificates other ids. Those that are served are under their new id before the old one goes.
    fn rename(&mut self, assigned: impl IntoIterator<Item = (PathBuf, CertificateId)>) {
        for (path, id) in assigned {
            let Some(entry) = self.entries.get_mut(&path).filter(|entry| entry.id != id) else { continue };
            let before = std::mem::replace(&mut entry.id, id.clone());
            tracing::info!(path = %path.display(), %before, now = %id, "certificate renamed: another has, or had, its name");
            if let Some(candidate) = &mut entry.candidate {
                *candidate = Arc::new(candidate.with_id(id.clone()));
            }
            let Some(served) = &mut entry.served else { continue };
            let old = std::mem::replace(served, Arc::new(served.with_id(id)));
            self.table.insert(Arc::clone(served));
            if self.table.get(&before).is_some_and(|current| Arc::ptr_eq(&current, &old)) {
                self.table.remove(&before);
            }
        }
    }

    fn note_gone(&mut self, path: &Path, now: Moment) {
        let Some(entry) = self.entries.get_mut(path) else { return };
        let since = *entry.gone.get_or_insert(now.at);
        entry.candidate = None;
        if entry.served.is_none() || now.at >= since + GRACE {
            return self.withdraw(path);
        }
        let message =
            format!("its files are gone; it is withdrawn in {} seconds unless they come back", GRACE.as_secs());
        if entry.state != State::Pending(message.clone()) {
            tracing::warn!(id = %entry.id, path = %path.display(), "certificate's files are gone: it is served a little longer");
            entry.state = State::Pending(message);
        }
        self.set_due(path, Some(since + GRACE));
    }

    fn withdraw(&mut self, path: &Path) {
        self.set_due(path, None);
        let Some(entry) = self.entries.remove(path) else { return };
        if let Some(served) = &entry.served
            && self.table.get(&entry.id).is_some_and(|current| Arc::ptr_eq(&current, served))
        {
            self.table.remove(&entry.id);
            tracing::info!(id = %entry.id, path = %path.display(), "certificate withdrawn");
        }
        let assigned = self.ids.remove(&entry.name, path, &self.roots);
        self.rename(assigned);
    }

    fn set_due(&mut self, path: &Path, due: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(path) else { return };
        if let Some(old) = std::mem::replace(&mut entry.due, due) {
            self.due.remove(&(old, path.to_owned()));
        }
        if let Some(due) = due {
            self.due.insert((due, path.to_owned()));
        }
    }
}

impl Entry {
    /// Returns when to look again.
    fn note_sound(
        &mut self,
        certificate: &Certificate,
        table: &Table,
        path: &Path,
        initial: bool,
        now: Moment,
    ) -> Option<Instant> {
        let certificate = Arc::new(certificate.with_id(self.id.clone()));
        if let Some(served) = self.served.as_ref().filter(|served| served.serves_like(&certificate)) {
            (self.state, self.candidate, self.unsettled) = (State::Served, None, None);
            tracing::debug!(id = %served.id(), "certificate read again, unchanged");
            return None;
        }
        let verdict = self.served.as_ref().map_or(Verdict::Serve, |served| decide(served, &certificate, now.unix));
        let lost_chain = |served: &Arc<Certificate>| certificate.is_chain_incomplete() && !served.is_chain_incomplete();
        if verdict == Verdict::Serve && self.served.as_ref().is_some_and(lost_chain) {
            let since = *self.unsettled.get_or_insert(now.at);
            if now.at < since + CHAIN_SETTLE {
                return Some(now.at + RETRY);
            }
        }
        self.unsettled = None;
        self.candidate = Some(certificate);
        match verdict {
            Verdict::Serve => self.serve(table, path, initial, now),
            Verdict::Wait(why) => {
                if self.state != State::Pending(why.clone()) {
                    tracing::warn!(id = %self.id, path = %path.display(), "certificate kept pending: {why}");
                }
                self.state = State::Pending(why);
            }
        }
        None
    }

    /// Returns when to look again.
    fn note_error(&mut self, error: &CertificateError, path: &Path, initial: bool, now: Moment) -> Option<Instant> {
        let since = *self.unsettled.get_or_insert(now.at);
        let settling = error.may_settle() && now.at < since + SETTLE;
        let due = settling.then(|| now.at + RETRY);
        if settling && !initial {
            if self.served.is_none() && !matches!(self.state, State::Refused(_)) {
                self.state = State::Pending(format!("{error} (looked at again in a moment)"));
            }
            return due;
        }
        let message = error.to_string();
        if self.state != State::Refused(message.clone()) {
            let served = self.served.is_some();
            tracing::warn!(id = %self.id, path = %path.display(), served, "certificate refused: {message}");
        }
        self.candidate = None;
        self.state = State::Refused(message);
        due
    }

    fn serve(&mut self, table: &Table, path: &Path, initial: bool, now: Moment) {
        let Some(certificate) = self.candidate.take() else { return };
        let id = &self.id;
        // At a start there may be thousands, and one line tells of all.
        if !initial {
            let names = certificate.names().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let (until, key) = (date(certificate.not_after()), certificate.key_kind());
            tracing::info!(%id, path = %path.display(), names, until, %key, "certificate served");
        }
        for warning in certificate.warnings(now.unix) {
            tracing::warn!(%id, path = %path.display(), "certificate: {warning}");
        }
        table.insert(Arc::clone(&certificate));
        self.served = Some(certificate);
        self.state = State::Served;
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// Whether `new` may take the place of `served`.
fn decide(served: &Certificate, new: &Certificate, now: i64) -> Verdict {
    if !served.is_valid_at(now) {
        return Verdict::Serve;
    }
    let end = date(served.not_after());
    let id = quoted(new.id().as_str());
    let force = format!("unless `doorward reload --force {id}` takes the new one");
    let until = format!("the one before is served until its end on {end}, {force}");
    if new.not_after() < now {
        return Verdict::Wait(format!("the new certificate expired on {}; {until}", date(new.not_after())));
    }
    if new.not_before() > now {
        return Verdict::Wait(format!(
            "the new certificate is not valid before {}; until then the one before is served, {force}",
            date(new.not_before())
        ));
    }
    let covered = |name: &&crate::names::HostPattern| new.covers_all(std::slice::from_ref(*name));
    let lost = served.names().iter().filter(|name| !covered(name)).map(ToString::to_string).collect::<Vec<_>>();
    if !lost.is_empty() {
        return Verdict::Wait(format!("the new certificate no longer covers {}; {until}", lost.join(", ")));
    }
    Verdict::Serve
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
