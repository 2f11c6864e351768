//! Time of each step of the data plane that costs no system call: `cargo bench --profile dist --bench data_plane`.

mod steps;

fn main() {
    divan::main();
}

#[divan::bench(args = steps::STEPS.iter().map(|(name, _)| *name))]
fn step(bencher: divan::Bencher<'_, '_>, name: &str) {
    let (_, make) = steps::STEPS.iter().find(|(other, _)| *other == name).expect("a step");
    let mut run = make();
    bencher.bench_local(&mut *run);
}
