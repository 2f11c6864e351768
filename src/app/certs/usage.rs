//! Who is served with what: routes and listeners, asked of the same table as handshakes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{Desk, Door};
use crate::acme;
use crate::admin::certs::Served;
use crate::certs::{Ask, Certificate, Choice, SignatureScheme, unix_now};
use crate::config::{CertificateChoice, CertificateId, HttpsPolicy, Route, RouteHost, RouteMode};
use crate::names::HostPattern;

/// What today's clients can verify.
const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// Routes by the certificate that their hosts are served with.
pub(super) type Usage = BTreeMap<CertificateId, BTreeSet<String>>;

impl Desk {
    /// What a handshake for a canonical name gets, at a listener with this default.
    pub(super) fn choose(&self, name: &str, default: Option<&CertificateId>) -> Choice {
        self.table.choose(&asking(name, default))
    }

    /// What it would get, were no name's HTTPS switched off.
    pub(super) fn meant(&self, name: &str) -> Choice {
        self.table.meant(&asking(name, None))
    }

    /// The routes that each certificate is served for, or meant for: one whose name is switched off is kept for then.
    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage::new();
        let served = |route: &&Arc<Route>| route.https != HttpsPolicy::Off && route.mode != RouteMode::Passthrough;
        for route in self.config.routes.iter().filter(served) {
            let mut add = |id: CertificateId| {
                usage.entry(id).or_default().insert(route.name.clone());
            };
            if let CertificateChoice::Id(id) = &route.certificate {
                add(id.clone());
                continue;
            }
            for host in &route.hosts {
                let RouteHost::Pattern(pattern) = host else { continue };
                match self.meant(&sample(pattern)).certificate() {
                    Some(certificate) => add(certificate.id().clone()),
                    // The one that is on its way.
                    None if route.certificate == CertificateChoice::Auto => add(acme::certificate_id(&patterns(route))),
                    None => {}
                }
            }
        }
        for door in &self.listeners {
            if let Some(id) = &door.default {
                usage.entry(id.clone()).or_default().insert(format!("default of {}", door.address));
            }
        }
        usage
    }

    /// Where this certificate is served right now.
    pub(super) fn served_on(&self, certificate: &Certificate) -> Vec<Served> {
        let at = |door: &Door| {
            let is_chosen = |name: &&HostPattern| {
                let choice = self.choose(&sample(name), door.default.as_ref());
                choice.certificate().is_some_and(|chosen| chosen.fingerprint() == certificate.fingerprint())
            };
            let names: Vec<_> = certificate.names().iter().filter(is_chosen).map(ToString::to_string).collect();
            let default = door.default.as_ref() == Some(certificate.id());
            (default || !names.is_empty()).then(|| Served { listener: door.address.clone(), names, default })
        };
        if self.live.is_none() { Vec::new() } else { self.listeners.iter().filter_map(at).collect() }
    }

    /// Routes that name this certificate but have hosts that it is not valid for: their names, and those hosts.
    pub(super) fn mismatches(&self, certificate: &Certificate) -> Vec<String> {
        let names_it = |route: &&Arc<Route>| route.certificate == CertificateChoice::Id(certificate.id().clone());
        mismatches(certificate, self.config.routes.iter().filter(names_it))
    }
}

/// As [`Desk::mismatches`], of the routes that name it.
pub(super) fn mismatches<'a>(certificate: &Certificate, naming: impl Iterator<Item = &'a Arc<Route>>) -> Vec<String> {
    let mut found = Vec::new();
    for route in naming {
        let lost: Vec<_> = route
            .hosts
            .iter()
            .filter_map(|host| if let RouteHost::Pattern(pattern) = host { Some(pattern) } else { None })
            .filter(|pattern| !certificate.covers_all(std::slice::from_ref(*pattern)))
            .map(ToString::to_string)
            .collect();
        if !lost.is_empty() {
            found.push(format!("not valid for {} of route {}", lost.join(", "), route.name));
        }
    }
    found
}

fn patterns(route: &Route) -> Vec<HostPattern> {
    let pattern = |host: &RouteHost| if let RouteHost::Pattern(pattern) = host { Some(pattern.clone()) } else { None };
    route.hosts.iter().filter_map(pattern).collect()
}

/// A handshake of today's client for a canonical name or an address.
fn asking<'a>(name: &'a str, default: Option<&'a CertificateId>) -> Ask<'a> {
    let address: Option<IpAddr> = name.parse().ok();
    Ask {
        sni: address.is_none().then_some(name),
        local: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        schemes: SCHEMES,
        default,
        now: unix_now(),
    }
}

/// A name that the pattern stands for.
pub(super) fn sample(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.to_string(),
        // A label that nobody has a certificate of its own for.
        HostPattern::Wildcard(base) => format!("doorward-any.{base}"),
    }
}
