//! `tls` of a backend: whom doorward believes to be the backend, and as whom it comes.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Backend;
use super::reader::{Item, Reading, Section};
use super::source::Place;
use crate::names::Hostname;

/// `tls` of a backend. Without anything written: a certificate for the endpoint's host, from a CA of the system's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendTls {
    /// `ca`: whose certificates are believed; default `system`, or none but the pins where there are some.
    pub ca: BackendCa,
    /// `server_name`: the name that the certificate has to have; default: `sni`, or else the endpoint's host.
    pub server_name: Option<String>,
    /// `sni`: the name to ask for, default `server_name`.
    pub sni: BackendSni,
    /// `pin_sha256`: SHA-256 of the public keys (SubjectPublicKeyInfo) that the backend may have; none: any.
    pub pins: Vec<[u8; 32]>,
    /// `client_certificate` and `client_key`: files in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `insecure`: believe anybody; default false.
    pub insecure: bool,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendCa {
    /// Those of the system's CAs, unless there are pins: then the key alone tells.
    #[default]
    Default,
    /// Those of the system's CAs.
    System,
    /// Those of the CAs in this file.
    File(PathBuf),
}

/// The name that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendSni {
    /// The one that is checked.
    #[default]
    Checked,
    /// None.
    Off,
    /// Another one.
    Name(String),
}

impl BackendTls {
    /// The name that is checked, where it is not the endpoint's host.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match (&self.server_name, &self.sni) {
            (Some(name), _) | (None, BackendSni::Name(name)) => Some(name),
            (None, _) => None,
        }
    }

    /// Whether a chain to a CA is asked for.
    #[must_use]
    pub fn checks_chain(&self) -> bool {
        !self.insecure && (self.ca != BackendCa::Default || self.pins.is_empty())
    }

    /// The files that it reads.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let ca = if let BackendCa::File(path) = &self.ca { Some(path) } else { None };
        ca.into_iter().chain(self.client.iter().flat_map(|(certificate, key)| [certificate, key]))
    }
}

/// A pin as it is written.
pub(super) fn show_pin(pin: &[u8; 32]) -> String {
    STANDARD.encode(pin)
}

/// Reads `tls`.
pub(super) fn read(mut section: Section<'_>) -> Option<BackendTls> {
    let mut tls = BackendTls::default();
    section
        .set("ca", &mut tls.ca, |item| match item.written() {
            "system" => Some(BackendCa::System),
            _ => item.file().map(BackendCa::File),
        })
        .set("server_name", &mut tls.server_name, |item| read_name(item).map(Some))
        .set("sni", &mut tls.sni, |item| match item.value.get_ref() {
            toml::de::DeValue::Boolean(false) => Some(BackendSni::Off),
            _ => read_name(item).map(BackendSni::Name),
        })
        .set("pin_sha256", &mut tls.pins, |item| item.some("pin", "\"…=\"", "the key's SHA-256 in base64", read_pin));
    let certificate = section.optional("client_certificate", Item::file);
    let key = section.optional("client_key", Item::file);
    section.set("insecure", &mut tls.insecure, Item::boolean);
    for (one, other) in [("client_certificate", "client_key"), ("client_key", "client_certificate")] {
        if section.place_of_name(one).is_some() && section.place_of_name(other).is_none() {
            section.refuse(one, &format!("{one} is of no use without {other}"), &format!("add {other}, a file in PEM"));
        }
    }
    if tls.insecure {
        for (key, set) in [("ca", tls.ca != BackendCa::Default), ("pin_sha256", !tls.pins.is_empty())] {
            if set {
                let remedy = format!("remove insecure, so that {key} is checked");
                section.refuse(key, &format!("insecure = true checks nothing, {key} neither"), &remedy);
            }
        }
    }
    tls.client = certificate.zip(key);
    if tls.ca == BackendCa::System && tls.pins.is_empty() {
        // It is what holds anyhow: two ways to write it are one config.
        tls.ca = BackendCa::Default;
    }
    section.finish();
    Some(tls)
}

fn read_name(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    match Hostname::parse(&text) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(error) => {
            item.fault(format!("{:?} is not a host: {error}", item.written()), "write it as in \"app.internal\"")
        }
    }
}

fn read_pin(item: &Item<'_>) -> Option<[u8; 32]> {
    let text = item.text()?;
    let written = text.strip_prefix("sha256//").unwrap_or(&text);
    match STANDARD.decode(written).ok().and_then(|bytes| bytes.try_into().ok()) {
        Some(pin) => Some(pin),
        None => item.fault(
            format!("{:?} is not a SHA-256 in base64", item.written()),
            "make it with: openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64",
        ),
    }
}

/// Says what nobody may overlook.
pub(super) fn warn(reading: &Reading, place: &Place, backend: &Backend) {
    if backend.is_insecure() {
        let message = "insecure = true: whoever is on the way to the backend can read and change everything";
        reading.warning(place, message, "name its CA in tls.ca, or its key in tls.pin_sha256, and remove insecure");
    }
}
