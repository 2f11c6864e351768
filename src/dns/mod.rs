//! Changing DNS zones, for DNS-01 (RFC 8555 §8.4). Floor 4.
//!
//! A [`DnsProvider`] adds and removes single TXT values; there is one for Route 53, for Cloudflare, for dynamic
//! updates (RFC 2136), and an adapter for all that the `dns-update` crate knows. [`Solvers`] holds those that the
//! config names and those that were added by command, picks by the longest zone, keeps a note in the storage of
//! every record that it wrote, and waits until the zone's own servers have it.

pub mod aws;
mod caa;
mod cloudflare;
mod error;
mod exchange;
mod generic;
mod hosts;
pub mod propagation;
mod provider;
mod records;
mod resolver;
mod rfc2136;
mod route53;
mod solvers;
mod stored;

use std::sync::Arc;

pub use caa::{Caa, Forbidden, Issuance, Property};
pub use error::DnsError;
pub use hosts::Service;
pub use provider::{Change, DnsProvider, TxtRecord};
pub use records::Intent;
pub use resolver::{Authority, Resolver, plain, txt};
pub use route53::policies;
pub use solvers::{Presented, Solver, Solvers, challenge_name};
pub use stored::{load, load_all, remove, save};

use crate::config::DnsSolver;

/// The DNS record types that are looked up.
pub use hickory_proto::rr::{RData, RecordType};

/// The provider that a solver names. Nothing is asked yet.
///
/// # Errors
/// [`DnsError::Setup`], where the settings cannot be used.
pub fn connect(solver: &DnsSolver, resolver: &Resolver) -> Result<Arc<dyn DnsProvider>, DnsError> {
    let text = |name: &str| solver.setting(name);
    let setup = |reason: String| DnsError::Setup { id: solver.id.clone(), reason };
    Ok(match solver.provider.name {
        "route53" => Arc::new(route53::Route53::new(amazon(solver)?, text("hosted_zone_id"))),
        "cloudflare" => {
            let key = text("api_key").zip(text("email"));
            Arc::new(cloudflare::Cloudflare::new(text("api_token"), key, text("endpoint")).map_err(setup)?)
        }
        "rfc2136" => {
            let (server, key) = (text("server").unwrap_or_default(), text("tsig_key").unwrap_or_default());
            Arc::new(rfc2136::Rfc2136::new(server, key, resolver.clone()).map_err(setup)?)
        }
        _ => Arc::new(generic::Generic::new(solver, resolver.clone()).map_err(setup)?),
    })
}

/// Access to AWS as a solver of Route 53 has it.
///
/// # Errors
/// [`DnsError::Setup`], where the trusted roots cannot be read.
pub fn amazon(solver: &DnsSolver) -> Result<aws::Aws, DnsError> {
    let text = |name: &str| solver.setting(name).map(str::to_owned);
    let settings = aws::Settings {
        role: text("role"),
        external_id: text("external_id"),
        region: text("region"),
        profile: text("profile"),
        keys: text("access_key_id").zip(text("secret_access_key")),
        endpoint: text("endpoint"),
    };
    let access = aws::Aws::new(settings, aws::Environment::process());
    access.map_err(|error| DnsError::Setup { id: solver.id.clone(), reason: error.to_string() })
}
