//! `[acme]` and `[[issuer]]`: who issues certificates, and as whom doorward asks.

use std::path::PathBuf;

use super::reader::{Item, Reading, Section, nearest};
use super::source::Place;
use crate::names::Hostname;

/// `[acme]`, with the issuer that it names resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acme {
    /// `issuer`: a built-in name (`letsencrypt`, `letsencrypt-staging`) or one of `[[issuer]]`. Default `letsencrypt`.
    pub issuer: Issuer,
    /// `contact`: mail addresses for the account, without `mailto:`.
    pub contact: Vec<String>,
    /// `key`: what certificates' keys are, default `p256`.
    pub key: KeyType,
}

/// A certificate authority that speaks ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `name`: what it is called in the config, in logs and in storage.
    pub name: String,
    /// `directory`: the directory URL (RFC 8555 §7.1.1); `https://`.
    pub directory: String,
    /// `trust`: a PEM file with the roots to trust for the directory, in place of the system's.
    pub trust: Option<PathBuf>,
    /// `profile`: the certificate profile to ask for, where the CA has it.
    pub profile: Option<String>,
    /// `eab`: external account binding (RFC 8555 §7.3.4).
    pub eab: Option<Eab>,
}

/// `eab = { key_id = "…", hmac_key = "…" }`.
#[derive(Clone, PartialEq, Eq)]
pub struct Eab {
    /// The key id.
    pub key_id: String,
    /// The MAC key, base64url as CAs print it.
    pub hmac_key: String,
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

impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eab").field("key_id", &self.key_id).field("hmac_key", &"***").finish()
    }
}

/// The issuers that need no `[[issuer]]`: name and directory.
pub(super) const BUILT_IN: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];
/// The words of [`KeyType`].
pub(super) const KEYS: [(&str, KeyType); 3] =
    [("p256", KeyType::P256), ("p384", KeyType::P384), ("rsa2048", KeyType::Rsa2048)];
const EXAMPLE_URL: &str = "\"https://acme.example.com/directory\"";

impl Default for Issuer {
    fn default() -> Self {
        let (name, directory) = BUILT_IN[0];
        Self::new(name, directory)
    }
}

impl Issuer {
    /// An issuer that needs nothing special.
    pub fn new(name: impl Into<String>, directory: impl Into<String>) -> Self {
        Self { name: name.into(), directory: directory.into(), trust: None, profile: None, eab: None }
    }

    /// Whether this is one of the public CAs that doorward knows by name.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        BUILT_IN.iter().any(|(_, directory)| *directory == self.directory)
    }
}

/// An `[[issuer]]`, and where its name is written.
pub(super) struct Placed {
    issuer: Issuer,
    name: Place,
}

/// Reads one `[[issuer]]`.
pub(super) fn read_issuer(mut section: Section<'_>) -> Option<Placed> {
    let name = section.required("name", "\"internal\"", read_name);
    let directory = section.required("directory", EXAMPLE_URL, read_directory);
    let mut issuer = Issuer::new(name.clone().unwrap_or_default(), directory.clone().unwrap_or_default());
    read_extras(&mut section, &mut issuer);
    let place = section.place_of("name");
    section.finish();
    (name.is_some() && directory.is_some()).then_some(Placed { issuer, name: place })
}

/// Reports issuers whose name is taken.
pub(super) fn check_names(reading: &Reading, issuers: &[Placed]) {
    for (index, Placed { issuer, name }) in issuers.iter().enumerate() {
        if BUILT_IN.iter().any(|(taken, _)| *taken == issuer.name) {
            let message = format!("{:?} is the name of a built-in issuer", issuer.name);
            reading.fault(name, message, "choose another name");
        } else if let Some(first) = issuers[..index].iter().find(|other| other.issuer.name == issuer.name) {
            let message =
                format!("two issuers are called {:?}; the other is at {}", issuer.name, first.name.location());
            reading.fault(name, message, "choose another name for one of them");
        }
    }
}

/// Reads `[acme]`. `issuers` are all that `issuer` can name besides the built-in ones.
pub(super) fn read(mut section: Section<'_>, issuers: &[Placed]) -> Acme {
    let mut this = Acme::default();
    let name = section.optional("issuer", read_name);
    let directory = section.optional("directory", read_directory);
    let known = name.as_deref().and_then(|name| find(name, issuers));
    this.issuer = match (name, directory, known) {
        (None, None, _) => Issuer::default(),
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
            unknown_issuer(&section, &name, issuers);
            Issuer::default()
        }
    };
    section.set("contact", &mut this.contact, |item| item.list("\"ops@example.com\"", read_contact)).set(
        "key",
        &mut this.key,
        |item| item.choice(&KEYS),
    );
    read_extras(&mut section, &mut this.issuer);
    section.finish();
    this
}

fn find(name: &str, issuers: &[Placed]) -> Option<Issuer> {
    let own = issuers.iter().find(|placed| placed.issuer.name == name).map(|placed| placed.issuer.clone());
    own.or_else(|| BUILT_IN.iter().find(|(known, _)| *known == name).map(|(name, url)| Issuer::new(*name, *url)))
}

fn unknown_issuer(section: &Section<'_>, name: &str, issuers: &[Placed]) {
    let own = issuers.iter().map(|placed| placed.issuer.name.as_str());
    let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).chain(own).collect();
    let remedy = match nearest(name, &names) {
        Some(near) => format!("did you mean {near:?}? else add an [[issuer]] with this name"),
        None => format!("add an [[issuer]] with this name, or choose one of: {}", names.join(", ")),
    };
    section.reading.fault(&section.place_of("issuer"), format!("no issuer is called {name:?}"), remedy);
}

/// `trust`, `profile` and `eab`: of an `[[issuer]]`, or of `[acme]` to set them for the issuer that it names.
fn read_extras(section: &mut Section<'_>, issuer: &mut Issuer) {
    section
        .set("trust", &mut issuer.trust, |item| item.file().map(Some))
        .set("profile", &mut issuer.profile, |item| item.words().map(Some))
        .set("eab", &mut issuer.eab, |item| item.section().and_then(read_eab).map(Some));
}

fn read_eab(mut section: Section<'_>) -> Option<Eab> {
    let key_id = section.required("key_id", "\"…\"", |item| item.words());
    let hmac_key = section.required("hmac_key", "\"file:/etc/doorward/eab.key\"", |item| {
        let key = item.secret()?;
        let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if key.trim_end_matches('=').bytes().all(alphabet) {
            return Some(key);
        }
        // The key itself is not shown.
        item.fault("the key is not base64url", "copy it as the CA prints it: letters, digits, - and _ only")
    });
    section.finish();
    Some(Eab { key_id: key_id?, hmac_key: hmac_key? })
}

/// An issuer's name becomes the name of a folder in the storage.
fn read_name(item: &Item<'_>) -> Option<String> {
    let name = item.words()?;
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.len() > 64 || name.starts_with('.') || !name.bytes().all(word) {
        return item.fault(
            format!("{:?} cannot be an issuer's name", item.written()),
            "use at most 64 letters, digits, -, _ and ., and no . in front",
        );
    }
    Some(name)
}

fn read_directory(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    let url: Option<http::Uri> = text.parse().ok();
    match url.filter(|url| url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty())) {
        Some(_) => Some(text),
        None => item.fault(
            format!("{:?} is not an https:// URL", item.written()),
            format!("write the URL of the CA's ACME directory, as in {EXAMPLE_URL}"),
        ),
    }
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
    if let Some((name, _)) = BUILT_IN.iter().find(|(_, url)| *url == directory) {
        return (*name).to_owned();
    }
    let rest = directory.trim_start_matches("https://");
    let parts = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").trim_start_matches('.').chars().take(64).collect()
}
