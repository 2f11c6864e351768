//! `include`: further files, one for an app, each with `[[route]]` and `[[issuer]]` only.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use glob::{MatchOptions, Pattern};

use super::Found;
use super::load::{Gathered, read_table, read_text};
use super::reader::{Item, Reading, Section};
use super::source::Source;
use super::values::normal;

/// What a hidden file is called is left to editors and volume mounts: only a pattern that says so sees it.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The top-level keys that only the main file can have.
const MAIN_ONLY: [&str; 13] = [
    "workers",
    "trusted_proxies",
    "listener",
    "acme",
    "dns",
    "resolvers",
    "certificates",
    "storage",
    "timeouts",
    "limits",
    "admin",
    "metrics",
    "log",
];

/// Reads `include`, and every file that it leads to, in the order of their paths.
pub(super) fn read(item: &Item<'_>, gathered: &mut Gathered) -> Option<()> {
    let mut files = Vec::new();
    item.list("\"routes.d/*.toml\"", |pattern| {
        find(pattern, gathered)?.into_iter().for_each(|file| files.push((file, pattern.place())));
        Some(())
    })?;
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files.dedup_by(|a, b| a.0 == b.0);
    for (file, pattern) in files {
        if gathered.files.first() == Some(&file) {
            continue; // the main file, in the folder that its own pattern looks into
        }
        let order = gathered.files.len();
        gathered.add_file(file.clone());
        let shown = shown(&file, item.source);
        match read_text(&shown) {
            Ok(text) => read_file(item.reading, &Rc::new(Source::new(&shown, folder(&file), order, text)), gathered),
            Err(fault) => {
                item.reading.fault(&pattern, format!("{}: {}", shown.display(), fault.message), fault.remedy);
            }
        }
    }
    Some(())
}

fn read_file(reading: &Reading, source: &Rc<Source>, gathered: &mut Gathered) {
    let Some(table) = read_table(reading, source) else { return };
    let mut root = Section::root(reading, source, &table);
    gathered.take(&mut root);
    root.refuse("include", "an included file cannot include others", "list every pattern in the main file's include");
    for key in MAIN_ONLY {
        let remedy = "move it to the main file; an included one holds [[route]] and [[issuer]] only";
        root.refuse(key, &format!("{key} cannot stand in an included file"), remedy);
    }
    root.finish();
}

/// The files that one pattern matches; notes the folders to watch.
fn find(item: &Item<'_>, gathered: &mut Gathered) -> Option<Vec<PathBuf>> {
    let text = item.words()?;
    let pattern = escaped(item.source, Path::new(&text));
    let paths = match glob::glob_with(&pattern, OPTIONS) {
        Ok(paths) => paths,
        Err(error) => {
            let message = format!("{:?} is not a pattern: {}", item.written(), error.msg);
            return item.fault(message, "write it as in \"routes.d/*.toml\"");
        }
    };
    let mut files = Vec::new();
    for path in paths {
        match path {
            Ok(path) if path.is_dir() => {}
            Ok(path) => files.push(path),
            Err(error) => {
                let message = format!("{} cannot be read: {}", error.path().display(), error.error());
                item.fault::<()>(message, "let doorward's user read the folder");
            }
        }
    }
    let path = item.source.folder.join(&text);
    if !has_wildcard(&text) && files.is_empty() && (item.reading.machine.look)(&path) != Found::Assumed {
        let message = format!("there is no file {}", shown(&path, item.source).display());
        item.fault::<()>(message, "create it, or put the path right; only a pattern with * may match nothing");
    }
    watch(item.source, Path::new(&text), gathered);
    Some(files)
}

/// Notes every folder that the pattern looks into: a file, or a folder with a file, can appear in each.
fn watch(source: &Source, pattern: &Path, gathered: &mut Gathered) {
    for level in pattern.ancestors().skip(1) {
        let fixed = !has_wildcard(&level.to_string_lossy());
        if fixed {
            let folder = normal(&source.folder.join(level));
            if folder.is_dir() {
                gathered.watched.insert(folder);
                return;
            }
            // It does not exist yet: the folder above sees it appear.
        } else {
            let paths = glob::glob_with(&escaped(source, level), OPTIONS).into_iter().flatten().flatten();
            gathered.watched.extend(paths.filter(|path| path.is_dir()));
        }
    }
}

/// The pattern as an absolute one; its file's folder stands for itself, whatever characters are in it.
fn escaped(source: &Source, pattern: &Path) -> String {
    Path::new(&Pattern::escape(&source.folder.to_string_lossy())).join(pattern).to_string_lossy().into_owned()
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The file's path in the way that the main file's was given.
fn shown(file: &Path, main: &Source) -> PathBuf {
    let given = main.path.parent().unwrap_or(Path::new(""));
    file.strip_prefix(&main.folder).map_or_else(|_| file.to_owned(), |rest| given.join(rest))
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}
