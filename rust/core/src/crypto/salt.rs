//! Salts: the bytes at the end of a key that never travel, and the nonce that they make with an IV.
//! No algorithm may enter.
//! Answers to: RFC 4106 section 4, RFC 4309 section 4, RFC 4543 section 3.2, RFC 7634 section 2.

use zeroize::ZeroizeOnDrop;

use super::Refused;

/// Bytes of salt of AES-GCM, AES-GMAC, ChaCha20-Poly1305 and AES-CTR.
pub(super) const GCM_BYTES: usize = 4;
/// Bytes of salt of AES-CCM.
pub(super) const CCM_BYTES: usize = 3;
/// Bytes of IV; salt and IV together are the nonce.
const IV_BYTES: usize = 8;

/// A salt, wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub(super) struct Salt {
    bytes: [u8; GCM_BYTES],
    #[zeroize(skip)]
    length: usize,
}

/// Salt and IV.
pub(super) struct Nonce {
    bytes: [u8; GCM_BYTES + IV_BYTES],
    length: usize,
}

impl Salt {
    /// The nonce of one packet: the salt followed by the IV.
    pub(super) fn nonce(&self, iv: &[u8]) -> Result<Nonce, Refused> {
        if iv.len() != IV_BYTES {
            return Err(Refused);
        }
        let mut bytes = [0; GCM_BYTES + IV_BYTES];
        let length = self.length + IV_BYTES;
        bytes[..self.length].copy_from_slice(&self.bytes[..self.length]);
        bytes[self.length..length].copy_from_slice(iv);
        Ok(Nonce { bytes, length })
    }
}

impl Nonce {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Takes `length` bytes of salt off the end of the key material.
pub(super) fn split(material: &[u8], length: usize) -> Option<(&[u8], Salt)> {
    let (key, salt) = material.split_at_checked(material.len().checked_sub(length)?)?;
    let mut bytes = [0; GCM_BYTES];
    bytes.get_mut(..length)?.copy_from_slice(salt);
    Some((key, Salt { bytes, length }))
}
