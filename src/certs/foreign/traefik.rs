//! Traefik: `acme.json`, as its documentation and its versions 2 and 3 have it: a certificate resolver's name leads
//! to its account and its certificates, each with domain, certificate and key, the last two PEM in base64.
//! Version 1 had one resolver, without a name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::super::directory::Gathered;
use super::super::{Bundle, CertificateError, PemPart, PemParts, unix_now};
use super::{ForeignError, Taken, id_of, not};
use crate::config::CertificateId;

#[derive(Deserialize)]
struct Resolver {
    #[serde(rename = "Account")]
    account: Option<serde_json::Value>,
    #[serde(rename = "Certificates")]
    certificates: Option<Vec<Entry>>,
}

/// Version 1 wrote capitals.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "Domain")]
    domain: Domain,
    #[serde(alias = "Certificate")]
    certificate: String,
    #[serde(alias = "Key")]
    key: String,
}

#[derive(Deserialize)]
struct Domain {
    #[serde(alias = "Main")]
    main: String,
}

pub(super) fn read(path: &Path) -> Result<Taken, ForeignError> {
    let refused = |reason: String| not(path, "Traefik's acme.json", reason);
    let file = if path.is_dir() { path.join("acme.json") } else { path.to_owned() };
    let text = fs::read(&file).map_err(|error| refused(error.to_string()))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    let resolvers: BTreeMap<String, Resolver> = if value.get("Certificates").is_some() {
        serde_json::from_value(value).map(|only| BTreeMap::from([("acme".to_owned(), only)]))
    } else {
        serde_json::from_value(value)
    }
    .map_err(|error| refused(error.to_string()))?;
    let mut taken = Taken::default();
    for (name, resolver) in resolvers {
        for entry in resolver.certificates.unwrap_or_default() {
            taken.found.push(gathered(&file, &name, &entry));
        }
        if resolver.account.is_some_and(|account| !account.is_null()) {
            taken.leave(&file, &format!("the account of resolver {name}: doorward makes its own"));
        }
    }
    if taken.found.is_empty() {
        return Err(refused("it holds no certificate".to_owned()));
    }
    Ok(taken)
}

fn gathered(file: &Path, resolver: &str, entry: &Entry) -> Gathered {
    let place = format!("{} ({resolver}, {})", file.display(), entry.domain.main);
    let (certificate_file, key_file) = (format!("the certificate in {place}"), format!("the key in {place}"));
    let decode = |file: &str, text: &str| {
        BASE64_STANDARD.decode(text.trim()).map_err(|_| CertificateError::Damaged { file: file.to_owned() })
    };
    let name = id_of(&entry.domain.main);
    let bundle = || {
        let (certificate, key) = (decode(&certificate_file, &entry.certificate)?, decode(&key_file, &entry.key)?);
        let (certificate, key) = (PemPart::new(&certificate_file, &certificate), PemPart::new(&key_file, &key));
        let parts = PemParts { certificate, key, chain: None };
        Bundle::from_parts(CertificateId::new(name.as_str()), parts, unix_now())
    };
    Gathered { result: bundle(), path: place.into(), name: name.clone() }
}
