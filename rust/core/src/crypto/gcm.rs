//! AES-GCM from its parts, where the whole will not do: tags shorter than 16 bytes, and GMAC over pieces.
//! No block cipher and no GHASH of our own may enter; the order of the parts is all there is here.
//! Answers to: NIST SP 800-38D sections 6.4, 7.1 and 7.2; RFC 4543 (AES-GMAC in ESP and AH).

use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use ghash::GHash;
use ghash::universal_hash::UniversalHash as _;
use zeroize::Zeroize as _;

use super::auth::{Mac, Whole};
use super::cipher::aes;
use super::salt::Salt;
use super::{Refused, salt};

/// A block of AES and of GHASH.
const BLOCK_BYTES: usize = 16;
/// Salt and IV.
const NONCE_BYTES: usize = 12;
/// Bytes of a tag before it is cut.
pub(super) const TAG_BYTES: usize = 16;

/// AES-GCM's three parts under one key: the block cipher, its counter mode, the hash.
pub(super) struct Gcm {
    block: EncryptingKey,
    stream: EncryptingKey,
    hash: GHash,
}

impl Gcm {
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let algorithm = aes(key)?;
        let block = EncryptingKey::ecb(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
        let stream = EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
        let mut hash_key = ghash::Key::default();
        block.encrypt(&mut hash_key).ok()?;
        let hash = GHash::new(&hash_key);
        hash_key.zeroize();
        Some(Self { block, stream, hash })
    }

    /// The whole tag of additional data, given in pieces, and of a ciphertext.
    pub(super) fn tag(
        &self,
        nonce: &[u8],
        additional: &[&[u8]],
        text: &[u8],
    ) -> Result<[u8; TAG_BYTES], Refused> {
        let mut hash = self.hash.clone();
        let additional_bits = absorb(&mut hash, additional) * 8;
        let text_bits = absorb(&mut hash, &[text]) * 8;
        let mut lengths = ghash::Block::default();
        lengths[..8].copy_from_slice(&additional_bits.to_be_bytes());
        lengths[8..].copy_from_slice(&text_bits.to_be_bytes());
        hash.update(&[lengths]);

        let mut tag = counter_block(nonce, 1)?;
        self.block.encrypt(&mut tag).map_err(|_| Refused)?;
        for (byte, hashed) in tag.iter_mut().zip(hash.finalize()) {
            *byte ^= hashed;
        }
        Ok(tag)
    }

    /// Turns a ciphertext whose tag was right into its text, or the other way round.
    pub(super) fn apply_stream(&self, nonce: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        let context = EncryptionContext::Iv128(FixedLength::from(counter_block(nonce, 2)?));
        self.stream
            .less_safe_encrypt(text, context)
            .map(|_| ())
            .map_err(|_| Refused)
    }
}

fn counter_block(nonce: &[u8], count: u32) -> Result<[u8; BLOCK_BYTES], Refused> {
    let mut block = [0; BLOCK_BYTES];
    block[NONCE_BYTES..].copy_from_slice(&count.to_be_bytes());
    if nonce.len() != NONCE_BYTES {
        return Err(Refused);
    }
    block[..NONCE_BYTES].copy_from_slice(nonce);
    Ok(block)
}

/// Hashes pieces as if they were one text, filled up with zeros at its end, and says how long it is.
fn absorb(hash: &mut GHash, pieces: &[&[u8]]) -> u64 {
    let mut held = ghash::Block::default();
    let mut held_bytes = 0;
    let mut total = 0_u64;
    for piece in pieces {
        total += piece.len() as u64;
        let (front, rest) = piece.split_at(piece.len().min((BLOCK_BYTES - held_bytes) % BLOCK_BYTES));
        held[held_bytes..held_bytes + front.len()].copy_from_slice(front);
        held_bytes += front.len();
        if held_bytes == BLOCK_BYTES {
            hash.update(&[held]);
            held_bytes = 0;
        }
        if held_bytes == 0 {
            let (blocks, tail) = rest.split_at(rest.len() - rest.len() % BLOCK_BYTES);
            hash.update_padded(blocks);
            held[..tail.len()].copy_from_slice(tail);
            held_bytes = tail.len();
        }
    }
    hash.update_padded(&held[..held_bytes]);
    total
}

/// AES-GMAC: a tag of additional data alone.
pub(super) struct Gmac {
    gcm: Gcm,
    salt: Salt,
}

impl Gmac {
    //= https://www.rfc-editor.org/rfc/rfc4543#section-3.4
    //# the key material is the AES key followed by four bytes of salt
    pub(super) fn new(material: &[u8]) -> Option<Self> {
        let (key, salt) = salt::split(material, salt::GCM_BYTES)?;
        Some(Self {
            gcm: Gcm::new(key)?,
            salt,
        })
    }

    /// The whole tag of `pieces`.
    //= https://www.rfc-editor.org/rfc/rfc4543#section-3.2
    //# the nonce is the four bytes of salt followed by the eight of the IV
    pub(super) fn tag(&self, iv: &[u8], pieces: &[&[u8]]) -> Result<[u8; TAG_BYTES], Refused> {
        self.gcm.tag(self.salt.nonce(iv)?.as_slice(), pieces, &[])
    }
}

impl Mac for Gmac {
    fn whole(&self, iv: &[u8], pieces: &[&[u8]]) -> Result<Whole, Refused> {
        self.tag(iv, pieces).map(|tag| Whole::new(&tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the additional data is cut, the tag is that of the whole.
    #[test]
    fn pieces_are_one_text() {
        let gmac = Gmac::new(&[9; 20]).unwrap();
        let text: Vec<u8> = (0..100).collect();
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 64, 100] {
            let whole = gmac.tag(&[1; 8], &[&text[..length]]).unwrap();
            for first in 0..=length {
                for second in (first..=length).step_by(3) {
                    let pieces = [&text[..first], &text[first..second], &[], &text[second..length]];
                    assert_eq!(gmac.tag(&[1; 8], &pieces), Ok(whole), "{length} {first} {second}");
                }
            }
        }
        assert_eq!(gmac.tag(&[1; 7], &[&text]), Err(Refused));
    }
}
