//! The IPComp header: next header, flags, CPI; behind it, what only a decompressor can read.
//! No algorithm and no threshold may enter: these belong to the SA.
//! Answers to: RFC 3173 section 3.

use super::u16_at;
use crate::error::DropReason;
use crate::terms::Cpi;

/// Next header, flags and CPI.
pub const HEADER_BYTES: usize = 4;

/// A view of an IPComp header and the compressed bytes behind it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    next_header: u8,
    cpi: Cpi,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as IPComp. The flags are not looked at.
    ///
    /// # Errors
    /// `InMalformed` if the header is cut short; `InNoSa` for CPI 0.
    //= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
    //# the flags field is reserved: zero when sent, ignored when received
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let next_header = *bytes.first().ok_or(DropReason::InMalformed)?;
        let cpi = u16_at(bytes, 2).ok_or(DropReason::InMalformed)?;
        let payload = bytes.get(HEADER_BYTES..).ok_or(DropReason::InMalformed)?;
        if cpi == 0 {
            return Err(DropReason::InNoSa);
        }
        Ok(Self {
            next_header,
            cpi: Cpi(cpi),
            payload,
        })
    }

    /// The protocol of what was compressed.
    #[must_use]
    pub const fn next_header(&self) -> u8 {
        self.next_header
    }

    /// The CPI: an algorithm, or with the destination an SA.
    #[must_use]
    pub const fn cpi(&self) -> Cpi {
        self.cpi
    }

    /// The compressed bytes.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// The protocol of what was compressed.
    pub next_header: u8,
    /// The CPI.
    pub cpi: Cpi,
}

impl Repr {
    /// Writes the header into the first four bytes.
    ///
    /// # Errors
    /// `NoBuffer` if there are fewer.
    pub fn emit(&self, bytes: &mut [u8]) -> Result<(), DropReason> {
        let header = bytes
            .first_chunk_mut::<HEADER_BYTES>()
            .ok_or(DropReason::NoBuffer)?;
        let [high, low] = self.cpi.0.to_be_bytes();
        *header = [self.next_header, 0, high, low];
        Ok(())
    }
}
