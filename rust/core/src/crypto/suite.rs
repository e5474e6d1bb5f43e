//! `Suite` (ESP) and `Integrity` (AH): the algorithms of one SA with their keys, checked to make sense together.
//! Packets and their layout may not enter.
//! Answers to: RFC 4303 section 3.2 and RFC 4302 section 2.6 (which combinations exist), RFC 8221 section 4 (which are safe).

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

impl Suite {
    /// Builds a suite; no encryption is NULL.
    ///
    /// # Errors
    /// `UnknownAlgorithm` if a name is not in the registry or is not of that kind, `InvalidKeyLength`,
    /// `UnsupportedCombination` for an AEAD with a MAC, and CTR or NULL without one.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.2
    //# encryption and integrity must not both be NULL
    //= https://www.rfc-editor.org/rfc/rfc3686#section-7
    //# AES-CTR is not used without an integrity algorithm
    pub fn build(
        encryption: Option<&AlgorithmKey>,
        authentication: Option<&AlgorithmKey>,
    ) -> Result<Self, Error> {
        let null = AlgorithmKey {
            name: "null".to_owned(),
            key: Secret::new(Vec::new()),
        };
        let encryption = encryption.unwrap_or(&null);
        let row = row_for(encryption)?;
        match row.make {
            Make::Aead(make) => {
                if authentication.is_some() {
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
                let auth = authentication.map(auth_key).transpose()?;
                if auth.is_none() && row.iv != IvSource::Random {
                    return Err(Error::UnsupportedCombination);
                }
                let (auth_row, auth) = auth.unzip();
                Ok(Self {
                    protection: Protection::Separate(Box::new(SeparateKeys { cipher, auth })),
                    encryption: row,
                    authentication: auth_row,
                })
            }
            Make::Auth(_) => Err(Error::UnknownAlgorithm {
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
    /// Builds what AH needs.
    ///
    /// # Errors
    /// `UnsupportedCombination` with encryption or without authentication, `UnknownAlgorithm` if the name is
    /// not in the registry or is not of that kind, `InvalidKeyLength`.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.6
    //# the SA names an integrity algorithm, and AH has no other
    pub fn build(
        encryption: Option<&AlgorithmKey>,
        authentication: Option<&AlgorithmKey>,
    ) -> Result<Self, Error> {
        if encryption.is_some() {
            return Err(Error::UnsupportedCombination);
        }
        let (row, key) = auth_key(authentication.ok_or(Error::UnsupportedCombination)?)?;
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

fn row_for(asked: &AlgorithmKey) -> Result<&'static Algorithm, Error> {
    registry::lookup(&asked.name).ok_or_else(|| Error::UnknownAlgorithm {
        name: asked.name.clone(),
    })
}

fn keyed<K>(make: fn(&[u8]) -> Option<K>, row: &'static Algorithm, key: &Secret) -> Result<K, Error> {
    let wrong = Error::InvalidKeyLength {
        algorithm: row.name,
        given_bits: key.bits(),
        expected_bits: row.key_bits,
    };
    if !row.accepts_key_bits(key.bits()) {
        return Err(wrong);
    }
    make(key.as_bytes()).ok_or(wrong)
}

fn auth_key(asked: &AlgorithmKey) -> Result<(&'static Algorithm, AuthKey), Error> {
    let row = row_for(asked)?;
    match row.make {
        Make::Auth(make) => Ok((row, keyed(make, row, &asked.key)?)),
        Make::Aead(_) | Make::Cipher(_) => Err(Error::UnknownAlgorithm {
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
                expected_bits: &[160, 224, 288]
            }
        );
        assert_eq!(
            Suite::build(None, Some(&key("hmac-sha2-512-256", 32))).unwrap_err(),
            Error::InvalidKeyLength {
                algorithm: "hmac-sha2-512-256",
                given_bits: 256,
                expected_bits: &[512]
            }
        );
    }

    #[test]
    fn no_key_is_printed() {
        let suite = Suite::build(Some(&key("aes-cbc", 16)), Some(&key("hmac-sha1-96", 20))).unwrap();
        let shown = format!("{suite:?}");
        assert!(shown.contains("aes-cbc") && !shown.contains("90"), "{shown}");
    }
}
