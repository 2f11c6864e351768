//! The watcher: one thread that hears of changes, reads what was touched, and has the ledger decide.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::oneshot;

use super::super::unix_now;
use super::layouts::{self, Found, Source};
use super::ledger::{Ledger, Moment};

/// How long after an event others are waited for that belong to it.
const QUIET: Duration = Duration::from_millis(50);
/// How long events may go on coming before they are acted on all the same.
const BUSY: Duration = Duration::from_millis(250);
/// When a new folder is looked at again: what was put into it before it was watched is heard of by nobody.
const SECOND_LOOK: Duration = Duration::from_millis(300);
/// How often everything is compared with what was read, whatever was heard.
const RESCAN: Duration = Duration::from_secs(60);
/// The same, where a folder can't be watched: then this is how changes are found.
const POLL: Duration = Duration::from_secs(1);

/// What the thread is told.
pub(super) enum Message {
    /// By the operating system.
    Event(notify::Result<notify::Event>),
    /// To compare everything now.
    Rescan(oneshot::Sender<()>),
    /// To watch these folders from now on.
    Update(Vec<PathBuf>, oneshot::Sender<()>),
    /// To end.
    Stop,
}

/// What the thread owns.
pub(super) struct Watch {
    ledger: Arc<Mutex<Ledger>>,
    inbox: Receiver<Message>,
    watcher: Option<RecommendedWatcher>,
    roots: Vec<Root>,
    touched: BTreeSet<Touch>,
    /// The first and the last event that `touched` came of.
    heard: Option<(Instant, Instant)>,
    again: Vec<(Instant, PathBuf)>,
    /// Folders of which it was said that they can't be read.
    unreadable: BTreeSet<PathBuf>,
    next_rescan: Instant,
}

struct Root {
    path: PathBuf,
    /// Device and inode of the folder that is watched.
    watched: Option<(u64, u64)>,
    /// Where it can't be, which was said: when that is tried again.
    refused_until: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    /// Everything, as events were lost.
    All,
    /// This folder, with nothing below it.
    Folder(PathBuf),
    /// Whatever this is.
    Path(PathBuf),
}

pub(super) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn moment() -> Moment {
    Moment { at: Instant::now(), unix: unix_now() }
}

impl Watch {
    /// Watches `roots`, and loads all that is in them.
    pub(super) fn start(
        ledger: Arc<Mutex<Ledger>>,
        roots: Vec<PathBuf>,
        (outbox, inbox): (Sender<Message>, Receiver<Message>),
    ) -> Self {
        let heard = move |event: notify::Result<notify::Event>| {
            // Files that are read, by us first of all, change nothing.
            if !matches!(&event, Ok(event) if event.kind.is_access()) {
                // The thread is gone where nobody hears.
                let _ = outbox.send(Message::Event(event));
            }
        };
        let watcher = notify::recommended_watcher(heard);
        let watcher = watcher.map_err(
            |error| tracing::warn!(%error, "certificate folders can't be watched: they are looked at every second"),
        );
        let mut watch = Self {
            ledger,
            inbox,
            watcher: watcher.ok(),
            roots: Vec::new(),
            touched: BTreeSet::new(),
            heard: None,
            again: Vec::new(),
            unreadable: BTreeSet::new(),
            next_rescan: Instant::now(),
        };
        watch.set_roots(roots);
        // Watched first, read then: what changes in between is heard of.
        let began = Instant::now();
        watch.rescan(true);
        let status = lock(&watch.ledger).status();
        let served = status.iter().filter(|status| status.served.is_some()).count();
        if !watch.roots.is_empty() {
            let (refused, seconds) = (status.len() - served, began.elapsed().as_secs_f64());
            tracing::info!(served, refused, seconds, "certificate folders loaded");
        }
        watch
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        loop {
            let wait = self.next().saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Event(event)) => self.hear(event),
                Ok(Message::Rescan(done)) => {
                    self.rescan(false);
                    let _ = done.send(());
                }
                Ok(Message::Update(roots, done)) => {
                    lock(&self.ledger).set_roots(roots.clone());
                    self.set_roots(roots);
                    self.rescan(false);
                    let _ = done.send(());
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.act(Instant::now());
        }
    }

    /// When there is something to do next.
    fn next(&self) -> Instant {
        let settled = self.heard.map(settled);
        let again = self.again.iter().map(|(when, _)| *when).min();
        let due = lock(&self.ledger).next_due();
        [settled, again, due].into_iter().flatten().fold(self.next_rescan, Instant::min)
    }

    fn act(&mut self, now: Instant) {
        if self.heard.is_some_and(|heard| settled(heard) <= now) {
            self.heard = None;
            for touch in std::mem::take(&mut self.touched) {
                self.look_at(touch);
            }
        }
        let (ready, later) =
            std::mem::take(&mut self.again).into_iter().partition::<Vec<_>, _>(|(when, _)| *when <= now);
        self.again = later;
        for (_, folder) in ready {
            self.scan(&[folder], false);
        }
        let due = lock(&self.ledger).due(now);
        for path in due {
            self.read(&path);
        }
        if self.next_rescan <= now {
            self.rescan(false);
        }
    }

    fn hear(&mut self, event: notify::Result<notify::Event>) {
        let now = Instant::now();
        self.heard = Some((self.heard.map_or(now, |(first, _)| first), now));
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            Ok(_) => {
                self.touched.insert(Touch::All);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the watch of the certificate folders lost events: all are looked at");
                self.touched.insert(Touch::All);
                return;
            }
        };
        for path in event.paths {
            if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(_))
                && self.roots.iter().any(|root| root.path == path)
            {
                self.touched.insert(Touch::All);
            } else {
                self.touched.extend(touch(&self.roots, path));
            }
        }
    }

    fn look_at(&mut self, touch: Touch) {
        match touch {
            Touch::All => self.rescan(false),
            Touch::Folder(folder) => {
                self.read(&folder);
                if let Ok(listing) = layouts::list(&folder) {
                    self.read_news(listing.sources, false);
                }
            }
            Touch::Path(path) if path.is_dir() => {
                self.read(&path);
                self.scan(std::slice::from_ref(&path), false);
                self.again.push((Instant::now() + SECOND_LOOK, path));
            }
            Touch::Path(path) => {
                // A PKCS#12 file that was converted is no certificate any more.
                if path.extension().is_some_and(|extension| extension == "pem") {
                    for original in ["p12", "pfx"].map(|extension| path.with_extension(extension)) {
                        let known = lock(&self.ledger).below(&original);
                        known.iter().for_each(|entry| self.read(entry));
                    }
                }
                let below = lock(&self.ledger).below(&path);
                below.iter().for_each(|entry| self.read(entry));
                if below.is_empty() {
                    self.read(&path);
                }
            }
        }
    }

    /// Compares everything with what was read, and reads what differs.
    fn rescan(&mut self, initial: bool) {
        self.watch_roots();
        let roots: Vec<_> = self.roots.iter().map(|root| root.path.clone()).collect();
        self.scan(&roots, initial);
        lock(&self.ledger).reconsider(moment());
        let all_watched = self.roots.iter().all(|root| root.watched.is_some());
        self.next_rescan = Instant::now() + if all_watched { RESCAN } else { POLL };
    }

    fn scan(&mut self, folders: &[PathBuf], initial: bool) {
        for folder in folders {
            let scan = layouts::scan(folder);
            let found: BTreeSet<_> = scan.sources.iter().map(|source| source.path.clone()).collect();
            self.unreadable
                .retain(|path| !path.starts_with(folder) || scan.unreadable.iter().any(|(now, _)| now == path));
            for (path, error) in &scan.unreadable {
                if self.unreadable.insert(path.clone()) {
                    tracing::warn!(path = %path.display(), %error, "certificate folder can't be read: what it held is served on");
                }
            }
            let unknown = |path: &PathBuf| scan.unreadable.iter().any(|(folder, _)| path.starts_with(folder));
            let missing = lock(&self.ledger).below(folder);
            missing.iter().filter(|path| !found.contains(*path) && !unknown(path)).for_each(|path| self.read(path));
            self.read_news(scan.sources, initial);
        }
    }

    /// Reads those that look different from when they were read; many at once on all cores.
    fn read_news(&self, sources: Vec<Source>, initial: bool) {
        let news: Vec<_> = {
            let ledger = lock(&self.ledger);
            sources.into_iter().filter(|source| ledger.is_news(&source.path, &source.stamp())).collect()
        };
        let read = read_all(&news);
        let mut ledger = lock(&self.ledger);
        for (source, found) in news.iter().zip(read) {
            ledger.note(&source.path, found, initial, moment());
        }
    }

    fn read(&self, path: &Path) {
        let found = layouts::look(path);
        lock(&self.ledger).note(path, found, false, moment());
    }

    fn set_roots(&mut self, roots: Vec<PathBuf>) {
        for root in std::mem::take(&mut self.roots) {
            if let (Some(watcher), Some(_), false) = (&mut self.watcher, root.watched, roots.contains(&root.path)) {
                // It may be gone with its folder.
                let _ = watcher.unwatch(&root.path);
            } else if roots.contains(&root.path) {
                self.roots.push(root);
            }
        }
        let known: BTreeSet<_> = self.roots.iter().map(|root| root.path.clone()).collect();
        self.roots.extend(roots.into_iter().filter(|path| !known.contains(path)).map(|path| Root {
            path,
            watched: None,
            refused_until: None,
        }));
    }

    /// Watches the roots that are not watched yet, or that are another folder now.
    fn watch_roots(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for root in &mut self.roots {
            let now = root.path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
            let refused = root.refused_until.is_some_and(|until| Instant::now() < until);
            if root.watched == now && now.is_some() || refused {
                continue;
            }
            if root.watched.take().is_some() {
                // It may be gone with its folder.
                let _ = watcher.unwatch(&root.path);
            }
            if now.is_none() {
                continue;
            }
            match watcher.watch(&root.path, RecursiveMode::Recursive) {
                Ok(()) => (root.watched, root.refused_until) = (now, None),
                Err(error) => {
                    // A part of it may be watched: of no use here, where all is looked at, and needed elsewhere.
                    let _ = watcher.unwatch(&root.path);
                    if root.refused_until.replace(Instant::now() + RESCAN).is_some() {
                        continue;
                    }
                    let remedy =
                        "raise fs.inotify.max_user_watches (sysctl), until then the folder is looked at every second";
                    tracing::warn!(path = %root.path.display(), %error, remedy, "certificate folder can't be watched");
                }
            }
        }
    }
}

/// When no more events are waited for.
fn settled((first, last): (Instant, Instant)) -> Instant {
    (last + QUIET).min(first + BUSY)
}

/// Reads all, on as many threads as there are cores where that pays.
pub(super) fn read_all(sources: &[Source]) -> Vec<Found> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(sources.len() / 32 + 1);
    if threads == 1 {
        return sources.iter().map(Source::read).collect();
    }
    let share = sources.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let read = |part: &'_ [Source]| part.iter().map(Source::read).collect::<Vec<_>>();
        let readers: Vec<_> = sources.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
        // A panic in a reader is a panic here.
        readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What an event's path touches: the folder around the first hidden part, the folder of a pair's file, or itself.
fn touch(roots: &[Root], path: PathBuf) -> Option<Touch> {
    let root = &roots.iter().find(|root| path.starts_with(&root.path))?.path;
    let mut visible = root.clone();
    for part in path.strip_prefix(root).ok()?.components() {
        if part.as_os_str().as_encoded_bytes().starts_with(b".") {
            return Some(Touch::Folder(visible));
        }
        if layouts::is_passed_over(&visible, part.as_os_str()) {
            return None;
        }
        visible.push(part);
    }
    let name = path.file_name()?.to_str()?;
    if layouts::is_layout_file(name) {
        return path.parent().map(|folder| Touch::Folder(folder.to_owned()));
    }
    Some(Touch::Path(path))
}
