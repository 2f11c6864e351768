//! `certs explain`: which certificate a name is served with, why, and if none, what stands in the way.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{Desk, probe, room};
use crate::acme;
use crate::admin::certs::{Explanation, Refused};
use crate::certs::{Certificate, Choice, Warning, is_trusted, unix_now};
use crate::config::{CertificateChoice, CertificateId, HttpsPolicy, Route, RouteHost};
use crate::names::{HostMap, HostPattern, Hostname};

/// How long the system's resolver may take.
const RESOLVE: Duration = Duration::from_secs(10);

impl Desk {
    pub(super) async fn explain(&self, name: &str, port: u16) -> Result<Explanation, Refused> {
        if let Some(base) = name.strip_prefix("*.") {
            return Err(Refused::No(format!("a wildcard is many names: ask for one of them, as in www.{base}")));
        }
        let name = Hostname::parse(name).map_err(|error| Refused::No(format!("{name:?} is no name: {error}")))?;
        let mut out = Explanation { name: name.to_string(), ..Explanation::default() };
        let route = self.route(&name);
        self.explain_route(&mut out, &name, route);
        let wanted = self.explain_choice(&mut out, &name, route);
        if let Some(id) = wanted {
            self.explain_orders(&mut out, &id).await?;
        }
        if route.is_some_and(|route| route.certificate == CertificateChoice::SelfSigned) {
            // No CA is asked, so neither its limits nor what it would look at matter.
            return Ok(out);
        }
        let is_wildcard = |host: &RouteHost| matches!(host, RouteHost::Pattern(host) if host.is_wildcard() && host.matches(name.as_str()));
        let auto = |route: &&Route| route.certificate == CertificateChoice::Auto;
        let wildcard = route.filter(auto).is_some_and(|route| route.hosts.iter().any(is_wildcard));
        let (dns, ()) = tokio::join!(self.dns_lines(&name, wildcard), self.probe(&mut out, &name, port));
        out.dns = dns;
        let room = self.room(&[HostPattern::Exact(name)]).await?;
        out.budget = room.iter().map(|(issuer, limit)| room::line(issuer, limit)).collect();
        Ok(out)
    }

    fn route(&self, name: &Hostname) -> Option<&Route> {
        let mut hosts: HostMap<&Route> = HostMap::new();
        for route in self.config.routes.iter().rev() {
            for host in &route.hosts {
                match host {
                    RouteHost::Pattern(pattern) => drop(hosts.insert(pattern.clone(), route)),
                    RouteHost::Any => drop(hosts.set_default(route)),
                }
            }
        }
        hosts.find(name.as_str()).copied()
    }

    fn explain_route(&self, out: &mut Explanation, name: &Hostname, route: Option<&Route>) {
        out.route = route.map(|route| route.name.clone());
        out.reasons.push(match route {
            None => "no route has this name: requests for it get 404, or 421".to_owned(),
            Some(route) => {
                let certificate = match &route.certificate {
                    CertificateChoice::Directory => "whatever is there for the name".to_owned(),
                    CertificateChoice::Auto => "\"auto\": one from ACME, or whatever covers its names".to_owned(),
                    CertificateChoice::OnDemand => "\"on-demand\": one from ACME at its first handshake".to_owned(),
                    CertificateChoice::SelfSigned => "\"self-signed\": one from doorward's own CA".to_owned(),
                    CertificateChoice::Id(id) => format!("{:?}: just that one", id.as_str()),
                };
                format!("route {} takes its requests; its certificate is {certificate}", route.name)
            }
        });
        if route.is_some_and(|route| route.https == HttpsPolicy::Off) {
            out.reasons.push("the route has https = \"off\": requests over HTTPS get 404".to_owned());
        }
        if self.table.disabled().contains(name.as_str()) {
            out.reasons.push(format!(
                "HTTPS is switched off for it: handshakes are refused (doorward certs enable {name} ends that)"
            ));
        }
    }

    /// Says what is chosen, and returns the certificate that matters for the name: also where it is not there yet.
    fn explain_choice(&self, out: &mut Explanation, name: &Hostname, route: Option<&Route>) -> Option<CertificateId> {
        let choice = self.choose(name.as_str(), None);
        let pinned = self.table.pin(name.as_str());
        if let Some(certificate) = choice.certificate() {
            out.certificate = Some(certificate.id().to_string());
            let why = match &pinned {
                Some(id) if id == certificate.id() => "as the route names it",
                _ if certificate.names().iter().any(|own| !own.is_wildcard() && own.matches(name.as_str())) => {
                    "as it has the exact name"
                }
                _ => "as its wildcard covers the name",
            };
            out.reasons.push(format!("{} is served, {why}; {}", certificate.id(), shape(certificate)));
            self.explain_others(out, name, certificate);
        } else {
            out.reasons.push(match &choice {
                Choice::UnknownName if self.table.disabled().contains(name.as_str()) => "nothing is served".to_owned(),
                _ if route.is_some_and(|route| route.certificate == CertificateChoice::SelfSigned) => {
                    "there is none yet: doorward's own CA makes it as soon as doorward runs".to_owned()
                }
                _ => "no certificate has this name: handshakes get the listener's default, or a fatal alert".to_owned(),
            });
            if matches!(route.map(|route| &route.certificate), None | Some(CertificateChoice::Directory)) {
                out.advice.push(format!(
                    "to have one: `doorward certs generate {name}`, `certs import`, or certificate = \"auto\" on its route"
                ));
            }
        }
        if let Some(id) = pinned.filter(|id| self.table.get(id).is_none()) {
            out.reasons.push(format!("the route names {id}, which is not there"));
            return Some(id);
        }
        let ordered = route.filter(|route| route.certificate == CertificateChoice::Auto).and_then(|route| {
            let mut all = self.manager()?.status().into_iter();
            let names: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
            all.find(|status| status.names.iter().all(|name| names.contains(name)) && status.names.len() == names.len())
        });
        if let Some(status) = ordered {
            out.reasons.push(match status.state {
                acme::State::Covered => format!("{} is not ordered: another certificate covers its names", status.id),
                acme::State::Valid => format!("{} is from {}", status.id, status.issuer.clone().unwrap_or_default()),
                acme::State::Ordering => format!("{} is being ordered now", status.id),
                acme::State::Waiting | acme::State::Starting => format!("{} waits for its turn", status.id),
                acme::State::Failing => format!("{} could not be had up to now", status.id),
                acme::State::Disabled => format!("{} is not ordered: the config has no [acme]", status.id),
            });
            return Some(CertificateId::new(status.id));
        }
        choice.certificate().map(|certificate| certificate.id().clone())
    }

    /// The other certificates for the name, and why they are not served.
    fn explain_others(&self, out: &mut Explanation, name: &Hostname, chosen: &Certificate) {
        let now = unix_now();
        for other in self.table.all_for(name.as_str()).iter().filter(|other| other.id() != chosen.id()) {
            let why = match other.warnings(now).into_iter().next() {
                Some(warning @ (Warning::Expired(_) | Warning::NotYetValid(_))) => warning.to_string(),
                _ if other.is_self_signed() && !chosen.is_self_signed() => "it is self-signed".to_owned(),
                _ => "exact names go before wildcards, ECDSA before RSA, newer ones before older ones".to_owned(),
            };
            out.reasons.push(format!("{} has the name too, but is not chosen: {why}", other.id()));
        }
    }

    async fn explain_orders(&self, out: &mut Explanation, id: &CertificateId) -> Result<(), Refused> {
        if let Some(manager) = self.manager() {
            manager.refresh(id).await;
        }
        let kept = acme::Kept::load(&**self.vault.storage(), id, SystemTime::now()).await?;
        let kept = kept.with(self.acme(id).as_ref());
        out.last_error = kept.last_error;
        out.last_attempt = kept.last_failure;
        out.next_attempt = kept.next_attempt.or(kept.renew_at);
        Ok(())
    }

    /// Asks the challenge path at every address that the system's resolver knows.
    async fn probe(&self, out: &mut Explanation, name: &Hostname, port: u16) {
        let addresses = match name.ip() {
            Some(address) => vec![address],
            None => match tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), port))).await {
                Ok(Ok(found)) => {
                    let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                    found.sort();
                    found.dedup();
                    found
                }
                Ok(Err(error)) => {
                    out.advice.push(format!("this system's resolver knows no address of {name}: {error}"));
                    Vec::new()
                }
                Err(_) => {
                    let seconds = RESOLVE.as_secs();
                    out.advice.push(format!("this system's resolver has not answered within {seconds} s"));
                    Vec::new()
                }
            },
        };
        if let (Some(live), false) = (&self.live, addresses.is_empty()) {
            // A token of our own, which only this doorward (and who shares its storage) can answer.
            let token = format!("doorward-probe-{:032x}", fastrand::u128(..));
            let expected = format!("{token}.{:032x}", fastrand::u128(..));
            let storage = &**self.vault.storage();
            let published = live.challenges.publish(storage, &token, &expected, SystemTime::now()).await;
            if let Err(error) = published {
                tracing::debug!(%error, "the probe's answer is not stored");
            }
            let probes = addresses
                .iter()
                .map(|address| {
                    tokio::spawn(owned_ask(*address, port, name.to_string(), token.clone(), expected.clone()))
                })
                .collect::<Vec<_>>();
            for probe in probes {
                out.probes.extend(probe.await.ok());
            }
            let _ = live.challenges.withdraw(storage, &token).await;
        }
        if self.live.is_none() {
            out.advice.push(
                "no doorward runs: this is what would be served, and the challenge path is not probed".to_owned(),
            );
            return;
        }
        out.advice.push(format!(
            "addresses and port {port} are as seen from this machine: a CA asks public DNS from outside, where a \
             firewall, a split DNS or a missing way back through the router can make both differ"
        ));
    }
}

async fn owned_ask(
    address: IpAddr,
    port: u16,
    name: String,
    token: String,
    expected: String,
) -> crate::admin::certs::Probe {
    probe::ask(address, port, &name, &token, &expected).await
}

fn shape(certificate: &Certificate) -> String {
    let warnings: Vec<_> = certificate.warnings(unix_now()).iter().map(ToString::to_string).collect();
    match (warnings.is_empty(), is_trusted(certificate)) {
        (false, _) => warnings.join("; "),
        (true, Some(false)) => format!("{}, but this system does not trust its issuer", certificate.key_kind()),
        (true, _) => format!("{}, all is well with it", certificate.key_kind()),
    }
}
