//! Integrity keys: an ICV over several pieces, cut to the row's length and compared in constant time.
//! What the pieces are may not enter.
//! Answers to: RFC 4868 (HMAC-SHA-2), RFC 2404 (HMAC-SHA-1-96), RFC 2403, 2857, 3566, 4494, 4543, 1828 and 1852.

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;

use super::gcm::Gmac;
use super::mac::{self, Keyed, Xcbc};
use super::{Refused, mac::Hashed};

/// The longest ICV before it is cut: that of HMAC-SHA-512.
const WHOLE_BYTES_MAX: usize = 64;

/// A key ready for use; the back ends wipe their state.
pub struct AuthKey(Inner);

#[expect(
    clippy::large_enum_variant,
    reason = "an SA keeps it in one box with its cipher's state"
)]
enum Inner {
    Hmac(hmac::Key),
    Other(Box<dyn Mac>),
    Null,
}

/// What computes an ICV other than the usual HMACs.
pub(super) trait Mac: Send + Sync {
    /// The whole ICV of `pieces`, as if they were one text.
    fn whole(&self, iv: &[u8], pieces: &[&[u8]]) -> Result<Whole, Refused>;
}

/// An ICV before it is cut.
pub(super) struct Whole {
    bytes: [u8; WHOLE_BYTES_MAX],
    length: usize,
}

impl Whole {
    /// Keeps the bytes; there are at most 64.
    pub(super) fn new(icv: &[u8]) -> Self {
        let length = icv.len().min(WHOLE_BYTES_MAX);
        let mut bytes = [0; WHOLE_BYTES_MAX];
        bytes[..length].copy_from_slice(&icv[..length]);
        Self { bytes, length }
    }

    fn cut(&self, length: usize) -> Result<&[u8], Refused> {
        self.bytes[..self.length].get(..length).ok_or(Refused)
    }
}

impl AuthKey {
    /// Writes the ICV of `pieces`, as if they were one text; `icv`'s length is the truncation.
    ///
    /// # Errors
    /// `Refused` if the algorithm has no ICV of that length, or needs an IV.
    pub fn sign(&self, pieces: &[&[u8]], icv: &mut [u8]) -> Result<(), Refused> {
        self.sign_with_iv(&[], pieces, icv)
    }

    /// Writes the ICV of `pieces` under an IV, which must be empty where the row has none.
    ///
    /// An IV is the caller's to send and, if the protocol says so, to put among the pieces.
    ///
    /// # Errors
    /// `Refused` if the algorithm has no ICV or no IV of that length.
    pub fn sign_with_iv(&self, iv: &[u8], pieces: &[&[u8]], icv: &mut [u8]) -> Result<(), Refused> {
        let whole = self.whole(iv, pieces)?;
        icv.copy_from_slice(whole.cut(icv.len())?);
        Ok(())
    }

    /// Compares the ICV of `pieces` with `icv` in constant time.
    ///
    /// # Errors
    /// `Refused` if it is not the same, or empty where the algorithm has one.
    pub fn verify(&self, pieces: &[&[u8]], icv: &[u8]) -> Result<(), Refused> {
        self.verify_with_iv(&[], pieces, icv)
    }

    /// Compares the ICV of `pieces` under an IV with `icv` in constant time.
    ///
    /// # Errors
    /// `Refused` if it is not the same, or empty where the algorithm has one, or the IV has another length.
    pub fn verify_with_iv(&self, iv: &[u8], pieces: &[&[u8]], icv: &[u8]) -> Result<(), Refused> {
        if icv.is_empty() != matches!(self.0, Inner::Null) {
            return Err(Refused);
        }
        let whole = self.whole(iv, pieces)?;
        bool::from(whole.cut(icv.len())?.ct_eq(icv))
            .then_some(())
            .ok_or(Refused)
    }

    /// Length of the ICV before any truncation; `None` where there is none without an IV.
    #[must_use]
    pub fn whole_bytes(&self) -> Option<usize> {
        self.whole(&[], &[]).ok().map(|whole| whole.length)
    }

    fn whole(&self, iv: &[u8], pieces: &[&[u8]]) -> Result<Whole, Refused> {
        match &self.0 {
            Inner::Other(mac) => mac.whole(iv, pieces),
            Inner::Hmac(_) | Inner::Null if !iv.is_empty() => Err(Refused),
            Inner::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                for piece in pieces {
                    context.update(piece);
                }
                Ok(Whole::new(context.sign().as_ref()))
            }
            Inner::Null => Ok(Whole::new(&[])),
        }
    }
}

fn other(mac: impl Mac + 'static) -> AuthKey {
    AuthKey(Inner::Other(Box::new(mac)))
}

/// HMAC-SHA-1.
//= https://www.rfc-editor.org/rfc/rfc2404#section-2
//# HMAC-SHA1-96 has a key of 160 bits
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha1(key: &[u8]) -> Option<AuthKey> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    Some(AuthKey(Inner::Hmac(key)))
}

/// HMAC-SHA-256.
//= https://www.rfc-editor.org/rfc/rfc4868#section-2.1
//# keys have the length of the hash, ICVs half of it
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha2_256(key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(Inner::Hmac(hmac::Key::new(hmac::HMAC_SHA256, key))))
}

/// HMAC-SHA-384.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha2_384(key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(Inner::Hmac(hmac::Key::new(hmac::HMAC_SHA384, key))))
}

/// HMAC-SHA-512.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha2_512(key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(Inner::Hmac(hmac::Key::new(hmac::HMAC_SHA512, key))))
}

/// HMAC-MD5.
//= https://www.rfc-editor.org/rfc/rfc2403#section-2
//# HMAC-MD5-96 has a key of 128 bits
pub(super) fn hmac_md5(key: &[u8]) -> Option<AuthKey> {
    Some(other(Hashed::md5(key)?))
}

/// HMAC-RIPEMD-160.
pub(super) fn hmac_ripemd160(key: &[u8]) -> Option<AuthKey> {
    Some(other(Hashed::ripemd160(key)?))
}

/// AES-XCBC-MAC with AES-128.
pub(super) fn aes_xcbc(key: &[u8]) -> Option<AuthKey> {
    Some(other(Xcbc::new(key)?))
}

/// AES-CMAC with AES-128.
pub(super) fn aes_cmac(key: &[u8]) -> Option<AuthKey> {
    Some(other(mac::cmac(key)?))
}

/// AES-GMAC for AH; the IV is the caller's to send.
pub(super) fn aes_gmac(material: &[u8]) -> Option<AuthKey> {
    Some(other(Gmac::new(material)?))
}

/// Keyed MD5: the key before and behind the text.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn keyed_md5(key: &[u8]) -> Option<AuthKey> {
    Some(other(Keyed::md5(key)))
}

/// Keyed SHA-1.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn keyed_sha1(key: &[u8]) -> Option<AuthKey> {
    Some(other(Keyed::sha1(key)))
}

/// No authentication: an ICV of no bytes.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn null(_key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(Inner::Null))
}
