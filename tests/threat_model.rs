//! `docs/threat-model.md` names tests: each has to exist, where it says.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/threat-model.md")).expect("the threat model");
    let code = text.split('`').skip(1).step_by(2);
    let named: Vec<(&str, &str)> =
        code.filter_map(|code| code.split_once(": ")).filter(|(file, _)| is_file(file)).collect();
    assert!(named.len() > 40, "only {} tests are named", named.len());
    for (file, what) in named {
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|fault| panic!("{file}: {fault}"));
        let found = if is_function(what) { source.contains(&format!("fn {what}(")) } else { source.contains(what) };
        assert!(found, "{file} has no {what:?}");
    }
    // A row of what is done has a test: those of who is trusted, and of known limits, need none.
    for row in text.lines().filter(|row| row.matches('|').count() == 4 && !row.contains("---")) {
        let is_head = row.ends_with("| test |") || row.starts_with("| who");
        let is_trust = text.split("## Clients: whose name").next().is_some_and(|start| start.contains(row));
        assert!(is_head || is_trust || row.contains(".rs: ") || row.contains(".py: "), "no test holds: {row}");
    }
}

fn is_file(text: &str) -> bool {
    [".rs", ".py"].iter().any(|end| text.ends_with(end))
}

/// A test's name in Rust; anything else is a text to be found.
fn is_function(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
