//! Dynamic updates (RFC 2136), signed by TSIG (RFC 8945).

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{RData, RecordSet, RecordType, TSigner};

use super::exchange::{ask_over_tcp, parse, problem};
use super::provider::{Change, DnsProvider};
use super::resolver::{absolute, zone_at};
use super::{DnsError, Resolver, TxtRecord};
use crate::config::parse_server;

const PROVIDER: &str = "rfc2136";
/// How far the clocks of both sides may be apart, in seconds (RFC 8945 §10 suggests 300).
const FUDGE: u16 = 300;

/// A primary server that takes updates.
pub(super) struct Rfc2136 {
    server: String,
    signer: TSigner,
    resolver: Resolver,
}

impl Rfc2136 {
    /// A server that takes updates signed with `key`.
    ///
    /// # Errors
    /// What is wrong with the key, and the remedy.
    pub(super) fn new(server: &str, key: &str, resolver: Resolver) -> Result<Self, String> {
        Ok(Self { server: server.to_owned(), signer: signer(key)?, resolver })
    }

    async fn update(&self, action: &str, record: &TxtRecord, ttl: Option<u32>) -> Result<(), DnsError> {
        let server = self.address().await?;
        let zone = zone_at(server, record.name.as_str()).await?.ok_or_else(|| DnsError::NoZone {
            provider: format!("the server {server}"),
            name: record.name.to_string(),
            remedy: "name the primary server of its zone".to_owned(),
        })?;
        let mut set = RecordSet::with_ttl(absolute(record.name.as_str())?, RecordType::TXT, ttl.unwrap_or(0));
        set.add_rdata(RData::TXT(TXT::new(vec![record.value.clone()])));
        let zone = absolute(&zone)?;
        let message = match ttl {
            Some(_) => update_message::append(set, zone, false, false),
            None => update_message::delete_by_rdata(set, zone, false),
        };
        self.send(server, message, action).await
    }

    /// Signs, sends, and judges the answer.
    async fn send(&self, server: SocketAddr, mut message: Message, action: &str) -> Result<(), DnsError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unsigned = |e| problem(server, format!("cannot be asked: the request cannot be signed: {e}"));
        let verifier = message.finalize(&self.signer, now).map_err(unsigned)?;
        let request = message.to_vec().map_err(unsigned)?;
        // TCP: an update has to arrive once.
        let bytes = ask_over_tcp(server, &request).await?;
        let answer = parse(server, message.id, &bytes)?;
        let refused = |reason: String| DnsError::refused(&format!("the server {server}"), action, reason);
        if let Some(error) = answer.signature().and_then(|signature| signature.data.error.as_ref()) {
            return Err(refused(self.explain(error)));
        }
        // Only who has the key can say that it was done.
        match verifier {
            Some(mut verifier) if answer.signature().is_some() => {
                let verified = verifier.verify(&bytes);
                verified.map_err(|e| refused(format!("its answer is not signed with our key: {e}")))?;
            }
            _ if answer.response_code == ResponseCode::NoError => {
                return Err(refused("its answer is not signed".to_owned()));
            }
            _ => {}
        }
        match answer.response_code {
            ResponseCode::NoError => Ok(()),
            ResponseCode::Refused => Err(refused(format!(
                "REFUSED; allow the key {} to update TXT records of the zone (allow-update or update-policy)",
                self.signer.signer_name()
            ))),
            ResponseCode::NotAuth => Err(refused("NOTAUTH; name the primary server of the zone".to_owned())),
            code => Err(refused(code.to_string())),
        }
    }

    fn explain(&self, error: &TsigError) -> String {
        let name = self.signer.signer_name();
        match error {
            TsigError::BadKey => format!("it has no key {name} of the algorithm {}", self.signer.algorithm()),
            TsigError::BadSig => format!("its key {name} is another one than ours"),
            TsigError::BadTime => "its clock and ours differ by more than 5 minutes".to_owned(),
            other => format!("the signature is not taken: {other:?}"),
        }
    }

    /// The server's address, looked up where it has a name.
    async fn address(&self) -> Result<SocketAddr, DnsError> {
        if let Some(address) = parse_server(&self.server) {
            return Ok(address);
        }
        let (host, port) = match self.server.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(53)),
            None => (self.server.as_str(), 53),
        };
        let found = self.resolver.addresses(host).await?.first().copied();
        let ip = found.ok_or_else(|| DnsError::Server {
            server: self.server.clone(),
            problem: "has no address; write its IP address as server".to_owned(),
        })?;
        Ok(SocketAddr::new(ip, port))
    }
}

#[async_trait]
impl DnsProvider for Rfc2136 {
    async fn add(&self, record: &TxtRecord, ttl: u32) -> Result<Option<Change>, DnsError> {
        self.update(&format!("add a value to {}", record.name), record, Some(ttl)).await.map(|()| None)
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        self.update(&format!("remove a value from {}", record.name), record, None).await
    }
}

impl std::fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(PROVIDER).field("server", &self.server).finish_non_exhaustive()
    }
}

/// A key as people have it: `NAME:SECRET`, `ALGORITHM:NAME:SECRET`, or the file that `tsig-keygen` writes.
fn signer(text: &str) -> Result<TSigner, String> {
    let (algorithm, name, secret) = match text.contains('{') {
        true => of_key_file(text),
        false => of_one_line(text.trim()),
    }
    .ok_or("the TSIG key is not understood: write NAME:BASE64 or ALGORITHM:NAME:BASE64, or give a key file of BIND")?;
    let algorithm = match algorithm.to_ascii_lowercase().as_str() {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => {
            return Err(format!(
                "TSIG keys of {other:?} are not supported; make one of hmac-sha256, hmac-sha384 or hmac-sha512"
            ));
        }
    };
    let secret = BASE64_STANDARD.decode(&secret).map_err(|_| "the TSIG key's secret is not base64; copy it again")?;
    let name = absolute(&name).map_err(|e| format!("the TSIG key's name: {e}"))?;
    TSigner::new(secret, algorithm, name, FUDGE).map_err(|e| format!("the TSIG key cannot be used: {e}"))
}

fn of_one_line(text: &str) -> Option<(String, String, String)> {
    let parts: Vec<&str> = text.split(':').map(str::trim).collect();
    let [algorithm, name, secret] = match parts.as_slice() {
        [name, secret] => ["hmac-sha256", *name, *secret],
        [algorithm, name, secret] => [*algorithm, *name, *secret],
        _ => return None,
    };
    let whole = !name.is_empty() && !secret.is_empty();
    whole.then(|| (algorithm.to_owned(), name.to_owned(), secret.to_owned()))
}

/// `key "name" { algorithm hmac-sha256; secret "…"; };`
fn of_key_file(text: &str) -> Option<(String, String, String)> {
    let (head, body) = text.split_once('{')?;
    let clean = |word: &str| word.trim_matches(|c: char| c == '"' || c.is_whitespace()).to_owned();
    let name = clean(head.trim().strip_prefix("key")?);
    let value = |key: &str| {
        let statements = body.split(['}', ';']).map(str::trim);
        statements.filter_map(|statement| statement.strip_prefix(key)).map(clean).next()
    };
    Some((value("algorithm")?, name, value("secret")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_every_usual_form() {
        for text in [
            "acme:c2VjcmV0",
            "hmac-sha256:acme:c2VjcmV0\n",
            "key \"acme\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n",
        ] {
            let signer = signer(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((signer.signer_name().to_ascii().as_str(), signer.key()), ("acme.", &b"secret"[..]), "{text}");
        }
        for (bad, word) in [
            ("", "not understood"),
            ("acme", "not understood"),
            ("acme:", "not understood"),
            ("acme:%%%", "base64"),
            ("hmac-md5:acme:c2VjcmV0", "hmac-sha512"),
            ("key { }", "not understood"),
        ] {
            let error = signer(bad).map(|_| ()).expect_err(bad);
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
