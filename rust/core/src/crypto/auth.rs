//! Integrity keys: an ICV over several pieces, cut to the row's length and compared in constant time.
//! What the pieces are may not enter.
//! Answers to: RFC 4868 (HMAC-SHA-2), RFC 2404 (HMAC-SHA-1-96).

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;

use super::Refused;

/// A key ready for use; the back end wipes its state.
pub struct AuthKey(hmac::Key);

impl AuthKey {
    /// Writes the ICV of `pieces`, as if they were one text; `icv`'s length is the truncation.
    ///
    /// # Errors
    /// `Refused` if the algorithm has no ICV of that length.
    pub fn sign(&self, pieces: &[&[u8]], icv: &mut [u8]) -> Result<(), Refused> {
        let whole = self.whole(pieces);
        icv.copy_from_slice(whole.as_ref().get(..icv.len()).ok_or(Refused)?);
        Ok(())
    }

    /// Compares the ICV of `pieces` with `icv` in constant time.
    ///
    /// # Errors
    /// `Refused` if it is not the same, or empty.
    pub fn verify(&self, pieces: &[&[u8]], icv: &[u8]) -> Result<(), Refused> {
        let whole = self.whole(pieces);
        let expected = whole.as_ref().get(..icv.len()).ok_or(Refused)?;
        if !icv.is_empty() && bool::from(expected.ct_eq(icv)) {
            Ok(())
        } else {
            Err(Refused)
        }
    }

    fn whole(&self, pieces: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for piece in pieces {
            context.update(piece);
        }
        context.sign()
    }
}

/// HMAC-SHA-1.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha1(key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key)))
}

/// HMAC-SHA-256.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha2_256(key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(hmac::Key::new(hmac::HMAC_SHA256, key)))
}

/// HMAC-SHA-384.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha2_384(key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(hmac::Key::new(hmac::HMAC_SHA384, key)))
}

/// HMAC-SHA-512.
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn hmac_sha2_512(key: &[u8]) -> Option<AuthKey> {
    Some(AuthKey(hmac::Key::new(hmac::HMAC_SHA512, key)))
}
