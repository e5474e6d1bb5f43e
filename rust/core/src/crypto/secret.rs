//! `Secret` (key bytes that wipe themselves) and `AlgorithmKey` (a registry name with its key).
//! No algorithm and no way to print key bytes may enter.
//! Answers to: ARCHITECTURE.md D8; RFC 2367 section 3.1.3 (replies never carry keys).

use core::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// Key material. It is wiped when dropped, compared in constant time and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes key bytes over; the vector is wiped with the secret.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Copies key bytes; the caller keeps the duty to wipe the original.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// The key bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The length in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.0.len() * 8
    }

    /// Overwrites the key now instead of at the end of its life.
    pub fn wipe(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    /// Says that there is a secret, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The name of an algorithm, as the registry spells it, with the key for it (salt at the end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgorithmKey {
    /// The registry name.
    pub name: String,
    /// The key; the salt of an AEAD and the nonce of CTR are its last four bytes.
    pub key: Secret,
}

impl AlgorithmKey {
    /// Pairs a registry name with a copy of key bytes.
    #[must_use]
    pub fn new(name: &str, key: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            key: Secret::copy_of(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let key = AlgorithmKey::new("aes-cbc", b"0123456789abcdef");
        let shown = format!("{key:?}");
        assert!(shown.contains("Secret(..)"), "{shown}");
        assert!(!shown.contains("0123") && !shown.contains("48, 49"), "{shown}");
    }

    #[test]
    fn secrets_compare_by_content_and_wipe() {
        let mut secret = Secret::copy_of(b"abc");
        assert_eq!(secret, Secret::new(b"abc".to_vec()));
        assert_ne!(secret, Secret::new(b"abd".to_vec()));
        assert_ne!(secret, Secret::new(b"ab".to_vec()));
        assert_eq!(secret.bits(), 24);
        secret.wipe();
        assert!(secret.as_bytes().is_empty());
    }
}
