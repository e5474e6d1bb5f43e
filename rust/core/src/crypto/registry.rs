//! The one table of algorithms: a new one is a row here, and a vector.
//! No PF_KEY number, no dialect's spelling and no packet may enter.
//! Answers to: RFC 8221 sections 5 and 6; each row names the RFC that defines it.

use super::{aead, auth, cipher};

/// What an algorithm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Encryption and integrity in one.
    Aead,
    /// Encryption only.
    Cipher,
    /// Integrity only.
    Auth,
}

impl Kind {
    /// A stable word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aead => "aead",
            Self::Cipher => "cipher",
            Self::Auth => "auth",
        }
    }
}

/// How the IV that travels in the packet is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IvSource {
    /// There is none.
    None,
    /// Never the same twice for one key: epoch and counter.
    Counter,
    /// Unpredictable: from the seeded stream.
    Random,
}

/// How a row's keys are made; `None` is a key the primitive itself refuses.
pub(super) enum Make {
    /// Key and salt in, context out.
    Aead(fn(&[u8]) -> Option<aead::AeadKey>),
    /// Key (and nonce) in, context out.
    Cipher(fn(&[u8]) -> Option<cipher::CipherKey>),
    /// Key in, context out.
    Auth(fn(&[u8]) -> Option<auth::AuthKey>),
}

/// One row: all that the rest of the program may know about an algorithm.
pub struct Algorithm {
    /// The name, stable for programs.
    pub name: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// The key lengths that are allowed, in bits, salt or nonce included.
    pub key_bits: &'static [u16],
    /// How many bits at the end of the key are salt or nonce.
    pub salt_bits: u16,
    /// Length of the IV in each packet.
    pub iv_bytes: usize,
    /// How that IV is made.
    pub iv: IvSource,
    /// The text is padded to a multiple of this; ESP asks for 4 at least by itself.
    pub block_bytes: usize,
    /// Length of the ICV in each packet; 0 for ciphers.
    pub icv_bytes: usize,
    /// Offered for old peers only, with a warning: RFC 8221 advises against it, or a draft was replaced.
    pub legacy: bool,
    /// The crate that computes it, and why where it is not the usual one.
    pub backend: &'static str,
    /// Where it is defined.
    pub defined_in: &'static str,
    pub(super) make: Make,
}

impl Algorithm {
    /// Says whether a key of `bits` (salt included) is allowed.
    #[must_use]
    pub fn accepts_key_bits(&self, bits: usize) -> bool {
        self.key_bits.iter().any(|allowed| usize::from(*allowed) == bits)
    }
}

impl core::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Algorithm").field(&self.name).finish()
    }
}

const AWS_LC: &str = "aws-lc-rs";

/// Every algorithm there is, encryption first, in the order people should prefer them.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm {
        name: "aes-gcm-16",
        kind: Kind::Aead,
        key_bits: &[160, 224, 288],
        salt_bits: 32,
        iv_bytes: 8,
        iv: IvSource::Counter,
        block_bytes: 1,
        icv_bytes: 16,
        legacy: false,
        backend: AWS_LC,
        defined_in: "RFC 4106",
        make: Make::Aead(aead::aes_gcm_16),
    },
    Algorithm {
        name: "chacha20-poly1305",
        kind: Kind::Aead,
        key_bits: &[288],
        salt_bits: 32,
        iv_bytes: 8,
        iv: IvSource::Counter,
        block_bytes: 1,
        icv_bytes: 16,
        legacy: false,
        backend: AWS_LC,
        defined_in: "RFC 7634",
        make: Make::Aead(aead::chacha20_poly1305),
    },
    Algorithm {
        name: "aes-cbc",
        kind: Kind::Cipher,
        key_bits: &[128, 192, 256],
        salt_bits: 0,
        iv_bytes: 16,
        iv: IvSource::Random,
        block_bytes: 16,
        icv_bytes: 0,
        legacy: false,
        backend: AWS_LC,
        defined_in: "RFC 3602",
        make: Make::Cipher(cipher::aes_cbc),
    },
    Algorithm {
        name: "aes-ctr",
        kind: Kind::Cipher,
        key_bits: &[160, 224, 288],
        salt_bits: 32,
        iv_bytes: 8,
        iv: IvSource::Counter,
        block_bytes: 1,
        icv_bytes: 0,
        legacy: false,
        backend: AWS_LC,
        defined_in: "RFC 3686",
        make: Make::Cipher(cipher::aes_ctr),
    },
    Algorithm {
        name: "null",
        kind: Kind::Cipher,
        key_bits: &[0],
        salt_bits: 0,
        iv_bytes: 0,
        iv: IvSource::None,
        block_bytes: 1,
        icv_bytes: 0,
        legacy: false,
        backend: "none: it changes nothing",
        defined_in: "RFC 2410",
        make: Make::Cipher(cipher::null),
    },
    hmac("hmac-sha2-256-128", &[256], 16, "RFC 4868", auth::hmac_sha2_256),
    hmac("hmac-sha2-384-192", &[384], 24, "RFC 4868", auth::hmac_sha2_384),
    hmac("hmac-sha2-512-256", &[512], 32, "RFC 4868", auth::hmac_sha2_512),
    hmac("hmac-sha1-96", &[160], 12, "RFC 2404", auth::hmac_sha1),
    // The draft's truncation, which Linux' PF_KEY and old BSDs kept: for peers that cannot do better.
    Algorithm {
        legacy: true,
        ..hmac(
            "hmac-sha2-256-96",
            &[256],
            12,
            "draft-ietf-ipsec-ciph-sha-256-00",
            auth::hmac_sha2_256,
        )
    },
];

/// A row for an HMAC: they differ in five fields only.
const fn hmac(
    name: &'static str,
    key_bits: &'static [u16],
    icv_bytes: usize,
    defined_in: &'static str,
    make: fn(&[u8]) -> Option<auth::AuthKey>,
) -> Algorithm {
    Algorithm {
        name,
        kind: Kind::Auth,
        key_bits,
        salt_bits: 0,
        iv_bytes: 0,
        iv: IvSource::None,
        block_bytes: 1,
        icv_bytes,
        legacy: false,
        backend: AWS_LC,
        defined_in,
        make: Make::Auth(make),
    }
}

/// Finds a row by its name.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static Algorithm> {
    ALGORITHMS.iter().find(|algorithm| algorithm.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_consistent() {
        let names: BTreeSet<_> = ALGORITHMS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALGORITHMS.len());
        for row in ALGORITHMS {
            let kind = match row.make {
                Make::Aead(_) => Kind::Aead,
                Make::Cipher(_) => Kind::Cipher,
                Make::Auth(_) => Kind::Auth,
            };
            assert_eq!(row.kind, kind, "{}", row.name);
            assert_eq!(row.icv_bytes == 0, row.kind == Kind::Cipher, "{}", row.name);
            assert_eq!(row.iv_bytes == 0, row.iv == IvSource::None, "{}", row.name);
            assert!(row.block_bytes.is_power_of_two(), "{}", row.name);
            assert!(!row.key_bits.is_empty() && !row.backend.is_empty() && !row.defined_in.is_empty());
        }
    }

    #[test]
    fn every_allowed_key_makes_a_key_and_no_other_does() {
        for row in ALGORITHMS {
            for bytes in 0_u8..=80 {
                let key: Vec<u8> = (0..bytes)
                    .map(|index| index.wrapping_mul(37).wrapping_add(bytes))
                    .collect();
                if row.accepts_key_bits(key.len() * 8) {
                    let made = match row.make {
                        Make::Aead(make) => make(&key).is_some(),
                        Make::Cipher(make) => make(&key).is_some(),
                        Make::Auth(make) => make(&key).is_some(),
                    };
                    assert!(made, "{} {bytes}", row.name);
                }
            }
        }
    }

    #[test]
    fn lookup_knows_the_names() {
        assert_eq!(lookup("aes-gcm-16").map(|row| row.kind), Some(Kind::Aead));
        assert!(lookup("AES-GCM-16").is_none());
        assert!(lookup("").is_none());
    }
}
