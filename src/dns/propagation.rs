//! Waiting until a record can be seen where a CA looks: at the zone's own servers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::resolver::{Resolver, txt_at};
use super::{DnsError, TxtRecord};

/// The first and the longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What one server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The server's name, where it is known by one, and its address.
    pub server: String,
    /// Whether it has the value.
    pub seen: bool,
    /// What it has instead, or why it said nothing.
    pub instead: String,
}

/// Returns once every server of the record's zone has the value: `servers` where there are some, else those that
/// the zone's NS records name. An IPv6 server that cannot be reached from here is passed over where an IPv4 one of
/// the same name has it.
///
/// # Errors
/// [`DnsError::NotPropagated`] at the deadline; [`DnsError::Server`], where the zone's servers cannot be found.
pub async fn wait_for(
    resolver: &Resolver,
    record: &TxtRecord,
    servers: &[SocketAddr],
    within: Duration,
) -> Result<Vec<Sighting>, DnsError> {
    let deadline = Instant::now() + within;
    let mut pause = PAUSE.0;
    loop {
        let looked = tokio::time::timeout_at(deadline, look(resolver, record, servers)).await;
        let missing = match looked {
            Ok(Ok(sightings)) if missing(&sightings).is_empty() => return Ok(sightings),
            Ok(Ok(sightings)) => missing(&sightings).join(", "),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its servers do not answer".to_owned(),
        };
        if Instant::now() + pause >= deadline {
            return Err(DnsError::NotPropagated { name: record.name.to_string(), seconds: within.as_secs(), missing });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// What each server says now.
///
/// # Errors
/// [`DnsError::Server`], where the zone's servers cannot be found.
pub async fn look(resolver: &Resolver, record: &TxtRecord, servers: &[SocketAddr]) -> Result<Vec<Sighting>, DnsError> {
    let servers: Vec<(String, SocketAddr)> = match servers {
        [] => resolver.authority(&record.name).await?.servers,
        servers => servers.iter().map(|server| (server.ip().to_string(), *server)).collect(),
    };
    let mut looks = tokio::task::JoinSet::new();
    for (at, (name, address)) in servers.into_iter().enumerate() {
        let record = record.clone();
        looks.spawn(async move { (at, sighting(name, address, &record).await) });
    }
    let mut sightings = looks.join_all().await;
    sightings.sort_by_key(|(at, _)| *at);
    Ok(sightings.into_iter().map(|(_, sighting)| sighting).collect())
}

async fn sighting(name: String, address: SocketAddr, record: &TxtRecord) -> Sighting {
    let server = if name == address.ip().to_string() { address.to_string() } else { format!("{name} ({address})") };
    match txt_at(address, record.name.as_str()).await {
        Ok(values) if values.contains(&record.value) => Sighting { server, seen: true, instead: String::new() },
        Ok(values) if values.is_empty() => Sighting { server, seen: false, instead: "has no value".to_owned() },
        Ok(values) => Sighting { server, seen: false, instead: format!("has {}", values.join(", ")) },
        Err(error) => Sighting { server, seen: false, instead: error.to_string() },
    }
}

/// The servers that lack it, but for those that nobody here can reach and that have another way to be asked.
fn missing(sightings: &[Sighting]) -> Vec<String> {
    let host = |sighting: &Sighting| sighting.server.split(' ').next().unwrap_or_default().to_owned();
    let elsewhere = |lost: &Sighting| sightings.iter().any(|other| other.seen && host(other) == host(lost));
    let unreachable = |lost: &Sighting| lost.server.contains('[') && lost.instead.contains("cannot be asked");
    let passed = |sighting: &Sighting| sighting.seen || (unreachable(sighting) && elsewhere(sighting));
    let lost = sightings.iter().filter(|sighting| !passed(sighting));
    lost.map(|s| format!("{} {}", s.server, s.instead)).collect()
}
