//! AES-CCM with the nonce of ESP: three bytes of salt and eight of IV, tags of 8, 12 or 16 bytes.
//! Packets may not enter.
//! Answers to: RFC 4309 (AES-CCM in ESP), NIST SP 800-38C.

use aes::cipher::array::ArraySize;
use aes::cipher::consts::{U8, U11, U12, U16};
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use ccm::aead::AeadInOut as _;
use ccm::aead::inout::InOutBuf;
use ccm::{Ccm, Nonce, Tag, TagSize};

use super::Refused;

/// AES-CCM under one key with one length of tag.
pub(super) trait Detached: Send + Sync {
    /// Encrypts in place and writes the tag.
    fn seal(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), Refused>;
    /// Decrypts in place; `text` is unspecified if the tag is wrong.
    fn open(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), Refused>;
}

//= https://www.rfc-editor.org/rfc/rfc4309#section-4
//# the nonce has 11 bytes, which leaves four for the length
impl<C, M> Detached for Ccm<C, M, U11>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
    M: ArraySize + TagSize + Send + Sync,
{
    fn seal(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), Refused> {
        let nonce = <&Nonce<U11>>::try_from(nonce).map_err(|_| Refused)?;
        let tag = <&mut Tag<M>>::try_from(tag).map_err(|_| Refused)?;
        *tag = self
            .encrypt_inout_detached(nonce, aad, InOutBuf::from(text))
            .map_err(|_| Refused)?;
        Ok(())
    }

    fn open(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), Refused> {
        let nonce = <&Nonce<U11>>::try_from(nonce).map_err(|_| Refused)?;
        let tag = <&Tag<M>>::try_from(tag).map_err(|_| Refused)?;
        self.decrypt_inout_detached(nonce, aad, InOutBuf::from(text), tag)
            .map_err(|_| Refused)
    }
}

/// The key length chooses AES-128, -192 or -256.
//= https://www.rfc-editor.org/rfc/rfc4309#section-3.1
//# ICVs of 8 and 16 bytes must be there, 12 may
pub(super) fn new(key: &[u8], tag_bytes: usize) -> Option<Box<dyn Detached>> {
    match tag_bytes {
        8 => with_tag::<U8>(key),
        12 => with_tag::<U12>(key),
        16 => with_tag::<U16>(key),
        _ => None,
    }
}

fn with_tag<M: ArraySize + TagSize + Send + Sync + 'static>(key: &[u8]) -> Option<Box<dyn Detached>> {
    match key.len() {
        16 => keyed::<Aes128, M>(key),
        24 => keyed::<Aes192, M>(key),
        32 => keyed::<Aes256, M>(key),
        _ => None,
    }
}

fn keyed<C, M>(key: &[u8]) -> Option<Box<dyn Detached>>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + Sync + 'static,
    M: ArraySize + TagSize + Send + Sync + 'static,
{
    let cipher = C::new_from_slice(key).ok()?;
    Some(Box::new(Ccm::<C, M, U11>::from(cipher)))
}
