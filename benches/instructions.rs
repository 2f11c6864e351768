//! Instructions of each step of the data plane, counted by valgrind's callgrind: the same number on a busy machine.
//! `cargo bench --profile dist --bench instructions`; `… -- request` for the steps with that in their name.
//!
//! This program runs itself under callgrind, which counts only within [`counted_runs`].

mod steps;

use std::path::Path;
use std::process::Command;

/// Runs that are counted, after as many that are not: those let buffers grow to their size.
const RUNS: u64 = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [verb, name] = &arguments[..]
        && verb == "run"
    {
        return run(name);
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    println!("{:<32}{:>14}", "step", "instructions");
    for (name, _) in steps::STEPS {
        if arguments.first().is_none_or(|part| name.contains(part.as_str())) {
            println!("{name:<32}{:>14.0}", count(folder.path(), name) as f64 / RUNS as f64);
        }
    }
}

fn run(name: &str) {
    let (_, make) = steps::STEPS.iter().find(|(other, _)| *other == name).expect("a step");
    let mut step = make();
    (0..RUNS).for_each(|_| step());
    counted_runs(&mut *step);
}

/// Callgrind finds it by this name, and would stop counting in a closure, whose name has it in it.
#[inline(never)]
fn counted_runs(step: &mut dyn FnMut()) {
    for _ in 0..RUNS {
        step();
    }
}

/// The instructions of all counted runs of a step.
fn count(folder: &Path, name: &str) -> u64 {
    let out = folder.join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*counted_runs*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this program's path"))
        .args(["run", name])
        .output()
        .unwrap_or_else(|error| panic!("valgrind (Debian's package of that name) does not start: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(out).expect("callgrind's file");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    totals.and_then(|count| count.trim().parse().ok()).expect("callgrind's sum")
}
