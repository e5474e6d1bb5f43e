//! `Suite` (ESP) and `Integrity` (AH): the algorithms of one SA with their keys, checked to make sense together.
//! Packets and their layout may not enter.
//! Answers to: RFC 4303 section 3.2 and RFC 4302 section 2.6 (what exists), RFC 8221 section 4 (what is safe).

use core::fmt;

use super::aead::AeadKey;
use super::auth::AuthKey;
use super::cipher::CipherKey;
use super::registry::{self, Algorithm, IvSource, Make};
use super::{AlgorithmKey, Secret};
use crate::error::Error;

/// What protects the text.
pub enum Protection {
    /// One algorithm does both.
    Combined(AeadKey),
    /// Encrypt, then authenticate. Boxed: key schedules are 70 times as long as an AEAD's handle.
    Separate(Box<SeparateKeys>),
}

/// A cipher and a MAC; without the second there is no integrity at all.
pub struct SeparateKeys {
    /// What hides the text.
    pub cipher: CipherKey,
    /// What notices a change.
    pub auth: Option<AuthKey>,
}

/// The algorithms of one SA, ready for packets.
pub struct Suite {
    protection: Protection,
    encryption: &'static Algorithm,
    authentication: Option<&'static Algorithm>,
}

/// What is allowed for one SA beyond what everybody gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permits {
    /// Neither encryption nor integrity: packets that anybody can read and make.
    pub unprotected: bool,
    /// Algorithms that no person's key will do for: somebody promises keys made for this SA alone.
    pub fresh_keys: bool,
}

impl Suite {
    /// Builds a suite with nothing special permitted; no encryption is NULL.
    ///
    /// # Errors
    /// As `permitted`.
    pub fn build(
        encryption: Option<&AlgorithmKey>,
        authentication: Option<&AlgorithmKey>,
    ) -> Result<Self, Error> {
        Self::permitted(encryption, authentication, Permits::default())
    }

    /// Builds a suite; no encryption is NULL.
    ///
    /// # Errors
    /// `UnknownAlgorithm` if a name is not in the registry or is not of that kind, `InvalidKeyLength`, `WeakKey`,
    /// `UnsupportedCombination` for an AEAD with a MAC, CTR without one, and a MAC that is AH's alone; and without
    /// permission `UnsupportedCombination` for NULL without a MAC, `NotForManualKeys` for implicit IVs.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.2
    //# encryption and integrity must not both be NULL
    //= https://www.rfc-editor.org/rfc/rfc3686#section-7
    //# AES-CTR is not used without an integrity algorithm
    //= https://www.rfc-editor.org/rfc/rfc8750#section-5
    //# implicit IVs need sequence numbers that start with the key and never start again
    pub fn permitted(
        encryption: Option<&AlgorithmKey>,
        authentication: Option<&AlgorithmKey>,
        permits: Permits,
    ) -> Result<Self, Error> {
        let null = AlgorithmKey {
            name: "null".to_owned(),
            key: Secret::new(Vec::new()),
        };
        let encryption = encryption.unwrap_or(&null);
        let row = row_for(encryption)?;
        if !row.manual_keys && !permits.fresh_keys {
            return Err(Error::NotForManualKeys { algorithm: row.name });
        }
        let auth = authentication
            .map(auth_key)
            .transpose()?
            .filter(|(auth_row, _)| auth_row.icv_bytes > 0);
        match row.make {
            Make::Aead(make) => {
                if auth.is_some() {
                    return Err(Error::UnsupportedCombination);
                }
                let protection = Protection::Combined(keyed(make, row, &encryption.key)?);
                Ok(Self {
                    protection,
                    encryption: row,
                    authentication: None,
                })
            }
            Make::Cipher(make) => {
                let cipher = keyed(make, row, &encryption.key)?;
                check_pair(row, &cipher, auth.as_ref(), permits)?;
                let (auth_row, auth) = auth.unzip();
                Ok(Self {
                    protection: Protection::Separate(Box::new(SeparateKeys { cipher, auth })),
                    encryption: row,
                    authentication: auth_row,
                })
            }
            Make::Auth(_) | Make::Compression => Err(Error::UnknownAlgorithm {
                name: encryption.name.clone(),
            }),
        }
    }

    /// The keys at work.
    #[must_use]
    pub const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The row of the cipher or AEAD.
    #[must_use]
    pub const fn encryption(&self) -> &'static Algorithm {
        self.encryption
    }

    /// The row of the MAC, if there is one.
    #[must_use]
    pub const fn authentication(&self) -> Option<&'static Algorithm> {
        self.authentication
    }

    /// Whether a changed packet is noticed. Anti-replay means nothing without it.
    #[must_use]
    pub const fn has_integrity(&self) -> bool {
        match &self.protection {
            Protection::Combined(_) => true,
            Protection::Separate(keys) => keys.auth.is_some(),
        }
    }

    /// Length of the ICV in each packet.
    #[must_use]
    pub const fn icv_bytes(&self) -> usize {
        match self.authentication {
            Some(row) => row.icv_bytes,
            None => self.encryption.icv_bytes,
        }
    }
}

/// The one algorithm of an AH SA with its key: integrity and nothing else.
pub struct Integrity {
    /// Boxed: a key schedule is long.
    key: Box<AuthKey>,
    row: &'static Algorithm,
}

impl Integrity {
    /// Builds what AH needs, with nothing special permitted.
    ///
    /// # Errors
    /// As `permitted`.
    pub fn build(
        encryption: Option<&AlgorithmKey>,
        authentication: Option<&AlgorithmKey>,
    ) -> Result<Self, Error> {
        Self::permitted(encryption, authentication, Permits::default())
    }

    /// Builds what AH needs.
    ///
    /// # Errors
    /// `UnsupportedCombination` with encryption, without authentication, and for NULL authentication without
    /// permission; `UnknownAlgorithm` if the name is not in the registry or is not of that kind,
    /// `InvalidKeyLength`.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.6
    //# the SA names an integrity algorithm, and AH has no other
    pub fn permitted(
        encryption: Option<&AlgorithmKey>,
        authentication: Option<&AlgorithmKey>,
        permits: Permits,
    ) -> Result<Self, Error> {
        if encryption.is_some() {
            return Err(Error::UnsupportedCombination);
        }
        let (row, key) = auth_key(authentication.ok_or(Error::UnsupportedCombination)?)?;
        if row.icv_bytes == 0 && !permits.unprotected {
            return Err(Error::UnsupportedCombination);
        }
        Ok(Self {
            key: Box::new(key),
            row,
        })
    }

    /// The key at work.
    #[must_use]
    pub const fn key(&self) -> &AuthKey {
        &self.key
    }

    /// The row of the algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> &'static Algorithm {
        self.row
    }
}

impl fmt::Debug for Integrity {
    /// Names the algorithm, never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Integrity").field(&self.row.name).finish()
    }
}

impl fmt::Debug for Suite {
    /// Names the algorithms, never a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("encryption", &self.encryption.name)
            .field("authentication", &self.authentication.map(|row| row.name))
            .finish_non_exhaustive()
    }
}

fn check_pair(
    row: &Algorithm,
    cipher: &CipherKey,
    auth: Option<&(&'static Algorithm, AuthKey)>,
    permits: Permits,
) -> Result<(), Error> {
    let possible = match auth {
        // ESP has one place for an IV, and it is the cipher's.
        Some((auth_row, _)) => auth_row.iv == IvSource::None,
        None if cipher.is_null() => permits.unprotected,
        None => row.iv != IvSource::Counter,
    };
    possible.then_some(()).ok_or(Error::UnsupportedCombination)
}

fn row_for(asked: &AlgorithmKey) -> Result<&'static Algorithm, Error> {
    registry::lookup(&asked.name).ok_or_else(|| Error::UnknownAlgorithm {
        name: asked.name.clone(),
    })
}

fn keyed<K>(make: fn(&[u8]) -> Option<K>, row: &'static Algorithm, key: &Secret) -> Result<K, Error> {
    if !row.accepts_key_bits(key.bits()) {
        return Err(Error::InvalidKeyLength {
            algorithm: row.name,
            given_bits: key.bits(),
            expected_bits: row.key_bits,
            salt_bits: row.salt_bits,
        });
    }
    make(key.as_bytes()).ok_or(Error::WeakKey { algorithm: row.name })
}

fn auth_key(asked: &AlgorithmKey) -> Result<(&'static Algorithm, AuthKey), Error> {
    let row = row_for(asked)?;
    match row.make {
        Make::Auth(make) => Ok((row, keyed(make, row, &asked.key)?)),
        Make::Aead(_) | Make::Cipher(_) | Make::Compression => Err(Error::UnknownAlgorithm {
            name: asked.name.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, bytes: usize) -> AlgorithmKey {
        AlgorithmKey::new(name, &vec![0x5a; bytes])
    }

    #[test]
    fn what_goes_together() {
        let mac = key("hmac-sha2-256-128", 32);
        for (encryption, authentication) in [
            (Some(key("aes-gcm-16", 20)), None),
            (Some(key("chacha20-poly1305", 36)), None),
            (Some(key("aes-cbc", 16)), Some(&mac)),
            (Some(key("aes-cbc", 24)), None),
            (Some(key("aes-ctr", 36)), Some(&mac)),
            (Some(key("null", 0)), Some(&mac)),
            (None, Some(&mac)),
        ] {
            let suite = Suite::build(encryption.as_ref(), authentication).unwrap();
            assert_eq!(suite.has_integrity(), suite.icv_bytes() > 0, "{suite:?}");
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.2
    //# encryption and integrity must not both be NULL
    //= https://www.rfc-editor.org/rfc/rfc3686#section-7
    //# AES-CTR is not used without an integrity algorithm
    #[test]
    fn what_does_not() {
        let mac = key("hmac-sha1-96", 20);
        for (encryption, authentication) in [
            (Some(key("aes-gcm-16", 20)), Some(&mac)),
            (Some(key("aes-ctr", 20)), None),
            (Some(key("null", 0)), None),
            (None, None),
        ] {
            let refused = Suite::build(encryption.as_ref(), authentication).unwrap_err();
            assert_eq!(refused, Error::UnsupportedCombination);
        }
    }

    #[test]
    fn what_needs_permission() {
        let unprotected = Permits {
            unprotected: true,
            ..Permits::default()
        };
        for authentication in [None, Some(&key("null-auth", 0)), Some(&key("null-auth", 9))] {
            for encryption in [None, Some(&key("null", 0))] {
                let refused = Suite::build(encryption, authentication).unwrap_err();
                assert_eq!(refused, Error::UnsupportedCombination);
                let suite = Suite::permitted(encryption, authentication, unprotected).unwrap();
                assert!(!suite.has_integrity() && suite.icv_bytes() == 0);
            }
        }
        assert_eq!(
            Integrity::build(None, Some(&key("null-auth", 0))).unwrap_err(),
            Error::UnsupportedCombination
        );
        assert!(Integrity::permitted(None, Some(&key("null-auth", 0)), unprotected).is_ok());
        let without = Suite::permitted(Some(&key("aes-ctr", 20)), None, unprotected).unwrap_err();
        assert_eq!(without, Error::UnsupportedCombination);
    }

    //= https://www.rfc-editor.org/rfc/rfc8750#section-5
    //# implicit IVs need sequence numbers that start with the key and never start again
    #[test]
    fn implicit_ivs_are_not_for_manual_keys() {
        let fresh = Permits {
            fresh_keys: true,
            ..Permits::default()
        };
        for (name, bytes) in [
            ("aes-gcm-16-iiv", 20),
            ("aes-ccm-8-iiv", 19),
            ("chacha20-poly1305-iiv", 36),
        ] {
            let key = key(name, bytes);
            let refused = Suite::build(Some(&key), None).unwrap_err();
            assert_eq!(refused, Error::NotForManualKeys { algorithm: name });
            assert!(Suite::permitted(Some(&key), None, fresh).unwrap().has_integrity());
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2451#section-2.3
    //# keys whose first two or last two thirds are equal are refused: they make it single DES
    //= https://www.rfc-editor.org/rfc/rfc2405#section-4
    //# weak keys should be refused
    #[test]
    fn weak_keys_are_refused() {
        let (a, b, weak) = (
            0x0123_4567_89ab_cdef,
            0xfedc_ba98_7654_3210,
            0xe0e0_e0e0_f1f1_f1f1,
        );
        let build = |name: &'static str, thirds: &[u64]| {
            let bytes: Vec<u8> = thirds.iter().flat_map(|third| third.to_be_bytes()).collect();
            let built = Suite::build(Some(&AlgorithmKey::new(name, &bytes)), None);
            built
                .map(|_| ())
                .map_err(|error| error == Error::WeakKey { algorithm: name })
        };
        for name in ["des-cbc", "des-iv64", "des-iv32", "des-deriv"] {
            assert_eq!(build(name, &[a]), Ok(()));
            assert_eq!(build(name, &[weak]), Err(true));
            assert_eq!(build(name, &[0]), Err(true), "parity does not count");
        }
        assert_eq!(build("3des-cbc", &[a, b, a]), Ok(()), "two keys are no weak key");
        for thirds in [
            [a, a, b],
            [b, a, a],
            [a, a ^ 1 << 8, b],
            [weak, a, b],
            [a, b, weak],
        ] {
            assert_eq!(build("3des-cbc", &thirds), Err(true), "{thirds:x?}");
        }
    }

    #[test]
    fn the_mac_of_ah_is_ah_s_alone() {
        let gmac = key("aes-128-gmac", 20);
        let refused = Suite::build(Some(&key("aes-cbc", 16)), Some(&gmac)).unwrap_err();
        assert_eq!(refused, Error::UnsupportedCombination);
        let integrity = Integrity::build(None, Some(&gmac)).unwrap();
        assert_eq!(
            (integrity.algorithm().icv_bytes, integrity.algorithm().iv_bytes),
            (16, 8)
        );
        let mut icv = [0; 16];
        assert!(integrity.key().sign(&[b"no IV"], &mut icv).is_err());
        integrity
            .key()
            .sign_with_iv(&[7; 8], &[b"text"], &mut icv)
            .unwrap();
        assert!(
            integrity
                .key()
                .verify_with_iv(&[7; 8], &[b"te", b"xt"], &icv)
                .is_ok()
        );
        assert!(integrity.key().verify_with_iv(&[8; 8], &[b"text"], &icv).is_err());
        assert_eq!(format!("{integrity:?}"), "Integrity(\"aes-128-gmac\")");
    }

    #[test]
    fn names_and_keys_are_checked() {
        let unknown = |name: &str| Error::UnknownAlgorithm {
            name: name.to_owned(),
        };
        let mac = key("hmac-sha1-96", 20);
        assert_eq!(
            Suite::build(Some(&key("rot13", 0)), None).unwrap_err(),
            unknown("rot13")
        );
        assert_eq!(
            Suite::build(Some(&mac), None).unwrap_err(),
            unknown("hmac-sha1-96")
        );
        let twice = key("aes-cbc", 16);
        assert_eq!(
            Suite::build(Some(&twice), Some(&twice)).unwrap_err(),
            unknown("aes-cbc")
        );
        assert_eq!(
            Suite::build(Some(&key("aes-gcm-16", 16)), None).unwrap_err(),
            Error::InvalidKeyLength {
                algorithm: "aes-gcm-16",
                given_bits: 128,
                expected_bits: &[160, 224, 288],
                salt_bits: 32
            }
        );
        assert_eq!(
            Suite::build(None, Some(&key("hmac-sha2-512-256", 32))).unwrap_err(),
            Error::InvalidKeyLength {
                algorithm: "hmac-sha2-512-256",
                given_bits: 256,
                expected_bits: &[512],
                salt_bits: 0
            }
        );
    }

    #[test]
    fn a_wrong_length_says_what_was_expected() {
        for (name, bytes, words) in [
            (
                "aes-gcm-16",
                16,
                "expected 160, 224 or 288, of which the last 32 are the salt",
            ),
            (
                "aes-ccm-8",
                20,
                "expected 152, 216 or 280, of which the last 24 are the salt",
            ),
            (
                "chacha20-poly1305",
                32,
                "expected 288, of which the last 32 are the salt",
            ),
            ("aes-cbc", 17, "expected 128, 192 or 256"),
            ("des-cbc", 7, "expected 64"),
            ("blowfish-cbc", 4, "expected 40 to 448 in whole bytes"),
        ] {
            let error = Suite::build(Some(&key(name, bytes)), None).unwrap_err();
            let bits = 8 * bytes;
            assert_eq!(
                error.to_string(),
                format!("{name}: the key has {bits} bits, {words}")
            );
        }
        let error = crate::crypto::compress::check(&key("deflate", 1)).unwrap_err();
        assert_eq!(error.to_string(), "deflate: the key has 8 bits, expected none");
    }

    #[test]
    fn no_key_is_printed() {
        let suite = Suite::build(Some(&key("aes-cbc", 16)), Some(&key("hmac-sha1-96", 20))).unwrap();
        let shown = format!("{suite:?}");
        assert!(shown.contains("aes-cbc") && !shown.contains("90"), "{shown}");
    }
}
