//! The Authentication Header: next header, length, SPI, sequence number, ICV.
//! No key, no ICV length and no rule about other headers may enter: these belong to the SA.
//! Answers to: RFC 4302 section 2, RFC 1826 section 3 (the old format, without sequence number).

use super::u32_at;
use crate::error::DropReason;
use crate::terms::Spi;

/// Everything before the ICV.
pub const FIXED_BYTES: usize = 12;
/// The same in the format of RFC 1826, which has no sequence number.
pub const OLD_FIXED_BYTES: usize = 8;
/// The longest header that the length field can say.
pub const MAXIMUM_BYTES: usize = (u8::MAX as usize + 2) * 4;

/// A view of an AH header whose length was checked against the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    header: &'a [u8],
    spi: Spi,
    sequence_low: u32,
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as AH with what follows it.
    ///
    /// # Errors
    /// `InMalformed` if the header is cut short or says a length that cannot be; `InNoSa` for SPI 0.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.2
    //# The length is that of the header in 32-bit words, minus 2.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.4
    //# SPI 0 is for local use and never on the wire.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let length = bytes.get(1).ok_or(DropReason::InMalformed)?;
        let header_bytes = (usize::from(*length) + 2) * 4;
        let header = bytes.get(..header_bytes).ok_or(DropReason::InMalformed)?;
        let spi = u32_at(header, 4).ok_or(DropReason::InMalformed)?;
        let sequence_low = u32_at(header, 8).ok_or(DropReason::InMalformed)?;
        if spi == 0 {
            return Err(DropReason::InNoSa);
        }
        Ok(Self {
            header,
            spi: Spi(spi),
            sequence_low,
        })
    }

    /// The protocol of what follows.
    #[must_use]
    pub fn next_header(&self) -> u8 {
        self.header.first().copied().unwrap_or_default()
    }

    /// Length of the whole header, ICV and padding included.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        self.header.len()
    }

    /// The SPI.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// The half of the sequence number that is on the wire; in the old format, the ICV begins here.
    #[must_use]
    pub const fn sequence_low(&self) -> u32 {
        self.sequence_low
    }

    /// What stands behind the sequence number: the ICV and its padding.
    #[must_use]
    pub fn icv(&self) -> &'a [u8] {
        self.header.get(FIXED_BYTES..).unwrap_or_default()
    }
}

/// What a header says, apart from its ICV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// The protocol of what follows.
    pub next_header: u8,
    /// Length of the whole header: a multiple of 4.
    pub header_bytes: usize,
    /// The SPI.
    pub spi: Spi,
    /// The half of the sequence number that goes on the wire; the old format has none.
    pub sequence_low: Option<u32>,
}

impl Repr {
    /// Writes the header into the first `header_bytes` bytes; ICV and padding become zero.
    ///
    /// # Errors
    /// `NoBuffer` if there are fewer bytes, or if no length field can say so many.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.3
    //# The reserved field is zero when sent.
    pub fn emit(&self, bytes: &mut [u8]) -> Result<(), DropReason> {
        let words = self.header_bytes / 4;
        let length = words
            .checked_sub(2)
            .and_then(|length| u8::try_from(length).ok())
            .filter(|_| self.header_bytes % 4 == 0)
            .ok_or(DropReason::NoBuffer)?;
        let header = bytes.get_mut(..self.header_bytes).ok_or(DropReason::NoBuffer)?;
        header.fill(0);
        let (fixed, rest) = header
            .split_first_chunk_mut::<OLD_FIXED_BYTES>()
            .ok_or(DropReason::NoBuffer)?;
        fixed[0] = self.next_header;
        fixed[1] = length;
        fixed[4..].copy_from_slice(&self.spi.0.to_be_bytes());
        if let Some(low) = self.sequence_low {
            let field = rest.first_chunk_mut::<4>().ok_or(DropReason::NoBuffer)?;
            *field = low.to_be_bytes();
        }
        Ok(())
    }
}
