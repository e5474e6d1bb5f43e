//! Cipher keys without integrity: CBC, CTR and NULL, in place, with the caller's IV and no padding.
//! Padding rules and IV choice may not enter.
//! Answers to: RFC 3602 (AES-CBC), RFC 3686 (AES-CTR), RFC 2410 (NULL), RFC 2451 and 4312 (the others' CBC).

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use zeroize::ZeroizeOnDrop;

use super::Refused;
use super::block::{self, Cbc};

/// AES works on blocks of 16 bytes.
const BLOCK_BYTES: usize = 16;
/// Bytes of nonce at the end of a CTR key.
const NONCE_BYTES: usize = 4;
/// Bytes of IV in a packet of CTR.
const CTR_IV_BYTES: usize = 8;

/// A key ready for use. Key schedules are wiped by the back end, the nonce here.
pub struct CipherKey(Inner);

#[expect(
    clippy::large_enum_variant,
    reason = "a suite keeps it in one box with the MAC's state"
)]
enum Inner {
    AesCbc {
        encrypting: EncryptingKey,
        decrypting: DecryptingKey,
    },
    AesCtr {
        key: EncryptingKey,
        nonce: CtrNonce,
    },
    Cbc(Box<dyn Cbc>),
    Null,
}

#[derive(ZeroizeOnDrop)]
struct CtrNonce([u8; NONCE_BYTES]);

impl CipherKey {
    /// Whether this is NULL, which hides nothing.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.0, Inner::Null)
    }

    /// Encrypts `text` in place.
    ///
    /// # Errors
    /// `Refused` if the text is not a multiple of the block or the IV has another length.
    pub fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        match &self.0 {
            Inner::AesCbc { encrypting, .. } => {
                let iv = <[u8; BLOCK_BYTES]>::try_from(iv).map_err(|_| Refused)?;
                let context = EncryptionContext::Iv128(FixedLength::from(iv));
                encrypting
                    .less_safe_encrypt(text, context)
                    .map(|_| ())
                    .map_err(|_| Refused)
            }
            Inner::AesCtr { key, nonce } => {
                let context = EncryptionContext::Iv128(FixedLength::from(counter_block(nonce, iv)?));
                key.less_safe_encrypt(text, context)
                    .map(|_| ())
                    .map_err(|_| Refused)
            }
            Inner::Cbc(key) => key.encrypt(iv, text),
            Inner::Null => Ok(()),
        }
    }

    /// Decrypts `text` in place. Nothing tells whether it was what the peer sent: check the ICV first.
    ///
    /// # Errors
    /// `Refused` if the text is not a multiple of the block or the IV has another length.
    pub fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        match &self.0 {
            Inner::AesCbc { decrypting, .. } => {
                let iv = <[u8; BLOCK_BYTES]>::try_from(iv).map_err(|_| Refused)?;
                let context = DecryptionContext::Iv128(FixedLength::from(iv));
                decrypting.decrypt(text, context).map(|_| ()).map_err(|_| Refused)
            }
            Inner::Cbc(key) => key.decrypt(iv, text),
            Inner::AesCtr { .. } | Inner::Null => self.encrypt(iv, text),
        }
    }
}

/// The first counter block of a packet.
//= https://www.rfc-editor.org/rfc/rfc3686#section-4
//# nonce, then IV, then a block counter that starts at one
fn counter_block(nonce: &CtrNonce, iv: &[u8]) -> Result<[u8; BLOCK_BYTES], Refused> {
    if iv.len() != CTR_IV_BYTES {
        return Err(Refused);
    }
    let mut block = [0; BLOCK_BYTES];
    block[..NONCE_BYTES].copy_from_slice(&nonce.0);
    block[NONCE_BYTES..NONCE_BYTES + CTR_IV_BYTES].copy_from_slice(iv);
    block[BLOCK_BYTES - 1] = 1;
    Ok(block)
}

/// The row of the back end for an AES key of that length.
pub(super) fn aes(key: &[u8]) -> Option<&'static Algorithm> {
    match key.len() {
        16 => Some(&AES_128),
        24 => Some(&AES_192),
        32 => Some(&AES_256),
        _ => None,
    }
}

/// AES-CBC; the key length chooses AES-128, -192 or -256.
//= https://www.rfc-editor.org/rfc/rfc3602#section-2.1
//# keys of 128 bits are supported
pub(super) fn aes_cbc(key: &[u8]) -> Option<CipherKey> {
    let algorithm = aes(key)?;
    let encrypting = EncryptingKey::cbc(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    let decrypting = DecryptingKey::cbc(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    Some(CipherKey(Inner::AesCbc {
        encrypting,
        decrypting,
    }))
}

/// AES-CTR; the last four bytes are the nonce, the rest chooses AES-128, -192 or -256.
pub(super) fn aes_ctr(material: &[u8]) -> Option<CipherKey> {
    let (key, nonce) = material.split_last_chunk::<NONCE_BYTES>()?;
    let key = EncryptingKey::ctr(UnboundCipherKey::new(aes(key)?, key).ok()?).ok()?;
    Some(CipherKey(Inner::AesCtr {
        key,
        nonce: CtrNonce(*nonce),
    }))
}

/// DES-CBC.
pub(super) fn des_cbc(key: &[u8]) -> Option<CipherKey> {
    block::des(key).map(cbc)
}

/// DES-CBC with an IV of four bytes, which its complement follows.
pub(super) fn des_cbc_short_iv(key: &[u8]) -> Option<CipherKey> {
    block::des_short_iv(key).map(cbc)
}

/// 3DES-CBC.
pub(super) fn triple_des_cbc(key: &[u8]) -> Option<CipherKey> {
    block::triple_des(key).map(cbc)
}

/// Blowfish-CBC.
pub(super) fn blowfish_cbc(key: &[u8]) -> Option<CipherKey> {
    block::blowfish(key).map(cbc)
}

/// CAST-128-CBC.
pub(super) fn cast128_cbc(key: &[u8]) -> Option<CipherKey> {
    block::cast128(key).map(cbc)
}

/// Camellia-CBC.
//= https://www.rfc-editor.org/rfc/rfc4312#section-2
//# Camellia in CBC has keys of 128, 192 and 256 bits and an IV of 16 bytes
pub(super) fn camellia_cbc(key: &[u8]) -> Option<CipherKey> {
    block::camellia(key).map(cbc)
}

const fn cbc(key: Box<dyn Cbc>) -> CipherKey {
    CipherKey(Inner::Cbc(key))
}

/// NULL: the text stays as it is.
//= https://www.rfc-editor.org/rfc/rfc2410#section-2
//# NULL leaves the text as it is, without an IV and without blocks
#[expect(clippy::unnecessary_wraps, reason = "every row's function has this shape")]
pub(super) fn null(_key: &[u8]) -> Option<CipherKey> {
    Some(CipherKey(Inner::Null))
}
