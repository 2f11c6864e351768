//! What `POST /certs` speaks: a [`Request`] in, a [`Reply`] out, or an [`super::view::ErrorView`].
//!
//! Times are unix seconds. Fields are added, never renamed or removed; a reader ignores what it does not know.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::acme::BudgetView;

/// One thing asked of the certificates. `{"do": "list"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// All of them. Answer: [`Reply::List`].
    List,
    /// One, by its id or a name that it serves. Answer: [`Reply::Show`].
    Show {
        /// The id or the name.
        of: String,
    },
    /// Stores one. Answer: [`Reply::Done`].
    Import(Import),
    /// Orders one. Answer at once: [`Reply::Done`] with its id; how far it is tells `show`.
    Generate(Generate),
    /// Brings the version before back. Answer: [`Reply::Done`].
    Rollback {
        /// The certificate.
        id: String,
        /// Also where that one has expired or lacks a name.
        force: bool,
    },
    /// Orders a new one in place of this. Answer at once: [`Reply::Done`].
    Renew {
        /// The certificate.
        id: String,
        /// Also where it is not due yet.
        force: bool,
    },
    /// Has its CA revoke it. Answer: [`Reply::Done`].
    Revoke {
        /// The certificate.
        id: String,
        /// `unspecified`, `key-compromise`, `superseded` or `cessation`.
        reason: String,
    },
    /// Removes it from the storage. Answer: [`Reply::Done`].
    Delete {
        /// The certificate.
        id: String,
        /// Also where a route uses it.
        force: bool,
    },
    /// Switches HTTPS off for a name. Answer: [`Reply::Done`].
    Disable {
        /// The name or wildcard.
        name: String,
    },
    /// Switches it on again. Answer: [`Reply::Done`].
    Enable {
        /// The name or wildcard.
        name: String,
    },
    /// Hands out the certificate with its key. Answer: [`Reply::Export`].
    Export {
        /// The certificate.
        id: String,
    },
    /// Why a name is served as it is. Answer: [`Reply::Explain`].
    Explain {
        /// The name.
        name: String,
        /// The port that the CA asks for HTTP-01: 80, but for a test CA.
        port: u16,
    },
    /// What the CAs still issue by their limits. Answer: [`Reply::Budget`].
    Budget,
}

/// A certificate to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// What it is to be called.
    pub id: String,
    /// Key and chain, PEM.
    pub bundle: Secret,
    /// Where it was read from, for people.
    pub from: String,
    /// Whether doorward's own CA issued it.
    pub own_ca: bool,
    /// Whether it takes the place of the one with this id, which has to be there.
    pub replace: bool,
    /// Also where the new one has expired, or lacks a name of the one that it replaces.
    pub force: bool,
}

/// A certificate to be ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generate {
    /// Its names.
    pub names: Vec<String>,
    /// What it is to be called; none: `cert-` and a hash of its names.
    pub id: Option<String>,
    /// The issuer's name; none: the config's.
    pub issuer: Option<String>,
    /// `p256`, `p384` or `rsa2048`; none: the config's.
    pub key: Option<String>,
    /// The profile; none: the config's.
    pub profile: Option<String>,
}

/// An answer. `{"answer": "list", …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::List`].
    List {
        /// By id.
        certificates: Vec<Row>,
        /// Names whose HTTPS is off, and since when.
        disabled: BTreeMap<String, u64>,
    },
    /// To [`Request::Show`].
    Show(Box<Detail>),
    /// It is done.
    Done(Done),
    /// To [`Request::Export`].
    Export {
        /// The certificate.
        id: String,
        /// Key and chain, PEM.
        bundle: Secret,
    },
    /// To [`Request::Explain`].
    Explain(Box<Explanation>),
    /// To [`Request::Budget`].
    Budget {
        /// By issuer, in the order in which they are asked.
        issuers: Vec<BudgetView>,
    },
}

/// Something was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What it was done to.
    pub id: String,
    /// What was done.
    pub message: String,
    /// What should be looked at all the same.
    pub warnings: Vec<String>,
    /// Whether the certificate was seen in the table that handshakes are served from.
    pub serving: bool,
}

/// A line of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// The names that it is (or is to be) valid for.
    pub names: Vec<String>,
    /// Who issued it, short; for one that is under way, the issuer's name in the config.
    pub issuer: String,
    /// `generated`, `imported`, `directory`, `own-ca` or `wanted`: under way for the first time.
    pub origin: String,
    /// The folder or file, where it comes from one.
    pub source: Option<String>,
    /// The end of its validity.
    pub expires: Option<i64>,
    /// When its renewal begins; none where that is not known, or nobody renews it.
    pub next_renewal: Option<i64>,
    /// `acme` or `own-ca`, who have a new one made in time; `folder`, where whoever changes its files does; none:
    /// nobody does.
    #[serde(default)]
    pub renewed_by: Option<String>,
    /// The routes that are served with it.
    pub used_by: Vec<String>,
    /// All that stands out: `not-served`, `expired`, `not-yet-valid`, `revoked`, `failing`, `stale`, `mismatched`,
    /// `untrusted`, `expiring`, `warning`, `disabled`, `ordering`, `waiting`. Empty: served and well.
    pub states: Vec<String>,
    /// What is wrong, in words.
    pub messages: Vec<String>,
    /// What the config has otherwise by now and is taken up when it is renewed, in words; among the messages too.
    #[serde(default)]
    pub pending: Vec<String>,
}

/// All about one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// As in the list.
    #[serde(flatten)]
    pub row: Row,
    /// The beginning of its validity.
    pub not_before: Option<i64>,
    /// The key's kind.
    pub key: Option<String>,
    /// The profile that its CA issued it by; none: the CA's default, or no CA did.
    #[serde(default)]
    pub profile: Option<String>,
    /// The serial number, hex.
    pub serial: Option<String>,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: Option<String>,
    /// SHA-256 of the public key (SPKI), hex: the same after a renewal with the same key.
    pub key_fingerprint: Option<String>,
    /// What a handshake sends, the certificate first.
    pub chain: Vec<Link>,
    /// Since when it has been served.
    pub serving_since: Option<u64>,
    /// What was served before, the newest first.
    pub previous: Vec<Previous>,
    /// When a CA issued it to doorward.
    #[serde(default)]
    pub last_success: Option<u64>,
    /// The last attempt that failed.
    pub last_attempt: Option<u64>,
    /// Why it failed.
    pub last_error: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// When the next attempt may be made.
    pub next_attempt: Option<u64>,
    /// How far the order under way is with each name.
    pub progress: Vec<(String, String)>,
    /// Where it is served right now: a listener's address and the names there.
    pub served_on: Vec<Served>,
}

/// One certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// The end of its validity.
    pub expires: i64,
    /// SHA-256, hex.
    pub fingerprint: String,
}

/// An earlier version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Since when it was served; 0 where that is not known.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// The end of its validity; none where it cannot be used any more.
    pub expires: Option<i64>,
    /// SHA-256, hex.
    pub fingerprint: Option<String>,
}

/// A listener that serves a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The listener's address.
    pub listener: String,
    /// The names for which it is chosen there.
    pub names: Vec<String>,
    /// Whether it is the listener's default.
    pub default: bool,
}

/// Why a name is served as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name.
    pub name: String,
    /// The route that takes its requests.
    pub route: Option<String>,
    /// The certificate that a handshake gets.
    pub certificate: Option<String>,
    /// What led there, a line each.
    pub reasons: Vec<String>,
    /// The last error, in plain words.
    pub last_error: Option<String>,
    /// When that was.
    pub last_attempt: Option<u64>,
    /// When the next attempt may be made.
    pub next_attempt: Option<u64>,
    /// The challenge path, asked at each address.
    pub probes: Vec<Probe>,
    /// What DNS says to a CA: CAA and the record of DNS-01, a line each.
    #[serde(default)]
    pub dns: Vec<String>,
    /// What the CAs' limits leave for it, a line each.
    #[serde(default)]
    pub budget: Vec<String>,
    /// What is to be kept in mind, a line each.
    pub advice: Vec<String>,
}

/// What one address of a name says to HTTP-01.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The address.
    pub address: IpAddr,
    /// Whether this doorward answered there.
    pub reached: bool,
    /// What was seen.
    pub message: String,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// It would do harm, or cannot work.
    #[error("{0}")]
    No(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
}

/// A text that is never shown by accident: a private key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_plain_json_and_keys_are_never_shown() {
        let import = Request::Import(Import {
            id: "x".to_owned(),
            bundle: Secret("key".to_owned()),
            from: "-".to_owned(),
            own_ca: false,
            replace: false,
            force: false,
        });
        assert!(!format!("{import:?}").contains("key\""));
        let text = serde_json::to_string(&import).expect("JSON");
        assert!(text.starts_with(r#"{"do":"import","id":"x","bundle":"key""#), "{text}");
        assert_eq!(serde_json::from_str::<Request>(&text).expect("parses"), import);
        assert_eq!(serde_json::from_str::<Request>(r#"{"do":"list"}"#).expect("parses"), Request::List);
        let reply = Reply::Show(Box::default());
        let text = serde_json::to_string(&reply).expect("JSON");
        assert_eq!(serde_json::from_str::<Reply>(&text).expect("parses"), reply, "{text}");
    }
}
