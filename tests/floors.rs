//! The house's rules, checked: imports go down the floors only, files stay readable, every folder has a face.
//!
//! The table is that of `docs/architecture.md`. It fails on `crate::room` paths only; rooms have no other way
//! to reach each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room: its floor, and what it must not import although that stands on a lower floor.
struct Room {
    name: &'static str,
    floor: u8,
    never: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8, never: &'static [&'static str]) -> Room {
    Room { name, floor, never }
}

const HOUSE: &[Room] = &[
    room("main", 9, &[]),
    room("cli", 8, &[]),
    room("app", 7, &[]),
    room("listen", 6, &["acme", "admin"]),
    room("admin", 6, &["proxy"]),
    room("demo", 6, &["proxy", "acme", "certs"]),
    room("tls", 5, &[]),
    room("acme", 5, &[]),
    room("proxy", 5, &[]),
    room("certs", 4, &[]),
    room("dns", 4, &["certs", "route"]),
    room("route", 4, &["net"]),
    room("backend", 3, &[]),
    room("storage", 3, &[]),
    room("config", 2, &[]),
    room("net", 2, &[]),
    room("http1", 2, &[]),
    room("names", 1, &[]),
    room("drain", 1, &[]),
    room("metrics", 1, &[]),
    room("read", 1, &[]),
];

/// Rooms that only compute, and the I/O that would show that they no longer do.
const NO_IO: &[(&str, &[&str])] = &[
    ("names", &["std::fs", "std::net::Tcp", "tokio::"]),
    ("config", &["std::net::Tcp", "tokio::"]),
    ("http1", &["std::fs", "std::net::Tcp", "tokio::"]),
    ("route", &["std::fs", "std::net::Tcp", "tokio::"]),
];

/// The most lines that a source file may have before its unit tests, and with them.
const LINES: (usize, usize) = (400, 600);

#[test]
fn imports_go_down_the_floors_only() {
    let faults: Vec<String> = sources().iter().flat_map(|(path, text)| upward_imports(path, text)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn rooms_that_only_compute_do_no_io() {
    for (path, text) in sources() {
        let Some((_, traces)) = NO_IO.iter().find(|(name, _)| room_of(&path).is_some_and(|room| room.name == *name))
        else {
            continue;
        };
        let code = code_only(&text);
        let found: Vec<_> = traces.iter().filter(|trace| code.contains(**trace)).collect();
        assert!(found.is_empty(), "src/{}: does I/O: {found:?}", path.display());
    }
}

#[test]
fn unsafe_code_stays_in_its_room() {
    let told = ["allow(unsafe_code", "expect(unsafe_code", "warn(unsafe_code"];
    let mut rooms: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|(_, text)| told.iter().any(|lint| text.contains(lint)))
        .map(|(path, _)| path)
        .collect();
    rooms.sort();
    assert_eq!(rooms, [Path::new("net/resident.rs")], "Cargo.toml denies it to all others");
}

#[test]
fn every_folder_is_a_known_room_with_a_face() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if room_of(&path).is_none() && path != Path::new("lib.rs") {
            faults.push(format!("src/{}: not in the table of tests/floors.rs: on which floor is it?", path.display()));
        }
        if path.ends_with("mod.rs") && !text.starts_with("//!") {
            faults.push(format!("src/{}: begins without a module doc", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_stay_readable() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let whole = text.lines().count();
        let tests_alone = path.iter().any(|part| part == "tests.rs" || part == "tests");
        let story = if tests_alone { 0 } else { text.lines().take_while(|line| *line != "#[cfg(test)]").count() };
        for (lines, most) in [(story, LINES.0), (whole, LINES.1)] {
            if lines > most {
                faults.push(format!("src/{}: {lines} lines, over {most}: would two be easier?", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_check_can_fail() {
    let faults = |path: &str, text: &str| upward_imports(Path::new(path), text).len();
    // Up, sideways and down.
    assert_eq!(faults("config/load.rs", "use crate::proxy::Body;"), 1);
    assert_eq!(faults("tls/accept.rs", "use crate::acme;"), 1);
    assert_eq!(faults("tls/accept.rs", "use crate::certs::Table;\nuse crate::tls::Hello;"), 0);
    // Groups, paths in code, the crate's own name, and climbing out by `super`.
    assert_eq!(faults("names/mod.rs", "use crate::{\n    config::{Config, Route},\n    names,\n    net,\n};"), 2);
    assert_eq!(faults("storage/api.rs", "fn f() { crate::certs::f() }"), 1);
    assert_eq!(faults("route/table.rs", "use doorward::listen::Hall;"), 1);
    assert_eq!(faults("route/table.rs", "use super::super::listen::Hall;"), 1);
    assert_eq!(faults("drain.rs", "use super::listen::Hall;"), 1);
    // Below, but forbidden.
    assert_eq!(faults("listen/tcp.rs", "use crate::acme::Manager;"), 1);
    // What only reads like an import.
    assert_eq!(faults("names/mod.rs", "//! As crate::proxy does.\nlet x = \"crate::proxy\"; // crate::proxy"), 0);
}

/// A file's imports that its room may not have, one line each.
fn upward_imports(path: &Path, text: &str) -> Vec<String> {
    let Some(own) = room_of(path) else { return Vec::new() };
    rooms_imported(path, &code_only(text))
        .into_iter()
        .filter_map(|name| {
            let other = HOUSE.iter().find(|room| room.name == name)?;
            let why = if other.name == own.name {
                return None;
            } else if own.never.contains(&other.name) {
                "which it never may".to_owned()
            } else if other.floor >= own.floor {
                format!("floor {} imports floor {}", own.floor, other.floor)
            } else {
                return None;
            };
            Some(format!("src/{}: imports crate::{name}: {why}", path.display()))
        })
        .collect()
}

/// The first names after `crate::` and its equals, groups opened.
fn rooms_imported(path: &Path, code: &str) -> BTreeSet<String> {
    let to_root = "super::".repeat(path.components().count());
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "doorward::", to_root.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend(identifier(rest)),
            }
        }
    }
    found
}

/// The first identifier of each item of a `{…}` group, given what follows the brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_item) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_item = true,
            c if at_item && !c.is_whitespace() => {
                heads.extend(identifier(&group[at..]));
                at_item = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The text without line comments and without what stands in string literals on one line.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let (mut in_string, mut escaped, mut previous) = (false, false, ' ');
        for c in line.chars() {
            if in_string {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
            } else if c == '"' && previous != '\'' {
                in_string = true;
            } else if c == '/' && previous == '/' {
                code.pop();
                break;
            } else {
                code.push(c);
            }
            previous = c;
        }
        code.push('\n');
    }
    code
}

fn room_of(path: &Path) -> Option<&'static Room> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    HOUSE.iter().find(|room| room.name == name)
}

/// Every source file: its path below `src/`, and its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path.strip_prefix(&root).expect("it is below src").to_owned(), text));
            }
        }
    }
    assert!(found.len() > 10, "src was found");
    found
}
