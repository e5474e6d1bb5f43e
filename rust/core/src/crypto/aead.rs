//! AEAD keys: seal and open a text in place with an IV, the salt kept beside the key.
//! What the additional data means may not enter: that is ESP's.
//! Answers to: RFC 4106 (AES-GCM in ESP), RFC 4309 (AES-CCM), RFC 4543 (AES-GMAC), RFC 7634 (ChaCha20-Poly1305).

use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use super::gcm::{Gcm, Gmac, TAG_BYTES};
use super::salt::{self, Salt};
use super::{Refused, ccm};

/// A key ready for use. Its schedule is wiped by the back end, the salt here.
pub struct AeadKey(Inner);

enum Inner {
    /// The back end's own AEAD, with its whole tag.
    Whole { key: LessSafeKey, salt: Salt },
    /// AES-GCM with a tag cut to `tag_bytes`.
    Cut(Box<CutGcm>),
    /// AES-CCM.
    Ccm { key: Box<dyn ccm::Detached>, salt: Salt },
    /// AES-GMAC: the text stays readable, and is in the tag.
    Gmac(Box<Gmac>),
}

/// Sealing cuts the whole tag; opening needs the parts, since the back end wants a whole one.
struct CutGcm {
    whole: LessSafeKey,
    parts: Gcm,
    salt: Salt,
    tag_bytes: usize,
}

impl AeadKey {
    /// Encrypts `text` in place and writes the tag.
    ///
    /// # Errors
    /// `Refused` if a length cannot be; `text` is then unspecified and must not be sent.
    pub fn seal(&self, iv: &[u8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), Refused> {
        match &self.0 {
            Inner::Whole { key, salt } => seal_whole(key, salt, iv, aad, text, tag, TAG_BYTES),
            Inner::Cut(cut) => seal_whole(&cut.whole, &cut.salt, iv, aad, text, tag, cut.tag_bytes),
            Inner::Ccm { key, salt } => key.seal(salt.nonce(iv)?.as_slice(), aad, text, tag),
            //= https://www.rfc-editor.org/rfc/rfc4543#section-3.3
            //# everything is additional data: SPI, sequence number, IV, then the payload with its trailer
            Inner::Gmac(gmac) => {
                let made = gmac.tag(iv, &[aad, iv, text])?;
                (tag.len() == TAG_BYTES).then_some(()).ok_or(Refused)?;
                tag.copy_from_slice(&made);
                Ok(())
            }
        }
    }

    /// Checks the tag in constant time and decrypts `text` in place.
    ///
    /// # Errors
    /// `Refused` if the tag does not match or a length cannot be; `text` is then all zeros.
    pub fn open(&self, iv: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), Refused> {
        let opened = match &self.0 {
            Inner::Whole { key, salt } => open_whole(key, salt, iv, aad, text, tag),
            Inner::Cut(cut) => cut.open(iv, aad, text, tag),
            Inner::Ccm { key, salt } => salt
                .nonce(iv)
                .and_then(|nonce| key.open(nonce.as_slice(), aad, text, tag)),
            Inner::Gmac(gmac) => gmac
                .tag(iv, &[aad, iv, text])
                .and_then(|made| same(&made, tag, TAG_BYTES)),
        };
        if opened.is_err() {
            // The back ends clear it too; their documentation does not promise that.
            text.zeroize();
        }
        opened
    }
}

impl CutGcm {
    /// The tag comes first; no byte is decrypted under a wrong one.
    fn open(&self, iv: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), Refused> {
        let nonce = self.salt.nonce(iv)?;
        let made = self.parts.tag(nonce.as_slice(), &[aad], text)?;
        same(&made, tag, self.tag_bytes)?;
        self.parts.apply_stream(nonce.as_slice(), text)
    }
}

/// Compares the front of a tag in constant time.
fn same(made: &[u8; TAG_BYTES], given: &[u8], tag_bytes: usize) -> Result<(), Refused> {
    let expected = made.get(..tag_bytes).ok_or(Refused)?;
    // Slices of different lengths never compare equal.
    bool::from(expected.ct_eq(given)).then_some(()).ok_or(Refused)
}

//= https://www.rfc-editor.org/rfc/rfc4106#section-4
//# the nonce is the four bytes of salt followed by the eight of the IV
//= https://www.rfc-editor.org/rfc/rfc7634#section-2
//# the nonce is the four bytes of salt followed by the eight of the IV
fn nonce(salt: &Salt, iv: &[u8]) -> Result<Nonce, Refused> {
    Nonce::try_assume_unique_for_key(salt.nonce(iv)?.as_slice()).map_err(|_| Refused)
}

fn seal_whole(
    key: &LessSafeKey,
    salt: &Salt,
    iv: &[u8],
    aad: &[u8],
    text: &mut [u8],
    tag: &mut [u8],
    tag_bytes: usize,
) -> Result<(), Refused> {
    let made = key
        .seal_in_place_separate_tag(nonce(salt, iv)?, Aad::from(aad), text)
        .map_err(|_| Refused)?;
    let made = made.as_ref().get(..tag_bytes).ok_or(Refused)?;
    if tag.len() != tag_bytes {
        return Err(Refused);
    }
    tag.copy_from_slice(made);
    Ok(())
}

fn open_whole(
    key: &LessSafeKey,
    salt: &Salt,
    iv: &[u8],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8],
) -> Result<(), Refused> {
    key.open_in_place_separate_tag(nonce(salt, iv)?, Aad::from(aad), tag, text)
        .map(|_| ())
        .map_err(|_| Refused)
}

fn whole(algorithm: &'static Algorithm, key: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?))
}

fn whole_gcm(key: &[u8]) -> Option<LessSafeKey> {
    match key.len() {
        16 => whole(&AES_128_GCM, key),
        24 => whole(&AES_192_GCM, key),
        32 => whole(&AES_256_GCM, key),
        _ => None,
    }
}

/// AES-GCM with a 16-byte ICV; the key length chooses AES-128, -192 or -256.
//= https://www.rfc-editor.org/rfc/rfc4106#section-6
//# an ICV of 16 bytes is offered
pub(super) fn aes_gcm_16(material: &[u8]) -> Option<AeadKey> {
    let (key, salt) = salt::split(material, salt::GCM_BYTES)?;
    let key = whole_gcm(key)?;
    Some(AeadKey(Inner::Whole { key, salt }))
}

/// AES-GCM with a 12-byte ICV.
pub(super) fn aes_gcm_12(material: &[u8]) -> Option<AeadKey> {
    cut_gcm(material, 12)
}

/// AES-GCM with an 8-byte ICV.
pub(super) fn aes_gcm_8(material: &[u8]) -> Option<AeadKey> {
    cut_gcm(material, 8)
}

//= https://www.rfc-editor.org/rfc/rfc4106#section-6
//# ICVs of 8 and 12 bytes are the front of the whole one
fn cut_gcm(material: &[u8], tag_bytes: usize) -> Option<AeadKey> {
    let (key, salt) = salt::split(material, salt::GCM_BYTES)?;
    Some(AeadKey(Inner::Cut(Box::new(CutGcm {
        whole: whole_gcm(key)?,
        parts: Gcm::new(key)?,
        salt,
        tag_bytes,
    }))))
}

/// AES-CCM with a 16-byte ICV.
pub(super) fn aes_ccm_16(material: &[u8]) -> Option<AeadKey> {
    aes_ccm(material, 16)
}

/// AES-CCM with a 12-byte ICV.
pub(super) fn aes_ccm_12(material: &[u8]) -> Option<AeadKey> {
    aes_ccm(material, 12)
}

/// AES-CCM with an 8-byte ICV.
pub(super) fn aes_ccm_8(material: &[u8]) -> Option<AeadKey> {
    aes_ccm(material, 8)
}

//= https://www.rfc-editor.org/rfc/rfc4309#section-7.1
//# the key material is the AES key followed by three bytes of salt
fn aes_ccm(material: &[u8], tag_bytes: usize) -> Option<AeadKey> {
    let (key, salt) = salt::split(material, salt::CCM_BYTES)?;
    let key = ccm::new(key, tag_bytes)?;
    Some(AeadKey(Inner::Ccm { key, salt }))
}

/// AES-GMAC as a transform of ESP that encrypts nothing.
pub(super) fn aes_gmac(material: &[u8]) -> Option<AeadKey> {
    Some(AeadKey(Inner::Gmac(Box::new(Gmac::new(material)?))))
}

/// ChaCha20-Poly1305.
pub(super) fn chacha20_poly1305(material: &[u8]) -> Option<AeadKey> {
    let (key, salt) = salt::split(material, salt::GCM_BYTES)?;
    let key = whole(&CHACHA20_POLY1305, key)?;
    Some(AeadKey(Inner::Whole { key, salt }))
}
