//! The suites of `tests/suites/`, each a program of its own, against the built doorward: see the README there.
//!
//! `DOORWARD_SUITES_FULL=1` runs what takes longer, too.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No suite takes longer, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(1200);

fn run(suite: &str, parts: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/suites/bin/python");
    assert!(python.exists(), "{} is missing: tests/run.sh makes it", python.display());
    let mut child = Command::new(python)
        .arg(root.join("tests/suites").join(suite))
        .args(parts)
        .env("DOORWARD", env!("CARGO_BIN_EXE_doorward"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .spawn()
        .expect("Python runs");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("it can be ended");
            panic!("{suite} takes more than {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(status.success(), "{suite}: {status}; what failed is printed above");
}

#[test]
fn http1_desync() {
    run("http1_desync.py", &[]);
}

#[test]
fn h2_spec() {
    run("h2_spec.py", &[]);
}

#[test]
fn h2_sections() {
    run("h2_sections.py", &[]);
}

#[test]
fn verdicts_do_not_depend_on_how_bytes_are_cut() {
    run("splits.py", &[]);
}

#[test]
fn h2_floods() {
    run("h2_floods.py", &[]);
}

#[test]
fn names_truncation_apps_and_websockets() {
    run("names_and_apps.py", &[]);
}

#[test]
fn files_that_misbehave() {
    run("files.py", &[]);
}

/// Skips what takes root or libfaketime, saying so, where they are missing.
#[test]
fn disks_clocks_and_locks_that_misbehave() {
    run("disk_and_clock.py", &[]);
}

#[test]
fn slow_and_many() {
    run("slow_and_many.py", &[]);
}

/// Skips, saying so, where there is no Python 2.7.
#[test]
fn autobahn() {
    run("autobahn.py", &[]);
}

#[test]
fn scanners() {
    run("scanners.py", &[]);
}
