//! Session tickets (RFC 5077, RFC 8446 §4.6.1): sealed under keys that change with time.
//!
//! One set of keys serves all listeners and workers; a ticket is bound to the policy that it was issued under,
//! so that it opens under no other. That it is for the same name, rustls checks itself: the name is in the
//! sealed session, and one for another name is not resumed.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{self, SHA256};
use rustls::server::ProducesTickets;

use crate::config::{CertificateId, TlsOptions, TlsVersion};

/// How long a key seals new tickets, in seconds: 6 hours.
const ROTATION: u64 = 6 * 3600;
/// How many keys open tickets, the one that seals included: a ticket lives for 12 to 18 hours.
const GENERATIONS: usize = 3;
/// What clients are told, in seconds: every ticket opens for so long at least.
const LIFETIME: u32 = (ROTATION * (GENERATIONS as u64 - 1)) as u32;
/// The length of a key's id.
const ID: usize = 16;
/// Tickets that are longer are not worth a look: ours hold a few hundred bytes.
const MAX_TICKET: usize = 16 * 1024;

/// A clock in unix seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The keys of the process. Cloning shares them.
#[derive(Clone)]
pub struct Tickets {
    shared: Arc<Shared>,
}

struct Shared {
    keys: ArcSwap<Vec<Arc<Key>>>,
    turn: Mutex<()>,
    clock: Clock,
}

struct Key {
    id: [u8; ID],
    born: u64,
    aead: RandomizedNonceKey,
}

/// The keys as one listener's policy may use them.
pub(super) struct Bound {
    shared: Arc<Shared>,
    policy: [u8; 32],
}

impl Tickets {
    /// A first key, by the system's clock.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new() -> Result<Self, rustls::Error> {
        Self::with_clock(Arc::new(|| u64::try_from(crate::certs::unix_now()).unwrap_or(0)))
    }

    /// As [`Tickets::new`], by this clock.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn with_clock(clock: Clock) -> Result<Self, rustls::Error> {
        let first = Key::new(clock()).ok_or(rustls::Error::FailedToGetRandomBytes)?;
        let keys = ArcSwap::from_pointee(vec![Arc::new(first)]);
        Ok(Self { shared: Arc::new(Shared { keys, turn: Mutex::new(()), clock }) })
    }

    /// What seals and opens under the policy of one listener: its options and its default certificate.
    pub(super) fn bound_to(&self, options: &TlsOptions, default: Option<&CertificateId>) -> Bound {
        let mut policy = digest::Context::new(&SHA256);
        let TlsOptions { min_version, http2, alpn } = options;
        policy.update(&[
            match min_version {
                TlsVersion::Tls12 => 2,
                TlsVersion::Tls13 => 3,
            },
            u8::from(*http2),
            u8::from(default.is_some()),
        ]);
        policy.update(default.map_or("", CertificateId::as_str).as_bytes());
        for protocol in alpn.iter().flatten() {
            policy.update(b"\0");
            policy.update(protocol.as_bytes());
        }
        Bound { shared: Arc::clone(&self.shared), policy: as_array(&policy.finish()) }
    }
}

impl Bound {
    /// For clients that ask for no name: bound to the address that they dialled, which decides in its place.
    pub(super) fn and_address(&self, local: IpAddr) -> Self {
        let mut policy = digest::Context::new(&SHA256);
        policy.update(&self.policy);
        policy.update(local.to_canonical().to_string().as_bytes());
        Self { shared: Arc::clone(&self.shared), policy: as_array(&policy.finish()) }
    }

    fn aad(&self, id: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([id, &self.policy].concat())
    }
}

impl Shared {
    /// The keys, the sealing one first; a new one is made when it is time.
    fn keys(&self) -> arc_swap::Guard<Arc<Vec<Arc<Key>>>> {
        let keys = self.keys.load();
        let now = (self.clock)();
        if keys.first().is_some_and(|key| key.age(now) < ROTATION) {
            return keys;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys.load();
        if keys.first().is_none_or(|key| key.age(now) >= ROTATION)
            && let Some(new) = Key::new(now)
        {
            let old = keys.iter().filter(|key| key.age(now) < ROTATION * GENERATIONS as u64);
            let next = std::iter::once(Arc::new(new)).chain(old.cloned()).take(GENERATIONS).collect();
            self.keys.store(Arc::new(next));
            return self.keys.load();
        }
        keys
    }
}

impl Key {
    fn new(born: u64) -> Option<Self> {
        let mut bytes = [0; ID + 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let (id, secret) = bytes.split_first_chunk::<ID>()?;
        Some(Self { id: *id, born, aead: RandomizedNonceKey::new(&AES_256_GCM, secret).ok()? })
    }

    /// One that was made in what is the future now, when the clock was ahead, is as old as can be: it would seal for as
    /// long as the clock was wrong.
    fn age(&self, now: u64) -> u64 {
        if self.born > now.saturating_add(ROTATION) { u64::MAX } else { now.saturating_sub(self.born) }
    }
}

/// A ticket: key id, nonce, sealed session with its tag.
impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.shared.keys();
        let key = keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.aead.seal_in_place_append_tag(self.aad(&key.id), &mut sealed).ok()?;
        Some([&key.id[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > MAX_TICKET {
            return None;
        }
        let (id, rest) = ticket.split_first_chunk::<ID>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.shared.keys();
        let key = keys.iter().find(|key| key.id == *id)?;
        let mut sealed = sealed.to_vec();
        let plain = key.aead.open_in_place(Nonce::from(nonce), self.aad(id), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

fn as_array(digest: &digest::Digest) -> [u8; 32] {
    // SHA-256 gives 32 bytes.
    digest.as_ref().try_into().unwrap_or_default()
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.shared.keys.load().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").finish_non_exhaustive()
    }
}
