//! ESP in UDP: telling ESP, IKE and keepalives apart, and the header in front of ESP.
//! No port number, socket or timer may enter.
//! Answers to: RFC 3948 section 2.

use super::udp;
use crate::error::DropReason;

/// The UDP header in front of ESP.
pub const HEADER_BYTES: usize = udp::HEADER_BYTES;

/// What a datagram on the encapsulation port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One byte 0xFF: swallowed.
    Keepalive,
    /// Four zero bytes in front: for the key manager.
    Ike,
    /// An SPI in front.
    Esp,
    /// Too short to be any of these: dropped.
    Short,
}

/// Says what the payload of a datagram is.
//= https://www.rfc-editor.org/rfc/rfc3948#section-2.2
//# IKE has four zero bytes where ESP has its SPI.
//= https://www.rfc-editor.org/rfc/rfc3948#section-2.3
//# A keepalive is one byte of the value 0xFF; the receiver should ignore it.
//= https://www.rfc-editor.org/rfc/rfc3948#section-2.1
//# SPI 0 is not used in UDP
#[must_use]
pub fn classify(payload: &[u8]) -> Kind {
    match payload {
        [0xff] => Kind::Keepalive,
        [0, 0, 0, 0, ..] => Kind::Ike,
        [_, _, _, _, ..] => Kind::Esp,
        _ => Kind::Short,
    }
}

/// Writes the UDP header, with no checksum, in front of `payload_bytes` of ESP.
///
/// On IPv6 [`udp::fill_checksum`] must follow once the payload is sealed.
///
/// # Errors
/// `NoBuffer` if `bytes` is shorter than a header; `OutTooBig` if the length does not fit its field.
//= https://www.rfc-editor.org/rfc/rfc3948#section-2.1
//# The checksum should be sent as zero (IPv4).
pub fn emit_header(
    bytes: &mut [u8],
    source_port: u16,
    destination_port: u16,
    payload_bytes: usize,
) -> Result<(), DropReason> {
    udp::Repr {
        source_port,
        destination_port,
        payload_bytes,
    }
    .emit(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, ip};

    fn payload_of(packet: &[u8]) -> &[u8] {
        let segment = ip::Summary::parse(packet).unwrap().payload(packet);
        udp::Packet::new_checked(segment).unwrap().payload()
    }

    //= https://www.rfc-editor.org/rfc/rfc3948#section-2.2
    //# IKE has four zero bytes where ESP has its SPI.
    //= https://www.rfc-editor.org/rfc/rfc3948#section-2.3
    //# A keepalive is one byte of the value 0xFF; the receiver should ignore it.
    #[test]
    fn real_packets_are_told_apart() {
        assert_eq!(classify(payload_of(captured::IPV4_UDP_ENCAP_ESP)), Kind::Esp);
        assert_eq!(classify(payload_of(captured::IPV4_UDP_ENCAP_IKE)), Kind::Ike);
        assert_eq!(
            classify(payload_of(captured::IPV4_UDP_ENCAP_KEEPALIVE)),
            Kind::Keepalive
        );
    }

    #[test]
    fn check_len() {
        assert_eq!(classify(&[]), Kind::Short);
        assert_eq!(classify(&[0]), Kind::Short);
        assert_eq!(classify(&[0xff, 0xff]), Kind::Short);
        assert_eq!(classify(&[0, 0, 0]), Kind::Short);
        assert_eq!(classify(&[0, 0, 0, 0]), Kind::Ike);
        assert_eq!(classify(&[0xff; 4]), Kind::Esp);
        assert_eq!(classify(&[0, 0, 0, 1]), Kind::Esp);
    }

    //= https://www.rfc-editor.org/rfc/rfc3948#section-2.1
    //# The checksum should be sent as zero (IPv4).
    #[test]
    fn emit_equals_the_kernels_header() {
        let packet = captured::IPV4_UDP_ENCAP_ESP;
        let mut header = [0xaa; HEADER_BYTES];
        emit_header(&mut header, 4500, 4500, payload_of(packet).len()).unwrap();
        assert_eq!(header, packet[20..28]);
        assert_eq!(
            emit_header(&mut header[1..], 4500, 4500, 8),
            Err(DropReason::NoBuffer)
        );
    }
}
