//! [`AcmeError`]: why there is no certificate yet, in words for who runs doorward.

use std::time::SystemTime;

use instant_acme::ChallengeType;

use crate::certs::CertificateError;
use crate::dns::DnsError;
use crate::net::HttpsClientError;
use crate::storage::StorageError;

/// Why an order failed.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A DNS record could not be written, or is not seen.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The CA cannot be reached.
    #[error("the CA cannot be reached: {0}")]
    Unreachable(HttpsClientError),
    /// The CA's answer is an error of its own, not one of ACME: overload, maintenance, a wrong URL.
    #[error("the CA answered with status {status} and no explanation; is {directory} its directory URL?")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// The directory URL.
        directory: String,
        /// When to come back.
        retry_after: Option<SystemTime>,
    },
    /// The CA said no (RFC 8555 §6.7).
    #[error("the CA refused: {detail} ({kind})")]
    Refused {
        /// The type of the problem, without `urn:ietf:params:acme:error:`.
        kind: String,
        /// What the CA said.
        detail: String,
        /// The HTTP status.
        status: u16,
        /// When to come back.
        retry_after: Option<SystemTime>,
    },
    /// The CA could not convince itself that a name is ours.
    #[error("the CA could not validate {name}: {detail} ({kind}); {remedy}")]
    NotValidated {
        /// The name.
        name: String,
        /// The type of the problem, without `urn:ietf:params:acme:error:`.
        kind: String,
        /// What the CA said.
        detail: String,
        /// The challenge that failed.
        challenge: ChallengeType,
        /// What has to be so for the challenge to succeed.
        remedy: &'static str,
    },
    /// No challenge that doorward can solve.
    #[error("{name} cannot be proven: {remedy}; the CA offers {offered}")]
    NoChallenge {
        /// The name.
        name: String,
        /// What would help.
        remedy: &'static str,
        /// The types of challenge that the CA offers.
        offered: String,
    },
    /// A certificate that none of the config's issuers issued to us.
    #[error("{0} was not issued to this doorward by an issuer of the config: revoke it where it was made")]
    NotOurs(String),
    /// The order ended without a certificate and without an explanation.
    #[error("the order ended as {0} without an explanation")]
    Ended(&'static str),
    /// The CA would refuse: its limits are used up. It was not asked.
    #[error("{issuer} would refuse now, so it is not asked: {limit} are used up")]
    Budget {
        /// The issuer.
        issuer: String,
        /// The limit.
        limit: String,
        /// When there is room again.
        until: SystemTime,
    },
    /// The issuer failed before and is not asked yet.
    #[error("{error} (asked again later)")]
    Resting {
        /// Its last error.
        error: String,
        /// When it is asked again.
        until: SystemTime,
    },
    /// The CA is down, and nobody asks it for a certificate.
    #[error("{error} (the CA is down, and asked again later)")]
    Down {
        /// Why it is taken for down.
        error: String,
        /// When it is asked whether it is up again.
        until: SystemTime,
    },
    /// Every issuer failed.
    #[error("no issuer issued: {}", .0.iter().map(|(issuer, error)| format!("{issuer}: {error}")).collect::<Vec<_>>().join("; "))]
    All(Vec<(String, AcmeError)>),
    /// Nobody allows the name any more.
    #[error("the name is allowed no longer: {0}")]
    NotAllowed(String),
    /// The CA took too long.
    #[error("the CA has not {0} within {1} s; the order goes on at the next attempt")]
    TooSlow(&'static str, u64),
    /// A profile that the CA does not have.
    #[error("the CA has no profile {profile:?}; it has: {known}")]
    Profile {
        /// The profile in the config.
        profile: String,
        /// Those that the directory lists.
        known: String,
    },
    /// The external account binding is not usable.
    #[error("the eab hmac_key is not base64url: {0}")]
    Eab(base64::DecodeError),
    /// A key or a signing request could not be made.
    #[error("the certificate's key or request cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    /// What the CA issued cannot be served.
    #[error("what the CA issued is unusable: {0}")]
    Unusable(String),
    /// Anything else that the protocol came up with.
    #[error("the exchange with the CA failed: {0}")]
    Protocol(String),
}

impl AcmeError {
    /// That no solver fits.
    pub(super) fn no_challenge(name: &str, offered: &[ChallengeType]) -> Self {
        let remedy = match name.starts_with("*.") {
            true => {
                "a wildcard needs a DNS solver for its zone ([[dns]] in the config, or `doorward dns PROVIDER add`)"
            }
            false => "doorward can solve none of the challenges",
        };
        let word = |kind: &ChallengeType| match kind {
            ChallengeType::Http01 => "http-01".to_owned(),
            ChallengeType::Dns01 => "dns-01".to_owned(),
            ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
            ChallengeType::Unknown(word) => word.clone(),
            other => format!("{other:?}"),
        };
        let offered = offered.iter().map(word).collect::<Vec<_>>().join(", ");
        Self::NoChallenge { name: name.to_owned(), remedy, offered }
    }

    /// When the CA wants to be asked again, where it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<SystemTime> {
        match self {
            Self::Unavailable { retry_after, .. } | Self::Refused { retry_after, .. } => *retry_after,
            Self::Budget { until, .. } | Self::Resting { until, .. } | Self::Down { until, .. } => Some(*until),
            // The first that may be asked.
            Self::All(all) => all.iter().map(|(_, error)| error.retry_after()).min().flatten(),
            _ => None,
        }
    }

    /// Whether no CA was asked: nothing failed that has to be counted.
    pub(super) fn is_only_waiting(&self) -> bool {
        match self {
            Self::Budget { .. } | Self::Resting { .. } | Self::Down { .. } => true,
            Self::All(all) => all.iter().all(|(_, error)| error.is_only_waiting()),
            _ => false,
        }
    }

    /// Whether every CA that may be asked is down.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Down { .. } => true,
            Self::All(all) => all.iter().all(|(_, error)| error.is_outage()),
            _ => false,
        }
    }

    /// Whether the CA as a whole may be what failed, and not this one order.
    pub(super) fn may_be_an_outage(&self) -> bool {
        match self {
            Self::Refused { status, kind, .. } => *status >= 500 && kind != "rateLimited",
            Self::Protocol(_) => true,
            other => other.is_no_answer(),
        }
    }

    /// Whether the CA did not get as far as to take an order.
    pub(super) fn is_no_answer(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unavailable { .. })
    }

    /// Whether another CA could do better: not where the name is what is wrong, or doorward itself.
    pub(super) fn is_the_issuers(&self) -> bool {
        match self {
            Self::NotValidated { kind, .. } => matches!(kind.as_str(), "caa" | "rateLimited" | "serverInternal"),
            Self::Storage(_) | Self::NoChallenge { .. } | Self::Key(_) | Self::NotAllowed(_) => false,
            _ => true,
        }
    }

    /// Whether the order or account that was asked for is gone, so that a new one has to be made.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status, kind, .. }
            if matches!(status, 404 | 410) || kind == "malformed" || kind == "unauthorized")
    }

    /// Whether the CA will give the same answer to the same request for ever.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { kind, status, .. }
            if (400..500).contains(status) && *status != 429
                && !matches!(kind.as_str(), "orderNotReady" | "rateLimited" | "badNonce" | "accountDoesNotExist"))
    }

    /// Whether the CA does not know the account.
    pub(super) fn is_account_unknown(&self) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == "accountDoesNotExist")
    }

    /// Whether the CA may have said no because of `replaces` (RFC 9773 §5).
    pub(super) fn may_be_about_replaces(&self) -> bool {
        match self {
            Self::Refused { kind, status, .. } => {
                (400..500).contains(status) && *status != 429 && kind != "rateLimited" && !self.is_account_unknown()
            }
            // instant-acme's words for a CA that ignores it.
            Self::Protocol(_) => true,
            _ => false,
        }
    }
}

impl From<CertificateError> for AcmeError {
    fn from(error: CertificateError) -> Self {
        Self::Unusable(error.to_string())
    }
}
