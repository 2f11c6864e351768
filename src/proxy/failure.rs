//! [`Failure`]: every way in which a request ends without the app's answer, and what the client is told.

use std::time::Duration;

use crate::backend::{ConnectError, ExchangeError, RequestBodyError};
use crate::http1::{FramingError, HeadError};
use crate::route::AmbiguousPath;

/// Why doorward answers in the app's place.
#[derive(Debug)]
pub(super) struct Failure {
    /// The status.
    pub(super) status: u16,
    /// A word for machines: in JSON answers and in the log.
    pub(super) code: &'static str,
    /// A sentence for whoever asked.
    pub(super) text: &'static str,
    /// What only the operator is told.
    pub(super) detail: Option<String>,
    /// Whether the connection can't be used any further.
    pub(super) close: bool,
    /// After how long to try again, in seconds.
    pub(super) retry_after: Option<u64>,
}

impl Failure {
    fn new(status: u16, code: &'static str, text: &'static str) -> Self {
        Self { status, code, text, detail: None, close: false, retry_after: None }
    }

    fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    fn because(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// The request breaks HTTP's rules: where the next one begins is not certain.
    pub(super) fn bad_request(text: &'static str) -> Self {
        Self::new(400, "bad_request", text).closing()
    }

    /// Plain HTTP on a TLS port.
    pub(super) fn plain_http() -> Self {
        Self::new(400, "plain_http", "this port speaks HTTPS, but the request came without TLS").closing()
    }

    pub(super) fn unknown_host() -> Self {
        Self::new(404, "unknown_host", "no app answers under this host and path")
    }

    pub(super) fn https_off() -> Self {
        Self::new(404, "https_off", "this app does not answer over HTTPS")
    }

    pub(super) fn method() -> Self {
        Self::new(405, "method_not_allowed", "this method is not forwarded")
    }

    pub(super) fn unknown_method() -> Self {
        Self::new(501, "unknown_method", "this is no method that HTTP knows").closing()
    }

    pub(super) fn slow_request() -> Self {
        Self::new(408, "request_timeout", "the request took too long to arrive").closing()
    }

    pub(super) fn body_too_large() -> Self {
        Self::new(413, "body_too_large", "the request's body is too large").closing()
    }

    pub(super) fn expectation() -> Self {
        Self::new(417, "expectation_failed", "the request expects something other than 100-continue")
    }

    pub(super) fn misdirected() -> Self {
        Self::new(421, "misdirected_request", "this connection's certificate is not for the host asked for")
    }

    pub(super) fn gone() -> Self {
        Self::new(499, "client_gone", "the client went away").closing()
    }

    pub(super) fn no_endpoint() -> Self {
        Self::new(503, "no_endpoint", "no endpoint of the app can take the request now")
    }

    /// All that the endpoint may have under way is, and more wait already, or waited too long.
    pub(super) fn busy(detail: &'static str, wait: Duration) -> Self {
        let mut this = Self::new(503, "busy", "the app has more to do than it can take").because(detail);
        this.retry_after = Some(wait.as_secs().max(1));
        this
    }

    pub(super) fn connect_timeout() -> Self {
        Self::new(504, "connect_timeout", "the app did not take the connection in time")
    }

    pub(super) fn answer_timeout() -> Self {
        Self::new(504, "answer_timeout", "the app did not answer in time")
    }

    pub(super) fn too_many_interim() -> Self {
        Self::new(502, "bad_answer", "the app's answer is not valid HTTP").because("more than 100 interim answers")
    }

    pub(super) fn not_switching(detail: &'static str) -> Self {
        Self::new(502, "bad_upgrade", "the app answered with a protocol change that makes no sense").because(detail)
    }
}

impl From<HeadError> for Failure {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::TooLarge | HeadError::TooManyFields => {
                Self::new(431, "headers_too_large", "the request's header fields are too many or too large").closing()
            }
            HeadError::Version => {
                Self::new(505, "version", "the request is neither HTTP/1.0, HTTP/1.1 nor HTTP/2").closing()
            }
            HeadError::BareLineFeed => Self::bad_request("a line of the request ends in a bare line feed"),
            HeadError::StartLine => Self::bad_request("the request line is malformed"),
            HeadError::Field => Self::bad_request("a header field of the request is malformed"),
        }
    }
}

impl From<AmbiguousPath> for Failure {
    fn from(_: AmbiguousPath) -> Self {
        Self::new(400, "ambiguous_path", "the path leads elsewhere once it is decoded or normalised")
    }
}

impl From<FramingError> for Failure {
    fn from(error: FramingError) -> Self {
        Self::bad_request("the length of the request's body is ambiguous").because(error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Tls { .. } => {
                Self::new(502, "backend_tls", "the connection to the app cannot be secured").because(error)
            }
            ConnectError::Resolve { .. } | ConnectError::Connect { .. } => {
                Self::new(502, "connect_failed", "the app cannot be reached").because(error)
            }
        }
    }
}

impl From<RequestBodyError> for Failure {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::Gone => Self::gone(),
            RequestBodyError::Malformed => Self::bad_request("the request's body is malformed"),
            RequestBodyError::TooLarge => Self::body_too_large(),
        }
    }
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Request(error) => error.into(),
            ExchangeError::NoAnswer => {
                Self::new(502, "no_answer", "the app closed the connection without an answer").because(error)
            }
            ExchangeError::Broken(_) => Self::new(502, "broken", "the connection to the app broke").because(error),
            ExchangeError::Head(_) | ExchangeError::Framing(_) | ExchangeError::Body(_) => {
                Self::new(502, "bad_answer", "the app's answer is not valid HTTP").because(error)
            }
        }
    }
}
