//! AH on one packet: the header put in, signed, verified and taken out with one SA's key.
//! No SA state (window, lifetime, counter) may enter; which fields of other headers count is `mutable.rs`.
//! Answers to: RFC 4302 sections 2 and 3.3.3, RFC 1826 (the old format), RFC 4543 section 4 (an IV in the ICV field).

use super::Order;
use super::mutable::{AhRules, Covered};
use crate::buffer::PacketBuf;
use crate::crypto::Integrity;
use crate::crypto::iv::IvGenerator;
use crate::error::{DropReason, Error};
use crate::terms::{Sequence, Spi};
use crate::wire::ah::{FIXED_BYTES, MAXIMUM_BYTES, OLD_FIXED_BYTES, Packet, Repr};

/// As many zeros as any ICV field has bytes.
const ZEROS: [u8; MAXIMUM_BYTES] = [0; MAXIMUM_BYTES];

/// What AH needs to know of one SA.
#[derive(Debug)]
pub struct Ah {
    spi: Spi,
    integrity: Integrity,
    esn: bool,
    old: bool,
    fixed_bytes: usize,
    iv_bytes: usize,
    icv_bytes: usize,
}

impl Ah {
    /// Settles the sizes for one SA. With `esn`, the high half of the sequence number is in the ICV; `old` is
    /// the format of RFC 1826, which has no sequence number.
    ///
    /// # Errors
    /// `UnsupportedCombination` in the old format for `esn`, for an algorithm with an IV, and for NULL: a header
    /// with neither number nor ICV is shorter than any receiver takes, this one included.
    pub fn new(spi: Spi, integrity: Integrity, esn: bool, old: bool) -> Result<Self, Error> {
        if esn && old {
            return Err(Error::UnsupportedCombination);
        }
        let row = integrity.algorithm();
        let (fixed_bytes, icv_bytes) = if old {
            let whole_bytes = integrity.key().whole_bytes();
            let icv_bytes = whole_bytes.filter(|bytes| *bytes > 0);
            (OLD_FIXED_BYTES, icv_bytes.ok_or(Error::UnsupportedCombination)?)
        } else {
            (FIXED_BYTES, row.icv_bytes)
        };
        Ok(Self {
            spi,
            integrity,
            esn,
            old,
            fixed_bytes,
            iv_bytes: row.iv_bytes,
            icv_bytes,
        })
    }

    /// Whether its packets carry sequence numbers.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        !self.old
    }

    /// Whether a changed packet is noticed.
    #[must_use]
    pub const fn has_integrity(&self) -> bool {
        self.icv_bytes != 0
    }

    /// Length of the header behind an IP header of that version.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.6
    //# the header is padded to a multiple of 32 bits for IPv4 and of 64 bits for IPv6
    #[must_use]
    pub const fn header_bytes(&self, ipv6: bool, rules: AhRules) -> usize {
        let alignment = if ipv6 || rules.wide_padding { 8 } else { 4 };
        self.aligned_bytes(alignment)
    }

    /// Length of the field that counts as zero: the ICV, and in front of it the IV of an algorithm that has one.
    const fn field_bytes(&self) -> usize {
        self.iv_bytes + self.icv_bytes
    }

    const fn aligned_bytes(&self, alignment: usize) -> usize {
        (self.fixed_bytes + self.field_bytes()).next_multiple_of(alignment)
    }

    /// Whether a header that arrived is as long as this SA makes it: over IPv4, either padding will do.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.2
    //# the length field is checked against what the SA's algorithm gives
    const fn is_header_bytes(&self, header_bytes: usize, ipv6: bool) -> bool {
        header_bytes == self.aligned_bytes(8) || !ipv6 && header_bytes == self.aligned_bytes(4)
    }

    /// Opens a gap at `order.at` and writes the header there, the ICV still zero.
    ///
    /// `order.iv_counter` must be new for this key, whatever happened to the sequence number.
    ///
    /// # Errors
    /// `NoBuffer` if the packet does not fit its buffer, `SequenceOverflow` if no IV is left.
    //= https://www.rfc-editor.org/rfc/rfc4543#section-4
    //# in AH the IV of 8 bytes stands in front of the ICV
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.5
    //# the sequence number is always there
    pub fn insert(
        &self,
        order: &Order,
        ivs: &mut IvGenerator,
        packet: &mut PacketBuf,
    ) -> Result<(), DropReason> {
        let header_bytes = self.header_bytes(order.ipv6, order.rules);
        packet.insert_gap(order.at, header_bytes)?;
        let repr = Repr {
            next_header: order.next_header,
            header_bytes,
            spi: self.spi,
            sequence_low: self.is_numbered().then_some(order.sequence.low()),
        };
        let header = &mut packet.as_mut_slice()[order.at..];
        repr.emit(header)?;
        if self.iv_bytes > 0 {
            let iv = ivs
                .explicit(order.iv_counter)
                .ok_or(DropReason::SequenceOverflow)?;
            header[self.fixed_bytes..self.fixed_bytes + self.iv_bytes].copy_from_slice(&iv);
        }
        Ok(())
    }

    /// Writes the ICV of a packet that is otherwise as it will be sent.
    ///
    /// # Errors
    /// `OutMalformed` if the headers in front are none that AH can cover.
    pub fn sign(
        &self,
        at: usize,
        sequence: Sequence,
        rules: AhRules,
        packet: &mut PacketBuf,
    ) -> Result<(), DropReason> {
        let bytes = packet.as_mut_slice();
        let covered = Covered::when_sent(bytes, at, rules).ok_or(DropReason::OutMalformed)?;
        let (fixed, rest) = bytes[at..].split_at_mut(self.fixed_bytes);
        let (field, behind) = rest.split_at_mut(self.field_bytes());
        let (iv, icv) = field.split_at_mut(self.iv_bytes);
        let high = sequence.high().to_be_bytes();
        let pieces = [
            covered.as_slice(),
            fixed,
            self.zeros(),
            behind,
            self.implicit(&high),
        ];
        self.integrity
            .key()
            .sign_with_iv(iv, &pieces, icv)
            .map_err(|_| DropReason::OutTooBig)
    }

    /// Verifies the ICV over the whole packet, takes the AH header at `at` out and returns the next header.
    ///
    /// `sequence` is what the window inferred; only the caller may mark it, and only after this succeeds.
    ///
    /// # Errors
    /// `InMalformed` if the header has not the length that this SA gives it or the headers in front are none
    /// that AH can cover, `AuthFailed` if the ICV is not right; the packet is as before then.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.4.4
    //# the ICV is compared whole, with the fields that may change taken as zero; no match, no packet
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.3
    //# the reserved field is ignored on receipt, and in the ICV
    pub fn open(
        &self,
        at: usize,
        sequence: Sequence,
        rules: AhRules,
        packet: &mut PacketBuf,
    ) -> Result<u8, DropReason> {
        let bytes = packet.as_slice();
        let view = Packet::new_checked(bytes.get(at..).ok_or(DropReason::InMalformed)?)?;
        let (header_bytes, next_header) = (view.header_bytes(), view.next_header());
        if !self.is_header_bytes(header_bytes, bytes[0] >> 4 == 6) {
            return Err(DropReason::InMalformed);
        }
        let covered = Covered::when_received(bytes, at, rules).ok_or(DropReason::InMalformed)?;
        let (fixed, rest) = bytes[at..].split_at(self.fixed_bytes);
        let (field, behind) = rest.split_at(self.field_bytes());
        let (iv, icv) = field.split_at(self.iv_bytes);
        let high = sequence.high().to_be_bytes();
        let pieces = [
            covered.as_slice(),
            fixed,
            self.zeros(),
            behind,
            self.implicit(&high),
        ];
        self.integrity
            .key()
            .verify_with_iv(iv, &pieces, icv)
            .map_err(|_| DropReason::AuthFailed)?;
        packet.remove_gap(at, header_bytes)?;
        Ok(next_header)
    }

    /// The field of the ICV while the ICV is computed.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3
    //# the ICV field is zero for the computation, the padding behind it counts as it is
    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.2
    //# the padding of the ICV is in the ICV, padding that a hash would need is not sent
    fn zeros(&self) -> &'static [u8] {
        &ZEROS[..self.field_bytes()]
    }

    /// What the ICV covers beyond the bytes sent: the high half, with ESN.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.5.1
    //# the high-order 32 bits are not sent but are in the ICV
    const fn implicit<'a>(&self, high: &'a [u8; 4]) -> &'a [u8] {
        if self.esn { high } else { &[] }
    }
}

#[cfg(test)]
mod tests;
