//! Includes, paths, variables and secrets: what the loader takes from outside the main file.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A folder with these files; the main one is `doorward.toml`.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

/// The report, with the folder's path taken out.
fn faults_in(folder: &Path) -> Vec<String> {
    let faults = load(&folder.join("doorward.toml")).expect_err("faults").faults;
    let text = |fault: &Fault| fault.to_string().replace(&format!("{}/", folder.display()), "").replace("\n  ", " ");
    faults.iter().map(text).collect()
}

fn app(host: &str, port: u16) -> String {
    format!("[[route]]\nhosts = [\"{host}\"]\nbackend = {port}\n")
}

#[test]
fn includes_are_read_in_the_order_of_their_paths() {
    let main = format!("include = [\"routes.d/*.toml\", \"*.toml\"]\n{}", with(&app("main.example.com", 1)));
    let dir = folder(&[
        ("doorward.toml", &main),
        ("routes.d/b.toml", &app("b.example.com", 2)),
        (
            "routes.d/a.toml",
            &format!("[[issuer]]\nname = \"i\"\ndirectory = \"https://a.b/\"\n{}", app("a.example.com", 3)),
        ),
        ("routes.d/.hidden.toml", "this is no TOML"),
        ("routes.d/readme.txt", "neither"),
        ("routes.d/folder.toml/x", ""),
    ]);
    let config = load(&dir.path().join("doorward.toml")).unwrap_or_else(|faults| panic!("{faults}")).config;
    let hosts: Vec<&str> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(hosts, ["main.example.com", "a.example.com", "b.example.com"]);
    let paths = |names: &[&str]| names.iter().map(|name| dir.path().join(name)).collect::<Vec<PathBuf>>();
    assert_eq!(config.files, paths(&["doorward.toml", "routes.d/a.toml", "routes.d/b.toml"]));
    assert_eq!(config.watched, [dir.path().to_owned(), dir.path().join("routes.d")]);
}

#[test]
fn faults_name_the_included_file() {
    let dir = folder(&[
        ("doorward.toml", &format!("include = [\"r/*.toml\"]\n{}", with(&app("x.example.com", 1)))),
        ("r/1.toml", "include = [\"more.toml\"]\n[log]\nlevel = \"info\"\n[listner]\n"),
        ("r/2.toml", "[[route]\n"),
        ("r/3.toml", &app("X.example.com", 2)),
    ]);
    let found = faults_in(dir.path());
    assert_eq!(found.len(), 5, "{found:#?}");
    assert_eq!(
        found[..3],
        [
            "r/1.toml:1:1: include: an included file cannot include others remedy: list every pattern in the main file's include",
            "r/1.toml:2:2: log: log cannot stand in an included file remedy: move it to the main file; an included one holds [[route]] and [[issuer]] only",
            "r/1.toml:4:2: listner: unknown key remedy: the keys here are: route, issuer",
        ]
    );
    assert!(found[3].starts_with("r/2.toml:1:9: unclosed array table"), "{found:#?}");
    assert_eq!(
        found[4],
        "r/3.toml:2:10: route[0].hosts[0]: x.example.com is on two routes; the other is at doorward.toml:8:10 remedy: remove one of them, or give one another path or other listeners"
    );
}

#[test]
fn include_patterns_that_lead_nowhere() {
    let main = format!("include = [\"none.toml\", \"apps/*.toml\", \"a[\"]\n{}", with(""));
    let dir = folder(&[("doorward.toml", &main)]);
    assert_eq!(
        faults_in(dir.path()),
        [
            "doorward.toml:1:12: include[0]: there is no file none.toml remedy: create it, or put the path right; only a pattern with * may match nothing",
            "doorward.toml:1:40: include[2]: \"a[\" is not a pattern: invalid range pattern remedy: write it as in \"routes.d/*.toml\"",
        ]
    );
}

#[test]
fn every_folder_that_a_pattern_looks_into_is_watched() {
    let main = format!("include = [\"apps/*/conf/*.toml\", \"later/x/*.toml\"]\n{}", with(""));
    let dir = folder(&[("doorward.toml", &main), ("apps/a/conf/r.toml", ""), ("apps/b/readme", "")]);
    let config = load(&dir.path().join("doorward.toml")).expect("a config").config;
    let relative: Vec<_> = config
        .watched
        .iter()
        .map(|path| path.strip_prefix(dir.path()).expect("inside").display().to_string())
        .collect();
    assert_eq!(relative, ["", "apps", "apps/a", "apps/a/conf", "apps/b"]);
}

#[test]
fn a_folder_with_wildcard_characters_in_its_name_is_itself() {
    let main = format!("include = [\"r/*.toml\"]\n{}", with(""));
    let dir = folder(&[("[x]*/doorward.toml", &main), ("[x]*/r/a.toml", &app("a.example.com", 1))]);
    let config = load(&dir.path().join("[x]*/doorward.toml")).expect("a config").config;
    assert_eq!(config.routes.len(), 1);
    assert_eq!(config.watched, [dir.path().join("[x]*"), dir.path().join("[x]*/r")]);
}

#[test]
fn what_the_config_names_has_to_be_there() {
    let main =
        with("[certificates]\ndirectories = [\"certs\", \"doorward.toml\", \"none\"]\n[acme]\ntrust = \"ca.pem\"\n");
    let dir = folder(&[("doorward.toml", &main), ("certs/x", "")]);
    let at = dir.path().display().to_string();
    let found: Vec<String> = faults_in(dir.path()).iter().map(|fault| fault.replace(&at, "")).collect();
    assert_eq!(
        found,
        [
            "doorward.toml:7:25: certificates.directories[1]: doorward.toml is not a folder remedy: name the folder that the file is in",
            "doorward.toml:7:42: certificates.directories[2]: the folder none does not exist, or may not be read remedy: create it (mkdir -p none), or put the path right",
            "doorward.toml:9:9: acme.trust: the file ca.pem does not exist, or may not be read remedy: create it, or put the path right",
        ]
    );
}

#[test]
fn files_that_cannot_be_read_as_text() {
    let dir = folder(&[]);
    let found = faults_in(dir.path());
    assert!(found[0].starts_with("doorward.toml: the file cannot be read: No such file"), "{found:?}");
    fs::write(dir.path().join("doorward.toml"), b"[log]\nlevel = \"\xff\"").expect("a file");
    assert_eq!(
        faults_in(dir.path()),
        ["doorward.toml: the file is not UTF-8, first in line 2 remedy: save it as UTF-8"]
    );
}

#[test]
fn variables_stand_in_any_string() {
    let machine = Machine {
        variable: |name| match name {
            "HOST" => Some("App.example.com".to_owned()),
            "PORT" => Some("3000".to_owned()),
            "SECRET" => Some("not a port".to_owned()),
            _ => None,
        },
        ..Machine::assumed()
    };
    let load = |route: &str| {
        let dir = folder(&[("doorward.toml", &with(&format!("[[route]]\n{route}")))]);
        load_on(&dir.path().join("doorward.toml"), machine)
    };
    let config = load("hosts = [\"${HOST}\", \"x.${HOST}\"]\nbackend = \"${HOST}:${PORT}\"\nname = \"$${PORT} $ {\"")
        .expect("a config")
        .config;
    let route = &config.routes[0];
    assert_eq!(route.hosts[1].to_string(), "x.app.example.com");
    assert_eq!(route.backend[0].to_string(), "app.example.com:3000");
    assert_eq!(route.name, "${PORT} $ {");

    let faults = load("hosts = [\"${NONE}.${NEITHER}\", \"${HOST\", \"${A-B}\"]\nbackend = \"app:${SECRET}\"")
        .expect_err("faults");
    assert_eq!(
        short(&faults.faults),
        [
            "7:10 route[0].hosts[0]: the environment variable NONE is not set; set NONE where doorward is started, or write the value itself",
            "7:10 route[0].hosts[0]: the environment variable NEITHER is not set; set NEITHER where doorward is started, or write the value itself",
            "7:32 route[0].hosts[1]: a ${ has no }; write ${NAME}, or $${ where a plain ${ is meant",
            "7:42 route[0].hosts[2]: ${A-B} names no environment variable; use letters, digits and _ only, as in ${NAME}; $${ where a plain ${ is meant",
            "8:11 route[0].backend: the backend has no port from 1 to 65535; add one, as in \"app:3000\" or \"127.0.0.1:3000\"",
        ]
    );
    assert!(!faults.to_string().contains("not a port"), "what a variable holds is not shown");
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let main = with("[acme]\neab = { key_id = \"kid\", hmac_key = \"file:eab/key\" }\n");
    let dir = folder(&[("doorward.toml", &main), ("eab/key", "c2VjcmV0\n")]);
    let config = load(&dir.path().join("doorward.toml")).expect("a config").config;
    let eab = config.acme.as_ref().and_then(|acme| acme.issuer.eab.as_ref()).expect("eab");
    assert_eq!(eab.hmac_key, "c2VjcmV0");
    assert!(!config.to_toml().contains("c2VjcmV0") && !format!("{config:?}").contains("c2VjcmV0"));
    assert!(config.watched.contains(&dir.path().join("eab")), "a new secret is a new config");

    fs::write(dir.path().join("eab/key"), "\n").expect("a file");
    assert_eq!(
        faults_in(dir.path()),
        [
            "doorward.toml:7:36: acme.eab.hmac_key: the secret is empty remedy: write it as text, as ${NAME} or as file:/path"
        ]
    );
    fs::remove_file(dir.path().join("eab/key")).expect("removed");
    let found = faults_in(dir.path());
    assert!(found[0].contains("hmac_key: the secret's file eab/key cannot be read: No such file"), "{found:?}");
}
