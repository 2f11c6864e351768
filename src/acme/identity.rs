//! What a CA calls itself in CAA records: its directory says (RFC 8555 §9.7.6, `caaIdentities`).

use std::time::Duration;

use bytes::Bytes;

use crate::config::Issuer;
use crate::net::{ClientTimeouts, HttpsClient, Roots};

/// A directory is one small answer: who needs longer is not waited for.
const TIMEOUTS: ClientTimeouts = ClientTimeouts { connect: Duration::from_secs(3), request: Duration::from_secs(5) };

/// What the issuers of these domains are known to call themselves, for when their directory does not say.
const KNOWN: [(&str, &str); 3] =
    [("letsencrypt.org", "letsencrypt.org"), ("zerossl.com", "sectigo.com"), ("pki.goog", "pki.goog")];

/// The domains by which the issuer calls itself in CAA records; none where neither its directory nor doorward knows.
pub async fn caa_identities(issuer: &Issuer) -> Vec<String> {
    match asked(issuer).await {
        Some(names) if !names.is_empty() => names,
        _ => known(&issuer.directory).map(str::to_owned).into_iter().collect(),
    }
}

/// What the directory says; none where it cannot be had.
async fn asked(issuer: &Issuer) -> Option<Vec<String>> {
    let roots = issuer.trust.clone().map_or(Roots::System, Roots::File);
    let client = HttpsClient::new(&roots, TIMEOUTS).ok()?;
    let request = http::Request::get(&issuer.directory).body(Bytes::new()).ok()?;
    let answer = client.send(request).await.ok().filter(|answer| answer.status().is_success())?;
    Some(identities(answer.body()))
}

fn identities(directory: &[u8]) -> Vec<String> {
    let directory: serde_json::Value = serde_json::from_slice(directory).unwrap_or_default();
    let names = directory["meta"]["caaIdentities"].as_array().into_iter().flatten();
    let name = |name: &serde_json::Value| name.as_str().map(|name| name.trim().trim_end_matches('.').to_lowercase());
    // They are shown to people and compared, and nothing else: whatever is no name is equal to none.
    names.filter_map(name).filter(|name| !name.is_empty()).collect()
}

fn known(directory: &str) -> Option<&'static str> {
    let host = directory.trim_start_matches("https://").split(['/', ':']).next()?;
    let is = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    KNOWN.iter().find(|(domain, _)| is(domain)).map(|(_, ca)| *ca)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ca_that_does_not_say_is_known_or_not() {
        assert_eq!(
            identities(br#"{"meta":{"caaIdentities":["CA.test.", 1, "", "brand.test"]}}"#),
            ["ca.test", "brand.test"]
        );
        assert_eq!(identities(b"<html>"), [""; 0]);
        for (directory, ca) in [
            ("https://acme-v02.api.letsencrypt.org/directory", Some("letsencrypt.org")),
            ("https://acme.zerossl.com/v2/DV90", Some("sectigo.com")),
            ("https://evilpki.goog/", None),
            ("https://localhost:14000/dir", None),
        ] {
            assert_eq!(known(directory), ca, "{directory}");
        }
        let nobody = Issuer::new("x", "https://127.0.0.1:1/letsencrypt.org");
        assert_eq!(caa_identities(&nobody).await, [""; 0]);
    }
}
