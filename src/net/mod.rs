//! Sockets and what travels over them. Floor 2.

mod https_client;

pub use https_client::{ClientTimeouts, HttpsClient, HttpsClientError, Roots};
