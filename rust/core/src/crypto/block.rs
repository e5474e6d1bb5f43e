//! CBC over the block ciphers that the usual back end lacks: DES, 3DES, Blowfish, CAST-128, Camellia.
//! No block cipher of our own and no padding rule may enter.
//! Answers to: RFC 2405 (DES), RFC 2451 (3DES, Blowfish, CAST-128), RFC 1829 (short IVs), RFC 4312 (Camellia).

use blowfish::Blowfish;
use camellia::{Camellia128, Camellia192, Camellia256};
use cast5::Cast5;
use cbc::cipher::{
    Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt as _, BlockModeEncrypt as _,
    InnerIvInit as _, KeyInit,
};
use cbc::{Decryptor, Encryptor};
use des::{Des, TdesEde3, weak_key_test};
use zeroize::Zeroizing;

use super::Refused;

/// One key in CBC.
pub(super) trait Cbc: Send + Sync {
    /// Encrypts whole blocks in place.
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused>;
    /// Decrypts whole blocks in place.
    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused>;
}

/// A block cipher's key schedule, which the mode borrows for each packet.
struct Blocks<C>(C);

impl<C: BlockCipherEncrypt + BlockCipherDecrypt + Send + Sync> Cbc for Blocks<C> {
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        let iv = <&Block<C>>::try_from(iv).map_err(|_| Refused)?;
        Encryptor::inner_iv_init(&self.0, iv).encrypt_blocks(whole_blocks::<C>(text)?);
        Ok(())
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        let iv = <&Block<C>>::try_from(iv).map_err(|_| Refused)?;
        Decryptor::inner_iv_init(&self.0, iv).decrypt_blocks(whole_blocks::<C>(text)?);
        Ok(())
    }
}

fn whole_blocks<C: BlockCipherEncrypt>(text: &mut [u8]) -> Result<&mut [Block<C>], Refused> {
    let (blocks, rest) = Block::<C>::slice_as_chunks_mut(text);
    rest.is_empty().then_some(blocks).ok_or(Refused)
}

/// DES with an IV of four bytes, sent or taken from the sequence number.
struct ShortIv(Blocks<Des>);

impl ShortIv {
    //= https://www.rfc-editor.org/rfc/rfc1829#section-2
    //# an IV of 32 bits is followed by its complement
    fn whole_iv(iv: &[u8]) -> Result<[u8; 8], Refused> {
        let iv = u32::from_be_bytes(iv.try_into().map_err(|_| Refused)?);
        Ok((u64::from(iv) << 32 | u64::from(!iv)).to_be_bytes())
    }
}

impl Cbc for ShortIv {
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        self.0.encrypt(&Self::whole_iv(iv)?, text)
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        self.0.decrypt(&Self::whole_iv(iv)?, text)
    }
}

/// DES' key bytes, each with its parity bit right, as lists of weak keys have them.
fn with_parity(key: &[u8]) -> Zeroizing<Vec<u8>> {
    let odd = |byte: &u8| (byte & 0xfe) | u8::from((byte >> 1).count_ones() % 2 == 0);
    Zeroizing::new(key.iter().map(odd).collect())
}

//= https://www.rfc-editor.org/rfc/rfc2405#section-4
//# weak keys should be refused
fn strong_des(key: &[u8]) -> Option<Des> {
    let checked = with_parity(key);
    if checked.len() != 8 || weak_key_test(&checked).is_err() {
        return None;
    }
    Des::new_from_slice(key).ok()
}

fn boxed<C>(cipher: C) -> Box<dyn Cbc>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + Send + Sync + 'static,
{
    Box::new(Blocks(cipher))
}

/// DES.
pub(super) fn des(key: &[u8]) -> Option<Box<dyn Cbc>> {
    strong_des(key).map(boxed)
}

/// DES with an IV of four bytes.
pub(super) fn des_short_iv(key: &[u8]) -> Option<Box<dyn Cbc>> {
    Some(Box::new(ShortIv(Blocks(strong_des(key)?))))
}

/// 3DES with three keys.
//= https://www.rfc-editor.org/rfc/rfc2451#section-2.3
//# keys whose first two or last two thirds are equal are refused: they make it single DES
pub(super) fn triple_des(key: &[u8]) -> Option<Box<dyn Cbc>> {
    let checked = with_parity(key);
    let thirds: Vec<&[u8]> = checked.chunks_exact(8).collect();
    let [first, second, third] = thirds[..] else {
        return None;
    };
    let weak = [first, second, third]
        .iter()
        .any(|part| weak_key_test(part).is_err());
    if weak || first == second || second == third {
        return None;
    }
    TdesEde3::new_from_slice(key).ok().map(boxed)
}

/// Blowfish.
pub(super) fn blowfish(key: &[u8]) -> Option<Box<dyn Cbc>> {
    <Blowfish>::new_from_slice(key).ok().map(boxed)
}

/// CAST-128; keys up to 80 bits have 12 rounds.
pub(super) fn cast128(key: &[u8]) -> Option<Box<dyn Cbc>> {
    Cast5::new_from_slice(key).ok().map(boxed)
}

/// Camellia; the key length chooses Camellia-128, -192 or -256.
pub(super) fn camellia(key: &[u8]) -> Option<Box<dyn Cbc>> {
    match key.len() {
        16 => Camellia128::new_from_slice(key).ok().map(boxed),
        24 => Camellia192::new_from_slice(key).ok().map(boxed),
        32 => Camellia256::new_from_slice(key).ok().map(boxed),
        _ => None,
    }
}
