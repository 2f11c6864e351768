//! Requests at a fixed rate over kept connections, and how long each answer took.

use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::tls::{Client, Target};

/// How much.
#[derive(Args)]
pub(crate) struct Load {
    /// For how long.
    #[arg(long)]
    seconds: f64,
    /// Requests a second, of all connections together.
    #[arg(long)]
    rate: f64,
    /// Connections, each with a thread.
    #[arg(long, default_value_t = 8)]
    connections: u32,
}

/// Runs the load.
pub(crate) fn run(target: &Target, load: &Load) -> Value {
    let interval = Duration::from_secs_f64(f64::from(load.connections) / load.rate);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.connections)
            .map(|n| scope.spawn(move || one_connection(target, load, interval, interval * n / load.connections)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let failed = results.iter().filter(|result| result.is_err()).count();
    let error = results.iter().find_map(|result| result.as_ref().err().map(ToString::to_string));
    let mut times: Vec<Duration> = results.into_iter().flatten().flatten().collect();
    times.sort_unstable();
    let quantile = |share: f64| {
        let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times.get(at).map(|time| time.as_secs_f64() * 1e6)
    };
    json!({
        "done": times.len(),
        "failed": failed,
        "errors": error.into_iter().collect::<Vec<_>>(),
        "p50": quantile(0.5),
        "p99": quantile(0.99),
        "p99.9": quantile(0.999),
    })
}

/// Asks at every interval. Where the last answer came too late for that, the time counts from when the request was due,
/// so that a contender that stalls cannot hide the requests that it held up.
fn one_connection(target: &Target, load: &Load, interval: Duration, offset: Duration) -> io::Result<Vec<Duration>> {
    let mut stream = Client::new(target, false, "http/1.1").connect()?;
    stream.get(target, false)?;
    let began = Instant::now();
    let mut times = Vec::with_capacity((load.seconds * load.rate) as usize);
    let mut due = began + offset;
    while due.duration_since(began).as_secs_f64() < load.seconds {
        let now = Instant::now();
        let from = if now < due {
            std::thread::sleep(due - now);
            // That the sleep was too long is this machine's doing.
            Instant::now()
        } else {
            due
        };
        stream.get(target, false)?;
        times.push(from.elapsed());
        due += interval;
    }
    Ok(times)
}
