//! What the DNS tests stand on: real BIND, real PowerDNS, moto's Route 53 and STS, and a fake of Cloudflare's API.

pub mod bind;
pub mod cloudflare;
pub mod moto;
pub mod pdns;
