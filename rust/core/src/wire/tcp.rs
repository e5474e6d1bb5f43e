//! TCP: enough to write a segment; reading its ports is `transport.rs`.
//! No connection state may enter.
//! Answers to: RFC 9293 section 3.1.

use crate::error::DropReason;
use crate::wire::{checksum, ip};
use std::net::IpAddr;

/// Length of the header without options.
pub const HEADER_BYTES: usize = 20;

const PROTOCOL: u8 = 6;

/// A segment's meaning; it has no options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number of the first payload byte.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// The control bits, FIN lowest.
    pub flags: u8,
    /// Receive window.
    pub window: u16,
}

impl Repr {
    /// Writes the header with its checksum; `segment` is header and payload.
    ///
    /// # Errors
    /// `NoBuffer` if there is no room for a header.
    pub fn emit(&self, source: IpAddr, destination: IpAddr, segment: &mut [u8]) -> Result<(), DropReason> {
        let header = segment.get_mut(..HEADER_BYTES).ok_or(DropReason::NoBuffer)?;
        header[0..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&self.acknowledgement.to_be_bytes());
        header[12] = 5 << 4;
        header[13] = self.flags;
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        header[16..20].fill(0);
        let sum = checksum::transport(source, destination, PROTOCOL, segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        Ok(())
    }

    /// Makes a complete IP packet; `None` if the families differ or it would be too long.
    #[must_use]
    pub fn packet(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
        let mut segment = vec![0; HEADER_BYTES];
        segment.extend_from_slice(payload);
        self.emit(source, destination, &mut segment).ok()?;
        ip::packet(source, destination, PROTOCOL, &segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPR: Repr = Repr {
        source_port: 40_000,
        destination_port: 443,
        sequence: 7,
        acknowledgement: 9,
        flags: 0x18,
        window: 500,
    };

    #[test]
    fn another_parser_reads_what_was_written() {
        for (source, destination) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let bytes = REPR
                .packet(source.parse().unwrap(), destination.parse().unwrap(), b"payload")
                .unwrap();
            let parsed = etherparse::PacketHeaders::from_ip_slice(&bytes).unwrap();
            let tcp = parsed.transport.unwrap().tcp().unwrap();
            assert_eq!((tcp.source_port, tcp.destination_port), (40_000, 443));
            assert_eq!(
                (tcp.sequence_number, tcp.acknowledgment_number, tcp.window_size),
                (7, 9, 500)
            );
            assert!(tcp.ack && tcp.psh && !tcp.syn);
            let expected = match parsed.net.unwrap() {
                etherparse::NetHeaders::Ipv4(ip, _) => tcp.calc_checksum_ipv4(&ip, b"payload").unwrap(),
                etherparse::NetHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(&ip, b"payload").unwrap(),
                _ => panic!("not IP"),
            };
            assert_eq!(tcp.checksum, expected);
        }
    }

    #[test]
    fn no_room_is_an_error() {
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(
            REPR.emit(address, address, &mut [0; 19]),
            Err(DropReason::NoBuffer)
        );
    }
}
