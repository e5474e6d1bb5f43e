//! What must hold for any bytes seen as one format: a view that is given can be written and read again.
//! No fuzzing library may enter, and nothing that looks at more than one format.
//! Answers to: docs of `sallet_core::wire` (no panic), RFC 791, 8200, 4302, 4303, 3173, 768, 3948, 792 and 4443.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sallet_core::wire;
use sallet_core::wire::{checksum, icmp as icmp_format, udp};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

pub(crate) fn ipv4(data: &[u8]) -> bool {
    let Some(packet) = wire::ipv4::Packet::new_checked(data) else {
        return false;
    };
    let options: usize = packet.options().map(|(_, data)| data.len() + 1).sum();
    assert!(options <= packet.header_bytes());
    assert!(packet.header_bytes() + packet.payload().len() == packet.total_bytes());
    assert!(packet.total_bytes() <= data.len());
    let _ = packet.checksum_is_right();
    if let Some(fragment) = packet.fragment() {
        assert!(fragment.more || fragment.offset_bytes > 0);
    }
    if let Some(repr) = wire::ipv4::Repr::parse(&packet) {
        let mut again = data[..packet.total_bytes()].to_vec();
        repr.emit(&mut again).expect("a length that was read fits");
        let again = wire::ipv4::Packet::new_checked(&again).expect("what was written can be read");
        assert_eq!(wire::ipv4::Repr::parse(&again), Some(repr));
        assert!(again.checksum_is_right());
        assert_eq!(again.payload(), packet.payload());
    }
    true
}

pub(crate) fn ipv6(data: &[u8]) -> bool {
    let Some(packet) = wire::ipv6::Packet::new_checked(data) else {
        return false;
    };
    let repr = wire::ipv6::Repr::parse(&packet);
    let mut again = data[..packet.total_bytes()].to_vec();
    repr.emit(&mut again).expect("a length that was read fits");
    let read = wire::ipv6::Packet::new_checked(&again).expect("what was written can be read");
    assert_eq!(wire::ipv6::Repr::parse(&read), repr);
    let mut end = wire::ipv6::HEADER_BYTES;
    let mut count = 0;
    for header in packet.extension_headers() {
        assert_eq!(header.at, end);
        assert!(header.bytes >= 8);
        end += header.bytes;
        count += 1;
    }
    assert!(count <= wire::ipv6::MAXIMUM_EXTENSION_HEADERS);
    assert!(end <= packet.total_bytes());
    assert!(end <= wire::ipv6::HEADER_BYTES + wire::ipv6::MAXIMUM_EXTENSION_BYTES);
    if let Some(layers) = packet.layers() {
        assert!(layers.transport_at <= layers.payload_at && layers.payload_at <= end);
    }
    true
}

pub(crate) fn esp(data: &[u8]) -> bool {
    let Ok(packet) = wire::esp::Packet::new_checked(data) else {
        return false;
    };
    let mut header = [0; wire::esp::HEADER_BYTES];
    wire::esp::emit_header(&mut header, packet.spi(), packet.sequence_low()).expect("room for a header");
    assert_eq!(data[..wire::esp::HEADER_BYTES], header);
    assert_eq!(packet.payload(), &data[wire::esp::HEADER_BYTES..]);
    true
}

pub(crate) fn ah(data: &[u8]) -> bool {
    let Ok(packet) = wire::ah::Packet::new_checked(data) else {
        return false;
    };
    let repr = wire::ah::Repr::parse(&packet);
    assert!(packet.header_bytes() <= data.len());
    let mut header = vec![0xaa; packet.header_bytes()];
    repr.emit(&mut header).expect("a length that was read fits");
    let again = wire::ah::Packet::new_checked(&header).expect("what was written can be read");
    assert_eq!(wire::ah::Repr::parse(&again), repr);
    assert_eq!(again.icv().len(), packet.icv().len());
    true
}

pub(crate) fn ipcomp(data: &[u8]) -> bool {
    let Ok(packet) = wire::ipcomp::Packet::new_checked(data) else {
        return false;
    };
    let mut header = [0xaa; wire::ipcomp::HEADER_BYTES];
    let repr = wire::ipcomp::Repr::parse(&packet);
    repr.emit(&mut header).expect("room for a header");
    let again = wire::ipcomp::Packet::new_checked(&header).expect("what was written can be read");
    assert_eq!(wire::ipcomp::Repr::parse(&again), repr);
    assert_eq!(packet.payload(), &data[wire::ipcomp::HEADER_BYTES..]);
    true
}

/// UDP, and what its payload is on the port of RFC 3948.
pub(crate) fn udp_encap(data: &[u8]) -> bool {
    let _ = wire::udp_encap::classify(data);
    let Some(datagram) = udp::Packet::new_checked(data) else {
        return false;
    };
    let kind = wire::udp_encap::classify(datagram.payload());
    let short = datagram.payload().len() < 4;
    let says_short = matches!(
        kind,
        wire::udp_encap::Kind::Short | wire::udp_encap::Kind::Keepalive
    );
    assert_eq!(short, says_short);
    let _ = datagram.checksum_is_right(V4, V4);
    let mut again = vec![0; udp::HEADER_BYTES + datagram.payload().len()];
    again[udp::HEADER_BYTES..].copy_from_slice(datagram.payload());
    datagram
        .parse()
        .emit(&mut again)
        .expect("a length that was read fits");
    udp::fill_checksum(V6, V6, &mut again).expect("room for a header");
    let again = udp::Packet::new_checked(&again).expect("what was written can be read");
    assert_eq!(again.parse(), datagram.parse());
    assert!(again.checksum_is_right(V6, V6));
    true
}

pub(crate) fn icmp(data: &[u8]) -> bool {
    let even = data.len() / 4 * 2;
    let parts = checksum::Sum::new().plus(&data[..even]).plus(&data[even..]);
    assert_eq!(parts.finish(), checksum::internet(data));
    let Some(message) = icmp_format::Packet::new_checked(data) else {
        return false;
    };
    for own in [V4, V6] {
        let again = icmp_format::Repr::parse(&message).emit(own, own);
        assert_eq!(again[..2], data[..2]);
        assert_eq!(again[4..], data[4..]);
        let again = icmp_format::Packet::new_checked(&again).expect("what was written can be read");
        assert!(again.checksum_is_right(own, own));
    }
    true
}
