//! ESP on one packet: seal and open with one SA's keys and a given sequence number.
//! No SA state (window, lifetime, counter) and no outer header may enter.
//! Answers to: RFC 4303 sections 2, 3.3 and 3.4; RFC 4106 section 5; RFC 8750; RFC 1827 and 1829 (the old format).

use zeroize::Zeroize as _;

use super::padding;
use crate::buffer::PacketBuf;
use crate::crypto::iv::IvGenerator;
use crate::crypto::registry::IvSource;
use crate::crypto::{Protection, Suite};
use crate::error::{DropReason, Error};
use crate::terms::{Sequence, Spi};
use crate::wire::esp::{HEADER_BYTES, emit_header};

/// The longest IV of any row: one AES block.
const IV_BYTES_MAX: usize = 16;
/// The SPI, alone.
const OLD_HEADER_BYTES: usize = 4;
/// The longest additional data: SPI and a 64-bit sequence number.
const AAD_BYTES_MAX: usize = 12;

/// What ESP needs to know of one SA.
#[derive(Debug)]
pub struct Esp {
    spi: Spi,
    suite: Suite,
    esn: bool,
    old: bool,
    header_bytes: usize,
    iv_bytes: usize,
    icv_bytes: usize,
    alignment: usize,
}

impl Esp {
    /// Settles the sizes for one SA. With `esn`, the high half of the sequence number is in the ICV.
    #[must_use]
    pub const fn new(spi: Spi, suite: Suite, esn: bool) -> Self {
        let iv_bytes = suite.encryption().iv_bytes;
        let icv_bytes = suite.icv_bytes();
        let alignment = padding::alignment(suite.encryption().block_bytes);
        Self {
            spi,
            suite,
            esn,
            old: false,
            header_bytes: HEADER_BYTES,
            iv_bytes,
            icv_bytes,
            alignment,
        }
    }

    /// The same for the format of RFC 1827, which has neither sequence numbers nor an ICV.
    ///
    /// # Errors
    /// `UnsupportedCombination` for an algorithm with an ICV, or whose IV is made of a number.
    //= https://www.rfc-editor.org/rfc/rfc1829#section-2
    //# behind the SPI stands the IV, of 32 or 64 bits
    pub fn old(spi: Spi, suite: Suite) -> Result<Self, Error> {
        let plain = matches!(suite.encryption().iv, IvSource::None | IvSource::Random);
        if !plain || suite.has_integrity() {
            return Err(Error::UnsupportedCombination);
        }
        Ok(Self {
            old: true,
            header_bytes: OLD_HEADER_BYTES,
            ..Self::new(spi, suite, false)
        })
    }

    /// Whether its packets carry sequence numbers.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        !self.old
    }

    /// The SPI written into each packet.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// The algorithms at work.
    #[must_use]
    pub const fn suite(&self) -> &Suite {
        &self.suite
    }

    /// The most that ESP adds to a payload, in bytes.
    #[must_use]
    pub const fn overhead_max(&self) -> usize {
        self.header_bytes + self.iv_bytes + padding::TRAILER_BYTES + self.alignment - 1 + self.icv_bytes
    }

    /// How long a payload of that many bytes becomes.
    #[must_use]
    pub const fn sealed_bytes(&self, payload: usize) -> usize {
        self.header_bytes + self.iv_bytes + padding::padded_bytes(payload, self.alignment) + self.icv_bytes
    }

    /// Turns the payload `packet[at..]` into an ESP packet; the bytes before it stay in front.
    ///
    /// `iv_counter` must be new for this key, whatever happened to the sequence number.
    ///
    /// # Errors
    /// `SequenceOverflow` if no IV is left for `iv_counter`, `NoBuffer` if the packet does not fit its
    /// buffer, `OutTooBig` if it is longer than the cipher allows; the packet must not be sent then.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.2
    //# encryption comes before the integrity algorithm
    //= https://www.rfc-editor.org/rfc/rfc4301#section-3.2
    //# ESP is offered
    pub fn seal(
        &self,
        at: usize,
        next_header: u8,
        sequence: Sequence,
        iv_counter: u64,
        ivs: &mut IvGenerator,
        packet: &mut PacketBuf,
    ) -> Result<(), DropReason> {
        let mut iv = [0; IV_BYTES_MAX];
        let iv = &mut iv[..self.iv_bytes];
        match self.suite.encryption().iv {
            IvSource::None | IvSource::Implicit | IvSource::Sequence => {}
            IvSource::Counter => {
                iv.copy_from_slice(&ivs.explicit(iv_counter).ok_or(DropReason::SequenceOverflow)?);
            }
            IvSource::Random => ivs.random(iv),
        }
        self.seal_with_iv(at, next_header, sequence, iv, packet)
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.2
    //# integrity alone and encryption with integrity are both offered
    fn seal_with_iv(
        &self,
        at: usize,
        next_header: u8,
        sequence: Sequence,
        iv: &[u8],
        packet: &mut PacketBuf,
    ) -> Result<(), DropReason> {
        let payload = packet.len().checked_sub(at).ok_or(DropReason::NoBuffer)?;
        let padded = padding::padded_bytes(payload, self.alignment);
        packet.insert_gap(at, self.header_bytes + self.iv_bytes)?;
        packet.extend_back(padded - payload + self.icv_bytes)?;

        let (header, rest) = packet.as_mut_slice()[at..].split_at_mut(self.header_bytes);
        if self.old {
            header.copy_from_slice(&self.spi.0.to_be_bytes());
        } else {
            emit_header(header, self.spi, sequence.low())?;
        }
        let (iv_field, rest) = rest.split_at_mut(self.iv_bytes);
        iv_field.copy_from_slice(iv);
        let (text, icv) = rest.split_at_mut(padded);
        padding::emit(&mut text[payload..], next_header);

        let derived = DerivedIv::of(sequence, self.esn);
        let iv = derived.or_sent(self.suite.encryption().iv, iv);
        let sealed = match self.suite.protection() {
            Protection::Combined(key) => {
                let (aad, aad_bytes) = self.additional_data(header, sequence);
                key.seal(iv, &aad[..aad_bytes], text, icv)
            }
            Protection::Separate(keys) => keys.cipher.encrypt(iv, text).and_then(|()| match &keys.auth {
                Some(auth) => {
                    let high = sequence.high().to_be_bytes();
                    auth.sign(&[header, iv_field, text, self.implicit(&high)], icv)
                }
                None => Ok(()),
            }),
        };
        if sealed.is_err() {
            text.zeroize();
        }
        sealed.map_err(|_| DropReason::OutTooBig)
    }

    /// Turns the ESP packet `packet[at..]` back into its payload and returns the next header.
    ///
    /// `sequence` is what the window inferred; only the caller may mark it, and only after this succeeds.
    ///
    /// # Errors
    /// `InMalformed` if it is too short to hold an ICV, `AuthFailed` if the ICV is not right, `BadPadding`
    /// for anything after that. No decrypted byte is left in the packet in any of these cases.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.4
    //# the ICV is verified first; a packet that fails is discarded
    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.8
    //# the SA says how long the ICV is
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.4
    //# nothing of the plaintext leaves, and every failure behind the ICV looks the same
    pub fn open(&self, at: usize, sequence: Sequence, packet: &mut PacketBuf) -> Result<u8, DropReason> {
        let text_at = self.header_bytes + self.iv_bytes;
        let text_bytes = packet
            .len()
            .checked_sub(at)
            .and_then(|bytes| bytes.checked_sub(text_at + self.icv_bytes))
            .filter(|bytes| *bytes >= padding::TRAILER_BYTES)
            .ok_or(DropReason::InMalformed)?;
        let (front, icv) = packet.as_mut_slice()[at..].split_at_mut(text_at + text_bytes);

        self.decrypt(front, text_at, sequence, icv)?;
        let text = &mut front[text_at..];
        // Ciphers without blocks would take any length; the rule is ESP's own.
        let trailer = if text_bytes % self.alignment == 0 {
            padding::parse(text, self.old)
        } else {
            None
        };
        let Some((payload, next_header)) = trailer else {
            text.zeroize();
            return Err(DropReason::BadPadding);
        };
        packet.truncate(at + text_at + payload);
        packet.remove_gap(at, text_at)?;
        Ok(next_header)
    }

    /// Checks the ICV, then decrypts `front[text_at..]` in place.
    fn decrypt(
        &self,
        front: &mut [u8],
        text_at: usize,
        sequence: Sequence,
        icv: &[u8],
    ) -> Result<(), DropReason> {
        let derived = DerivedIv::of(sequence, self.esn);
        let source = self.suite.encryption().iv;
        match self.suite.protection() {
            Protection::Combined(key) => {
                let (aad, aad_bytes) = self.additional_data(front, sequence);
                let (header, text) = front.split_at_mut(text_at);
                let iv = derived.or_sent(source, &header[self.header_bytes..]);
                key.open(iv, &aad[..aad_bytes], text, icv)
                    .map_err(|_| DropReason::AuthFailed)
            }
            Protection::Separate(keys) => {
                if let Some(auth) = &keys.auth {
                    let high = sequence.high().to_be_bytes();
                    auth.verify(&[front, self.implicit(&high)], icv)
                        .map_err(|_| DropReason::AuthFailed)?;
                }
                let (header, text) = front.split_at_mut(text_at);
                let iv = derived.or_sent(source, &header[self.header_bytes..]);
                let decrypted = keys.cipher.decrypt(iv, text);
                if decrypted.is_err() {
                    text.zeroize();
                }
                decrypted.map_err(|_| DropReason::BadPadding)
            }
        }
    }

    /// The additional data of an AEAD: SPI and sequence number, all 64 bits of it with ESN.
    //= https://www.rfc-editor.org/rfc/rfc4106#section-5
    //# 8 bytes, or 12 with extended sequence numbers
    fn additional_data(&self, header: &[u8], sequence: Sequence) -> ([u8; AAD_BYTES_MAX], usize) {
        let mut aad = [0; AAD_BYTES_MAX];
        if self.esn {
            aad[..4].copy_from_slice(&header[..4]);
            aad[4..8].copy_from_slice(&sequence.high().to_be_bytes());
            aad[8..].copy_from_slice(&header[4..HEADER_BYTES]);
            (aad, AAD_BYTES_MAX)
        } else {
            aad[..HEADER_BYTES].copy_from_slice(&header[..HEADER_BYTES]);
            (aad, HEADER_BYTES)
        }
    }

    /// What a separate MAC covers beyond the bytes sent: the high half, with ESN.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.2.1
    //# the high-order 32 bits are not sent but are in the ICV
    const fn implicit<'a>(&self, high: &'a [u8; 4]) -> &'a [u8] {
        if self.esn { high } else { &[] }
    }
}

/// The IVs that do not travel: both are in the eight bytes of the sequence number.
struct DerivedIv([u8; 8]);

impl DerivedIv {
    //= https://www.rfc-editor.org/rfc/rfc8750#section-4
    //# the IV is not sent: it is the sequence number, filled up with zeros to 64 bits
    fn of(sequence: Sequence, esn: bool) -> Self {
        let number = if esn {
            sequence.0
        } else {
            u64::from(sequence.low())
        };
        Self(number.to_be_bytes())
    }

    /// The IV at work: this one where the algorithm derives it, or the one in the packet.
    fn or_sent<'a>(&'a self, source: IvSource, sent: &'a [u8]) -> &'a [u8] {
        match source {
            IvSource::None | IvSource::Counter | IvSource::Random => sent,
            IvSource::Implicit => &self.0,
            IvSource::Sequence => &self.0[4..],
        }
    }
}

#[cfg(test)]
mod tests;
