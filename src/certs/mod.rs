//! Certificates: from PEM to what a handshake is answered with. Floor 4.

mod challenges;
mod local_ca;

pub use challenges::Challenges;
pub use local_ca::{LocalCa, LocalCaError, MAX_LEAF_DAYS, PemPair};
