//! `[[dns]]`: who can change which DNS zones, for DNS-01.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::DnsProvider;
use super::reader::{Item, Reading, Section, nearest};
use super::source::Place;
use crate::names::Hostname;

/// One `[[dns]]`, or one that was added by command and is in the storage: access to a provider, and the zones
/// that it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsSolver {
    /// `id`: what it is called.
    pub id: String,
    /// `provider`: whose DNS it is.
    pub provider: &'static DnsProvider,
    /// `zones`: names that it answers for, with all below them; at least one. The longest of all solvers wins.
    pub zones: Vec<Hostname>,
    /// What the provider has to be told, by [`super::DnsSetting::name`].
    pub settings: BTreeMap<String, String>,
    /// `ttl`: of the records, in seconds.
    pub ttl: u32,
    /// `propagation_timeout`: how long a record may take until all of the zone's servers have it.
    pub propagation_timeout: Duration,
    /// `nameservers`: the servers that must have it, in place of those that the zone's NS records name.
    pub nameservers: Vec<SocketAddr>,
}

/// Why a solver is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct DnsSolverError {
    /// The setting that it is about; none where it is about several.
    pub setting: Option<&'static str>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// `ttl`, where it is not written.
pub const DEFAULT_TTL: u32 = 60;
/// `propagation_timeout`, where it is not written.
pub const DEFAULT_PROPAGATION_TIMEOUT: Duration = Duration::from_secs(120);

impl DnsSolver {
    /// A solver with these settings.
    ///
    /// # Errors
    /// [`DnsSolverError`], where a setting is missing or unknown, or where there is no zone.
    pub fn new(
        id: String,
        provider: &'static DnsProvider,
        zones: Vec<Hostname>,
        settings: BTreeMap<String, String>,
    ) -> Result<Self, DnsSolverError> {
        let wrong = |setting, message: String, remedy: String| DnsSolverError { setting, message, remedy };
        if !is_id(&id) {
            let message = format!("{id:?} cannot be a solver's id");
            return Err(wrong(
                None,
                message,
                "use at most 64 letters, digits, -, _ and ., and no . in front".to_owned(),
            ));
        }
        if zones.is_empty() || zones.iter().any(|zone| zone.ip().is_some()) {
            let message = "a solver needs the DNS zones that it is for".to_owned();
            return Err(wrong(None, message, "name at least one, as in example.org".to_owned()));
        }
        for name in settings.keys() {
            if provider.setting(name).is_none() {
                let names: Vec<_> = provider.settings.iter().map(|setting| setting.name).collect();
                let message = format!("{} has no setting {name}", provider.name);
                return Err(wrong(None, message, format!("its settings are: {}", names.join(", "))));
            }
        }
        if let Some(missing) = provider.settings.iter().find(|s| s.required && !settings.contains_key(s.name)) {
            let message = format!("{} needs {}", provider.name, missing.name);
            return Err(wrong(Some(missing.name), message, format!("add {}", missing.name)));
        }
        let touched = |group: &&&[&str]| group.iter().any(|name| settings.contains_key(*name));
        let whole = |group: &&[&str]| group.iter().all(|name| settings.contains_key(*name));
        let groups: Vec<_> = provider.either.iter().filter(touched).collect();
        let one = groups.len() == 1 && groups.iter().all(|group| whole(group));
        if !one && !provider.either.is_empty() {
            let ways: Vec<_> = provider.either.iter().map(|group| group.join(" and ")).collect();
            let message = format!("{} needs either {}", provider.name, ways.join(", or "));
            return Err(wrong(None, message, "give one of these, whole, and not the other".to_owned()));
        }
        if settings.contains_key("access_key_id") != settings.contains_key("secret_access_key") {
            let message = "access_key_id and secret_access_key go together".to_owned();
            return Err(wrong(None, message, "give both, or neither".to_owned()));
        }
        let (ttl, propagation_timeout) = (DEFAULT_TTL, DEFAULT_PROPAGATION_TIMEOUT);
        Ok(Self { id, provider, zones, settings, ttl, propagation_timeout, nameservers: Vec::new() })
    }

    /// The setting `name`; none where it is not set.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// The longest of its zones that `name` is in.
    #[must_use]
    pub fn zone_of(&self, name: &Hostname) -> Option<&Hostname> {
        self.zones.iter().filter(|zone| is_in(name, zone)).max_by_key(|zone| zone.as_str().len())
    }

    /// The setting as it may be shown.
    #[must_use]
    pub fn shown(&self, name: &str) -> &str {
        let secret = self.provider.setting(name).is_none_or(|setting| setting.secret);
        if secret { "***" } else { self.setting(name).unwrap_or_default() }
    }
}

impl std::fmt::Debug for DnsSolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("DnsSolver");
        out.field("id", &self.id).field("provider", &self.provider.name).field("zones", &self.zones);
        for name in self.settings.keys() {
            out.field(name, &self.shown(name));
        }
        out.finish_non_exhaustive()
    }
}

/// Whether `name` is `zone` or below it.
fn is_in(name: &Hostname, zone: &Hostname) -> bool {
    name.as_str().strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_id(id: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= 64 && !id.starts_with('.') && id.bytes().all(word)
}

/// Reads every `[[dns]]`.
pub(super) fn read_all(reading: &Reading, sections: Vec<Section<'_>>) -> Vec<DnsSolver> {
    let mut all: Vec<(DnsSolver, Place)> = Vec::new();
    for section in sections {
        let place = section.place_of("id");
        let Some(solver) = read(section) else { continue };
        if let Some((_, first)) = all.iter().find(|(other, _)| other.id == solver.id) {
            let message = format!("two DNS solvers are called {:?}; the other is at {}", solver.id, first.location());
            reading.fault(&place, message, "choose another id for one of them");
        } else {
            all.push((solver, place));
        }
    }
    all.into_iter().map(|(solver, _)| solver).collect()
}

fn read(mut section: Section<'_>) -> Option<DnsSolver> {
    let id = section.required("id", "\"1\"", Item::words);
    let provider = section.required("provider", "\"route53\"", read_provider);
    let zones = section.required("zones", "[\"example.org\"]", |item| {
        item.some("zone", "\"example.org\"", "as in zones = [\"example.org\"]", read_zone)
    });
    let ttl = section.optional("ttl", |item| item.integer(1..=86_400));
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    let timeout = section.optional("propagation_timeout", |item| item.duration(range));
    let nameservers = section.optional("nameservers", read_servers);
    let mut settings = BTreeMap::new();
    let mut sound = true;
    for setting in provider.iter().flat_map(|provider| provider.settings) {
        let written = section.place_of_name(setting.name).is_some();
        let value = section.optional(setting.name, |item| if setting.secret { item.secret() } else { item.words() });
        sound &= value.is_some() == written;
        settings.extend(value.map(|value| (setting.name.to_owned(), value)));
    }
    let (place, places) = (section.place(), |section: &Section<'_>, key: &str| section.place_of(key));
    let solver = match (id, provider, zones) {
        (Some(id), Some(provider), Some(zones)) if sound => match DnsSolver::new(id, provider, zones, settings) {
            Ok(solver) => Some(solver),
            Err(error) => {
                let place = error.setting.map_or(place, |key| places(&section, key));
                section.reading.fault(&place, error.message, error.remedy);
                None
            }
        },
        _ => None,
    };
    if provider.is_some() {
        section.finish();
    }
    let mut solver = solver?;
    solver.ttl = ttl.unwrap_or(solver.ttl);
    solver.propagation_timeout = timeout.unwrap_or(solver.propagation_timeout);
    solver.nameservers = nameservers.unwrap_or_default();
    Some(solver)
}

fn read_provider(item: &Item<'_>) -> Option<&'static DnsProvider> {
    let name = item.words()?;
    DnsProvider::find(&name).or_else(|| {
        let names: Vec<_> = DnsProvider::all().iter().map(|provider| provider.name).collect();
        let remedy = match nearest(&name, &names) {
            Some(near) => format!("did you mean {near:?}? `doorward dns --help` lists all"),
            None => format!("write one of: {}", names.join(", ")),
        };
        item.fault(format!("no DNS provider is called {name:?}"), remedy)
    })
}

fn read_zone(item: &Item<'_>) -> Option<Hostname> {
    let text = item.words()?;
    match Hostname::parse(&text) {
        Ok(zone) if zone.ip().is_none() => Some(zone),
        Ok(_) => {
            item.fault(format!("{text:?} is an address, not a zone"), "write the zone's name, as in \"example.org\"")
        }
        Err(error) => item.fault(
            format!("{:?} is not a zone: {error}", item.written()),
            "write the zone's name, as in \"example.org\"; it is for all names below it",
        ),
    }
}

/// `["192.0.2.53", "[2001:db8::53]:5353"]`: addresses of DNS servers, on port 53 where none is written.
pub(super) fn read_servers(item: &Item<'_>) -> Option<Vec<SocketAddr>> {
    item.list("\"192.0.2.53\"", |item| {
        let text = item.words()?;
        parse_server(&text).or_else(|| {
            let remedy = "write an IP address, and a port where it is not 53, as in \"192.0.2.53\" or \"[::1]:5353\"";
            item.fault(format!("{:?} is not the address of a DNS server", item.written()), remedy)
        })
    })
}

/// The address of a DNS server, on port 53 where none is written.
#[must_use]
pub fn parse_server(text: &str) -> Option<SocketAddr> {
    let ip = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    text.parse().ok().or_else(|| ip(text).map(|ip| SocketAddr::new(ip, 53)))
}
