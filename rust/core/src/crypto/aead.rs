//! AEAD keys: seal and open a text in place with an explicit IV, the salt kept beside the key.
//! What the additional data means may not enter: that is ESP's.
//! Answers to: RFC 4106 (AES-GCM in ESP), RFC 7634 (ChaCha20-Poly1305 in ESP), RFC 5116.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::Refused;

/// Bytes of salt at the end of the key material.
const SALT_BYTES: usize = 4;
/// Bytes of IV in the packet; salt and IV together are the nonce.
const IV_BYTES: usize = 8;

/// A key ready for use. Its schedule is wiped by the back end, the salt here.
pub struct AeadKey {
    key: LessSafeKey,
    salt: Salt,
}

#[derive(ZeroizeOnDrop)]
struct Salt([u8; SALT_BYTES]);

impl AeadKey {
    fn new(algorithm: &'static Algorithm, key: &[u8], salt: [u8; SALT_BYTES]) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Self {
            key,
            salt: Salt(salt),
        })
    }

    //= https://www.rfc-editor.org/rfc/rfc4106#section-4
    //# the nonce is the four bytes of salt followed by the eight of the IV
    //= https://www.rfc-editor.org/rfc/rfc7634#section-2
    //# the nonce is the four bytes of salt followed by the eight of the IV
    fn nonce(&self, iv: &[u8]) -> Result<Nonce, Refused> {
        let mut nonce = [0; SALT_BYTES + IV_BYTES];
        nonce[..SALT_BYTES].copy_from_slice(&self.salt.0);
        nonce[SALT_BYTES..].copy_from_slice(
            iv.get(..IV_BYTES)
                .filter(|_| iv.len() == IV_BYTES)
                .ok_or(Refused)?,
        );
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Encrypts `text` in place and writes the tag.
    ///
    /// # Errors
    /// `Refused` if a length cannot be; `text` is then unspecified and must not be sent.
    pub fn seal(&self, iv: &[u8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), Refused> {
        let made = self
            .key
            .seal_in_place_separate_tag(self.nonce(iv)?, Aad::from(aad), text)
            .map_err(|_| Refused)?;
        if tag.len() != made.as_ref().len() {
            return Err(Refused);
        }
        tag.copy_from_slice(made.as_ref());
        Ok(())
    }

    /// Checks the tag in constant time and decrypts `text` in place.
    ///
    /// # Errors
    /// `Refused` if the tag does not match or a length cannot be; `text` is then all zeros.
    pub fn open(&self, iv: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), Refused> {
        let opened = self.nonce(iv).and_then(|nonce| {
            self.key
                .open_in_place_separate_tag(nonce, Aad::from(aad), tag, text)
                .map(|_| ())
                .map_err(|_| Refused)
        });
        if opened.is_err() {
            // The back end clears it too; its documentation does not promise that.
            text.zeroize();
        }
        opened
    }
}

fn split_salt(material: &[u8]) -> Option<(&[u8], [u8; SALT_BYTES])> {
    material
        .split_last_chunk::<SALT_BYTES>()
        .map(|(key, salt)| (key, *salt))
}

/// AES-GCM with a 16-byte ICV; the key length chooses AES-128, -192 or -256.
pub(super) fn aes_gcm_16(material: &[u8]) -> Option<AeadKey> {
    let (key, salt) = split_salt(material)?;
    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    AeadKey::new(algorithm, key, salt)
}

/// ChaCha20-Poly1305.
pub(super) fn chacha20_poly1305(material: &[u8]) -> Option<AeadKey> {
    let (key, salt) = split_salt(material)?;
    AeadKey::new(&CHACHA20_POLY1305, key, salt)
}
