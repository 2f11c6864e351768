//! [`Status`]: how a certificate stands, for `doorward status`.

use serde::Serialize;

/// How one wanted certificate stands. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its id.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// The issuer in the config; none where there is no `[acme]`.
    pub issuer: Option<String>,
    /// What is going on.
    pub state: State,
    /// The end of the certificate that there is.
    pub not_after: Option<u64>,
    /// When it is to be renewed.
    pub renew_at: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, in plain words.
    pub last_error: Option<String>,
    /// When that was.
    pub last_failure: Option<u64>,
    /// When the next attempt may be made.
    pub next_attempt: Option<u64>,
}

/// What is going on with a wanted certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not looked at yet.
    Starting,
    /// There is one, and it is not due.
    Valid,
    /// One from a directory covers all names: nothing is ordered.
    Covered,
    /// Waiting for its turn, or for another process that has the lock.
    Waiting,
    /// An order is under way.
    Ordering,
    /// The last attempt failed; the next is waited for.
    Failing,
    /// There is no `[acme]` to ask.
    Disabled,
}
