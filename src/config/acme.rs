//! `[acme]`: who issues certificates, how names are proven, and as whom doorward asks.

use super::issuer::{self, Challenge, Issuer, Placed};
use super::reader::{Item, Section, nearest};
use crate::names::Hostname;

/// `[acme]`, with the issuer that it names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// `issuer`: a built-in name or one of `[[issuer]]`; the first of a list. Default `letsencrypt`.
    pub issuer: Issuer,
    /// The others of the list, which are asked in this order where the one before fails.
    pub fallback: Vec<Issuer>,
    /// All other issuers that the config or doorward knows: they are asked only for what names them.
    pub others: Vec<Issuer>,
    /// `contact`: mail addresses for the account, without `mailto:`.
    pub contact: Vec<String>,
    /// `key`: what certificates' keys are, default `p256`.
    pub key: KeyType,
    /// `challenges`: how names are proven, in the order of attempts. Default: what the listeners can answer.
    pub challenges: Vec<Challenge>,
    /// `staging_first`: whether an issuer's test CA has to issue before it is asked itself for new names.
    pub staging_first: bool,
}

/// A kind of certificate key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA P-256.
    #[default]
    P256,
    /// ECDSA P-384.
    P384,
    /// RSA, 2048 bits.
    Rsa2048,
}

/// The order of attempts: HTTP-01 says best what is wrong, and DNS-01 takes longest.
pub(super) const ORDER: [Challenge; 3] = [Challenge::Http01, Challenge::TlsAlpn01, Challenge::Dns01];
/// The words of [`KeyType`].
pub(super) const KEYS: [(&str, KeyType); 3] =
    [("p256", KeyType::P256), ("p384", KeyType::P384), ("rsa2048", KeyType::Rsa2048)];

impl Default for Acme {
    fn default() -> Self {
        Self {
            issuer: Issuer::default(),
            fallback: Vec::new(),
            others: Vec::new(),
            contact: Vec::new(),
            key: KeyType::default(),
            challenges: ORDER.to_vec(),
            staging_first: false,
        }
    }
}

impl Acme {
    /// All issuers, in the order in which they are asked.
    pub fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        std::iter::once(&self.issuer).chain(&self.fallback)
    }

    /// The same, with this issuer alone.
    #[must_use]
    pub fn asking(&self, issuer: &Issuer) -> Self {
        Self {
            issuer: issuer.clone(),
            fallback: Vec::new(),
            others: Vec::new(),
            contact: self.contact.clone(),
            key: self.key,
            challenges: issuer.challenges.as_ref().unwrap_or(&self.challenges).clone(),
            staging_first: self.staging_first,
        }
    }

    /// The same, proving names only by those challenges that `can` be answered, whoever is asked.
    #[must_use]
    pub fn proving_by(&self, can: impl Fn(Challenge) -> bool) -> Self {
        let mut own = self.clone();
        own.challenges.retain(|challenge| can(*challenge));
        let issuers = std::iter::once(&mut own.issuer).chain(&mut own.fallback).chain(&mut own.others);
        for challenges in issuers.filter_map(|issuer| issuer.challenges.as_mut()) {
            challenges.retain(|challenge| can(*challenge));
        }
        own
    }

    /// The issuer whose directory this is, of those that are asked.
    #[must_use]
    pub fn issuer_at(&self, directory: &str) -> Option<&Issuer> {
        self.issuers().find(|issuer| issuer.directory == directory)
    }

    /// All that can be asked by name: those that are asked anyway come first.
    pub fn known_issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers().chain(&self.others)
    }
}

/// What `[acme]` says, and whether it lists the challenges.
pub(super) struct Read {
    pub(super) acme: Acme,
    pub(super) challenges_written: bool,
}

/// Reads `[acme]`. `issuers` are all that `issuer` can name besides the built-in ones.
pub(super) fn read(mut section: Section<'_>, issuers: &[Placed]) -> Read {
    let mut this = Acme::default();
    let names = section.optional("issuer", read_names);
    let several = names.as_ref().is_some_and(|names| names.len() > 1);
    let mut names = names.unwrap_or_default().into_iter();
    let directory = section.optional("directory", issuer::read_directory);
    this.issuer = first(&section, names.next(), directory, issuers);
    for name in names {
        match find(&name, issuers) {
            Some(issuer) => this.fallback.push(issuer),
            None => unknown_issuer(&section, &name, issuers),
        }
    }
    let mut challenges_written = false;
    section
        .set("contact", &mut this.contact, |item| item.list("\"ops@example.com\"", read_contact))
        .set("key", &mut this.key, |item| item.choice(&KEYS))
        .set("challenges", &mut this.challenges, |item| {
            challenges_written = true;
            issuer::read_challenges(item)
        })
        .set("staging_first", &mut this.staging_first, Item::boolean);
    if several {
        for key in ["directory", "trust", "profile", "eab"] {
            let remedy = "write it in an [[issuer]] with the name of the CA that it is for";
            section.refuse(key, "the key is for one issuer, and several are listed", remedy);
        }
    } else {
        issuer::read_extras(&mut section, &mut this.issuer);
    }
    section.finish();
    let own = issuers.iter().map(|placed| placed.issuer.clone());
    let built_in = issuer::BUILT_IN.iter().map(|known| Issuer::new(known.name, known.directory));
    for issuer in own.chain(built_in) {
        if !this.known_issuers().any(|known| known.name == issuer.name) {
            this.others.push(issuer);
        }
    }
    Read { acme: this, challenges_written }
}

/// The issuer that is asked first.
fn first(section: &Section<'_>, name: Option<String>, directory: Option<String>, issuers: &[Placed]) -> Issuer {
    let known = name.as_deref().and_then(|name| find(name, issuers));
    match (name, directory, known) {
        (None, None, _) => find(issuer::BUILT_IN[0].name, issuers).unwrap_or_default(),
        (None, Some(directory), _) => Issuer::new(name_of(&directory), directory),
        (Some(_), None, Some(known)) => known,
        (Some(name), Some(directory), Some(known)) => {
            if directory != known.directory {
                let message =
                    format!("issuer {name:?} has the directory {}, and another is written here", known.directory);
                section.reading.fault(
                    &section.place_of("directory"),
                    message,
                    "remove directory, or choose another issuer name",
                );
            }
            known
        }
        (Some(name), Some(directory), None) => Issuer::new(name, directory),
        (Some(name), None, None) => {
            unknown_issuer(section, &name, issuers);
            Issuer::default()
        }
    }
}

/// One name, or a list of names, each once.
fn read_names(item: &Item<'_>) -> Option<Vec<String>> {
    if !item.is_list() {
        return issuer::read_name(item).map(|name| vec![name]);
    }
    let mut seen: Vec<String> = Vec::new();
    item.some("issuer", "\"letsencrypt\"", "as in [\"letsencrypt\", \"zerossl\"]", |item| {
        let name = issuer::read_name(item)?;
        if seen.contains(&name) {
            return item.fault(format!("{name:?} is listed twice"), "remove one of them");
        }
        seen.push(name.clone());
        Some(name)
    })
}

fn find(name: &str, issuers: &[Placed]) -> Option<Issuer> {
    let own = issuers.iter().find(|placed| placed.issuer.name == name).map(|placed| placed.issuer.clone());
    own.or_else(|| issuer::named(name).map(|known| Issuer::new(known.name, known.directory)))
}

fn unknown_issuer(section: &Section<'_>, name: &str, issuers: &[Placed]) {
    let own = issuers.iter().map(|placed| placed.issuer.name.as_str());
    let names: Vec<&str> = issuer::BUILT_IN.iter().map(|known| known.name).chain(own).collect();
    let remedy = match nearest(name, &names) {
        Some(near) => format!("did you mean {near:?}? else add an [[issuer]] with this name"),
        None => format!("add an [[issuer]] with this name, or choose one of: {}", names.join(", ")),
    };
    section.reading.fault(&section.place_of("issuer"), format!("no issuer is called {name:?}"), remedy);
}

fn read_contact(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    let address = text.strip_prefix("mailto:").unwrap_or(&text);
    let sound = address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && Hostname::parse(host).is_ok());
    if !sound || address.contains([' ', ',', '?', '<', '>']) {
        return item.fault(
            format!("{:?} is not one mail address", item.written()),
            "write one address a string, as in contact = [\"ops@example.com\"]",
        );
    }
    Some(address.to_owned())
}

/// What an issuer is called that only has a directory URL: the URL, as far as a folder's name can hold it.
fn name_of(directory: &str) -> String {
    if let Some(known) = issuer::known(directory) {
        return known.name.to_owned();
    }
    let rest = directory.trim_start_matches("https://");
    let parts = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").trim_start_matches('.').chars().take(64).collect()
}
