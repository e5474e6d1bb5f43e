//! The integrity algorithms that the usual back end lacks: old hashes, AES-XCBC, AES-CMAC, keyed hashes.
//! No block cipher and no hash of our own may enter; the order of their parts is all there is here.
//! Answers to: RFC 2403, RFC 2857, RFC 3566, RFC 4494, RFC 1828, RFC 1852.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit};
use aws_lc_rs::digest;
use cmac::Cmac;
use hmac::Hmac;
use md5::{Digest as _, Md5};
use ripemd::Ripemd160;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::Refused;
use super::auth::{Mac, Whole};

/// Refuses an IV: these algorithms have none.
fn no_iv(iv: &[u8]) -> Result<(), Refused> {
    iv.is_empty().then_some(()).ok_or(Refused)
}

/// A MAC that takes its text piece by piece, as the back end makes it; its state starts from a copy.
pub(super) struct Hashed<M>(M);

impl Hashed<Hmac<Md5>> {
    pub(super) fn md5(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }
}

impl Hashed<Hmac<Ripemd160>> {
    pub(super) fn ripemd160(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }
}

//= https://www.rfc-editor.org/rfc/rfc4494#section-2
//# AES-CMAC with a key of 128 bits
pub(super) fn cmac(key: &[u8]) -> Option<Hashed<Cmac<Aes128>>> {
    Cmac::new_from_slice(key).ok().map(Hashed)
}

impl<M: hmac::Mac + Clone + Send + Sync> Mac for Hashed<M> {
    fn whole(&self, iv: &[u8], pieces: &[&[u8]]) -> Result<Whole, Refused> {
        no_iv(iv)?;
        let mut state = self.0.clone();
        for piece in pieces {
            state.update(piece);
        }
        Ok(Whole::new(&state.finalize().into_bytes()))
    }
}

/// A block of AES-128, and the length of each of the three keys.
const BLOCK_BYTES: usize = 16;

/// AES-XCBC-MAC: a CBC-MAC whose last block is masked with one of two further keys.
pub(super) struct Xcbc {
    cipher: Aes128,
    masks: Masks,
}

#[derive(ZeroizeOnDrop)]
struct Masks {
    /// For a last block that is whole (K2).
    whole: [u8; BLOCK_BYTES],
    /// For a last block that was filled up (K3).
    filled: [u8; BLOCK_BYTES],
}

impl Xcbc {
    //= https://www.rfc-editor.org/rfc/rfc3566#section-4
    //# the three keys are blocks of 0x01, 0x02 and 0x03, encrypted with the key
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let master = Aes128::new_from_slice(key).ok()?;
        let derived = |byte: u8| {
            let mut block = [byte; BLOCK_BYTES];
            master.encrypt_block((&mut block).into());
            block
        };
        let first = Zeroizing::new(derived(1));
        Some(Self {
            cipher: Aes128::new_from_slice(&*first).ok()?,
            masks: Masks {
                whole: derived(2),
                filled: derived(3),
            },
        })
    }

    fn chain(&self, state: &mut [u8; BLOCK_BYTES], block: &[u8; BLOCK_BYTES]) {
        mix(state, block);
        self.cipher.encrypt_block(state.into());
    }
}

fn mix(state: &mut [u8; BLOCK_BYTES], block: &[u8; BLOCK_BYTES]) {
    for (byte, other) in state.iter_mut().zip(block) {
        *byte ^= other;
    }
}

impl Mac for Xcbc {
    fn whole(&self, iv: &[u8], pieces: &[&[u8]]) -> Result<Whole, Refused> {
        no_iv(iv)?;
        let mut state = [0; BLOCK_BYTES];
        let mut last = [0; BLOCK_BYTES];
        let mut held = 0;
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                // A whole block waits until it is known not to be the last.
                if held == BLOCK_BYTES {
                    self.chain(&mut state, &last);
                    held = 0;
                }
                let (front, behind) = rest.split_at(rest.len().min(BLOCK_BYTES - held));
                last[held..held + front.len()].copy_from_slice(front);
                held += front.len();
                rest = behind;
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc3566#section-4
        //# a last block that is not whole, or none at all, is filled up with a one bit and zeros
        if held == BLOCK_BYTES {
            mix(&mut state, &self.masks.whole);
        } else {
            last[held..].fill(0);
            last[held] = 0x80;
            mix(&mut state, &self.masks.filled);
        }
        self.chain(&mut state, &last);
        Ok(Whole::new(&state))
    }
}

/// A keyed hash: key, filling, text, key.
pub(super) struct Keyed {
    hash: Hash,
    key: Zeroizing<Vec<u8>>,
    /// What fills the key up to a block of the hash: a one bit, zeros, and the key's length in bits.
    filling: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Hash {
    Md5,
    Sha1,
}

/// Both hashes work on blocks of this.
const HASH_BLOCK_BYTES: usize = 64;
/// Of which the length takes so many.
const HASH_LENGTH_BYTES: usize = 8;

impl Keyed {
    pub(super) fn md5(key: &[u8]) -> Self {
        Self::new(Hash::Md5, key, u64::to_le_bytes)
    }

    pub(super) fn sha1(key: &[u8]) -> Self {
        Self::new(Hash::Sha1, key, u64::to_be_bytes)
    }

    //= https://www.rfc-editor.org/rfc/rfc1828#section-3
    //# the key is filled up to 512 bits by the hash's own padding with the length
    fn new(hash: Hash, key: &[u8], length: fn(u64) -> [u8; HASH_LENGTH_BYTES]) -> Self {
        let zeros_end = (key.len() + 1 + HASH_LENGTH_BYTES).next_multiple_of(HASH_BLOCK_BYTES);
        let mut filling = vec![0; zeros_end - key.len() - HASH_LENGTH_BYTES];
        filling[0] = 0x80;
        filling.extend_from_slice(&length(key.len() as u64 * 8));
        Self {
            hash,
            key: Zeroizing::new(key.to_vec()),
            filling,
        }
    }
}

impl Mac for Keyed {
    fn whole(&self, iv: &[u8], pieces: &[&[u8]]) -> Result<Whole, Refused> {
        no_iv(iv)?;
        let front: [&[u8]; 2] = [&self.key, &self.filling];
        let all = front.iter().chain(pieces).copied().chain([self.key.as_slice()]);
        Ok(match self.hash {
            Hash::Md5 => {
                let mut state = Md5::new();
                all.for_each(|piece| state.update(piece));
                Whole::new(&state.finalize())
            }
            Hash::Sha1 => {
                let mut state = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
                all.for_each(|piece| state.update(piece));
                Whole::new(state.finish().as_ref())
            }
        })
    }
}
