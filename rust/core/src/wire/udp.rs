//! UDP: ports, length, checksum.
//! What a datagram carries may not enter.
//! Answers to: RFC 768, RFC 8200 section 8.1.

use std::net::IpAddr;

use super::{checksum, ip, protocol, u16_at};
use crate::error::DropReason;

/// The UDP header.
pub const HEADER_BYTES: usize = 8;

/// A view of a UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    repr: Repr,
}

/// What a UDP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Length of what follows the header.
    pub payload_bytes: usize,
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as a datagram; bytes behind its length are not part of the view.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let total = usize::from(u16_at(bytes, 4)?);
        let bytes = bytes.get(..total)?;
        let payload_bytes = total.checked_sub(HEADER_BYTES)?;
        let repr = Repr {
            source_port: u16_at(bytes, 0)?,
            destination_port: u16_at(bytes, 2)?,
            payload_bytes,
        };
        Some(Self { bytes, repr })
    }

    /// Source port.
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        self.repr.source_port
    }

    /// Destination port.
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        self.repr.destination_port
    }

    /// The checksum field; 0 means none.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at(self.bytes, 6).unwrap_or(0)
    }

    /// Whether the checksum is right, or absent where IPv4 allows that.
    #[must_use]
    pub fn checksum_is_right(&self, source: IpAddr, destination: IpAddr) -> bool {
        if self.checksum() == 0 {
            return source.is_ipv4();
        }
        checksum::transport(source, destination, protocol::UDP, self.bytes) == 0
    }

    /// What the datagram carries.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The header's meaning.
    #[must_use]
    pub const fn parse(&self) -> Repr {
        self.repr
    }
}

impl Repr {
    /// Writes the header, with no checksum, in front of a payload that stands there already.
    ///
    /// # Errors
    /// `NoBuffer` if `bytes` is shorter than a header; `OutTooBig` if the length does not fit its field.
    pub fn emit(&self, bytes: &mut [u8]) -> Result<(), DropReason> {
        let length = u16::try_from(self.payload_bytes + HEADER_BYTES).map_err(|_| DropReason::OutTooBig)?;
        let header = bytes
            .first_chunk_mut::<HEADER_BYTES>()
            .ok_or(DropReason::NoBuffer)?;
        header[..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..6].copy_from_slice(&length.to_be_bytes());
        header[6..].fill(0);
        Ok(())
    }
}

/// Writes the checksum of a whole datagram.
///
/// # Errors
/// `NoBuffer` if `datagram` is shorter than a header.
//= https://www.rfc-editor.org/rfc/rfc8200#section-8.1
//# A checksum that comes out as zero is sent as all ones; zero would mean "none", which IPv6 refuses.
pub fn fill_checksum(source: IpAddr, destination: IpAddr, datagram: &mut [u8]) -> Result<(), DropReason> {
    datagram
        .get_mut(6..HEADER_BYTES)
        .ok_or(DropReason::NoBuffer)?
        .fill(0);
    let sum = checksum::transport(source, destination, protocol::UDP, datagram);
    let sum = if sum == 0 { u16::MAX } else { sum };
    datagram[6..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Builds a whole IP packet with one datagram; `None` if families differ or it would be too long.
#[must_use]
pub fn packet(
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    destination_port: u16,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let mut datagram = vec![0; HEADER_BYTES + payload.len()];
    datagram.get_mut(HEADER_BYTES..)?.copy_from_slice(payload);
    Repr {
        source_port,
        destination_port,
        payload_bytes: payload.len(),
    }
    .emit(&mut datagram)
    .ok()?;
    fill_checksum(source, destination, &mut datagram).ok()?;
    ip::packet(source, destination, protocol::UDP, &datagram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::captured;
    use crate::wire::ip::Summary;
    use proptest::prelude::*;

    fn split(packet: &[u8]) -> (Summary, &[u8]) {
        let summary = Summary::parse(packet).unwrap();
        (summary, summary.payload(packet))
    }

    #[test]
    fn deconstruct() {
        let (summary, bytes) = split(captured::IPV4_UDP);
        let datagram = Packet::new_checked(bytes).unwrap();
        assert_eq!(
            (datagram.source_port(), datagram.destination_port()),
            (48_824, 9999)
        );
        assert_eq!(datagram.checksum(), 0xf76b);
        assert!(datagram.checksum_is_right(summary.source, summary.destination));
        assert_eq!(datagram.payload(), b"checked v4");
    }

    #[test]
    fn construct() {
        for packet in [
            captured::IPV4_UDP,
            captured::IPV6_UDP,
            captured::IPV6_ALL_EXTENSION_HEADERS,
        ] {
            let (summary, bytes) = split(packet);
            let datagram = Packet::new_checked(bytes).unwrap();
            let mut again = vec![0xaa; bytes.len()];
            again[HEADER_BYTES..].copy_from_slice(datagram.payload());
            datagram.parse().emit(&mut again).unwrap();
            fill_checksum(summary.source, summary.destination, &mut again).unwrap();
            assert_eq!(again, bytes);
        }
    }

    #[test]
    fn check_len() {
        let (_, bytes) = split(captured::IPV4_UDP);
        for length in 0..bytes.len() {
            assert!(Packet::new_checked(&bytes[..length]).is_none());
        }
        let mut longer = bytes.to_vec();
        longer.extend_from_slice(b"link padding");
        assert_eq!(Packet::new_checked(&longer).unwrap().payload(), b"checked v4");
        longer[5] = 7;
        assert!(
            Packet::new_checked(&longer).is_none(),
            "a length that does not cover the header"
        );
    }

    #[test]
    fn parse() {
        let (_, bytes) = split(captured::IPV6_UDP);
        let repr = Repr {
            source_port: 37_672,
            destination_port: 9999,
            payload_bytes: 10,
        };
        assert_eq!(Packet::new_checked(bytes).unwrap().parse(), repr);
    }

    #[test]
    fn emit() {
        let repr = Repr {
            source_port: 4500,
            destination_port: 4501,
            payload_bytes: 65_528,
        };
        assert_eq!(repr.emit(&mut [0; HEADER_BYTES]), Err(DropReason::OutTooBig));
        let repr = Repr {
            payload_bytes: 1,
            ..repr
        };
        assert_eq!(repr.emit(&mut [0; HEADER_BYTES - 1]), Err(DropReason::NoBuffer));
        let mut header = [0xaa; HEADER_BYTES];
        repr.emit(&mut header).unwrap();
        assert_eq!(header, [0x11, 0x94, 0x11, 0x95, 0, 9, 0, 0]);
    }

    //= https://www.rfc-editor.org/rfc/rfc8200#section-8.1
    //# A checksum that comes out as zero is sent as all ones; zero would mean "none", which IPv6 refuses.
    #[test]
    fn a_zero_checksum_is_sent_as_ones() {
        let (source, destination) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let mut datagram = [0; HEADER_BYTES + 2];
        Repr {
            source_port: 1,
            destination_port: 2,
            payload_bytes: 2,
        }
        .emit(&mut datagram)
        .unwrap();
        let sum = checksum::transport(source, destination, protocol::UDP, &datagram);
        datagram[HEADER_BYTES..].copy_from_slice(&sum.to_be_bytes());
        fill_checksum(source, destination, &mut datagram).unwrap();
        let datagram = Packet::new_checked(&datagram).unwrap();
        assert_eq!(datagram.checksum(), 0xffff);
        assert!(datagram.checksum_is_right(source, destination));
    }

    #[test]
    fn no_checksum_is_right_for_ipv4_only() {
        let mut datagram = [0; HEADER_BYTES];
        Repr {
            source_port: 1,
            destination_port: 2,
            payload_bytes: 0,
        }
        .emit(&mut datagram)
        .unwrap();
        let datagram = Packet::new_checked(&datagram).unwrap();
        assert!(datagram.checksum_is_right("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()));
        assert!(!datagram.checksum_is_right("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()));
    }

    #[test]
    fn a_built_packet_equals_the_kernels() {
        let (summary, bytes) = split(captured::IPV6_UDP);
        let packet = packet(summary.source, summary.destination, 37_672, 9999, b"checked v6").unwrap();
        assert_eq!(split(&packet).1, bytes);
    }

    proptest! {
        #[test]
        fn etherparse_reads_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..64), honest: bool) {
            let mut bytes = bytes;
            if honest && bytes.len() >= HEADER_BYTES {
                let length = (bytes.len() as u16).to_be_bytes();
                bytes[4..6].copy_from_slice(&length);
            }
            // Their length 0 means "the rest"; ours is malformed.
            prop_assume!(bytes.len() < 6 || bytes[4..6] != [0, 0]);
            let ours = Packet::new_checked(&bytes);
            let theirs = etherparse::UdpSlice::from_slice(&bytes).ok();
            prop_assert_eq!(ours.is_some(), theirs.is_some());
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.source_port(), theirs.source_port());
                prop_assert_eq!(ours.destination_port(), theirs.destination_port());
                prop_assert_eq!(ours.checksum(), theirs.checksum());
                prop_assert_eq!(ours.payload(), theirs.payload());
            }
        }
    }
}
