//! The files in `config/` are what operators start from: each has to load.

use std::path::{Path, PathBuf};

use super::*;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let entries = std::fs::read_dir(folder).expect("config/").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn every_example_loads_without_a_warning() {
    let examples = examples();
    assert!(examples.len() >= 4, "{examples:?}");
    for path in examples {
        let loaded = load_on(&path, Machine::assumed()).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.warnings, [], "{}", path.display());
        assert!(!loaded.config.routes.is_empty(), "{}", path.display());
    }
}

#[test]
fn the_example_with_many_apps_includes_every_file_beside_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/many-apps.toml");
    let config = load_on(&path, Machine::assumed()).expect("a config").config;
    let beside = std::fs::read_dir(path.with_file_name("routes.d")).expect("routes.d").count();
    assert_eq!(config.files.len(), 1 + beside);
}
