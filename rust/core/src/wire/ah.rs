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
    /// Reads what a header of the present format says.
    #[must_use]
    pub fn parse(packet: &Packet<'_>) -> Self {
        Self {
            next_header: packet.next_header(),
            header_bytes: packet.header_bytes(),
            spi: packet.spi(),
            sequence_low: Some(packet.sequence_low()),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, ip, protocol};
    use proptest::prelude::*;

    fn ah_of(packet: &[u8]) -> &[u8] {
        ip::Summary::parse(packet).unwrap().payload(packet)
    }

    const KERNELS: [(&[u8], u8, u32, usize); 4] = [
        (captured::IPV4_AH_TRANSPORT, protocol::UDP, 0x3004, 28),
        (captured::IPV4_AH_BEHIND_SOURCE_ROUTE, protocol::UDP, 0x3015, 28),
        (captured::IPV6_AH_TUNNEL, protocol::IPV6, 0x3020, 32),
        (captured::IPV6_AH_BEHIND_OPTIONS, protocol::UDP, 0x1004, 32),
    ];

    #[test]
    fn deconstruct() {
        for (packet, next_header, spi, header_bytes) in KERNELS {
            let packet = Packet::new_checked(ah_of(packet)).unwrap();
            assert_eq!((packet.spi(), packet.sequence_low()), (Spi(spi), 1));
            assert_eq!(
                (packet.next_header(), packet.header_bytes()),
                (next_header, header_bytes)
            );
            assert_eq!(packet.icv().len(), header_bytes - FIXED_BYTES);
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.3
    //# The reserved field is zero when sent.
    #[test]
    fn construct() {
        for (packet, next_header, spi, header_bytes) in KERNELS {
            let repr = Repr {
                next_header,
                header_bytes,
                spi: Spi(spi),
                sequence_low: Some(1),
            };
            let mut header = [0xaa; 40];
            repr.emit(&mut header).unwrap();
            assert_eq!(header[..FIXED_BYTES], ah_of(packet)[..FIXED_BYTES]);
            assert_eq!(
                header[FIXED_BYTES..header_bytes],
                [0; 40][FIXED_BYTES..header_bytes]
            );
            assert_eq!(header[header_bytes..], [0xaa; 40][header_bytes..]);
            assert_eq!(repr, Repr::parse(&Packet::new_checked(ah_of(packet)).unwrap()));
        }
    }

    /// OpenBSD 2.7 errata 024 and its kin: cut, empty and lying headers.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.2
    //# The length is that of the header in 32-bit words, minus 2.
    #[test]
    fn check_len() {
        let bytes = ah_of(captured::IPV4_AH_TRANSPORT);
        for length in 0..28 {
            let refused = Packet::new_checked(&bytes[..length]).err();
            assert_eq!(refused, Some(DropReason::InMalformed));
        }
        assert!(Packet::new_checked(&bytes[..28]).is_ok());
        let mut longest = vec![1; MAXIMUM_BYTES];
        for length in 0..=u8::MAX {
            longest[1] = length;
            let needed = 4 * (usize::from(length) + 2);
            for given in [0, 1, 2, 7, 8, 11, 12, needed - 1, needed, MAXIMUM_BYTES] {
                let packet = Packet::new_checked(&longest[..given]);
                let expected = (given >= needed && length > 0).then_some(needed);
                assert_eq!(
                    packet.ok().map(|packet| packet.header_bytes()),
                    expected,
                    "{length} {given}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_not_written() {
        let repr = |header_bytes| Repr {
            next_header: 6,
            header_bytes,
            spi: Spi(1),
            sequence_low: Some(1),
        };
        let mut room = [0xaa; MAXIMUM_BYTES + 4];
        for header_bytes in [0, 4, 8, 13, 26, MAXIMUM_BYTES + 4] {
            assert_eq!(
                repr(header_bytes).emit(&mut room),
                Err(DropReason::NoBuffer),
                "{header_bytes}"
            );
        }
        assert_eq!(repr(28).emit(&mut room[..27]), Err(DropReason::NoBuffer));
        assert!(repr(MAXIMUM_BYTES).emit(&mut room).is_ok());
    }

    /// RFC 1826: the ICV follows the SPI.
    #[test]
    fn the_old_format_has_no_number() {
        let repr = Repr {
            next_header: 6,
            header_bytes: 24,
            spi: Spi(0x0102_0304),
            sequence_low: None,
        };
        let mut header = [0xaa; 24];
        repr.emit(&mut header).unwrap();
        assert_eq!(header[..OLD_FIXED_BYTES], [6, 4, 0, 0, 1, 2, 3, 4]);
        assert_eq!(header[OLD_FIXED_BYTES..], [0; 16]);
    }

    //= https://www.rfc-editor.org/rfc/rfc4302#section-2.4
    //# SPI 0 is for local use and never on the wire.
    #[test]
    fn spi_zero_names_no_sa() {
        let mut header = [0; 24];
        header[1] = 4;
        assert_eq!(Packet::new_checked(&header).err(), Some(DropReason::InNoSa));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            next_header: u8, words in 3..=257_usize, spi in 1..=u32::MAX, low: u32, behind in 0..9_usize,
        ) {
            let repr = Repr { next_header, header_bytes: 4 * words, spi: Spi(spi), sequence_low: Some(low) };
            let mut bytes = vec![0xaa; repr.header_bytes + behind];
            repr.emit(&mut bytes).unwrap();
            prop_assert_eq!(Repr::parse(&Packet::new_checked(&bytes).unwrap()), repr);
        }

        /// The second opinion is the crate etherparse.
        #[test]
        fn etherparse_reads_the_same(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), length in 0..20_u8) {
            if let Some(field) = bytes.get_mut(1) {
                *field = length;
            }
            let theirs = etherparse::IpAuthHeaderSlice::from_slice(&bytes).ok();
            let ours = Packet::new_checked(&bytes).ok();
            let seen = ours.map(|packet| (packet.next_header(), packet.spi().0, packet.sequence_low(), packet.icv()));
            let expected = theirs
                .filter(|packet| packet.spi() != 0)
                .map(|packet| (packet.next_header().0, packet.spi(), packet.sequence_number(), packet.raw_icv()));
            prop_assert_eq!(seen, expected);
        }
    }
}
