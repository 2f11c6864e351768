//! The comparison's load and backend: what h2load, wrk and nginx cannot do, or take too long for. `benches/compare/run`
//! drives it, and reads the line of JSON that each verb prints. It knows nothing of doorward.

mod backend;
mod certificates;
mod handshakes;
mod idle;
mod latency;
mod requests;
mod tls;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Makes certificates, handshakes, idle connections and requests, and answers them, for `benches/compare/run`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Answers requests, as the app behind the contenders.
    Backend(backend::Place),
    /// Makes certificates below a CA, which is made where there is none yet.
    Certificates(certificates::Order),
    /// Connects, asks for one small thing and closes, again and again.
    Handshakes {
        #[command(flatten)]
        target: tls::Target,
        #[command(flatten)]
        load: handshakes::Load,
    },
    /// Opens connections, one request on each, and holds them until stdin ends.
    Idle {
        #[command(flatten)]
        target: tls::Target,
        /// How many.
        #[arg(long)]
        connections: usize,
        /// HTTP/2, else HTTP/1.1.
        #[arg(long)]
        h2: bool,
    },
    /// Sends requests at a fixed rate and tells how long the answers took.
    Latency {
        #[command(flatten)]
        target: tls::Target,
        #[command(flatten)]
        load: latency::Load,
    },
    /// Sends requests over kept connections as fast as they are answered.
    Requests {
        #[command(flatten)]
        target: tls::Target,
        #[command(flatten)]
        load: requests::Load,
    },
}

fn main() {
    // `cargo bench` runs every bench; by itself this one has nothing to measure.
    if std::env::args().skip(1).eq(["--bench".to_owned()]) {
        println!("load: run by benches/compare/run");
        return;
    }
    let report = match Arguments::parse().verb {
        Verb::Backend(place) => backend::run(&place),
        Verb::Certificates(order) => certificates::make(&order),
        Verb::Handshakes { target, load } => handshakes::run(&target, &load),
        Verb::Idle { target, connections, h2 } => idle::run(&target, connections, h2),
        Verb::Latency { target, load } => latency::run(&target, &load),
        Verb::Requests { target, load } => requests::run(&target, &load),
    };
    println!("{report}");
}

/// Reads a whole file that has to be there.
fn read(path: &PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
