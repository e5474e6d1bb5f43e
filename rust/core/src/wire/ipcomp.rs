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
    /// What a view says.
    #[must_use]
    pub const fn parse(packet: &Packet<'_>) -> Self {
        Self {
            next_header: packet.next_header(),
            cpi: packet.cpi(),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, ip, protocol};
    use proptest::prelude::*;

    fn ipcomp_of(packet: &[u8]) -> &[u8] {
        ip::Summary::parse(packet).unwrap().payload(packet)
    }

    const KERNELS: [(&[u8], u8, u16); 3] = [
        (captured::IPV4_IPCOMP_TRANSPORT, protocol::UDP, 0x4005),
        (captured::IPV4_IPCOMP_TUNNEL, protocol::IPV6, 0x403c),
        (captured::IPV6_IPCOMP_BEHIND_OPTIONS, protocol::UDP, 0x4044),
    ];

    #[test]
    fn deconstruct() {
        for (bytes, next_header, cpi) in KERNELS {
            let bytes = ipcomp_of(bytes);
            let packet = Packet::new_checked(bytes).unwrap();
            assert_eq!((packet.next_header(), packet.cpi()), (next_header, Cpi(cpi)));
            assert_eq!(packet.payload(), &bytes[HEADER_BYTES..]);
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
    //# the flags field is reserved: zero when sent, ignored when received
    #[test]
    fn construct() {
        for (bytes, next_header, cpi) in KERNELS {
            let bytes = ipcomp_of(bytes);
            let repr = Repr {
                next_header,
                cpi: Cpi(cpi),
            };
            let mut header = [0xaa; HEADER_BYTES + 1];
            repr.emit(&mut header).unwrap();
            assert_eq!(header[..HEADER_BYTES], bytes[..HEADER_BYTES]);
            assert_eq!(header[HEADER_BYTES], 0xaa);
            let mut flagged = bytes.to_vec();
            flagged[1] = 0xff;
            assert_eq!(Repr::parse(&Packet::new_checked(&flagged).unwrap()), repr);
            assert_eq!(repr.emit(&mut header[..3]), Err(DropReason::NoBuffer));
        }
    }

    /// CVE-2008-0177, OpenBSD 2.7 errata 024: the header at the end of the buffer, and nothing at all.
    #[test]
    fn check_len() {
        for (bytes, _, _) in KERNELS {
            let bytes = ipcomp_of(bytes);
            for length in 0..HEADER_BYTES {
                let refused = Packet::new_checked(&bytes[..length]).err();
                assert_eq!(refused, Some(DropReason::InMalformed));
            }
            let packet = Packet::new_checked(&bytes[..HEADER_BYTES]).unwrap();
            assert!(packet.payload().is_empty());
        }
    }

    #[test]
    fn cpi_zero_names_nothing() {
        let refused = Packet::new_checked(&[protocol::UDP, 0, 0, 0, 1, 2]).err();
        assert_eq!(refused, Some(DropReason::InNoSa));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(next_header: u8, cpi in 1..=u16::MAX) {
            let repr = Repr { next_header, cpi: Cpi(cpi) };
            let mut header = [0xaa; HEADER_BYTES];
            repr.emit(&mut header).unwrap();
            prop_assert_eq!(Repr::parse(&Packet::new_checked(&header).unwrap()), repr);
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(packet) = Packet::new_checked(&bytes) {
                prop_assert_eq!(packet.payload(), &bytes[HEADER_BYTES..]);
            }
        }
    }
}
