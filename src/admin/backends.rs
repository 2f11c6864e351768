//! `POST /backends`: what endpoints are to do, and `GET /backends`: how they are.

use serde::{Deserialize, Serialize};

use super::view::{EndpointState, EndpointView};

/// What an endpoint is to do from now on, until it is told otherwise or doorward ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyRequest {
    /// Its address, as the config has it.
    pub endpoint: String,
    /// The backend's name; none: whichever have that endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// `up`, `draining` or `disabled`.
    pub duty: EndpointState,
}

/// The endpoints that were told, and how they are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// One at least.
    pub endpoints: Vec<EndpointView>,
}
