//! `[[issuer]]`: a certificate authority, built in or one's own.

use std::path::PathBuf;
use std::time::Duration;

use super::limits::{self, CaLimits, Rate};
use super::reader::{Item, Reading, Section};
use super::source::Place;

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
    /// `challenges`: in place of those of `[acme]`.
    pub challenges: Option<Vec<Challenge>>,
    /// `staging`: the directory URL of its test CA, which is asked first where `[acme] staging_first` says so.
    pub staging: Option<String>,
    /// `limits`: how much it issues; of the built-in ones, what they publish.
    pub limits: CaLimits,
}

/// `eab = { key_id = "…", hmac_key = "…" }`.
#[derive(Clone, PartialEq, Eq)]
pub struct Eab {
    /// The key id.
    pub key_id: String,
    /// The MAC key, base64url as CAs print it.
    pub hmac_key: String,
}

/// A way to prove that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Challenge {
    /// A file on port 80 (RFC 8555 §8.3).
    Http01,
    /// A certificate on port 443 (RFC 8737).
    TlsAlpn01,
    /// A TXT record (RFC 8555 §8.4).
    Dns01,
}

impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eab").field("key_id", &self.key_id).field("hmac_key", &"***").finish()
    }
}

impl Challenge {
    /// Its word in the config, which is RFC 8555's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        CHALLENGES.iter().find(|(_, challenge)| *challenge == self).map_or("", |(word, _)| word)
    }
}

impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The words of [`Challenge`].
pub(super) const CHALLENGES: [(&str, Challenge); 3] =
    [("http-01", Challenge::Http01), ("tls-alpn-01", Challenge::TlsAlpn01), ("dns-01", Challenge::Dns01)];

/// A public CA that doorward knows by name.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    pub(super) directory: &'static str,
    staging: Option<&'static str>,
    /// Whether it opens accounts by external account binding only.
    pub(super) needs_eab: bool,
    /// The profile in which it issues for IP addresses, where it has one.
    pub(super) ip_profile: Option<&'static str>,
    limits: CaLimits,
}

const fn built_in(name: &'static str, directory: &'static str) -> BuiltIn {
    BuiltIn { name, directory, staging: None, needs_eab: false, ip_profile: None, limits: CaLimits::NONE }
}

const LETSENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
const GOOGLE_STAGING: &str = "https://dv.acme-v02.test-api.pki.goog/directory";

/// The issuers that need no `directory`. Buypass is not among them: it no longer issues by ACME.
pub(super) const BUILT_IN: [BuiltIn; 8] = [
    BuiltIn {
        staging: Some(LETSENCRYPT_STAGING),
        ip_profile: Some("shortlived"),
        limits: CaLimits {
            orders: Some(Rate::new(300, 3 * 3600)),
            per_domain: Some(Rate::new(50, 7 * 86_400)),
            duplicates: Some(Rate::new(5, 7 * 86_400)),
            failures: Some(Rate::new(5, 3600)),
            renewals_exempt: true,
        },
        ..built_in("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory")
    },
    BuiltIn {
        ip_profile: Some("shortlived"),
        limits: CaLimits {
            orders: Some(Rate::new(1500, 3 * 3600)),
            per_domain: Some(Rate::new(30_000, 7 * 86_400)),
            duplicates: Some(Rate::new(30_000, 7 * 86_400)),
            failures: Some(Rate::new(60, 3600)),
            renewals_exempt: true,
        },
        ..built_in("letsencrypt-staging", LETSENCRYPT_STAGING)
    },
    BuiltIn { needs_eab: true, ..built_in("zerossl", "https://acme.zerossl.com/v2/DV90") },
    BuiltIn {
        needs_eab: true,
        staging: Some(GOOGLE_STAGING),
        ..built_in("google", "https://dv.acme-v02.api.pki.goog/directory")
    },
    BuiltIn { needs_eab: true, ..built_in("google-staging", GOOGLE_STAGING) },
    BuiltIn { needs_eab: true, ..built_in("actalis", "https://acme-api.actalis.com/acme/directory") },
    BuiltIn { needs_eab: true, ..built_in("sslcom", "https://acme.ssl.com/sslcom-dv-ecc") },
    BuiltIn { needs_eab: true, ..built_in("sslcom-rsa", "https://acme.ssl.com/sslcom-dv-rsa") },
];
const EXAMPLE_URL: &str = "\"https://acme.example.com/directory\"";

impl Default for Issuer {
    fn default() -> Self {
        Self::new(BUILT_IN[0].name, BUILT_IN[0].directory)
    }
}

impl Issuer {
    /// An issuer that needs nothing special. A built-in one has what is known of it.
    pub fn new(name: impl Into<String>, directory: impl Into<String>) -> Self {
        let directory = directory.into();
        let known = known(&directory);
        Self {
            name: name.into(),
            trust: None,
            profile: None,
            eab: None,
            challenges: None,
            staging: known.and_then(|known| known.staging).map(str::to_owned),
            limits: known.map_or(CaLimits::NONE, |known| known.limits),
            directory,
        }
    }

    /// Whether this is one of the public CAs that doorward knows by name.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        known(&self.directory).is_some()
    }

    /// Whether it opens accounts by external account binding only, and there is none.
    #[must_use]
    pub fn lacks_eab(&self) -> bool {
        self.eab.is_none() && known(&self.directory).is_some_and(|known| known.needs_eab)
    }

    /// Its test CA, where there is one; certificates of that one are of no use but to see that it would work.
    #[must_use]
    pub fn staging(&self) -> Option<Self> {
        let directory = self.staging.as_deref()?;
        let name = known(directory).map_or_else(|| format!("{}-staging", self.name), |known| known.name.to_owned());
        let (trust, profile, eab, challenges) =
            (self.trust.clone(), self.profile.clone(), self.eab.clone(), self.challenges.clone());
        Some(Self { trust, profile, eab, challenges, ..Self::new(name, directory) })
    }
}

/// The built-in CA with this directory.
pub(super) fn known(directory: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|known| known.directory == directory)
}

/// The built-in CA of this name.
pub(super) fn named(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|known| known.name == name)
}

/// An `[[issuer]]`, and where its name is written.
pub(super) struct Placed {
    pub(super) issuer: Issuer,
    name: Place,
}

/// Reads one `[[issuer]]`.
pub(super) fn read(mut section: Section<'_>) -> Option<Placed> {
    let name = section.required("name", "\"internal\"", read_name);
    let built_in = name.as_deref().and_then(named);
    let directory = match built_in {
        Some(built_in) => {
            let written = section.optional("directory", read_directory);
            if written.is_some_and(|written| written != built_in.directory) {
                let message = format!("{:?} is the name of a built-in issuer with another directory", built_in.name);
                section.reading.fault(
                    &section.place_of("directory"),
                    message,
                    "remove directory, or choose another name",
                );
            }
            Some(built_in.directory.to_owned())
        }
        None => section.required("directory", EXAMPLE_URL, read_directory),
    };
    let mut issuer = Issuer::new(name.clone().unwrap_or_default(), directory.clone().unwrap_or_default());
    read_extras(&mut section, &mut issuer);
    section
        .set("challenges", &mut issuer.challenges, |item| read_challenges(item).map(Some))
        .set("staging", &mut issuer.staging, |item| read_directory(item).map(Some))
        .set("limits", &mut issuer.limits, |item| item.section().map(limits::read));
    let place = section.place_of("name");
    section.finish();
    (name.is_some() && directory.is_some()).then_some(Placed { issuer, name: place })
}

/// Reports issuers whose name is taken.
pub(super) fn check_names(reading: &Reading, issuers: &[Placed]) {
    for (index, Placed { issuer, name }) in issuers.iter().enumerate() {
        if let Some(first) = issuers[..index].iter().find(|other| other.issuer.name == issuer.name) {
            let message =
                format!("two issuers are called {:?}; the other is at {}", issuer.name, first.name.location());
            reading.fault(name, message, "choose another name for one of them");
        }
    }
}

/// `trust`, `profile` and `eab`: of an `[[issuer]]`, or of `[acme]` to set them for the issuer that it names.
pub(super) fn read_extras(section: &mut Section<'_>, issuer: &mut Issuer) {
    section
        .set("trust", &mut issuer.trust, |item| item.file().map(Some))
        .set("profile", &mut issuer.profile, |item| item.words().map(Some))
        .set("eab", &mut issuer.eab, |item| item.section().and_then(read_eab).map(Some));
}

/// A list of challenges, each once.
pub(super) fn read_challenges(item: &Item<'_>) -> Option<Vec<Challenge>> {
    let mut seen = Vec::new();
    item.some("challenge", "\"http-01\"", "as in [\"tls-alpn-01\", \"http-01\"]", |item| {
        let challenge = item.choice(&CHALLENGES)?;
        if seen.contains(&challenge) {
            return item.fault(format!("{challenge} is listed twice"), "remove one of them");
        }
        seen.push(challenge);
        Some(challenge)
    })
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
pub(super) fn read_name(item: &Item<'_>) -> Option<String> {
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

pub(super) fn read_directory(item: &Item<'_>) -> Option<String> {
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

impl Rate {
    /// `most` within so many seconds.
    pub(super) const fn new(most: u32, seconds: u64) -> Self {
        Self { most, within: Duration::from_secs(seconds) }
    }
}
