//! [`DnsError`]: why a record could not be written, seen or removed.

use crate::net::HttpsClientError;
use crate::storage::StorageError;

/// Why DNS did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The provider's API cannot be reached.
    #[error("{0}")]
    Unreachable(#[from] HttpsClientError),
    /// A DNS server does not answer, or not in a way that can be used.
    #[error("the DNS server {server} {problem}")]
    Server {
        /// Address and port.
        server: String,
        /// What it does, as in `does not answer`.
        problem: String,
    },
    /// The provider said no.
    #[error("{provider} refused to {action}: {reason}")]
    Refused {
        /// Who.
        provider: String,
        /// What was tried.
        action: String,
        /// What came back.
        reason: String,
    },
    /// The provider has no zone for the name.
    #[error("{provider} has no zone for {name}; {remedy}")]
    NoZone {
        /// Who.
        provider: String,
        /// The record's name.
        name: String,
        /// What to do.
        remedy: String,
    },
    /// A solver is not set up as it has to be.
    #[error("the DNS solver {id:?} cannot be used: {reason}")]
    Setup {
        /// The solver's id.
        id: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// No credentials are to be had.
    #[error("no AWS credentials: {0}")]
    Credentials(String),
    /// The record cannot be seen in time.
    #[error("{name} is not seen everywhere within {seconds} s: {missing}")]
    NotPropagated {
        /// The record's name.
        name: String,
        /// The deadline.
        seconds: u64,
        /// Which servers lack it, and what they say.
        missing: String,
    },
    /// No solver is for the name.
    #[error(
        "no DNS solver is for {0}; add one by [[dns]] in the config or `doorward dns PROVIDER add`, or a CNAME at its \
         _acme-challenge into a zone that a solver is for"
    )]
    NoSolver(String),
}

impl DnsError {
    pub(super) fn refused(provider: &str, action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Refused { provider: provider.to_owned(), action: action.into(), reason: reason.into() }
    }
}
