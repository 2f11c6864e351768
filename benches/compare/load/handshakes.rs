//! Handshakes: connect, ask for one small thing, close.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::tls::{Client, Target};

/// How much.
#[derive(Args)]
pub(crate) struct Load {
    /// For how long; without it, until stdin ends.
    #[arg(long)]
    seconds: Option<f64>,
    /// Handshakes under way at once.
    #[arg(long, default_value_t = 8)]
    threads: usize,
    /// Resume sessions.
    #[arg(long)]
    resume: bool,
    /// Milliseconds that each thread rests between two.
    #[arg(long, default_value_t = 0)]
    pause: u64,
}

#[derive(Default)]
struct Tally {
    done: u64,
    resumed: u64,
    failed: u64,
    agreed: BTreeSet<String>,
    errors: BTreeSet<String>,
}

/// Runs the load.
pub(crate) fn run(target: &Target, load: &Load) -> Value {
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let tally = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.threads).map(|_| scope.spawn(|| one_user(target, load, &stop))).collect();
        match load.seconds {
            Some(seconds) => std::thread::sleep(Duration::from_secs_f64(seconds)),
            None => io::stdin().lock().lines().for_each(drop),
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).fold(Tally::default(), Tally::and)
    });
    json!({
        "done": tally.done,
        "resumed": tally.resumed,
        "failed": tally.failed,
        "seconds": began.elapsed().as_secs_f64(),
        "agreed": tally.agreed,
        "errors": tally.errors.iter().take(3).collect::<Vec<_>>(),
    })
}

/// One user, with sessions of its own.
fn one_user(target: &Target, load: &Load, stop: &AtomicBool) -> Tally {
    let client = Client::new(target, load.resume, "http/1.1");
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        match visit(&client, target, &mut tally) {
            Ok(()) => tally.done += 1,
            Err(error) => {
                tally.failed += 1;
                tally.errors.insert(error.to_string());
            }
        }
        if load.pause > 0 {
            std::thread::sleep(Duration::from_millis(load.pause));
        }
    }
    tally
}

fn visit(client: &Client<'_>, target: &Target, tally: &mut Tally) -> io::Result<()> {
    let mut stream = client.connect()?;
    tally.resumed += u64::from(stream.is_resumed());
    if tally.done == 0 {
        tally.agreed.insert(stream.agreed());
    }
    stream.get(target, true)?;
    // The contender closes, as it was asked to; that some do it without close_notify is no failure here.
    let _ = stream.read(&mut [0; 16]);
    Ok(())
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.done += other.done;
        self.resumed += other.resumed;
        self.failed += other.failed;
        self.agreed.extend(other.agreed);
        self.errors.extend(other.errors);
        self
    }
}
