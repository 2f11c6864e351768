//! Certificates, held against what routes and listeners expect of them.

use std::path::PathBuf;

use super::{Problem, pattern};
use crate::certs::{Bundle, Certificate, CertificateError, directory, unix_now};
use crate::config::{CertificateChoice, Config, HttpsPolicy, Storage};
use crate::names::HostPattern;
use crate::read;
use crate::storage::certs_in_storage;

/// The most hosts that one message lists.
const HOSTS_SHOWN: usize = 5;

/// What is wrong with the certificates in the directories, and with what routes and listeners expect of them.
#[must_use]
pub fn certificates(config: &Config) -> Vec<Problem> {
    let folders = config.certificates.directories.iter().flat_map(|folder| directory::examine(folder));
    judge(config, folders.chain(stored(config)).collect())
}

/// What was imported, generated or got before. A storage that is not there yet has nothing.
fn stored(config: &Config) -> Vec<(PathBuf, Result<Certificate, CertificateError>)> {
    let Storage::File { path } = &config.storage;
    certs_in_storage(path)
        .into_iter()
        .map(|(file, id)| {
            let name = file.display().to_string();
            let read = read::file(&file, read::SMALL);
            let read = read.map_err(|error| CertificateError::Read { file: name.clone(), reason: error.to_string() });
            let result =
                read.and_then(|text| Bundle::from_text(id, &name, &text, unix_now()).map(|bundle| bundle.certificate));
            (file, result)
        })
        .collect()
}

fn judge(config: &Config, examined: Vec<(PathBuf, Result<Certificate, CertificateError>)>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for (path, result) in examined {
        match result {
            Err(error) => problems.push(Problem::error(path.display(), error.to_string())),
            Ok(certificate) => {
                let warnings = certificate.warnings(unix_now());
                problems.extend(warnings.iter().map(|warning| Problem::warning(path.display(), warning.to_string())));
                found.push(certificate);
            }
        }
    }
    for route in &config.routes {
        let CertificateChoice::Id(id) = &route.certificate else { continue };
        let subject = format!("route {}", route.name);
        let patterns: Vec<HostPattern> = route.hosts.iter().filter_map(pattern).cloned().collect();
        match found.iter().find(|certificate| certificate.id() == id) {
            None => problems.push(Problem::error(subject, missing(id.as_str(), &found))),
            Some(certificate) => {
                let lacks = |host: &&HostPattern| !certificate.covers_all(std::slice::from_ref(*host));
                let bare: Vec<String> = patterns.iter().filter(lacks).map(ToString::to_string).collect();
                if !bare.is_empty() {
                    let has: Vec<String> = certificate.names().iter().map(ToString::to_string).collect();
                    let (bare, has) = (some(bare), some(has));
                    let message = format!("the certificate {id} is not valid for {bare}: it is for {has}");
                    problems.push(Problem::error(subject, message));
                }
            }
        }
    }
    for listener in &config.listeners {
        let Some(id) = &listener.default_certificate else { continue };
        // Those that doorward made are in the storage.
        if !id.as_str().starts_with("cert-") && !found.iter().any(|certificate| certificate.id() == id) {
            let subject = format!("listener {}: default_certificate", listener.address);
            problems.push(Problem::error(subject, missing(id.as_str(), &found)));
        }
    }
    problems.extend(uncovered(config, &found));
    problems
}

/// Hosts that nothing has a certificate for, as far as it can be seen from here.
fn uncovered(config: &Config, found: &[Certificate]) -> Option<Problem> {
    let made = |choice: &CertificateChoice| {
        matches!(choice, CertificateChoice::Auto | CertificateChoice::SelfSigned | CertificateChoice::OnDemand)
    };
    let patterns_where = |wanted: &dyn Fn(&CertificateChoice) -> bool| -> Vec<&HostPattern> {
        let routes = config.routes.iter().filter(|route| route.https != HttpsPolicy::Off && wanted(&route.certificate));
        routes.flat_map(|route| route.hosts.iter().filter_map(pattern)).collect()
    };
    let to_be_made = patterns_where(&made);
    let bare: Vec<String> = patterns_where(&|choice| *choice == CertificateChoice::Directory)
        .into_iter()
        .filter(|host| !to_be_made.contains(host))
        .filter(|host| !found.iter().any(|certificate| certificate.names().iter().any(|name| name.covers(host))))
        .map(ToString::to_string)
        .collect();
    if bare.is_empty() {
        return None;
    }
    let message = format!(
        "no certificate for {}: put one into a folder of [certificates] directories, or write certificate = \"auto\"",
        some(bare)
    );
    Some(Problem::warning("routes", message))
}

/// The first of them, and how many more.
fn some(mut hosts: Vec<String>) -> String {
    let more = hosts.len().saturating_sub(HOSTS_SHOWN);
    hosts.truncate(HOSTS_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", hosts.join(", "))
}

fn missing(id: &str, found: &[Certificate]) -> String {
    let ids: Vec<&str> = found.iter().map(|certificate| certificate.id().as_str()).collect();
    let near = ids.iter().max_by(|a, b| strsim::jaro(id, a).total_cmp(&strsim::jaro(id, b)));
    match near {
        Some(near) => format!("no certificate {id:?} is in the directories or the storage; the nearest is {near:?}"),
        None => format!("no certificate {id:?} is in the directories or the storage; they have none"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, shown};
    use super::*;
    use crate::certs::testing::{Order, TestCa};

    #[test]
    fn certificates_are_held_against_what_routes_expect() {
        let folder = tempfile::tempdir().expect("a folder");
        let route = |host: &str, rest: &str| format!("[[route]]\nhosts = [\"{host}\"]\nbackend = 3000\n{rest}\n");
        let lines = ["default_certificate = \"app\"\n".to_owned()]
            .into_iter()
            .chain([
                route("a.example.com", ""),
                route("b.example.com", "certificate = \"apps\""),
                route("c.example.com", "certificate = \"other\""),
                "[[route]]\nhosts = [\"x.example.com\", \"y.example.net\"]\nbackend = 3000\ncertificate = \"apps\"\n"
                    .to_owned(),
                route("d.example.org", ""),
                route("e.example.org", "certificate = \"self-signed\""),
                route("e.example.org", "path = \"/x\""),
            ])
            .collect::<String>();
        let config = config(folder.path(), &lines, "");
        let ca = TestCa::new("check");
        let examined = vec![
            (PathBuf::from("apps"), Ok(ca.certificate("apps", Order::new(&["*.example.com"])))),
            (PathBuf::from("old"), Ok(ca.certificate("old", Order::new(&["x.example.net"]).valid(-9, -2)))),
            (PathBuf::from("bad"), Err(CertificateError::Empty { file: "bad/ssl.key".to_owned() })),
        ];
        let problems = shown(&judge(&config, examined));
        assert_eq!(problems.len(), 6, "{problems:#?}");
        assert!(problems[0].starts_with("warning: old: expired on "), "{problems:#?}");
        assert_eq!(
            problems[1..],
            [
                "bad: bad/ssl.key is empty: copy it again",
                "route c.example.com: no certificate \"other\" is in the directories or the storage; the nearest is \"old\"",
                "route x.example.com: the certificate apps is not valid for y.example.net: it is for *.example.com",
                "listener [::]:443: default_certificate: no certificate \"app\" is in the directories or the storage; the nearest is \"apps\"",
                "warning: routes: no certificate for d.example.org: put one into a folder of [certificates] directories, or write certificate = \"auto\"",
            ]
        );
    }
}
