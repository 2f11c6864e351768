//! Hosts and services as programs look them up: by the system's `hosts` and `resolv.conf`, then in DNS, each answer
//! with the time that it holds for.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use hickory_proto::rr::{RData, Record, RecordType};

use super::resolver::plain;
use super::{DnsError, Resolver};

/// Names that the system gives addresses to (hosts(5)).
const HOSTS: &str = "/etc/hosts";
/// Where the system says which domains a short name may be in (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long an entry of `hosts` holds: until somebody may have changed the file.
const FILE_TTL: Duration = Duration::from_secs(5);

/// How long the addresses of one family wait for those of the other (RFC 8305 §3 has less, but waits once for each
/// connection).
const LATE: Duration = Duration::from_secs(1);

type Records = Result<Vec<Record>, DnsError>;

/// One place where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lower ones first.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host, in lower case and without a last dot.
    pub host: String,
}

impl Resolver {
    /// A host's IPv4 and IPv6 addresses and how long they hold; none where the name has none. `hosts` comes first, as
    /// for other programs, and a short name is looked for in the system's search domains.
    ///
    /// # Errors
    /// [`DnsError::Server`], where DNS cannot tell.
    pub async fn host(&self, name: &str) -> Result<Option<(Vec<IpAddr>, Duration)>, DnsError> {
        let of_file = in_hosts(&read(HOSTS).await, name);
        if !of_file.is_empty() {
            return Ok(Some((of_file, FILE_TTL)));
        }
        let mut failed = None;
        for name in full_names(&read(RESOLV_CONF).await, name) {
            let (four, six) = both(self.look_up(&name, RecordType::A), self.look_up(&name, RecordType::AAAA)).await;
            // Where one of the two is not known, the other is better than nothing.
            let (records, error) = match (four, six) {
                (Ok(mut four), Ok(six)) => {
                    four.extend(six);
                    (four, None)
                }
                (Ok(records), Err(error)) | (Err(error), Ok(records)) => (records, Some(error)),
                (Err(error), Err(_)) => (Vec::new(), Some(error)),
            };
            failed = failed.or(error);
            let addresses: Vec<IpAddr> = records.iter().filter_map(|record| record.data.ip_addr()).collect();
            if !addresses.is_empty() {
                return Ok(Some((addresses, ttl(&records))));
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Where a service is and how long that holds; none where the name has no SRV records.
    ///
    /// # Errors
    /// [`DnsError::Server`], where DNS cannot tell.
    pub async fn service(&self, name: &str) -> Result<Option<(Vec<Service>, Duration)>, DnsError> {
        for name in full_names(&read(RESOLV_CONF).await, name) {
            let records = self.look_up(&name, RecordType::SRV).await?;
            let service = |record: &Record| match &record.data {
                // A lone dot: there is no such service (RFC 2782).
                RData::SRV(srv) if !srv.target.is_root() => Some(Service {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    host: plain(&srv.target),
                }),
                _ => None,
            };
            let services: Vec<Service> = records.iter().filter_map(service).collect();
            if !services.is_empty() {
                return Ok(Some((services, ttl(&records))));
            }
        }
        Ok(None)
    }
}

/// Both answers; where the first has something, the second is not waited for without end.
async fn both(four: impl Future<Output = Records>, six: impl Future<Output = Records>) -> (Records, Records) {
    let (mut four, mut six) = (pin!(four), pin!(six));
    tokio::select! {
        four = &mut four => {
            let six = second(&four, six).await;
            (four, six)
        }
        six = &mut six => {
            let four = second(&six, four).await;
            (four, six)
        }
    }
}

async fn second(first: &Records, second: impl Future<Output = Records>) -> Records {
    let found = first.as_ref().is_ok_and(|records| records.iter().any(|record| record.data.ip_addr().is_some()));
    if !found {
        return second.await;
    }
    tokio::time::timeout(LATE, second).await.unwrap_or_else(|_| Ok(Vec::new()))
}

/// The shortest time that any of these holds, CNAMEs on the way included.
fn ttl(records: &[Record]) -> Duration {
    Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or(0).into())
}

async fn read(path: &str) -> String {
    tokio::fs::read_to_string(path).await.unwrap_or_default()
}

/// The addresses of a name by the text of a hosts file.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
    };
    text.lines().filter_map(address).collect()
}

/// What a name may be short for, by the text of resolv.conf: itself, first where it has as many dots as `ndots`
/// says, and itself in each search domain.
fn full_names(text: &str, name: &str) -> Vec<String> {
    let (mut search, mut least) = (Vec::new(), 1);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("search" | "domain") => search = words.map(|word| word.trim_end_matches('.').to_owned()).collect(),
            Some("options") => {
                least = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok()).unwrap_or(least);
            }
            _ => {}
        }
    }
    let in_domains = search.iter().filter(|domain| !domain.is_empty()).map(|domain| format!("{name}.{domain}"));
    let mut names: Vec<String> = in_domains.collect();
    let itself = if name.matches('.').count() >= least { 0 } else { names.len() };
    names.insert(itself, name.to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_is_read_as_others_read_it() {
        let text = "127.0.0.1 localhost # App\n10.0.0.5\tapp.internal App\n::1 app\nbad app\n#1.1.1.1 app\n";
        let found: Vec<String> = in_hosts(text, "app").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.5", "::1"]);
    }

    #[test]
    fn a_short_name_is_looked_for_in_the_search_domains() {
        let text = "search ns.svc.cluster.local example.org.\noptions edns0 ndots:2\n";
        assert_eq!(full_names(text, "app"), ["app.ns.svc.cluster.local", "app.example.org", "app"]);
        assert_eq!(full_names(text, "a.b.c"), ["a.b.c", "a.b.c.ns.svc.cluster.local", "a.b.c.example.org"]);
        assert_eq!(full_names("nameserver 1.1.1.1", "app"), ["app"]);
    }
}
