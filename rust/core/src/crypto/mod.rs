//! Algorithms: the only room that names a cryptography crate, or DEFLATE's.
//! Packets, SAs and PF_KEY numbers may not enter; whole ESP packets are the transform's.
//! Answers to: RFC 8221 (what ESP asks for), RFC 2394, ARCHITECTURE.md D8 (one registry, no primitive of our own).

pub mod aead;
pub mod auth;
mod block;
mod ccm;
pub mod cipher;
pub mod compress;
mod gcm;
pub mod iv;
mod mac;
pub mod registry;
mod salt;
mod secret;
mod suite;

pub use secret::{AlgorithmKey, Secret};
pub use suite::{Integrity, Permits, Protection, SeparateKeys, Suite};

use core::fmt;

/// A primitive refused its input: lengths that cannot be, or an ICV that does not match.
///
/// One value for all of it, so that no caller can tell a peer which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the primitive refused its input")
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
pub(crate) mod vectors;
