//! [`Resolver`]: what DNS says, asked of recursive resolvers and of a zone's own servers.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::DnsError;
use super::exchange::{ask, sound};
use super::provider::ancestors;
use crate::names::Hostname;

/// How many CNAMEs are followed from one name.
const LONGEST_CHAIN: usize = 8;
/// Where the system's resolvers are written down.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asks about DNS. Nothing is remembered: who writes records wants to know how it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    /// Where a zone's own servers listen.
    port: u16,
}

/// A zone and the servers that are to be asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The zone's name.
    pub zone: String,
    /// Name and address of each server.
    pub servers: Vec<(String, SocketAddr)>,
}

impl Resolver {
    /// Asks `servers`; those of the system where there are none.
    #[must_use]
    pub fn new(servers: &[SocketAddr]) -> Self {
        let servers = if servers.is_empty() { system() } else { servers.to_vec() };
        Self { servers, port: 53 }
    }

    /// The same, for zones whose own servers listen on another port than 53.
    #[must_use]
    pub fn with_authority_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// What there is of a type at a name; the CNAMEs on the way are among it.
    ///
    /// # Errors
    /// [`DnsError::Server`], of the last resolver that was asked.
    pub async fn look_up(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        let message = question(name, kind, true)?;
        let mut failed = DnsError::Server { server: RESOLV_CONF.to_owned(), problem: "names no resolver".to_owned() };
        for server in &self.servers {
            match ask(*server, &message).await.and_then(|answer| sound(*server, answer)) {
                Ok(answer) => return Ok(answer.answers),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Where the CNAMEs at `name` lead; `name` itself where there are none.
    ///
    /// # Errors
    /// [`DnsError::Server`].
    pub async fn follow(&self, name: &Hostname) -> Result<Hostname, DnsError> {
        let mut name = name.clone();
        for _ in 0..LONGEST_CHAIN {
            let answers = self.look_up(name.as_str(), RecordType::CNAME).await?;
            let Some(target) = cname(&answers, name.as_str()) else { return Ok(name) };
            let bad = |_| DnsError::Server {
                server: name.to_string(),
                problem: format!("is a CNAME to {target}, which is no host name"),
            };
            name = Hostname::parse(&target).map_err(bad)?;
        }
        Err(DnsError::Server { server: name.to_string(), problem: "is one of too many CNAMEs in a row".to_owned() })
    }

    /// The zone that `name` is in, and its servers.
    ///
    /// # Errors
    /// [`DnsError`], where no zone is found, or none of its servers has an address.
    pub async fn authority(&self, name: &Hostname) -> Result<Authority, DnsError> {
        for zone in ancestors(name.as_str()) {
            let answers = self.look_up(zone, RecordType::NS).await?;
            let names: Vec<String> = answers
                .iter()
                .filter_map(|record| match &record.data {
                    RData::NS(ns) if is(&record.name, zone) => Some(plain(&ns.0)),
                    _ => None,
                })
                .collect();
            if names.is_empty() {
                continue;
            }
            let mut servers = Vec::new();
            for name in names {
                servers.extend(
                    self.addresses(&name).await?.into_iter().map(|ip| (name.clone(), SocketAddr::new(ip, self.port))),
                );
            }
            if servers.is_empty() {
                return Err(DnsError::Server {
                    server: zone.to_owned(),
                    problem: "is a zone whose servers have no address".to_owned(),
                });
            }
            return Ok(Authority { zone: zone.to_owned(), servers });
        }
        Err(DnsError::Server { server: name.to_string(), problem: "is in no zone that the resolvers know".to_owned() })
    }

    /// The addresses of a host, IPv4 first.
    ///
    /// # Errors
    /// [`DnsError::Server`].
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let mut found = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            found.extend(self.look_up(host, kind).await?.iter().filter_map(|record| record.data.ip_addr()));
        }
        Ok(found)
    }
}

/// The TXT values at a name, by one server's word and no other's.
///
/// # Errors
/// [`DnsError::Server`].
pub(super) async fn txt_at(server: SocketAddr, name: &str) -> Result<Vec<String>, DnsError> {
    let answer = sound(server, ask(server, &question(name, RecordType::TXT, false)?).await?)?;
    Ok(answer.answers.iter().filter_map(txt).collect())
}

/// The zone that a server says a name is in: the nearest name with an SOA (RFC 1034 §4.2.1).
///
/// # Errors
/// [`DnsError::Server`].
pub(super) async fn zone_at(server: SocketAddr, name: &str) -> Result<Option<String>, DnsError> {
    for zone in ancestors(name) {
        let answer = ask(server, &question(zone, RecordType::SOA, false)?).await?;
        if answer.authoritative && answer.answers.iter().any(|r| matches!(r.data, RData::SOA(_)) && is(&r.name, zone)) {
            return Ok(Some(zone.to_owned()));
        }
    }
    Ok(None)
}

/// The text of a TXT record; none of any other.
#[must_use]
pub fn txt(record: &Record) -> Option<String> {
    let RData::TXT(txt) = &record.data else { return None };
    Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect())
}

/// A name without its last dot, in lower case.
#[must_use]
pub fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn is(name: &Name, text: &str) -> bool {
    plain(name) == text
}

/// The target of the CNAME at `name`.
fn cname(answers: &[Record], name: &str) -> Option<String> {
    answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if is(&record.name, name) => Some(plain(&target.0)),
        _ => None,
    })
}

fn question(name: &str, kind: RecordType, recursive: bool) -> Result<Message, DnsError> {
    let name = absolute(name)?;
    let mut message = Message::query();
    message.metadata.recursion_desired = recursive;
    message.add_query(Query::query(name, kind));
    Ok(message)
}

/// A name as DNS writes it.
pub(super) fn absolute(name: &str) -> Result<Name, DnsError> {
    let bad = |e| DnsError::Server { server: name.to_owned(), problem: format!("is no name for DNS: {e}") };
    let mut name = Name::from_ascii(name).map_err(bad)?;
    name.set_fqdn(true);
    Ok(name)
}

fn system() -> Vec<SocketAddr> {
    servers_of(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

/// The `nameserver` lines of resolv.conf(5).
fn servers_of(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let ip = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        ip.parse().ok().map(|ip| SocketAddr::new(ip, 53))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_resolvers_are_found() {
        let text =
            "# x\nsearch a.test\nnameserver 192.0.2.1\n nameserver\t2001:db8::1\nnameserver bad\noptions edns0\n";
        let found: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn zones_are_looked_for_from_the_name_up() {
        let found: Vec<_> = ancestors("_acme-challenge.a.example.org").collect();
        assert_eq!(found, ["_acme-challenge.a.example.org", "a.example.org", "example.org"]);
    }
}
